"""One module per section of `bench.broker`: what it measures, and the goals it has."""
