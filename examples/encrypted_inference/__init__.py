"""A model from a federated aggregate, applied to rows that nobody but their owner can read."""
