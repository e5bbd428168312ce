"""clinics: A Flower / PyTorch app."""
