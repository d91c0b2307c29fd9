"""Counters, and what INFO, SLOWLOG and LATENCY say."""
