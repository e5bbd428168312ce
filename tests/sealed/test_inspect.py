"""What a file tells without a key, true to the byte."""

import json
from pathlib import Path

import numpy as np
import pytest

from stfed import sealed
from stfed.errors import MalformedError
from stfed.files import Memory
from stfed.sealed.numpy import save_file
from stfed.sealed.outside import read_outside

from .material import SEALED, file_of, keypair


def test_sizes_add_up(tmp_path: Path) -> None:
    pairs = [keypair(name, "hybrid") for name in ("a", "b", "c")]
    save_file({"w": np.zeros(1_000_000, np.float32)}, tmp_path / "f", recipients=[r for _, r in pairs], public={"round": 2, "run": "demo"})
    info = sealed.inspect(tmp_path / "f")
    sealed.open_file(tmp_path / "f", tmp_path / "plain", identity=pairs[1][0])
    assert info.file_bytes == (tmp_path / "f").stat().st_size == info.header_bytes + info.slots_bytes + info.payload_bytes
    assert info.content_bytes == (tmp_path / "plain").stat().st_size
    assert info.payload_bytes == info.content_bytes + 74 + 32 * info.segments
    assert (info.segments, info.segment_bytes) == (4, 1 << 20)
    assert 0 < info.envelope_bytes < info.slots_bytes // 2 - 44
    assert (info.version, info.suite, info.generation, info.signature) == (1, "floe-aes256gcm", 1, "none")
    assert info.slots == ("live", "unused")
    assert info.recipients == {"mlkem768x25519": 3}
    assert info.public == {"round": 2, "run": "demo"}


def test_a_table_for_people_and_a_dictionary_for_programs() -> None:
    info = sealed.inspect(SEALED / "x25519.safetensors")
    table = info.table()
    for part in (
        info.file_id,
        "2 x25519",
        "none: nothing proves who sealed it",
        "slot A live, slot B unused",
        "144,370 bytes",
        "states 'round'",
    ):
        assert part in table
    assert json.loads(json.dumps(info.to_dict()))["file_bytes"] == 144370


@pytest.mark.parametrize(
    ("scenario", "slots"),
    [
        ("torn slot A, good slot B", ("damaged", "live")),
        ("flipped bit in the unused slot B", ("live", "damaged")),
        ("torn slot B", ("live", "damaged")),
        ("damaged older slot", ("damaged", "live")),
    ],
)
def test_the_state_of_the_slots(scenario: str, slots: tuple[str, str]) -> None:
    assert read_outside(Memory(memoryview(file_of(scenario)))).slots == slots


def test_the_state_of_whole_slots() -> None:
    assert sealed.inspect(SEALED / "x25519.safetensors").slots == ("live", "unused")
    assert sealed.inspect(SEALED / "granted-once.safetensors").slots == ("older", "live")


def test_a_table_cannot_steer_a_terminal(tmp_path: Path) -> None:
    save_file({}, tmp_path / "f", recipients=keypair()[1], public={"\x1b[2J": "\x1b]0;owned\x07", "n\nname": "forged\nrecipients 0"})
    table = sealed.inspect(tmp_path / "f").table()
    assert all(letter.isprintable() or letter == "\n" for letter in table)
    assert "\nrecipients 0" not in table


def test_no_sealed_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sealed.inspect(tmp_path / "none")
    with pytest.raises(MalformedError, match=f"^{SEALED}/plain.safetensors: not sealed: it looks like a plain safetensors file"):
        sealed.inspect(SEALED / "plain.safetensors")


def test_the_public_face() -> None:
    assert sealed.__all__ == sorted(
        [
            *("AccessDeniedError", "MalformedError", "NotARecipientError", "RollbackError", "TamperedError", "TensorError"),
            *("UnsupportedError", "UntrustedError", "WrongPassphraseError"),
            *("Identity", "Manifest", "Policy", "Recipient", "SealedInfo", "SealedReader", "Verified"),
            *(
                "generate_keypair",
                "grant",
                "inspect",
                "open_file",
                "read_identity",
                "read_recipient",
                "reseal",
                "revoke",
                "safe_open",
                "seal_file",
            ),
            *("verify_file", "write_keypair"),
        ]
    )
    assert all(hasattr(sealed, name) for name in sealed.__all__)
