"""A cluster whose map of slots is given by a file: which node has which keys."""
