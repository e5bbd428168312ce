"""mnist: the app that `benchmarks.mnist` runs; `examples` and `strategies` come from the repository's root."""
