"""The checked-in vectors of keys are what their generator writes, and all of it."""

import pytest

from tests.keys.material import VECTORS, vectors
from tests.vectors.gen_keys import generate


def test_the_folder_is_what_the_generator_makes() -> None:
    generated = generate()
    assert generated
    assert {f"keys/{path.name}" for path in (VECTORS / "keys").iterdir()} == {*generated, "keys/hybrid_signature.txt"}
    for name, content in generated.items():
        assert (VECTORS / name).read_bytes() == content, f"{name} differs: run python -m tests.vectors.generate"


@pytest.mark.parametrize(("name", "at_least"), [("passphrases", 8), ("key_files", 30)])
def test_there_are_cases(name: str, at_least: int) -> None:
    assert len(vectors(name)) >= at_least
    assert len({case["name"] for case in vectors(name)}) == len(vectors(name))
