"""Complete Flower apps on real data."""
