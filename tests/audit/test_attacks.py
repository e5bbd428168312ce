"""The owner of a log tries to tell two stories. What each attempt runs into, and what the others can show afterwards."""

import shutil
from pathlib import Path

import pytest

from stfed.audit import (
    AuditLog,
    Checkpoint,
    ConsistencyProof,
    Event,
    ForkError,
    InclusionProof,
    Kind,
    ProofError,
    SignedCheckpoint,
    TamperedLogError,
    UntrustedError,
    log_key,
    merkle,
)
from stfed.audit.events import Entry
from stfed.errors import LocalError

from .material import ANNA_KEY, BEN, BEN_KEY, EVE, KEY, LOG_SIGNER, ORIGIN, START, edit, event, filled, witness
from .test_replay import rewritten

HARMLESS = Entry.make(0, START, Event(Kind.ROSTER, {"actor": "nobody"})).data


def fork(path: Path, copy: Path, *, same: int, ours: int, theirs: int) -> tuple[AuditLog, AuditLog]:
    """Two logs of one origin with `same` entries in common, then different ones."""
    filled(path, same).close()
    shutil.copy(path, copy)
    return filled(path, ours, start=100), filled(copy, theirs, start=200)


def test_a_forked_log_is_proved_by_two_checkpoints_of_one_size(tmp_path: Path) -> None:
    ours, theirs = fork(tmp_path / "ours", tmp_path / "theirs", same=3, ours=2, theirs=2)
    with ours, theirs:
        seen_by_anna, seen_by_ben = (SignedCheckpoint.parse(log.checkpoint(LOG_SIGNER)) for log in (ours, theirs))
    seen_by_anna.verify([KEY])
    seen_by_ben.verify([KEY])
    with pytest.raises(ForkError, match="two histories of 5 entries") as caught:
        seen_by_anna.check_same_history(seen_by_ben)
    evidence = [SignedCheckpoint.parse(text) for text in (caught.value.first, caught.value.second)]
    for checkpoint in evidence:  # a judge with the log's key, and nothing else
        checkpoint.verify([KEY], origin=ORIGIN)
    assert evidence[0].size == evidence[1].size
    assert evidence[0].root != evidence[1].root


def test_what_is_no_fork(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 3) as log, filled(tmp_path / "x", 3, start=9, origin="x") as other:
        first = SignedCheckpoint.parse(log.checkpoint(LOG_SIGNER))
        first.check_same_history(SignedCheckpoint.parse(log.checkpoint(EVE)))
        first.check_same_history(SignedCheckpoint.parse(other.checkpoint(LOG_SIGNER)))
        log.append(event())
        first.check_same_history(SignedCheckpoint.parse(log.checkpoint(LOG_SIGNER)))


def test_a_cosigner_does_not_follow_a_fork(tmp_path: Path) -> None:
    ours, theirs = fork(tmp_path / "ours", tmp_path / "theirs", same=3, ours=2, theirs=2)
    anna = witness(tmp_path / "seen")
    with ours, theirs:
        anna.cosign(ours.cosign_request(0, ours.checkpoint(LOG_SIGNER)))
        for old in (0, 3, 5):
            with pytest.raises(ForkError) as caught:
                anna.cosign(theirs.cosign_request(old, theirs.checkpoint(LOG_SIGNER)))
            assert SignedCheckpoint.parse(caught.value.first).root == ours.root()
            assert SignedCheckpoint.parse(caught.value.second).root == theirs.root()
        for number in range(3):
            theirs.append(event(number))
            longer = theirs.checkpoint(LOG_SIGNER)
            with pytest.raises(ProofError, match="does not lead"):
                anna.cosign(theirs.cosign_request(5, longer))
        ours.append(event())
        anna.cosign(ours.cosign_request(5, ours.checkpoint(LOG_SIGNER)))


def test_a_rewritten_log_loses_its_cosigners(tmp_path: Path) -> None:
    anna = witness(tmp_path / "seen")
    with filled(tmp_path / "log", 6) as log:
        held = anna.cosign(log.cosign_request(0, log.checkpoint(LOG_SIGNER)))
    edit(tmp_path / "log", "DELETE FROM checkpoints")
    rewritten(tmp_path / "log", lambda entries: [*entries[:2], HARMLESS, *entries[3:]])
    with AuditLog(tmp_path / "log") as log:
        same_size = log.cosign_request(0, log.checkpoint(LOG_SIGNER))
        log.append(event())
        longer = log.cosign_request(6, log.checkpoint(LOG_SIGNER))
        log.verify(trusted_keys=[KEY])  # in itself it is in order
        with pytest.raises(ForkError):
            anna.cosign(same_size)
        with pytest.raises(ProofError):
            anna.cosign(longer)
        with pytest.raises(ForkError):
            log.verify(trusted_keys=[KEY], known=held)
        with pytest.raises(TamperedLogError, match="history was rewritten"):
            log.verify(known=held)
        with pytest.raises(ProofError):
            ConsistencyProof.parse(longer).verify(SignedCheckpoint.parse(held), [KEY])


def test_verify_shows_the_fork_to_whoever_holds_the_other_checkpoint(tmp_path: Path) -> None:
    ours, theirs = fork(tmp_path / "ours", tmp_path / "theirs", same=3, ours=2, theirs=2)
    with ours, theirs:
        known, _ = ours.checkpoint(LOG_SIGNER), theirs.checkpoint(LOG_SIGNER)
        with pytest.raises(ForkError) as caught:
            theirs.verify(trusted_keys=[KEY], known=known)
        assert known in (caught.value.first, caught.value.second)
        with pytest.raises(TamperedLogError, match="history was rewritten"):  # without keys there is no evidence, but it is found
            theirs.verify(known=known)


def test_a_log_cut_off_and_grown_again(tmp_path: Path) -> None:
    anna = witness(tmp_path / "seen")
    with filled(tmp_path / "log", 6) as log:
        held = anna.cosign(log.cosign_request(0, log.checkpoint(LOG_SIGNER)))
    cut = ("DELETE FROM entries WHERE position >= 4", f"DELETE FROM hashes WHERE position >= {merkle.stored_count(4)}")
    edit(tmp_path / "log", *cut)
    with AuditLog(tmp_path / "log") as log:
        with pytest.raises(TamperedLogError, match="cut off") as caught:
            log.append(event())
        assert caught.value.index == 4
        with pytest.raises(TamperedLogError, match="cut off"):
            log.checkpoint(LOG_SIGNER)
    edit(tmp_path / "log", "DELETE FROM checkpoints")
    with filled(tmp_path / "log", 5, start=50) as log:
        assert log.verify().size == 9
        request = log.cosign_request(6, log.checkpoint(LOG_SIGNER))
        with pytest.raises(ProofError, match="does not lead"):
            anna.cosign(request)
        with pytest.raises(TamperedLogError):
            log.verify(known=held)


def test_no_proof_is_made_of_a_changed_entry(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 6) as log:
        checkpoint = log.checkpoint(LOG_SIGNER)
        proof = log.inclusion_proof(2, checkpoint)
        edit(tmp_path / "log", ("UPDATE entries SET data = ? WHERE position = 2", (HARMLESS,)))
        with pytest.raises(TamperedLogError, match="entry 2") as caught:
            log.inclusion_proof(2, checkpoint)
        assert caught.value.index == 2
        assert InclusionProof.parse(proof).verify([KEY]).event == event(2)  # what was mailed in time stands
        edit(tmp_path / "log", ("UPDATE hashes SET hash = ? WHERE position = ?", (merkle.leaf_hash(HARMLESS), merkle.stored_index(0, 2))))
        with pytest.raises(ProofError):
            InclusionProof.parse(proof).verify([KEY], entry=HARMLESS)
        with pytest.raises(TamperedLogError, match="entry 2"):
            log.inclusion_proof(2, checkpoint)


def test_a_damaged_store_makes_no_checkpoint_that_hides_it(tmp_path: Path) -> None:
    """A hash on the right edge is changed, so the next root is wrong: nobody signs it over an earlier checkpoint of the true one."""
    with filled(tmp_path / "log", 4) as log:
        log.checkpoint(LOG_SIGNER)
        edit(tmp_path / "log", ("UPDATE hashes SET hash = ? WHERE position = ?", (bytes(32), merkle.stored_index(2, 0))))
        log.append(event())
        with pytest.raises(TamperedLogError, match="last checkpoint"):
            log.checkpoint(LOG_SIGNER)


def test_the_owner_cannot_be_its_own_cosigners(tmp_path: Path) -> None:
    names = ("a.example", "b.example", "c.example")
    with filled(tmp_path / "log", 3) as log:
        checkpoint = log.checkpoint(LOG_SIGNER)
        for number, name in enumerate(names):
            checkpoint = witness(tmp_path / str(number), EVE, name).cosign(log.cosign_request(0, checkpoint))
        proof = InclusionProof.parse(log.inclusion_proof(0, checkpoint))
    with pytest.raises(UntrustedError, match="0 of the trusted cosigners"):
        proof.verify([KEY, ANNA_KEY, BEN_KEY], quorum=1)
    mistaken = [witness(tmp_path / "x", EVE, name).key for name in names]  # a caller who trusts one key under three names
    with pytest.raises(UntrustedError, match="1 of the trusted cosigners"):
        proof.verify([KEY, *mistaken], quorum=2)


def test_a_key_speaks_for_its_own_log_alone(tmp_path: Path) -> None:
    """Eve's log is trusted too, but what she signs about another log's history is not that log's word."""
    forged = str(SignedCheckpoint.parse(str(Checkpoint(ORIGIN, 1, merkle.leaf_hash(HARMLESS)).signed(EVE))))
    for trusted in ([KEY, log_key("eve.example", EVE)], [log_key("eve.example", EVE)]):
        with pytest.raises(UntrustedError):
            SignedCheckpoint.parse(forged).verify(trusted)
    renamed = forged.replace(f"\u2014 {ORIGIN}", "\u2014 eve.example")
    with pytest.raises(UntrustedError):
        SignedCheckpoint.parse(renamed).verify([log_key("eve.example", EVE)])


def test_an_old_proof_stays_true_and_is_seen_to_be_old(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 3) as log:
        old = log.checkpoint(LOG_SIGNER)
        proof = InclusionProof.parse(log.inclusion_proof(1, old))
        log.append(event())
        newer = SignedCheckpoint.parse(log.checkpoint(LOG_SIGNER))
    assert proof.verify([KEY]).index == 1
    assert proof.checkpoint.size < newer.size  # what a reader who demands a checkpoint no older than theirs compares


def test_no_text_in_an_event_reaches_the_note(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 0) as log:
        log.append(Event(Kind.SEAL, {"reason": f"x\n\n{ORIGIN}\n99\n"}))
        proof = log.inclusion_proof(0, log.checkpoint(LOG_SIGNER))
    assert str(InclusionProof.parse(proof)) == proof
    assert InclusionProof.parse(proof).checkpoint.size == 1
    for origin in (f"{ORIGIN}\n99", f"{ORIGIN}\n99\nAAAA", " ", ""):
        with pytest.raises(LocalError):
            AuditLog(tmp_path / "other", origin=origin)
        with pytest.raises(LocalError):
            Checkpoint(origin, 1, bytes(32)).signed(BEN)
