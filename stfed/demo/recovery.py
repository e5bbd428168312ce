"""What the coordinator computes of whatever it has got: one division, and how close the result is to an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stfed.demo.clinics import BIAS, HIDDEN, PIXELS, WEIGHTS, Arrays, Pixels, image
from stfed.encoding import Vector

CHANCE = 0.6
"""The largest correlation that counts as chance: 64 random numbers have a larger one with an image once in some million times."""
EXACT = 0.999


def quotient(change: Arrays) -> Pixels:
    """The image: the change of a row of the first layer's weights over that of its bias, for the row whose bias changed most."""
    row = int(np.argmax(np.abs(change[BIAS])))
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Pixels = np.nan_to_num(change[WEIGHTS][row] / change[BIAS][row], posinf=0.0, neginf=0.0)
    return found


def change_of(before: Arrays, after: Arrays) -> Arrays:
    """What training did to a model."""
    return {name: after[name] - before[name] for name in before}


def from_vector(vector: Vector) -> Pixels:
    """The same division on what a clinic sends in a secure round: words of 32 bits, read as fixed-point numbers around zero."""
    return quotient(numbers(vector.ring))


def from_words(words: NDArray[np.uint32]) -> Pixels:
    """As `from_vector`, of the words alone: the first layer's weights come first, then its bias."""
    return quotient(numbers(words))


def numbers(words: NDArray[np.uint32]) -> Arrays:
    """The first layer in words, in ring units."""
    found = words[: HIDDEN * PIXELS + HIDDEN].astype(np.uint32).view(np.int32).astype(np.float64)
    return {WEIGHTS: found[: HIDDEN * PIXELS].reshape(HIDDEN, PIXELS), BIAS: found[HIDDEN * PIXELS :]}


def closeness(found: Pixels, clinic: int) -> float:
    """Correlation of what was recovered with a clinic's image: 1 is the image, around 0 is chance."""
    if not found.std():
        return 0.0
    return float(np.corrcoef(found, image(clinic)[0])[0, 1])


def is_image(correlation: float) -> bool:
    """Whether this much cannot be chance. A negative of the image is the image too."""
    return abs(correlation) >= CHANCE


def shown(found: Pixels) -> Pixels:
    """As a picture is drawn: from 0 to 1, whatever the numbers are."""
    if found.min() >= -1e-3 and found.max() <= 1 + 1e-3:
        return found.clip(0.0, 1.0)
    width = found.max() - found.min()
    scaled: Pixels = (found - found.min()) / width if width else np.zeros_like(found)
    return scaled
