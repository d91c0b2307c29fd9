"""Answers kept in memory."""
