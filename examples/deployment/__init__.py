"""A deployment on one machine, with everything that can go wrong: `python -m examples.deployment`."""
