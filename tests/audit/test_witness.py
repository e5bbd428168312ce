import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import stfed
from stfed.audit import AuditLog, ProofError, SignedCheckpoint, UntrustedError, Witness
from stfed.crypto.identity import BadSignatureError
from stfed.errors import LocalError, MalformedError
from tests.strangers import give_away

from .material import ANNA, ANNA_KEY, EVE, KEY, LOG_SIGNER, ORIGIN, START, Clock, event, filled, witness


def test_a_witness_follows_a_log(tmp_path: Path) -> None:
    anna = witness(tmp_path / "seen")
    assert anna.key == ANNA_KEY
    assert anna.seen(ORIGIN) is None
    with filled(tmp_path / "log", 3) as log:
        size = 0
        for _ in range(4):
            checkpoint = log.checkpoint(LOG_SIGNER)
            cosigned = SignedCheckpoint.parse(anna.cosign(log.cosign_request(size, checkpoint)))
            assert cosigned.verify([KEY, ANNA_KEY], quorum=1)[ANNA_KEY] >= START
            seen = anna.seen(ORIGIN)
            assert seen is not None
            assert seen.checkpoint == cosigned.checkpoint
            size = seen.size
            log.append(event())


def test_the_same_checkpoint_is_cosigned_again(tmp_path: Path) -> None:
    anna = witness(tmp_path / "seen")
    with filled(tmp_path / "log", 3) as log:
        checkpoint = log.checkpoint(LOG_SIGNER)
        first = anna.cosign(log.cosign_request(0, checkpoint))
        second = anna.cosign(log.cosign_request(3, checkpoint))
    times = [SignedCheckpoint.parse(text).verify([KEY, ANNA_KEY])[ANNA_KEY] for text in (first, second)]
    assert times[0] < times[1]


def test_an_empty_log_may_grow(tmp_path: Path) -> None:
    anna = witness(tmp_path / "seen")
    with filled(tmp_path / "log", 0) as log:
        anna.cosign(log.cosign_request(0, log.checkpoint(LOG_SIGNER)))
        log.append(event())
        anna.cosign(log.cosign_request(0, log.checkpoint(LOG_SIGNER)))


def test_other_signatures_stay(tmp_path: Path) -> None:
    anna, ben = witness(tmp_path / "a"), witness(tmp_path / "b", EVE, "b.example")
    with filled(tmp_path / "log", 3) as log:
        once = anna.cosign(log.cosign_request(0, log.checkpoint(LOG_SIGNER)))
        twice = ben.cosign(log.cosign_request(0, once))
    SignedCheckpoint.parse(twice).verify([KEY, anna.key, ben.key], quorum=2)


def test_a_witness_keeps_logs_apart(tmp_path: Path) -> None:
    from stfed.audit import log_key

    anna = Witness(tmp_path / "seen", name="a.example", signer=ANNA, trusted=[KEY, log_key("other", EVE)], clock=Clock())
    with filled(tmp_path / "log", 3) as log, filled(tmp_path / "other", 5, origin="other") as other:
        anna.cosign(log.cosign_request(0, log.checkpoint(LOG_SIGNER)))
        anna.cosign(other.cosign_request(0, other.checkpoint(EVE)))
        assert [anna.seen(origin).size for origin in (ORIGIN, "other")] == [3, 5]  # type: ignore[union-attr]
        with pytest.raises(UntrustedError):  # the key of one log does not speak for the other
            anna.cosign(log.cosign_request(3, log.checkpoint(EVE)))


def refused(anna: Witness, request: str, error: type[Exception], says: str) -> None:
    before = anna.seen(ORIGIN)
    with pytest.raises(error, match=says):
        anna.cosign(request)
    assert anna.seen(ORIGIN) == before


def test_what_a_witness_refuses(tmp_path: Path) -> None:
    anna = witness(tmp_path / "seen")
    with filled(tmp_path / "log", 3) as log:
        old = log.checkpoint(LOG_SIGNER)
        log.append(event())
        checkpoint = log.checkpoint(LOG_SIGNER)
        refused(anna, log.cosign_request(1, checkpoint), ProofError, "has not seen")
        refused(anna, log.cosign_request(0, log.checkpoint(EVE)), UntrustedError, "no trusted key")
        anna.cosign(log.cosign_request(0, checkpoint))
        log.append(event())
        newer = log.checkpoint(LOG_SIGNER)
        refused(anna, log.cosign_request(0, newer), ProofError, "starts at 0 entries, not at the 4")
        refused(anna, log.cosign_request(3, newer), ProofError, "starts at 3")
        refused(anna, "old 4\n\n" + newer, ProofError, "is empty")
        refused(anna, "old 4\n\n" + old, ProofError, "did not grow")
        refused(anna, log.cosign_request(3, old), ProofError, "starts at 3")
        refused(anna, log.cosign_request(4, log.checkpoint(EVE)), UntrustedError, "no trusted key")
        refused(anna, log.cosign_request(4, newer).replace("\n5\n", "\n6\n"), BadSignatureError, "not by the identity")
        refused(anna, newer, MalformedError, "'old' is due")
        refused(anna, "", MalformedError, "no checkpoint")


def test_the_state_is_on_the_disk_before_the_cosignature_leaves(tmp_path: Path) -> None:
    """A witness that can't keep what it saw does not sign."""

    class Broken(Exception):
        pass

    def clock() -> None:
        raise Broken

    anna = Witness(tmp_path / "seen", name="a.example", signer=ANNA, trusted=[KEY], clock=clock)  # type: ignore[arg-type]
    with filled(tmp_path / "log", 3) as log:
        request = log.cosign_request(0, log.checkpoint(LOG_SIGNER))
        with pytest.raises(Broken):
            anna.cosign(request)
        assert anna.seen(ORIGIN) is not None
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(LocalError, match="symbolic link"):
            witness(tmp_path / "link").cosign(request)


def test_the_state_is_for_its_owner(tmp_path: Path) -> None:
    with filled(tmp_path / "log", 1) as log:
        witness(tmp_path / "seen").cosign(log.cosign_request(0, log.checkpoint(LOG_SIGNER)))
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("seen", "seen.lock")] == [0o600, 0o600]


def test_a_state_that_others_could_take_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the witness might sign a second history. That there is no state says nothing where others may remove it."""
    path = tmp_path / "folder" / "seen"
    path.parent.mkdir()
    path.parent.chmod(0o777)
    anna = witness(path)
    with filled(tmp_path / "log", 1) as log:
        request = log.cosign_request(0, log.checkpoint(LOG_SIGNER))

    def refused_for(says: str) -> None:
        for use in (lambda: anna.cosign(request), lambda: anna.seen(ORIGIN)):
            with pytest.raises(LocalError, match=says):
                use()

    refused_for("may write to its folder")
    assert not path.exists()
    path.parent.chmod(0o1777)
    anna.cosign(request)
    path.chmod(0o606)
    refused_for("others than its owner may change it")
    path.chmod(0o600)
    assert anna.seen(ORIGIN) is not None
    give_away(path, monkeypatch)
    refused_for("belongs to another user")


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"{}",
        lambda data: data[:-1],
        lambda data: data.replace(b'"version":1', b'"version":2'),
        lambda data: data.replace(b'"version":1', b'"version":true'),
        lambda data: data.replace(b'{"stfed/audit/test":', b'{"x":'),
        lambda data: data.replace(b"\\n1\\n", b"\\n01\\n"),
        lambda data: data.replace(b":", b": ", 1),
        lambda data: b'{"logs":{"x":1},"version":1}',
    ],
)
def test_a_broken_state_is_not_an_empty_one(damage: object, tmp_path: Path) -> None:
    anna = witness(tmp_path / "seen")
    with filled(tmp_path / "log", 1) as log:
        request = log.cosign_request(0, log.checkpoint(LOG_SIGNER))
        anna.cosign(request)
        (tmp_path / "seen").write_bytes(damage((tmp_path / "seen").read_bytes()))  # type: ignore[operator]
        with pytest.raises(MalformedError, match="seen: "):
            anna.cosign(request)


def test_names(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cosigner's name"):
        witness(tmp_path / "seen", name="two words")


RACER = """
import sys
from tests.audit.material import witness
from pathlib import Path
from stfed.audit import ProofError
try:
    print(witness(Path(sys.argv[1])).cosign(Path(sys.argv[2]).read_text()))
except ProofError:
    print("refused")
"""


def test_two_processes_do_not_take_each_other_back(tmp_path: Path) -> None:
    anna = witness(tmp_path / "seen")
    with filled(tmp_path / "log", 3) as log:
        anna.cosign(log.cosign_request(0, log.checkpoint(LOG_SIGNER)))
        for number in range(2):
            log.append(event(number))
            (tmp_path / str(number)).write_text(log.cosign_request(3, log.checkpoint(LOG_SIGNER)))
    command = [sys.executable, "-c", RACER, str(tmp_path / "seen")]
    root = Path(stfed.__file__).parents[1]
    racers = [subprocess.Popen([*command, str(tmp_path / str(number))], stdout=subprocess.PIPE, text=True, cwd=root) for number in range(2)]
    said = [racer.communicate(timeout=60)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert sum(text == "refused\n" for text in said) == 1
    seen = anna.seen(ORIGIN)
    assert seen is not None
    assert seen.size == (5 if said[0] == "refused\n" else 4)


def test_the_lock_is_waited_for(tmp_path: Path) -> None:
    import fcntl
    import threading

    anna = witness(tmp_path / "seen")
    with AuditLog(tmp_path / "log", origin=ORIGIN) as log:
        request = log.cosign_request(0, log.checkpoint(LOG_SIGNER))
    descriptor = os.open(tmp_path / "seen.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    thread = threading.Thread(target=anna.cosign, args=(request,))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    assert anna.seen(ORIGIN) is None
    os.close(descriptor)
    thread.join(10)
    assert anna.seen(ORIGIN) is not None
