"""Servers measured side by side: ``python -m tools.bench echo``. See README.md beside this file."""
