"""Sealing anew: a new key and file id, the same content, linked to the old file; and revoking, which is that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stfed import sealed
from stfed.audit import AuditLog
from stfed.errors import LocalError
from stfed.keys.signing import SigningKey
from stfed.sealed.numpy import load_file, save_file

from .material import Script, keypair

SEALER = SigningKey.generate(entropy=Script("sealer"))
FIRST, SECOND, THIRD = (keypair(name) for name in ("first", "second", "third"))
TENSORS = {"w": np.arange(600_000, dtype=np.float32), "b": np.zeros((), np.int8)}


def sealed_file(path: Path, **options: Any) -> Path:
    save_file(TENSORS, path, {"k": "v"}, **{"recipients": [FIRST[1], SECOND[1]], "signer": SEALER} | options)
    return path


def test_the_same_content_for_others_under_a_new_key(tmp_path: Path) -> None:
    policy = sealed.Policy(purposes=["research"])
    path = sealed_file(tmp_path / "f", policy=policy, provenance={"site": "A"}, public={"model": "m", "sequence": 4}, digest="sha256")
    options = {"identity": FIRST[0], "purpose": "research", "trusted": SEALER.public}
    sealed.open_file(path, tmp_path / "plain", **options)
    manifest = sealed.reseal(path, tmp_path / "g", recipients=THIRD[1], signer=SEALER, **options)
    old, new = sealed.inspect(path), sealed.inspect(tmp_path / "g")
    assert old.file_id != new.file_id
    assert manifest.sha256.hex() == new.manifest_sha256
    assert (new.suite, new.policy, new.signature) == (old.suite, old.policy, "valid")
    assert new.public == {"model": "m", "sequence": 4, "revision": 1, "previous": old.manifest_sha256}
    sealed.open_file(tmp_path / "g", tmp_path / "plain2", **options | {"identity": THIRD[0]})
    assert (tmp_path / "plain2").read_bytes() == (tmp_path / "plain").read_bytes()
    with sealed.SealedReader(tmp_path / "g", **options | {"identity": THIRD[0]}) as reader:
        assert reader.statements["site"] == "A"
    for pair in (FIRST, SECOND):
        with pytest.raises(sealed.NotARecipientError):
            load_file(tmp_path / "g", **options | {"identity": pair[0]})
    sealed.reseal(tmp_path / "g", recipients=FIRST[1], signer=SEALER, **options | {"identity": THIRD[0]})  # in place
    assert sealed.inspect(tmp_path / "g").public["revision"] == 2
    load_file(tmp_path / "g", **options)


def test_statements_for_recipients_stay_with_them(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f", provenance={"model": "m", "sequence": 1})
    sealed.reseal(path, recipients=THIRD[1], signer=SEALER, identity=FIRST[0])
    assert sealed.inspect(path).public == {}
    with sealed.SealedReader(path, identity=THIRD[0]) as reader:
        assert reader.statements["revision"] == 1
        assert "previous" in reader.statements


def test_revoking_one_leaves_the_others(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f")
    sealed.grant(path, recipients=THIRD[1], signer=SEALER, identity=FIRST[0])
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    with AuditLog(tmp_path / "log") as log:
        sealed.revoke(path, revoked=SECOND[1], known=[FIRST[1], THIRD[1]], signer=SEALER, identity=FIRST[0], audit=log)
        kinds = [str(entry.event.kind) for entry in log.entries()]
        assert kinds == ["open", "seal", "revoke"]
        fields = log.entry(2).event.fields
        assert (fields["recipients"], fields["previous"]) == (SECOND[1].fingerprint, sealed.inspect(copy).manifest_sha256)
    for pair, may in ((FIRST, True), (SECOND, False), (THIRD, True)):
        if may:
            np.testing.assert_array_equal(load_file(path, identity=pair[0], trusted=SEALER.public)["w"], TENSORS["w"])
        else:
            with pytest.raises(sealed.NotARecipientError):
                load_file(path, identity=pair[0])
    load_file(copy, identity=SECOND[0])  # the truth about revoking: an old copy still opens


def test_revocations_that_are_refused(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f")
    before = path.read_bytes()
    for options, says in (
        ({"revoked": THIRD[1], "known": [FIRST[1], SECOND[1]]}, "in the first place"),
        ({"revoked": SECOND[1], "known": [THIRD[1]]}, "1 recipients whose public keys are not known"),
        ({"revoked": [FIRST[1], SECOND[1]], "known": []}, "nobody could open"),
        ({"revoked": SECOND[1], "known": [FIRST[1]], "signer": None}, "signer"),
    ):
        with pytest.raises(LocalError, match=says):
            sealed.revoke(path, identity=FIRST[0], **{"signer": SEALER} | options)  # type: ignore[arg-type]
    with pytest.raises(sealed.NotARecipientError):
        sealed.revoke(path, revoked=SECOND[1], known=FIRST[1], signer=SEALER, identity=THIRD[0])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_unsigned_file_is_resealed_without_a_signature(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f", signer=None)
    sealed.revoke(path, revoked=SECOND[1], known=FIRST[1], identity=FIRST[0])
    np.testing.assert_array_equal(load_file(path, identity=FIRST[0])["w"], TENSORS["w"])


def test_a_damaged_file_is_not_resealed(tmp_path: Path) -> None:
    path = sealed_file(tmp_path / "f")
    data = bytearray(path.read_bytes())
    data[-2_000_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(sealed.TamperedError, match="not the one that was signed"):
        sealed.reseal(path, recipients=THIRD[1], signer=SEALER, identity=FIRST[0])
    assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]
