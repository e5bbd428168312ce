"""Attacks on the ciphertext by somebody who can write the file and has no key; in an unsigned file first, where FLOE stands alone."""

from stfed.sealed import MalformedError, TamperedError
from stfed.sealed.numpy import safe_open
from tests.attacks.parts import Parts
from tests.attacks.scene import PLAIN, TENSORS, Scene, attack, refusal
from tests.sealed.material import Script, seal_bytes

NOT_VERIFIED, NOT_SIGNED = "does not verify", "is not the one that was signed"


class SameKey(Script):
    """A broken source of randomness: the file key is always the same, all else is new."""

    def __call__(self, size_bytes: int, /) -> bytes:
        drawn = super().__call__(size_bytes)
        return bytes(range(32)) if self.calls == 1 else drawn


def twins(scene: Scene) -> tuple[Parts, Parts]:
    """Two unsigned files under one file key, as only a broken writer makes them."""
    return Parts.of(scene.unsigned(entropy=SameKey("one"))), Parts.of(scene.unsigned(entropy=SameKey("two")))


@attack(TamperedError, NOT_VERIFIED)
def test_segments_exchanged(scene: Scene) -> None:
    """Exchanges two segments, hoping that layers change places."""
    parts = Parts.of(scene.unsigned())
    parts.segments[0], parts.segments[1] = parts.segments[1], parts.segments[0]
    scene.opens(parts.file(), trusted=None)


@attack(TamperedError, NOT_SIGNED)
def test_segments_exchanged_in_a_signed_file(scene: Scene) -> None:
    """The same where the digests are signed: refused before anything is decrypted."""
    parts = Parts.of(scene.sealed())
    parts.segments[0], parts.segments[1] = parts.segments[1], parts.segments[0]
    scene.opens(parts.file())


@attack(TamperedError, NOT_VERIFIED)
def test_a_segment_repeated(scene: Scene) -> None:
    """Puts one segment in the place of the next, hoping that weights are used twice."""
    parts = Parts.of(scene.unsigned())
    parts.segments[1] = parts.segments[0]
    scene.opens(parts.file(), trusted=None)


@attack(TamperedError, "lengths were changed")
def test_the_last_segment_dropped(scene: Scene) -> None:
    """Drops the last segment and corrects every length, hoping for a shorter model."""
    parts = Parts.of(scene.unsigned())
    parts.segments.pop()
    scene.opens(parts.rehash().file(), trusted=None)


@attack(TamperedError, "lengths were changed")
def test_a_middle_segment_dropped(scene: Scene) -> None:
    """Drops a middle segment and corrects every length, hoping that the rest moves up."""
    parts = Parts.of(scene.unsigned())
    del parts.segments[1]
    scene.opens(parts.rehash().file(), trusted=None)


@attack(TamperedError, NOT_VERIFIED)
def test_a_segment_of_another_file_under_the_same_key(scene: Scene) -> None:
    """Has two files whose writer used one key for both, and brings a segment from one to the other."""
    parts, other = twins(scene)
    parts.segments[1] = other.segments[1]
    scene.opens(parts.file(), trusted=None)


@attack(TamperedError, "FLOE header")
def test_the_payload_of_another_file_under_the_same_key(scene: Scene) -> None:
    """The same with the whole payload, its header and all hashes."""
    parts, other = twins(scene)
    parts.floe_header, parts.segments = other.floe_header, other.segments
    scene.opens(parts.rehash().file(), trusted=None)


@attack(TamperedError, "the list of segment digests")
def test_the_list_of_digests_altered(scene: Scene) -> None:
    """Changes a segment and its digest, hoping that the list is taken as it comes."""
    parts = Parts.of(scene.sealed())
    segment = bytearray(parts.segments[1])
    segment[200] ^= 1
    parts.segments[1] = bytes(segment)
    manifest = dict(parts.manifest)
    parts.rehash().envelope["manifest"] = manifest
    scene.opens(parts.file())


@attack(TamperedError, "the signature of")
def test_the_list_of_digests_altered_and_the_manifest_with_it(scene: Scene) -> None:
    """The same and the manifest's hash of the list, hoping that the signature covers less."""
    parts = Parts.of(scene.sealed())
    segment = bytearray(parts.segments[1])
    segment[200] ^= 1
    parts.segments[1] = bytes(segment)
    scene.opens(parts.rehash().file())


@attack(MalformedError, "bytes of digests")
def test_a_list_of_digests_that_ends_early(scene: Scene) -> None:
    """Shortens the list, hoping that a segment without a digest goes unchecked."""
    parts = Parts.of(scene.sealed())
    parts.digests = parts.digests[:-32]
    scene.opens(parts.file())


@attack(TamperedError, NOT_SIGNED)
def test_file_changed_after_it_was_opened(scene: Scene) -> None:
    """Waits until the victim has opened the file, then writes other segments and their digests, hoping that these are read again."""
    scene.path.write_bytes(scene.sealed())
    with safe_open(scene.path, identity=scene.identity, trusted=scene.alice.public) as file:
        parts = Parts.of(scene.path.read_bytes())
        parts.segments = [parts.segments[0], *(bytes(len(segment)) for segment in parts.segments[1:])]
        scene.path.write_bytes(parts.rehash().file())
        names = [name for name in TENSORS if refusal(lambda name=name: file.get_tensor(name)) is None]  # type: ignore[misc]
        assert names == ["steps"], "only what lies in the one segment that is left may still be read"
        file.get_tensor("embedding")


@attack(MalformedError, "became shorter")
def test_file_cut_after_it_was_opened(scene: Scene) -> None:
    """Waits until the victim has opened the file, then cuts it, hoping for a crash, as with mapped memory, or for zeros as weights."""
    scene.path.write_bytes(scene.unsigned())
    with safe_open(scene.path, identity=scene.identity) as file:
        scene.path.write_bytes(scene.path.read_bytes()[:-3000])
        file.get_tensor("head" if refusal(lambda: file.get_tensor("head")) else "embedding")


@attack(MalformedError, "must not overlap or have holes")
def test_tensors_that_overlap_inside(scene: Scene) -> None:
    """Seals a file in which two tensors share bytes, hoping that what a scanner sees in one is run from the other."""
    header = b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}'
    scene.opens(seal_bytes(len(header).to_bytes(8, "little") + header + bytes(8), scene.recipient), trusted=None)


@attack(MalformedError, "must not overlap or have holes")
def test_a_hole_inside(scene: Scene) -> None:
    """Seals a file with bytes that belong to no tensor, hoping to hide a second file in it."""
    header = b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}'
    scene.opens(seal_bytes(len(header).to_bytes(8, "little") + header + bytes(8), scene.recipient), trusted=None)


@attack(MalformedError, "over its end or the cap")
def test_a_huge_header_inside(scene: Scene) -> None:
    """Seals content that claims a header of 2^63 bytes, hoping for memory to be taken."""
    scene.opens(seal_bytes((1 << 63).to_bytes(8, "little") + PLAIN[8:], scene.recipient), trusted=None)
