"""digits: twenty bank branches train a CNN that reads handwritten digits, and seal it every round."""
