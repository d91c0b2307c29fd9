"""Directives, their values, CONFIG and redis.conf."""
