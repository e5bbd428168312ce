"""labs: A Flower / Scikit-Learn app."""
