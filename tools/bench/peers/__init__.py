"""Servers to compare with, each a program: ``python -m tools.bench.peers.NAME PORT``."""
