"""Attacks with true files: alice made them, and they are not what the victim should use now."""

from stfed.sealed import RollbackError
from tests.attacks.scene import Scene, attack


def round_file(scene: Scene, number: int, **more: object) -> bytes:
    return scene.sealed(provenance={"model": "m", "sequence": number, **more})


@attack(RollbackError, "sequence 3, is older than sequence 4")
def test_an_older_round(scene: Scene) -> None:
    """Keeps round 3, which is worse or has a backdoor, and offers it when round 4 is out."""
    old = round_file(scene, 3)
    scene.uses(round_file(scene, 4), pins=scene.pins)
    scene.opens(old, pins=scene.pins)


@attack(RollbackError, "is not the one seen before")
def test_another_file_for_the_same_round(scene: Scene) -> None:
    """Has alice sign two files for one round, and shows one to each hospital."""
    scene.uses(round_file(scene, 4), pins=scene.pins)
    scene.opens(round_file(scene, 4), pins=scene.pins)


@attack(RollbackError, "was not made after sequence 4")
def test_a_round_of_another_history(scene: Scene) -> None:
    """Offers a round 5 that was trained on from another round 4 than the victim knows."""
    scene.uses(round_file(scene, 4), pins=scene.pins)
    scene.opens(round_file(scene, 5, previous="ab" * 32), pins=scene.pins)


@attack(RollbackError, "whether it is an old one cannot be told")
def test_a_file_without_a_number(scene: Scene) -> None:
    """Offers a true file of alice's that is no round of any model."""
    scene.opens(scene.sealed(), pins=scene.pins)
