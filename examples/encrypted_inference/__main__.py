"""encrypted_inference: a hospital has its rows scored by a service that cannot read them, and checks every score.

python -m examples.encrypted_inference
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from examples.encrypted_inference.service import DEPTH, ScoringService
from examples.encrypted_inference.training import FEATURE_BOUND, HOSPITALS, train
from examples.hospitals.data import load
from stfed.encrypted import Parameters, SecretContext, decrypt, dumps, encrypt, loads
from stfed.errors import StfedError

T = TypeVar("T")
_SCALE_BITS = 35
"""So that three multiplications fit into polynomials of degree 8192."""


def main() -> int:
    """Trains, encrypts, scores, decrypts; the exit code is 1 if a score is further from the plain one than it says."""
    logging.getLogger("flwr").setLevel(logging.ERROR)
    try:
        return run()
    except StfedError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run() -> int:
    """See `main`."""
    with tempfile.TemporaryDirectory() as folder:
        model = timed(f"{HOSPITALS} hospitals train a model, every round a secure sum", lambda: train(folder))
    samples = load("breast-cancer")
    rows, labels = samples.x.numpy().astype(np.float64), samples.y.numpy()

    # The hospital: keys, of which the service gets the public half, and its rows.
    secret = timed("the hospital makes its keys", lambda: SecretContext.generate(Parameters.for_depth(DEPTH, scale_bits=_SCALE_BITS)))
    message = timed(
        f"the hospital encrypts {rows.shape[0]} x {rows.shape[1]}", lambda: dumps(encrypt(secret.public, rows, bound=FEATURE_BOUND))
    )

    # The service: the model, the public keys and the message.
    service = ScoringService(model, secret.public)
    scored = timed("the service computes logits", lambda: service.logits(message))
    likely = timed("the service computes probabilities", lambda: service.probabilities(message))

    # The hospital again.
    logits, probabilities = loads(secret.public, scored), loads(secret.public, likely)
    found = timed("the hospital decrypts both", lambda: (decrypt(secret, logits).reshape(-1), decrypt(secret, probabilities).reshape(-1)))
    wanted = model.logits(rows)
    polynomial = np.polynomial.Polynomial(service.sigmoid.coefficients)(wanted)
    print(f"  to the service {len(message) / 2**20:.1f} MiB, back {len(scored) / 2**20:.2f} and {len(likely) / 2**20:.2f} MiB")
    right = True
    for name, own, plain, error in (
        ("logits", found[0], wanted, logits.error),
        ("probabilities", found[1], polynomial, probabilities.error),
    ):
        off = np.abs(own - plain).max()
        right = right and bool(off <= error)
        print(f"{name:14} at most {off:.1e} from plain arithmetic, promised are {error:.1e}")
    sigmoid = 1 / (1 + np.exp(-wanted))
    print(f"{'':14} at most {np.abs(found[1] - sigmoid).max():.2f} from the sigmoid itself: a polynomial of degree 3 is no closer")
    shares = accuracy(wanted > 0, labels), accuracy(found[0] > 0, labels), accuracy(found[1] > 0.5, labels)
    print("accuracy       {:.4f} in plain, {:.4f} by encrypted logits, {:.4f} by encrypted probabilities".format(*shares))
    return 0 if right else 1


def accuracy(predicted: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """The share of labels that are right."""
    return float((predicted == labels.astype(bool)).mean())


def timed(what: str, work: Callable[[], T]) -> T:
    """Does it, and says how long it took."""
    start = time.perf_counter()
    result = work()
    print(f"{time.perf_counter() - start:6.2f} s  {what}")
    return result


if __name__ == "__main__":
    sys.exit(main())
