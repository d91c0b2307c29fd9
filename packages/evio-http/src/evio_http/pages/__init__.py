"""HTML made here."""
