"""One module per section of `bench.lens_runs`: what it measures, and the goals it has."""
