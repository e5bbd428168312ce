"""What a key service writes down: every release before the key leaves, every refusal with its rule; and it signs the log's head.

Refusals of strangers get a few entries a minute; the others are counted, and the next entry has the count. So a flood neither fills the
disk that every release depends on, nor makes the service sign checkpoints: only what people in the roster cause does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from stfed.audit import AuditLog, Event, Kind, SignedCheckpoint
from stfed.errors import LocalError, StfedError
from stfed.keys.signing import SigningKey

Facts = Mapping[str, str | int | None]

_REASON_MAX_CHARACTERS = 500
_logger = logging.getLogger("stfed.keyserver")


class Logbook:
    """The service's audit log, and the key that signs its checkpoints. Any thread may call any method.

    Args:
        log: the log; several processes may share its file.
        signer: signs checkpoints with its Ed25519 half.
        every: how many entries there are from one checkpoint to the next.
        strangers_per_minute: how many entries there may be about refusals of strangers, from this process.
        clock: seconds, never set back.
    """

    def __init__(
        self,
        log: AuditLog,
        signer: SigningKey,
        every: int,
        *,
        strangers_per_minute: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._signer, self._every = log, signer, every
        self._per_minute, self._clock, self._lock = strangers_per_minute, clock, threading.Lock()
        self._tokens, self._at = float(strangers_per_minute), clock()
        self._suppressed = 0
        self._signed = 0  # entries that a checkpoint covers, at least

    def released(self, facts: Facts) -> None:
        """Notes a release. The key may leave when this returns, and must not if it raises.

        Raises:
            StfedError: if the entry, or the checkpoint that is due with it, cannot be written.
        """
        self._append(Event(Kind.KEY_RELEASE, facts))

    def refused(self, rule: str, reason: str, facts: Facts) -> None:
        """Notes a refusal of somebody in the roster. Where that fails, says so on the operator's log: nothing was released."""
        try:
            self._append(_refusal(rule, reason, facts))
        except StfedError as error:
            _say_unlogged(rule, error)

    def refused_stranger(self, rule: str, reason: str, facts: Facts) -> None:
        """Notes a refusal of anybody else, or counts it."""
        suppressed = self._admitted()
        if suppressed is None:
            return
        try:
            self._log.append(_refusal(rule, reason, facts, suppressed))
        except StfedError as error:
            _say_unlogged(rule, error)
            self._suppress(suppressed + 1)

    def count(self) -> None:
        """Counts a refusal that is to have no entry of its own."""
        self._suppress(1)

    def checkpoint(self) -> str:
        """Signs what the log holds now."""
        return self._log.checkpoint(self._signer)

    def finish(self) -> None:
        """Writes the count of what has no entry, if there is any, and signs the log's head: the last thing done.

        Raises:
            StfedError: if the log cannot be written.
        """
        with self._lock:
            suppressed, self._suppressed = self._suppressed, 0
        if suppressed:
            self._log.append(
                Event(Kind.KEY_REFUSED, {"reason": "refusals of strangers without entries of their own", "suppressed": suppressed})
            )
        self.checkpoint()

    def check(self) -> None:
        """Returns if the log can be read; StfedError if not."""
        _ = self._log.size

    def _admitted(self) -> int | None:
        """How many refusals were left out before this one, which is to be written; None if it is left out too."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._per_minute, self._tokens + (now - self._at) * self._per_minute / 60)
            self._at = now
            if self._tokens < 1:
                self._suppressed += 1
                return None
            self._tokens -= 1
            suppressed, self._suppressed = self._suppressed, 0
        return suppressed

    def _suppress(self, refusals: int) -> None:
        with self._lock:
            self._suppressed += refusals

    def _append(self, event: Event) -> None:
        count = self._log.append(event) + 1
        if count - self._signed >= self._every:
            self._signed = self._size_signed()  # another process may have signed meanwhile
            if count - self._signed >= self._every:
                self._signed = SignedCheckpoint.parse(self.checkpoint()).size

    def _size_signed(self) -> int:
        newest = self._log.latest_checkpoint()
        return 0 if newest is None else SignedCheckpoint.parse(newest).size


def _say_unlogged(rule: str, error: StfedError) -> None:
    _logger.error("a refusal (%s) could not be logged: %s", rule, error)


def _refusal(rule: str, reason: str, facts: Facts, suppressed: int = 0) -> Event:
    known: Facts = {"rule": rule, "suppressed": suppressed} if suppressed else {"rule": rule}
    try:
        return Event(Kind.KEY_REFUSED, {**facts, **known, "reason": reason[:_REASON_MAX_CHARACTERS]})
    except LocalError:  # somebody sent what looks like a secret key, and the reason quotes it
        return Event(Kind.KEY_REFUSED, {**known, "reason": "not shown: it reads like a secret key"})
