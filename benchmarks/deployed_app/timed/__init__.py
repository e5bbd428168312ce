"""timed: a Flower / NumPy app."""
