"""An echo server: the smallest complete program on evio_core. Read ``__main__.py`` from top to bottom."""
