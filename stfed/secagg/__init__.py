"""The secure-aggregation protocol, sans-IO: what is said, never how it travels.

Parameters and their probabilities are `params`, `conditions` and `tails`; who holds whose shares is `graph`.
"""
