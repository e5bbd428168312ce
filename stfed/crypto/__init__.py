"""Thin named wrappers over `cryptography`. Knows primitives and labels, and no protocol."""
