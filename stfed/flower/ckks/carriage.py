"""Where messages and vectors of encrypted sums sit in Flower's records: apart from those of masks; neither is taken for the other."""

from __future__ import annotations

from collections.abc import Sequence

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from stfed.errors import DecodeError
from stfed.flower import records

RECORD = "stfed.ckks"
VECTORS = "stfed.ckks.vectors"
_RAW = "stfed.ckks"


def carried(message: bytes, vectors: Sequence[bytes] = ()) -> RecordDict:
    """The content of a message of ours, with vectors of raw bytes beside it."""
    content = RecordDict({RECORD: ConfigRecord({records.MESSAGE: message})})
    if vectors:
        arrays = {str(at): Array(dtype="uint8", shape=(len(one),), stype=_RAW, data=one) for at, one in enumerate(vectors)}
        content[VECTORS] = ArrayRecord(arrays)
    return content


def beside(content: RecordDict, message: bytes) -> RecordDict:
    """A copy of the strategy's content with our message in it; the records themselves are shared."""
    return records.beside(content, ConfigRecord({records.MESSAGE: message}), RECORD)


def detach(content: RecordDict) -> tuple[bytes | None, RecordDict]:
    """Our message, if there is one, and the content without it."""
    return records.detach(content, RECORD)


def message_of(content: RecordDict) -> bytes:
    """Our message; DecodeError if there is none."""
    message, _ = detach(content)
    if message is None:
        raise DecodeError("this is no message of an encrypted sum: does the ClientApp have the mod? ClientApp(mods=[ckks_mod])")
    return message


def vectors_in(content: RecordDict) -> list[bytes]:
    """The vectors beside a message, in their order; DecodeError if there are none."""
    record = content.get(VECTORS)
    if not isinstance(record, ArrayRecord) or list(record) != [str(at) for at in range(len(record))]:
        raise DecodeError("the message has no encrypted vectors beside it")
    if any(array.stype != _RAW for array in record.values()):
        raise DecodeError("what is beside the message is no encrypted vector")
    return [array.data for array in record.values()]
