"""What keys can hold besides strings: a class for each type."""
