"""Keys, values and their expiry."""
