"""What `benchmarks.sealed` is made of: the tensors, those who save and load them, the clock, and the verdict."""
