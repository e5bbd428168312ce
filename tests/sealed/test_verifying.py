"""Verifying without a key, and trust: keys and rosters, roles, windows, revocations."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stfed import sealed
from stfed.errors import LocalError
from stfed.keys.member import Member
from stfed.keys.roster import Roster
from stfed.keys.signing import SigningKey
from stfed.sealed.numpy import load_file, save_file

from .material import Script, keypair

SEALER, OTHER = (SigningKey.generate(entropy=Script(name)) for name in ("sealer", "other"))
HYBRID = SigningKey.generate("ed25519-mldsa65", entropy=Script("hybrid"))
READER, SECOND = keypair("reader"), keypair("second")
NOW = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)


def clock(moment: datetime = NOW) -> Callable[[], datetime]:
    return lambda: moment


def sealed_file(path: Path, **options: Any) -> Path:
    save_file({"w": np.arange(600_000, dtype=np.float32)}, path, **{"recipients": READER[1], "signer": SEALER} | options)
    return path


@pytest.mark.parametrize("digest", ["blake3", "sha256"])
@pytest.mark.parametrize("signer", [SEALER, HYBRID, [SEALER, HYBRID]], ids=["ed25519", "hybrid", "both"])
def test_every_byte_is_held_against_the_signature(digest: str, signer: Any, tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f", digest=digest, signer=signer)
    trusted = HYBRID.public if signer is HYBRID else SEALER.public
    done: list[int] = []
    verified = sealed.verify_file(path, trusted=[OTHER.public, trusted], progress=done.append)
    assert (verified.signer, verified.generation, verified.segments) == (trusted, 1, 3)
    assert sum(done) == sealed.inspect(path).payload_bytes - 74
    data = path.read_bytes()
    size = len(data)
    for at in (4096 + 65536 * 2 + 80, size - 97, size - 1, size // 2):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(sealed.TamperedError):
            sealed.verify_file(path, trusted=trusted)


def test_a_policy_is_no_obstacle_to_verifying(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f", policy=sealed.Policy(not_after=NOW - DAY, purposes="x"))
    assert sealed.verify_file(path, trusted=SEALER.public).manifest.context.policy.purposes == ("x",)


def test_nobody_trusted(tmp_path: Path) -> None:
    path, unsigned = sealed_file(tmp_path / "f"), sealed_file(tmp_path / "u", signer=None)
    for file, says in ((path, "not among the trusted keys"), (unsigned, "not signed")):
        with pytest.raises(sealed.UntrustedError, match=says):
            sealed.verify_file(file, trusted=OTHER.public)
        with pytest.raises(sealed.UntrustedError, match=says):
            load_file(file, identity=READER[0], trusted=OTHER.public)
    with pytest.raises(LocalError, match="nobody is trusted"):
        sealed.verify_file(path, trusted=[])
    with pytest.raises(sealed.RollbackError, match="at least 2"):
        sealed.verify_file(path, trusted=SEALER.public, generation=2)


def test_half_a_hybrid_key_is_another_key(tmp_path: Path) -> None:
    half = SigningKey.from_string(SigningKey.generate("ed25519", entropy=lambda size: HYBRID.ed25519.private_bytes()).secret_string())
    path = sealed_file(tmp_path / "f", signer=half)
    with pytest.raises(sealed.UntrustedError):
        sealed.verify_file(path, trusted=HYBRID.public)
    hybrid = sealed_file(tmp_path / "g", signer=HYBRID)
    with pytest.raises(sealed.UntrustedError):
        sealed.verify_file(hybrid, trusted=half.public)


def roster(**dates: Any) -> Roster:
    """SEALER coordinates, OTHER owns, the reader receives."""
    members = (
        Member("sealer", roles=frozenset({"coordinator"}), signing=SEALER.public, **dates),
        Member("other", roles=frozenset({"owner"}), signing=OTHER.public),
        Member("reader", roles=frozenset({"recipient"}), encryption=READER[1], signing=HYBRID.public),
    )
    empty = Roster("study", ())
    for member in members:
        empty = empty.add(member)
    return empty


def test_a_roster_decides_by_role_window_and_revocation(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f", recipients=roster())  # sealed now, whatever the reader's clock says
    now = datetime.now(UTC)
    assert sealed.inspect(path, known={"reader": READER[1]}).known == ("reader",)
    assert sealed.verify_file(path, trusted=roster()).signer == SEALER.public
    sealed.verify_file(path, trusted=roster(not_after=now + DAY), clock=clock(now + 2 * DAY))  # signed within the window
    late, early, revoked = roster(not_after=now - DAY), roster(not_before=now + DAY), roster().revoke("sealer", now - DAY, "lost")
    for trusted, says in ((late, "not-after"), (early, "not-before"), (revoked, "revoked")):
        with pytest.raises(sealed.UntrustedError, match=says):
            sealed.verify_file(path, trusted=trusted)
    with pytest.raises(sealed.UntrustedError, match="in the future"):
        sealed.verify_file(path, trusted=roster(), clock=clock(now - timedelta(minutes=61)))
    sealed.verify_file(path, trusted=roster(), clock=clock(now - timedelta(minutes=58)))
    recipients_signature = sealed_file(tmp_path / "g", signer=HYBRID)
    with pytest.raises(sealed.UntrustedError, match="role"):
        sealed.verify_file(recipients_signature, trusted=roster())


def test_a_rotated_key_verifies_what_it_signed_before_and_nothing_else(tmp_path: Path) -> None:
    path, now = sealed_file(tmp_path / "f"), datetime.now(UTC)
    successor = SigningKey.generate().public
    after, before = (roster().rotate("sealer", signing=successor, at=moment) for moment in (now + DAY, now - DAY))
    assert sealed.verify_file(path, trusted=after).signer == SEALER.public
    with pytest.raises(sealed.UntrustedError, match="retired"):
        sealed.verify_file(path, trusted=before)


def test_access_by_a_grant_of_somebody_revoked_is_refused(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f", policy=sealed.Policy(owners=OTHER.public))
    sealed.grant(path, recipients=SECOND[1], signer=OTHER, identity=READER[0])
    load_file(path, identity=SECOND[0], trusted=roster())
    revoked = roster().revoke("other", NOW - DAY, "left")
    with pytest.raises(sealed.UntrustedError, match="grant was made by somebody the roster does not accept"):
        load_file(path, identity=SECOND[0], trusted=revoked)
    load_file(path, identity=READER[0], trusted=revoked)  # who was addressed by the sealer does not need that grant
