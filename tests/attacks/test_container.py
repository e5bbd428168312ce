"""Attacks on what everybody can read: lengths, header, slots, JSON. The attacker can write the file and has no key."""

import json
import tracemalloc

from stfed.sealed import MalformedError, NotARecipientError, UnsupportedError, grant
from tests.attacks.parts import Parts
from tests.attacks.scene import PLAIN, Scene, attack
from tests.sealed.material import keypair
from tests.vectors.sealed_format.container import HEADER_BYTES, PAYLOAD_AT, SEGMENT_BYTES, SLOT_BYTES, page, slot
from tests.vectors.sealed_format.encoding import canonical

PLAIN_NOT_SEALED = "looks like a plain safetensors file"


@attack(MalformedError, "past the end of the file")
def test_a_header_longer_than_the_file(scene: Scene) -> None:
    """Claims a header beyond the end, hoping for a read out of bounds or a large allocation."""
    data = scene.sealed()
    scene.opens((len(data) + 1).to_bytes(8, "little") + data[8:])


@attack(MalformedError, "over the cap")
def test_a_header_over_the_cap(scene: Scene) -> None:
    """Claims a header of 2^63 bytes, hoping for an overflow."""
    scene.opens((1 << 63).to_bytes(8, "little") + scene.sealed()[8:])


@attack(MalformedError, "cut off or extended")
def test_a_payload_of_a_million_gigabytes(scene: Scene) -> None:
    """Claims a payload of 2^50 bytes in a small file, hoping that memory is taken before the claim is checked."""
    data = scene.sealed()
    header = json.loads(data[8:HEADER_BYTES])
    size_bytes, start = 1 << 50, 2 * SLOT_BYTES
    header["stfed.payload"] = {"data_offsets": [start, start + size_bytes], "dtype": "U8", "shape": [size_bytes]}
    header["stfed.digests"] = {"data_offsets": [start + size_bytes, start + size_bytes + 96], "dtype": "U8", "shape": [96]}
    tracemalloc.start()
    try:
        scene.opens(page(canonical(header)) + data[HEADER_BYTES:])
    finally:
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak_bytes < 4 << 20, f"{peak_bytes} bytes were taken for a file of {len(data)}"


@attack(MalformedError, "canonical")
def test_parts_that_overlap(scene: Scene) -> None:
    """Lets the payload begin inside the envelope, hoping that one reader takes for data what another takes for keys."""
    data = scene.sealed()
    header = json.loads(data[8:HEADER_BYTES])
    header["stfed.payload"]["data_offsets"][0] -= 64
    scene.opens(page(canonical(header)) + data[HEADER_BYTES:])


@attack(MalformedError, "occurs twice")
def test_a_key_twice_in_the_header(scene: Scene) -> None:
    """Names two file ids, hoping that two parsers choose differently."""
    data = scene.sealed()
    text = data[8:HEADER_BYTES].rstrip().replace(b'"file_id":', b'"file_id":"%s","file_id":' % (b"00" * 32), 1)
    scene.opens(page(text) + data[HEADER_BYTES:])


@attack(MalformedError, "occurs twice")
def test_a_key_twice_in_the_envelope(scene: Scene) -> None:
    """Puts a second, laxer policy before the signed one, hoping that one reader checks the first and another the last."""
    data = scene.sealed()
    text = canonical(Parts.of(data).envelope).replace(b'"policy":', b'"policy":{},"policy":', 1)
    scene.opens(data[:HEADER_BYTES] + slot(text, 1) + data[HEADER_BYTES + SLOT_BYTES :])


@attack(MalformedError, "canonical")
def test_json_in_another_form(scene: Scene) -> None:
    """Writes the same manifest with spaces, hoping for a second file under one signature."""
    data = scene.sealed()
    text = json.dumps(Parts.of(data).envelope, sort_keys=True).encode()
    scene.opens(data[:HEADER_BYTES] + slot(text, 1) + data[HEADER_BYTES + SLOT_BYTES :])


@attack(UnsupportedError, "version '2'")
def test_a_later_version(scene: Scene) -> None:
    """Calls the file version 2, hoping that a reader skips checks that it does not know."""
    data = scene.sealed()
    header = json.loads(data[8:HEADER_BYTES])
    header["__metadata__"]["stfed"] = "2"
    scene.opens(page(canonical(header)) + data[HEADER_BYTES:])


@attack(UnsupportedError, "suite 'none'")
def test_a_suite_without_encryption(scene: Scene) -> None:
    """Names a suite `none`, hoping for an `alg: none` as in JWT."""
    parts = Parts.of(scene.sealed())
    parts.manifest["suite"] = "none"
    scene.opens(parts.file())


@attack(UnsupportedError, "'critical' in the manifest")
def test_a_field_that_old_readers_skip(scene: Scene) -> None:
    """Adds a field to the manifest, hoping that it is skipped and the rest believed."""
    parts = Parts.of(scene.sealed())
    parts.manifest["critical"] = True
    scene.opens(parts.file())


@attack(MalformedError, "different suites, file ids or lengths")
def test_the_wrong_file_id(scene: Scene) -> None:
    """Gives the header the id of another file, hoping to pass for that one in a catalogue."""
    data, other = scene.sealed(), scene.sealed()
    scene.opens(other[:HEADER_BYTES] + data[HEADER_BYTES:])


@attack(MalformedError, "cut off or extended")
def test_cut_at_every_boundary(scene: Scene) -> None:
    """Cuts the file wherever a part or a segment ends, hoping that the rest passes for a smaller model."""
    data = scene.sealed()
    parts = Parts.of(data)
    ends = [HEADER_BYTES, HEADER_BYTES + SLOT_BYTES, PAYLOAD_AT, PAYLOAD_AT + len(parts.floe_header), len(data) - len(parts.digests)]
    ends += [ends[3] + position * SEGMENT_BYTES for position in range(1, len(parts.segments))]
    ends += [len(data) - 32 * position for position in range(1, len(parts.segments))]
    for end in ends[1:]:
        try:
            scene.opens(data[:end])
        except MalformedError:
            continue
        raise AssertionError(f"cut at {end}")
    scene.opens(data[: ends[0]])


@attack(MalformedError, "cut off or extended")
def test_bytes_after_the_end(scene: Scene) -> None:
    """Hides something after the last byte, hoping that it travels along unseen."""
    scene.opens(scene.sealed() + b"#!/bin/sh\n")


@attack(MalformedError, PLAIN_NOT_SEALED)
def test_a_plain_file_in_its_place(scene: Scene) -> None:
    """Puts a plain file of other weights in its place, hoping that a reader that also takes those is content."""
    scene.opens(PLAIN)


@attack(MalformedError, PLAIN_NOT_SEALED)
def test_a_plain_file_where_nobody_is_trusted(scene: Scene) -> None:
    """The same against a reader who asks for no signature."""
    scene.opens(PLAIN, trusted=None)


@attack(MalformedError, "both envelope slots are damaged")
def test_both_slots_broken(scene: Scene) -> None:
    """Breaks both slots, hoping that something is opened without them."""
    data = bytearray(scene.sealed())
    for place in (HEADER_BYTES + 50, HEADER_BYTES + SLOT_BYTES + 50):
        data[place] ^= 1
    scene.opens(bytes(data))


@attack(NotARecipientError, "not to")
def test_a_torn_slot_takes_a_grant_back_and_no_more(scene: Scene) -> None:
    """Damages the newest slot, hoping to lock everybody out or to open the file to others; who was granted access loses it, no more."""
    identity, recipient = keypair("granted")
    scene.path.write_bytes(scene.sealed())
    grant(scene.path, recipients=recipient, signer=scene.alice, identity=scene.identity)
    data = bytearray(scene.path.read_bytes())
    scene.uses(bytes(data), identity=identity)
    data[HEADER_BYTES + SLOT_BYTES + 1000] ^= 1
    scene.uses(bytes(data))
    scene.opens(bytes(data), identity=identity)


@attack(None)
def test_a_name_that_steers_a_terminal(scene: Scene) -> None:
    """States things with escape sequences, hoping that whoever looks at the file has their screen rewritten."""
    lie = {"\x1b[2Jmodel": "\x1b]0;owned\x07", "n\nsigned by": "alice"}
    table = scene.looks(scene.unsigned(public=lie))
    assert all(letter.isprintable() or letter == "\n" for letter in table)
    assert "\nsigned by" not in table
