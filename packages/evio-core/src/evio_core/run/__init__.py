"""``python -m evio_core``: a program's handler, served from the command line."""
