"""From a path to a file and its representation."""
