"""One module per section of `bench.webhooks`: what it measures, and the goals it has."""
