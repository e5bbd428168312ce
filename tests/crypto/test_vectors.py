from tests.crypto.material import VECTORS
from tests.vectors.gen_crypto import generate


def test_the_checked_in_vectors_are_what_the_generator_writes() -> None:
    generated = generate()
    assert generated
    assert {f"crypto/{path.name}" for path in VECTORS.iterdir()} == set(generated)
    for name, content in generated.items():
        assert (VECTORS.parent / name).read_bytes() == content, f"{name} differs from its generator"
