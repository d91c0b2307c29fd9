"""Programs that are built on Redis: scripts, which test_programs.py runs in an environment of its own."""
