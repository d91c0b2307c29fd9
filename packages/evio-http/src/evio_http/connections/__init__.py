"""Connections, and what they run for each request."""
