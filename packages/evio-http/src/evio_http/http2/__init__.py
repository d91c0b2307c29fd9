"""HTTP/2 (RFC 9113) without I/O. It needs the package ``hpack``, and is not imported before a client speaks it."""
