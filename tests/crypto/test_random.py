from stfed.crypto.random import system_entropy


def test_system_entropy_gives_as_many_bytes_as_asked_and_never_the_same() -> None:
    assert [len(system_entropy(size)) for size in (0, 1, 12, 100_000)] == [0, 1, 12, 100_000]
    assert len({system_entropy(16) for _ in range(100)}) == 100
