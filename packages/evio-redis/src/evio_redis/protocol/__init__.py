"""RESP and Redis's notations, without I/O."""
