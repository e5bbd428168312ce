"""The exit codes, for scripts: docs/cli.md and `stfed --help` list them."""

from __future__ import annotations

from stfed.errors import StfedError

OK = 0
FAILED = 1  # refused or failed for a reason that has no code of its own
USAGE = 2
NO_KEY = 3  # none of the keys and passphrases at hand fits
UNBELIEVED = 4  # damaged, changed, rolled back, or not signed by anybody trusted
FORBIDDEN = 5  # a policy or a roster does not allow it
INTERRUPTED = 128 + 2  # as a shell reports SIGINT
BROKEN_PIPE = 128 + 13  # and SIGPIPE
TERMINATED = 128 + 15  # and SIGTERM

CODES = {
    "NotARecipientError": NO_KEY,
    "PassphraseError": NO_KEY,
    "MalformedError": UNBELIEVED,
    "TamperedError": UNBELIEVED,
    "UntrustedError": UNBELIEVED,
    "RollbackError": UNBELIEVED,
    "BadSignatureError": UNBELIEVED,
    "ProofError": UNBELIEVED,
    "ForkError": UNBELIEVED,
    "TamperedLogError": UNBELIEVED,
    "AccessDeniedError": FORBIDDEN,
    "RosterError": FORBIDDEN,
}
"""By name, so that no command has to import what another one raises. Damaged and changed are one: whoever changes a file has the choice."""

MEANINGS = (
    (f"{OK}", "done"),
    (f"{FAILED}", "refused or failed"),
    (f"{USAGE}", "wrong usage"),
    (f"{NO_KEY}", "no key: none of the keys and passphrases at hand opens it"),
    (f"{UNBELIEVED}", "not to be believed: damaged, changed, rolled back, or not signed by anybody trusted"),
    (f"{FORBIDDEN}", "forbidden by a policy, a roster or a key service"),
    (f"{INTERRUPTED}, {TERMINATED}", "interrupted; asked to end by SIGTERM"),
    (f"{BROKEN_PIPE}", "the reader of stdout went away"),
)
"""In words, for `stfed --help`."""


def code_of(error: StfedError) -> int:
    """The exit code for an error: that of the nearest of its classes that has one."""
    return next((CODES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in CODES), FAILED)
