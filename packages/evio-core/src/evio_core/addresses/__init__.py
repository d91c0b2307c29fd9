"""Address strings, the sockets they become, and socket options."""
