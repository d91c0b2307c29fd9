"""A server under a mixed load for long: nothing may leak, nothing may fail."""
