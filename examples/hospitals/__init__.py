"""hospitals: a Flower / PyTorch app."""
