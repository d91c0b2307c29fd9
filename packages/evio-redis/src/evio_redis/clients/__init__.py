"""Clients: their state, and what they wait for or listen to."""
