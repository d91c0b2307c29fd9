"""Programs that people run by hand on the project: benchmarks and other measurements."""
