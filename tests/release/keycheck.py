"""`python -m tests.release.keycheck [FILE ...]`: no secret key in these files, by default in all that git tracks.

A key pair that is in a file by mistake is no secret any more once the commit is pushed. The test vectors are the exception: their secret
keys are public on purpose, and protect nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

_KEY = re.compile(
    rb"(?:AGE-SECRET-KEY|STFED-SIGNING-KEY)-(?:PQ-)?1[0-9A-Z]{30,}"
    rb"|-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[0-9A-Za-z+/=]{30,}",
    re.IGNORECASE,
)
_ALLOWED = "tests/vectors/"


def keys_in(data: bytes) -> list[int]:
    """The lines in which a secret key begins, from 1."""
    return [data.count(b"\n", 0, match.start()) + 1 for match in _KEY.finditer(data)]


def findings(named: Iterable[tuple[str, bytes]]) -> Iterator[str]:
    """A sentence for every secret key in files of these names and contents; it does not repeat the key."""
    for name, data in named:
        if not PurePath(name).as_posix().startswith(_ALLOWED):
            yield from (f"{name}:{line}: a secret key; take it out, and make a new one if it was ever pushed" for line in keys_in(data))


def main(arguments: list[str]) -> int:
    """Exit code 1, and a line for each finding, if there are any."""
    names = arguments or subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout.decode().split("\0")
    found = list(findings((name, Path(name).read_bytes()) for name in names if Path(name).is_file()))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
