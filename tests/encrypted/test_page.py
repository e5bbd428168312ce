"""docs/encrypted.md: its blocks run, its table is what the code says, and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from stfed.encrypted.noise import NoiseModel
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.words import ciphertext_bytes

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "encrypted.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_blocks_run_one_after_the_other() -> None:
    assert len(BLOCKS) == PAGE.count("```") / 2 - 1 == 5  # the other one installs
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "docs/encrypted.md", "exec"), names)


def test_the_table_is_what_parameters_are() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\S+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 8
    for depth, degree, size_bytes, noise in rows:
        parameters = Parameters.for_depth(int(depth))
        model = NoiseModel(parameters, [2**bits for bits in parameters.modulus_bits])
        fresh = model.fresh(1.0, 2.0**parameters.scale_bits)
        found = (parameters.degree, round(ciphertext_bytes(parameters, int(depth)) / parameters.slots), f"{fresh:.0e}")
        assert found == (int(degree), int(size_bytes), noise)


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE):
        assert target.startswith("https://") or (DOCS / target).exists(), target
