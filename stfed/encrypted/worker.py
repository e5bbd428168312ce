"""`python -m stfed.encrypted.worker`: one process that computes for `stfed.encrypted.crew`, and for nobody else.

Its standard input is a Unix socket, on which it gets parameters, public keys and jobs, and sends results back. It never gets a secret key.
It ends when the socket does, and within seconds when its parent is gone, whoever else may still hold the socket's other end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress

from stfed.encrypted.arithmetic import Ciphertext
from stfed.encrypted.context import EvaluationContext
from stfed.encrypted.parameters import Parameters
from stfed.encrypted.parcels import Kind, Parcel, ciphertext_of, data_of, receive, send, send_ciphertext, unpack

_LOOK_S = 2.0
"""How often an idle worker looks whether its parent still lives."""


def _parcels(channel: socket.socket) -> Iterator[Parcel]:
    parent = os.getppid()
    channel.settimeout(_LOOK_S)
    while True:
        try:
            parcel = receive(channel)
        except TimeoutError:
            if os.getppid() != parent:
                return
            continue
        if parcel is None:
            return
        yield parcel


def work(channel: socket.socket) -> None:
    """Takes parcels and sends results until the other side is gone."""
    parcels = _parcels(channel)
    setting = next(parcels, None)
    if setting is None:
        return
    degree, modulus_bits, scale_bits, keys = json.loads(data_of(setting))
    blobs = [data_of(parcel) or None for _, parcel in zip(range(keys), parcels, strict=False)]
    if len(blobs) < keys or blobs[0] is None:
        return
    context = EvaluationContext(Parameters(degree, tuple(modulus_bits), scale_bits), blobs[0], *blobs[1:])
    arithmetic = context.arithmetic
    send(channel, Kind.READY)
    operation, kept, once = "", dict[int, Ciphertext](), dict[int, Ciphertext]()
    for parcel in parcels:
        match parcel.kind:
            case Kind.BATCH:
                operation = data_of(parcel).decode()
                kept.clear()
            case Kind.KEEP:
                kept[parcel.number] = ciphertext_of(parcel, context.seal_context)
            case Kind.ONCE:
                once[parcel.number] = ciphertext_of(parcel, context.seal_context)
            case Kind.JOB:
                try:
                    result = getattr(arithmetic, operation)(*unpack(data_of(parcel), kept | once))
                except Exception:  # the parent does this job itself then, and so has the error
                    send(channel, Kind.FAILED, parcel.number)
                else:
                    send_ciphertext(channel, Kind.RESULT, parcel.number, result)
                once.clear()


def main() -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair, which ends its workers
    with socket.socket(fileno=0) as channel, suppress(ConnectionError):  # the parent is gone, and nobody waits for the result
        work(channel)


if __name__ == "__main__":
    main()
