"""wards: a Flower / NumPy app."""
