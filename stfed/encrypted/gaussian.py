"""Exact samples of the discrete Gaussian: P(k) is proportional to exp(-k^2 / (2 sigma^2)) over the integers, and nothing is rounded.

This is the sampler of Canonne, Kamath, Steinke, *The Discrete Gaussian for Differential Privacy*, NeurIPS 2020 (algorithms 1 to 3), in
integers of any size: floating-point noise would betray in its low bits what it was added to (Mironov, CCS 2012). Two of them whose
centres are the integers a and b have a Kullback-Leibler divergence of (a - b)^2 / (2 sigma^2), as continuous ones have, and
P(|k| >= t sigma) <= 2 exp(-t^2 / 2).

It takes about 30 microseconds a sample, and how long it takes depends on the sample: for the owner's own machine.
"""

from __future__ import annotations

from stfed.crypto.random import Entropy


def discrete_gaussian(deviation: int, entropy: Entropy) -> int:
    """One sample.

    Args:
        deviation: sigma, 1 or more.
        entropy: uniform bytes.
    """
    while True:
        candidate = _laplace(deviation, entropy)
        if _happens_exp(abs(abs(candidate) - deviation) ** 2, 2 * deviation**2, entropy):
            return candidate


def _laplace(scale: int, entropy: Entropy) -> int:
    """P(k) proportional to exp(-|k| / scale)."""
    while True:
        rest = _below(scale, entropy)
        if not _happens_exp(rest, scale, entropy):
            continue
        whole = 0
        while _happens_exp(1, 1, entropy):
            whole += 1
        magnitude, negative = rest + scale * whole, _below(2, entropy)
        if magnitude or not negative:  # zero has one sign
            return -magnitude if negative else magnitude


def _happens_exp(numerator: int, denominator: int, entropy: Entropy) -> bool:
    """True with the chance exp(-numerator / denominator)."""
    while numerator > denominator:
        if not _happens_exp(1, 1, entropy):
            return False
        numerator -= denominator
    tries = 1
    while _below(denominator * tries, entropy) < numerator:
        tries += 1
    return tries % 2 == 1


def _below(limit: int, entropy: Entropy) -> int:
    """Uniform from 0 to limit - 1."""
    bits = (limit - 1).bit_length()
    size = (bits + 7) // 8
    while True:
        drawn = int.from_bytes(entropy(size), "little") >> (8 * size - bits) if bits else 0
        if drawn < limit:
            return drawn
