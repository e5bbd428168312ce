"""labs: what everybody agrees on about the columns before anything is asked.

The ranges are those of the data set's own published description, rounded outwards: nobody computed them from a laboratory's rows.
"""

from stfed.flower.analytics import Number

# Largest mean, standard error and worst value of a patient's cells; none is below zero.
_LARGEST = {
    "radius": (30, 3, 40),
    "texture": (40, 5, 50),
    "perimeter": (200, 25, 300),
    "area": (2600, 600, 4500),
    "smoothness": (0.2, 0.04, 0.3),
    "compactness": (0.4, 0.2, 1.2),
    "concavity": (0.5, 0.5, 1.5),
    "concave points": (0.3, 0.1, 0.5),
    "symmetry": (0.4, 0.1, 0.8),
    "fractal dimension": (0.1, 0.05, 0.3),
}

# In the order of the data set's columns: ten means, ten errors, ten worst values.
CODEBOOK = {
    name.format(feature): Number(0, largest[kind], step=largest[kind] / 100)
    for kind, name in enumerate(("mean {}", "{} error", "worst {}"))
    for feature, largest in _LARGEST.items()
}
