"""Which code a script sees for which error, and that no hint speaks of Python."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from stfed import audit, cli, keys, sealed
from stfed.cli import codes
from stfed.cli.messages import failure
from stfed.crypto.identity import BadSignatureError
from stfed.errors import DecodeError, LocalError, MalformedError, SealError, StfedError
from tests.cli.commands import ROOT

CODES: list[tuple[StfedError, int]] = [
    (StfedError("x"), 1),
    (LocalError("x"), 1),
    (SealError("x"), 1),
    (DecodeError("x"), 1),
    (sealed.UnsupportedError("x"), 1),
    (sealed.NotARecipientError("x"), 3),
    (sealed.WrongPassphraseError("x"), 3),
    (keys.PassphraseError("x"), 3),
    (MalformedError("x"), 4),
    (sealed.TamperedError("x"), 4),
    (sealed.UntrustedError("x"), 4),
    (sealed.RollbackError("x"), 4),
    (BadSignatureError("x"), 4),
    (audit.UntrustedError("x"), 4),
    (audit.ProofError("x"), 4),
    (audit.ForkError("x", first="", second=""), 4),
    (audit.TamperedLogError("x"), 4),
    (sealed.AccessDeniedError("x", rule="purpose"), 5),
    (keys.RosterError("revoked", "x"), 5),
]


@pytest.mark.parametrize(("error", "code"), CODES)
def test_an_error_has_its_code(error: StfedError, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(_arguments: object) -> int:
        raise error

    monkeypatch.setattr(import_module("stfed.cli.plan"), "_plan", raising)
    assert cli.main(["plan", "--parties", "10"]) == code


def test_every_name_in_the_table_is_an_error_of_ours() -> None:
    assert set(codes.CODES) <= {type(error).__name__ for error, _ in CODES}


def test_hints_name_options_in_place_of_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """Every argument that a hint of the library names has an option, or the hint would send people to something they cannot type."""
    source = "".join(path.read_text() for area in ("sealed", "keys", "audit") for path in (ROOT / "stfed" / area).glob("*.py"))
    hints = re.findall(r'hint=f?"([^"]*=\.\.\.[^"]*)"', source)
    assert len(hints) > 3
    for hint in hints:
        failure("x", hint)
        assert "=..." not in capsys.readouterr().err, hint


def test_a_secret_key_is_not_printed_whoever_quotes_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for start in ("AGE-SECRET-KEY-1", "age-secret-key-pq-1", "STFED-SIGNING-KEY-1", "STFED-SIGNING-KEY-PQ-1"):
        assert cli.main(["inspect", f"{start}QPZRY9X8"]) == 1
        assert cli.main(["inspect", "a", f"{start}QPZRY9X8"]) == 2
        assert "QPZRY9X8" not in capsys.readouterr().err
