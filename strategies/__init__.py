"""Ready recipes over `stfed`: read one, copy it, change it. `build(config)` returns a Flower strategy for a run config."""
