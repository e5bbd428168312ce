"""docs/library.md: its blocks run as they stand, print what it says they print, and compute what numpy computes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer

from stfed.encrypted.tensor import EncryptedTensor

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "library.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
EXPECTED = re.compile(r"^\s*print\(.*\)(?:  # (.*))?$", re.MULTILINE)


def within(library: Any, tensor: EncryptedTensor, exact: Any) -> bool:
    """Whether a tensor decrypts to what numpy computed, within the bound that it states."""
    slack = tensor.error + 1e-9 * (1 + np.abs(exact).max())
    return bool(np.abs(library.decrypt_tensor(tensor) - exact).max() <= slack)


def test_the_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    partners = [block for block in BLOCKS if "home=" in block and ".public_key(" in block]
    assert len(partners) == 1  # what others did before they sent their keys
    found: dict[str, Any] = {}
    for block in [*partners, *(block for block in BLOCKS if block not in partners)]:
        capsys.readouterr()
        exec(compile(block, "docs/library.md", "exec"), found)
        printed = capsys.readouterr().out.splitlines()
        expected = EXPECTED.findall(block)
        if len(printed) == len(expected):
            for line, said in zip(printed, expected, strict=True):
                assert not said or line == said or (said.endswith("...") and line.startswith(said[:-3])), (line, said)
        else:
            assert not any(expected), block
    cells = load_breast_cancer().data
    mean, worst = cells[:, 0:5], cells[:, 20:25]
    library, weights = found["library"], np.array([0.2, 0.05, 0.01, -0.001, 8.0])
    assert within(library, found["total"], mean + worst)
    assert within(library, found["product"], mean * worst)
    assert within(library, found["score"], (mean + worst) @ weights)
    assert within(library, library.load_tensor("score.safetensors"), (mean + worst) @ weights)
    np.testing.assert_allclose(found["doubled"], 2 * cells[:, 0], atol=1e-6)
    np.testing.assert_allclose(found["squares"], mean**2, atol=1e-2)
    assert 0 < np.abs(found["shared"] - (mean + worst).mean(axis=0)).max() <= 0.5
    assert (tmp_path / "data" / "stfed" / "keys" / "library.key").is_file()


CALLS = (
    r"SafeTensorLibrary\(\).*\.save_tensor\(\w+, \"",
    r"\.load_tensor\(\"",
    r" \+ .* \* .* @ .*\.save_tensor\(",
    r"\.encrypt_tensor\(.*\.decrypt_tensor\(",
    r"= library\.distribute_data\(\"[^\"]+\", recipients=\[.*\]\) library\.save_tensor\(distributed, \"",
)


def test_five_of_them_are_those_of_the_source_text() -> None:
    for block, call in zip(BLOCKS, CALLS, strict=False):
        assert re.search(call, re.sub(r"\s+", " ", block)), block
