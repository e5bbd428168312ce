"""What goes between a process and its workers: a few bytes over a Unix socket, and with them a file in memory that holds the rest.

SEAL writes a ciphertext to such a file on one side and reads it on the other; only the descriptor goes through the socket (SCM_RIGHTS), so
that nothing is copied and nothing has a name that another process could open. The socket keeps messages apart (SOCK_SEQPACKET), and its end
is the end of the process at the other side, however that came about.

Both ends are this package, of one user on one machine: the codec is exact, and is no defence.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from stfed.encrypted.arithmetic import Ciphertext
from stfed.encrypted.seal import contents, load_from, memory_file, seal

_HEAD, _HANDLE = struct.Struct("<BI"), struct.Struct("i")
_NUMBER, _FLOAT, _INT = struct.Struct("<I"), struct.Struct("<d"), struct.Struct("<q")
BUFFER_BYTES = 1 << 15
"""Of a socket, which the system doubles: for some eighty parcels. A user may have as many descriptors under way as open: often 1024."""


class Kind(IntEnum):
    """What a parcel is, and what its number says."""

    SETTING = 0  # to a worker, once: parameters
    KEY = 1  # number: 0 public, 1 relinearisation, 2 Galois
    BATCH = 2  # the name of an operation; empty at its end. What was kept is forgotten
    KEEP = 3  # a ciphertext for several jobs of the batch, by its number
    ONCE = 4  # a ciphertext for the next job
    JOB = 5  # arguments, by the number of the job
    READY = 6  # from a worker: it has its keys
    RESULT = 7  # a ciphertext, by the number of the job
    FAILED = 8  # the job raised an error


class Parcel(NamedTuple):
    """One that arrived. `handle` is open, and the receiver's to close; None if nothing came along."""

    kind: Kind
    number: int
    handle: int | None


def send(channel: socket.socket, kind: Kind, number: int = 0, data: bytes | None = None) -> None:
    """A parcel with bytes."""
    if data is None:
        channel.send(_HEAD.pack(kind, number))
        return
    with memory_file(data) as (handle, _):
        socket.send_fds(channel, [_HEAD.pack(kind, number)], [handle])


def send_ciphertext(channel: socket.socket, kind: Kind, number: int, ciphertext: Ciphertext) -> None:
    """A parcel with a ciphertext."""
    with memory_file() as (handle, path):
        ciphertext.save(path)
        socket.send_fds(channel, [_HEAD.pack(kind, number)], [handle])


def receive(channel: socket.socket) -> Parcel | None:
    """The next parcel; None when there will be none because the other process has ended.

    Raises:
        BlockingIOError: nothing has come, and the channel does not block.
        TimeoutError: nothing has come for as long as the channel waits.
    """
    try:
        # Not `socket.recv_fds`, which forgets its flags: without this one, whatever process is started next would have the descriptor too.
        head, beside, _, _ = channel.recvmsg(_HEAD.size, socket.CMSG_SPACE(_HANDLE.size), socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return None
    if not head:
        return None
    kind, number = _HEAD.unpack(head)
    return Parcel(Kind(kind), number, _HANDLE.unpack(beside[0][2])[0] if beside else None)


def data_of(parcel: Parcel) -> bytes:
    """The bytes of a parcel, which is done with then."""
    if parcel.handle is None:
        return b""
    try:
        return contents(parcel.handle)
    finally:
        os.close(parcel.handle)


def ciphertext_of(parcel: Parcel, seal_context: Any) -> Ciphertext:
    """The ciphertext of a parcel, which is done with then."""
    assert parcel.handle is not None
    try:
        return load_from("Ciphertext", seal_context, f"/proc/self/fd/{parcel.handle}")
    finally:
        os.close(parcel.handle)


def ciphertexts_in(job: Any) -> Iterable[Ciphertext]:
    """All ciphertexts among the arguments of a job, in their order, as often as they are there."""
    if isinstance(job, tuple | list):
        for item in job:
            yield from ciphertexts_in(item)
    elif isinstance(job, seal().Ciphertext):
        yield job


def pack(argument: Any, number_of: Callable[[Ciphertext], int]) -> bytes:
    """The arguments of a job as bytes: ciphertexts, which go by number, numbers, text, None, float64 (n,), and tuples and lists of those.

    Raises:
        TypeError: another type.
    """
    match argument:
        case tuple() | list():
            return b"t" + _NUMBER.pack(len(argument)) + b"".join(pack(item, number_of) for item in argument)
        case None:
            return b"n" + _NUMBER.pack(0)
        case str():
            text = argument.encode()
            return b"s" + _NUMBER.pack(len(text)) + text
        case float() | np.floating():
            return b"f" + _FLOAT.pack(argument)
        case int() | np.integer():
            return b"i" + _INT.pack(argument)
        case np.ndarray():
            values = np.asarray(argument, np.float64).tobytes()
            return b"a" + _NUMBER.pack(len(values)) + values
        case _ if isinstance(argument, seal().Ciphertext):
            return b"c" + _NUMBER.pack(number_of(argument))
    raise TypeError(f"an argument of type {type(argument).__name__}")


def unpack(data: bytes, ciphertexts: Mapping[int, Ciphertext]) -> Any:
    """What `pack` was given; lists come out as tuples."""
    return _unpacked(memoryview(data), 0, ciphertexts)[0]


def _unpacked(data: memoryview, at: int, ciphertexts: Mapping[int, Ciphertext]) -> tuple[Any, int]:
    tag, at = data[at], at + 1
    if tag == ord("f"):
        return _FLOAT.unpack_from(data, at)[0], at + _FLOAT.size
    if tag == ord("i"):
        return _INT.unpack_from(data, at)[0], at + _INT.size
    (number,), at = _NUMBER.unpack_from(data, at), at + _NUMBER.size
    if tag == ord("c"):
        return ciphertexts[number], at
    if tag == ord("n"):
        return None, at
    if tag == ord("s"):
        return str(data[at : at + number], "utf-8"), at + number
    if tag == ord("a"):
        return np.frombuffer(data[at : at + number], np.float64), at + number
    items = []
    for _ in range(number):
        item, at = _unpacked(data, at, ciphertexts)
        items.append(item)
    return tuple(items), at
