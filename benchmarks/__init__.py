"""Reproducible measurements, each against a named peer or a physical limit. `README.md` says how to read them."""
