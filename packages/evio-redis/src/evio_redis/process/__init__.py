"""Signals, the pid file and the log file."""
