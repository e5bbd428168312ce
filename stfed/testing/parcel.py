"""A Flower message as bytes: what really crosses between coordinator and party.

Flower moves a message as a set of content-addressed objects (`flwr.supercore.inflatable`): the message, its records, their arrays, the
arrays' 5 MiB chunks, each deflated on its own. `pack` and `unpack` do what Flower's transport does on its two ends, so nothing that goes
through a `Parcel` can be shared between the two sides, and the bytes are the ones that a real link carries (without its HTTP envelope
and without the saving of chunks that the SuperLink already has).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, no_object_id_recompute
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

from stfed.errors import LocalError


@dataclass(frozen=True)
class Parcel:
    """One message on the wire.

    Attributes:
        message_id: the id under which Flower files it; a reply names it.
        root: the object id of the message itself; differs from `message_id` only if somebody changed the message on the way.
        objects: object id -> deflated object, children before parents.
    """

    message_id: str
    root: str
    objects: dict[str, bytes] = field(repr=False)

    @property
    def payload(self) -> bytes:
        """All its objects, one after the other."""
        return b"".join(self.objects.values())

    @property
    def size_bytes(self) -> int:
        """The length of `payload`."""
        return sum(map(len, self.objects.values()))


def set_message_id(message: Message, message_id: str) -> None:
    """Files the message under this id, as Flower does outside of the serialised metadata."""
    message.metadata.__dict__["_message_id"] = message_id


def pack(message: Message, *, message_id: str | None = None) -> Parcel:
    """Deflates a message and everything in it, and sets the message's id as Flower's grid does.

    Args:
        message: the message to send.
        message_id: the id to keep, for a message that was changed on the way; by default the id is the hash of the message.
    """
    with no_object_id_recompute():
        objects = {object_id: nested.deflate() for object_id, nested in get_all_nested_objects(message).items()}
        root = message.object_id
    set_message_id(message, message_id or root)
    return Parcel(message_id or root, root, objects)


def unpack(parcel: Parcel) -> Message:
    """Inflates a new message out of the bytes."""
    message = cast(Message, inflate_object_from_contents(parcel.root, dict(parcel.objects)))
    set_message_id(message, parcel.message_id)
    return message


def flip(parcel: Parcel, *, position: int, xor: int, record: str | None = None, key: str | None = None) -> Parcel:
    """The same message with one byte changed, hashes recomputed: what an attacker on the wire would send.

    The bytes that can be changed are the arrays' data and the `bytes` values of config records, taken as one string in the order of the
    message.

    Args:
        parcel: the message.
        position: index into that string; negative counts from its end.
        xor: what to XOR the byte with, 1 to 255.
        record: only this record, by its name in the message.
        key: only this array or config value.

    Raises:
        LocalError: the message has no such byte.
    """
    message = unpack(parcel)
    leaves: list[tuple[bytes, Callable[[bytes], None]]] = []
    for name, content in message.content.items() if message.has_content() else ():
        if record is not None and name != record:
            continue
        if isinstance(content, ArrayRecord):
            for leaf, array in content.items():
                if key is None or leaf == key:
                    leaves.append((array.data, lambda data, array=array: setattr(array, "data", data)))  # type: ignore[misc]
        elif isinstance(content, ConfigRecord):
            for leaf, value in content.items():
                if isinstance(value, bytes) and (key is None or leaf == key):
                    leaves.append((value, lambda data, content=content, leaf=leaf: content.__setitem__(leaf, data)))  # type: ignore[misc]
    total = sum(len(data) for data, _ in leaves)
    at = position if position >= 0 else total + position
    if not 0 <= at < total:
        where = f"record {record or '*'!r}, key {key or '*'!r}"
        raise LocalError(f"tamper: byte {position} is outside of the {total} bytes that this message has in {where}")
    for data, put in leaves:
        if at < len(data):
            put(data[:at] + bytes([data[at] ^ xor]) + data[at + 1 :])
            break
        at -= len(data)
    return pack(message, message_id=parcel.message_id)
