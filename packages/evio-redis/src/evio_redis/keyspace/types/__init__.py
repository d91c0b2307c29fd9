"""The types of values besides strings: a class for each type."""
