"""cheques: A Flower / PyTorch app."""
