"""The checked-in files: regenerated and compared, believed or refused as they say, and read and written by the log itself."""

import base64
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from stfed import audit, errors
from stfed.audit import AuditLog, ConsistencyProof, Event, InclusionProof, SignedCheckpoint, VerifierKey, merkle
from stfed.audit.errors import ProofError
from stfed.audit.events import Entry, Kind
from stfed.audit.note import Note
from stfed.audit.signatures import cosign, cosigner_key, keys, log_key, sign, verified
from stfed.crypto.identity import BadSignatureError, Identity
from stfed.errors import MalformedError
from tests.vectors import gen_audit

from .material import VECTORS, load

MERKLE, ENTRIES, CHECKPOINTS, PROOFS, PUBLISHED = map(load, ("merkle", "entries", "checkpoints", "proofs", "published"))
FAMILIES = {"BadSignatureError": BadSignatureError, "MalformedError": MalformedError}


def error_class(name: str) -> Any:
    return FAMILIES.get(name) or getattr(audit, name, None) or getattr(errors, name)


def named(cases: Any) -> Any:
    assert cases, "there are no cases"
    assert len({case["name"] for case in cases}) == len(cases)
    return pytest.mark.parametrize("case", cases, ids=lambda case: case["name"])


def test_the_generator_gives_exactly_the_checked_in_files() -> None:
    fresh = gen_audit.generate()
    assert fresh, "the generator gives nothing"
    for name, content in fresh.items():
        assert (VECTORS.parent / name).read_bytes() == content, f"{name} differs: run python -m tests.vectors.generate"
    assert {f"audit/{path.name}" for path in VECTORS.iterdir()} == set(fresh) | {"audit/published.json", "audit/NOTICE"}


# Trees.


def test_the_classic_tree() -> None:
    leaves = [bytes.fromhex(leaf) for leaf in MERKLE["leaves"]]
    stored: list[bytes] = []

    def read(level: int, position: int) -> bytes:
        return stored[merkle.stored_index(level, position)]

    assert MERKLE["roots"] == MERKLE["published_roots"]
    for size, root in enumerate(MERKLE["published_roots"]):
        assert merkle.root(size, read).hex() == root
        if size < len(leaves):
            stored += merkle.completed(merkle.leaf_hash(leaves[size]), size, read)
    assert [value.hex() for value in stored] == MERKLE["stored"]
    for case in MERKLE["inclusion"]:
        assert [value.hex() for value in merkle.inclusion_proof(case["index"], case["size"], read)] == case["proof"]
    for case in MERKLE["consistency"]:
        assert [value.hex() for value in merkle.consistency_proof(case["old"], case["new"], read)] == case["proof"]
    assert len(MERKLE["inclusion"]) == 36
    assert len(MERKLE["consistency"]) == 44


@pytest.mark.parametrize("kind", ["inclusion", "consistency"])
def test_the_published_probes(kind: str) -> None:
    cases = PUBLISHED[kind]
    assert len(cases) > 90
    for case in cases:
        proof = [base64.b64decode(value) for value in case["proof"]]
        roots = [base64.b64decode(case[name] or "") for name in ("root", "leafHash", "root1", "root2") if name in case]
        try:
            if kind == "inclusion":
                merkle.verify_inclusion(roots[1], case["leafIdx"], case["treeSize"], proof, roots[0])
            else:
                merkle.verify_consistency(case["size1"], case["size2"], proof, roots[0], roots[1])
            refused = False
        except ProofError:
            refused = True
        assert refused == case["wantErr"], case["name"]


# Entries.


def test_entries_as_the_second_implementation_writes_them() -> None:
    for index, (case, data) in enumerate(zip(ENTRIES["events"], ENTRIES["entries"], strict=True)):
        event, time = Event(Kind(case["kind"]), case["fields"]), datetime.fromisoformat(case["time"])
        assert Entry.make(index, time, event).data == data.encode()
        assert Entry.parse(index, data.encode()) == Entry(index, time, event, data.encode())


@named(ENTRIES["refused"])
def test_bytes_that_are_no_entry(case: dict[str, str]) -> None:
    with pytest.raises(MalformedError, match="audit entry 4") as caught:
        Entry.parse(4, case["data"].encode())
    assert case["says"] in str(caught.value)


# Notes, checkpoints, cosignatures.


def test_notes_that_others_signed() -> None:
    assert len(PUBLISHED["notes"]) == 4
    for case in PUBLISHED["notes"]:
        note, trusted = Note.parse(case["note"]), keys(case["vkeys"])
        assert str(note) == case["note"]
        assert [str(key) for key in trusted] == case["vkeys"]
        assert set(verified(note, trusted)) == set(trusted), case["source"]
        changed = Note(note.text.replace(note.text[3], "#", 1), note.signatures)
        with pytest.raises(BadSignatureError):
            verified(changed, trusted)


def test_a_public_log_and_its_four_witnesses() -> None:
    case = PUBLISHED["notes"][3]
    cosigned = SignedCheckpoint.parse(case["note"]).verify(case["vkeys"], quorum=4)
    assert set(cosigned.values()) == {datetime(2026, 5, 23, 21, 50, 24, tzinfo=UTC)}


def test_checkpoints_as_the_second_implementation_signs_them() -> None:
    assert CHECKPOINTS["signed"]
    people = {name: Identity.from_private_bytes(bytes.fromhex(key["seed"])) for name, key in CHECKPOINTS["keys"].items()}
    for name, key in CHECKPOINTS["keys"].items():
        vkey = (log_key if key["kind"] == 1 else cosigner_key)(name, people[name])
        assert str(vkey) == key["vkey"]
        assert VerifierKey.parse(key["vkey"]) == vkey
    origin, *_ = people
    for text in CHECKPOINTS["signed"]:
        signed = SignedCheckpoint.parse(text)
        assert str(signed) == text
        assert str(signed.checkpoint.signed(people[origin])) == text
    time = datetime.fromtimestamp(CHECKPOINTS["cosigned_at"], UTC)
    signed = SignedCheckpoint.parse(CHECKPOINTS["cosigned"])
    names = [signature.name for signature in signed.note.signatures[1:]]
    made = [cosign(signed.note.text, name, people[name], time) for name in names]
    assert str(Note(signed.note.text, (sign(signed.note.text, origin, people[origin]), *made))) == CHECKPOINTS["cosigned"]
    assert len(made) == 2


@named(CHECKPOINTS["cases"])
def test_checkpoints(case: dict[str, Any]) -> None:
    if case["expect"] is None:
        signed = SignedCheckpoint.parse(case["note"])
        signed.verify(case["trusted"], quorum=case["quorum"])
        assert str(signed) == case["note"]
        return
    with pytest.raises(error_class(case["expect"])) as caught:
        SignedCheckpoint.parse(case["note"]).verify(case["trusted"], quorum=case["quorum"])
    assert type(caught.value) is error_class(case["expect"])
    assert case["says"] in str(caught.value)


@pytest.mark.parametrize("case", CHECKPOINTS["vkeys"], ids=lambda case: case["text"][:40])
def test_texts_that_are_no_key(case: dict[str, str]) -> None:
    with pytest.raises(MalformedError) as caught:
        VerifierKey.parse(case["text"])
    assert case["says"] in str(caught.value)


# Proofs.


def test_proofs_as_the_second_implementation_writes_them(tmp_path: Path) -> None:
    assert len(PROOFS["inclusion"]) == 28
    assert len(PROOFS["consistency"]) == 36
    with vector_log(tmp_path / "log") as log:
        for text in PROOFS["inclusion"]:
            proof = InclusionProof.parse(text)
            assert str(proof) == text
            assert proof.verify(PROOFS["trusted"]) == log.entry(proof.index)
            assert log.inclusion_proof(proof.index, str(proof.checkpoint)) == text
        for case in PROOFS["consistency"]:
            growth = ConsistencyProof.parse(case["proof"])
            assert str(growth) == case["proof"]
            growth.verify(SignedCheckpoint.parse(CHECKPOINTS["signed"][case["old"]]), PROOFS["trusted"])
            assert log.cosign_request(case["old"], str(growth.checkpoint)) == case["proof"]


@named(PROOFS["inclusion_cases"])
def test_inclusion(case: dict[str, Any]) -> None:
    entry = None if case["entry"] is None else case["entry"].encode()
    if case["expect"] is None:
        found = InclusionProof.parse(case["proof"]).verify(PROOFS["trusted"], entry=entry, quorum=case["quorum"])
        assert found.data == ENTRIES["entries"][2].encode()
        return
    with pytest.raises(error_class(case["expect"])) as caught:
        InclusionProof.parse(case["proof"]).verify(PROOFS["trusted"], entry=entry, quorum=case["quorum"])
    assert type(caught.value) is error_class(case["expect"])
    assert case["says"] in str(caught.value)


@named(PROOFS["consistency_cases"])
def test_consistency(case: dict[str, Any]) -> None:
    old = SignedCheckpoint.parse(case["old"])
    if case["expect"] is None:
        ConsistencyProof.parse(case["proof"]).verify(old, PROOFS["trusted"])
        return
    with pytest.raises(error_class(case["expect"])) as caught:
        ConsistencyProof.parse(case["proof"]).verify(old, PROOFS["trusted"])
    assert type(caught.value) is error_class(case["expect"])
    assert case["says"] in str(caught.value)


# The whole log.


def vector_log(path: Path) -> AuditLog:
    connection = sqlite3.connect(path)
    connection.executescript((VECTORS / "log.sql").read_text("utf-8"))
    connection.close()
    return AuditLog(path, create=False)


def test_a_log_that_the_second_implementation_wrote(tmp_path: Path) -> None:
    with vector_log(tmp_path / "log") as log:
        report = log.verify(trusted_keys=PROOFS["trusted"], known=CHECKPOINTS["signed"])
        assert (report.size, report.checkpoints, report.covered, report.signed) == (7, 3, 7, True)
        assert [entry.data.decode() for entry in log.entries()] == ENTRIES["entries"]
        assert log.latest_checkpoint() == CHECKPOINTS["cosigned"]
        assert log.append(Event(Kind.OPEN, {})) == 7


def test_the_log_writes_the_same_file(tmp_path: Path) -> None:
    vector_log(tmp_path / "theirs").close()
    times = iter([datetime.fromisoformat(case["time"]) for case in ENTRIES["events"]])
    origin, signer = next((name, Identity.from_private_bytes(bytes.fromhex(key["seed"]))) for name, key in CHECKPOINTS["keys"].items())
    with AuditLog(tmp_path / "ours", origin=origin, clock=lambda: next(times)) as log:
        for index, case in enumerate(ENTRIES["events"]):
            if index in (3, 7):
                log.checkpoint(signer)
            log.append(Event(Kind(case["kind"]), case["fields"]))
        log.checkpoint(signer)
        log.add_cosignatures(CHECKPOINTS["cosigned"], PROOFS["trusted"])
    ours, theirs = (dumped(tmp_path / name) for name in ("ours", "theirs"))
    assert ours == theirs


def dumped(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        pragmas = [str(connection.execute(f"PRAGMA {name}").fetchone()) for name in ("application_id", "user_version")]
        return [*pragmas, *connection.iterdump()]
    finally:
        connection.close()
