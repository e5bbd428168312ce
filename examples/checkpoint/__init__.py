"""checkpoint: a model that lies there in clear becomes a sealed one, and training goes on from it."""
