"""The answers of a site, by path and by rule."""
