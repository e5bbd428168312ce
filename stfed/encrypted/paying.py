"""Whether other processes make a batch faster: measured on the first of its jobs, not guessed.

SEAL compresses whatever it writes, so a ciphertext takes about as long to send as a product with plain numbers takes to compute; additions
take a twentieth of that. What pays is work with much to do for each ciphertext that is sent: encryption, which sends none, and sums of
products whose operands many of the jobs share.
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

from stfed.encrypted.arithmetic import Ciphertext
from stfed.encrypted.seal import dump, load
from stfed.errors import LocalError, shown
from stfed.threads import processors

VARIABLE = "STFED_ENCRYPTED_WORKERS"
_PROCESSES_MAX = 8
_SAVING = 0.85
"""Workers are to bring a batch down to this part of its time at least, or they are not worth their memory."""


def processes() -> int:
    """How many processes compute, this one among them: `STFED_ENCRYPTED_WORKERS`, or one for each processor, up to eight.

    Raises:
        LocalError: the variable holds no number from 1 to 64.
    """
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return min(_PROCESSES_MAX, processors())
    if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= 64):
        raise LocalError(f"{VARIABLE} is {shown(wanted)}", hint="how many processes may compute: 1 to 64, 1 for this process alone")
    return int(wanted)


class Transfer(NamedTuple):
    """What it takes to have a ciphertext in another process.

    Attributes:
        dump_s: on the side that sends it.
        load_s: on the side that gets it.
    """

    dump_s: float
    load_s: float

    @classmethod
    def measured(cls, seal_context: Any, ciphertext: Ciphertext) -> Transfer:
        """With this one, both sides here."""
        began = time.thread_time()
        stream = dump(ciphertext)
        dumped = time.thread_time()
        load("Ciphertext", seal_context, stream)
        return cls(dumped - began, time.thread_time() - dumped)


def hopeless(job_s: float, transfer: Transfer) -> bool:
    """Whether no share of such jobs pays, whatever they need: a result takes longer to read than to compute, as with sums."""
    return transfer.load_s >= job_s


def pays(here_s: float, jobs: int, own: int, shared: int, transfer: Transfer, workers: int, start_s: float = 0.0) -> bool:
    """Whether workers make a batch faster.

    A share of the jobs goes to workers, such that they and this process end together; that is compared with doing all of them here.

    Args:
        here_s: all jobs in this process.
        jobs: how many there are; each has one result, which comes back.
        own: ciphertexts that one job alone needs.
        shared: ciphertexts that several jobs need: each worker gets them once.
        transfer: of a ciphertext.
        workers: beside this process.
        start_s: until they can begin.
    """
    dump_s, load_s = transfer
    sending_s, fixed_here_s = own * dump_s + jobs * load_s, shared * dump_s
    there_s, fixed_there_s = here_s + own * load_s + jobs * dump_s, start_s + shared * load_s
    if sending_s >= here_s:
        return False
    share = (fixed_here_s + here_s - fixed_there_s) / (there_s / workers + here_s - sending_s)
    share = min(1.0, max(0.0, share))
    return fixed_here_s + share * sending_s + (1 - share) * here_s < _SAVING * here_s
