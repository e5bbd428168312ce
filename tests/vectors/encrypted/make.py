"""Made the files of this folder: `python -m tests.vectors.encrypted.make`. Keys and noise are random, so every run makes other ones.

The smallest parameters (additions alone), and no rotations, so that the files are small. `stfed` reads them, and so does
`tests/encrypted/test_second_reader.py`, which shares no code with it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stfed.encrypted.context import SecretContext
from stfed.encrypted.keyfiles import save_keypair
from stfed.encrypted.layout import Layout
from stfed.encrypted.messages import dumps
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.tensor import EncryptedTensor
from stfed.keys import SigningKey

HERE = Path(__file__).parent


def numbers() -> np.ndarray:
    """What is encrypted: 300 rows of 5, none above 16."""
    return np.round(16 * np.sin(np.arange(1500.0)), 3).reshape(300, 5)


def main() -> None:
    """Writes all files anew."""
    for name in ("tensor", "tensor.key", "tensor.key.pub"):
        (HERE / name).unlink(missing_ok=True)

    def make() -> SecretContext:
        return SecretContext.generate(Parameters.for_depth(0), rotations=False)

    context = save_keypair(make, HERE / "tensor.key", passphrase=None, signer=SigningKey.generate())
    layout = Layout.of((300, 5), context.parameters.slots)
    ciphertexts = tuple(context.arithmetic.encrypt(slots) for slots in layout.spread(numbers()))
    tensor = EncryptedTensor(context, layout, ciphertexts, 16.0, 1e-6)
    (HERE / "tensor").write_bytes(dumps(tensor))


if __name__ == "__main__":
    main()
