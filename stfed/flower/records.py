"""Flower's records and the protocol's bytes: where a message of ours sits in a `RecordDict`, and the hash of what a train function gets.

A request or reply is one `bytes` value in a `ConfigRecord` of its own. In TRAIN it stands beside the strategy's records, which stay as
they are; the masked vector of the reply is an `Array` of raw bytes, so that Flower moves it in chunks like any model.
"""

from __future__ import annotations

import hashlib
import struct
import time

from flwr.app import DEFAULT_TTL, Array, ArrayRecord, ConfigRecord, Context, Message, Metadata, RecordDict

from stfed.crypto import kdf
from stfed.crypto.labels import Label
from stfed.errors import DecodeError, LocalError, StfedError
from stfed.secagg.messages import Kind, Phase, peek
from stfed.wire import Writer

LIGHT_MESSAGE = "train"
"""JOIN, PREPARE, CONFIRM and UNMASK travel as train messages: every ClientApp with a train function has them pass its mods."""
RECORD = "stfed"
VECTOR_RECORD = "stfed.masked"
MESSAGE = "message"
_NEXT = "next"
_REFUSED = "next-refused"
_VECTOR = "vector"
_RUN_CONFIG = "run-config"
_RAW = "stfed.packed"
_COORDINATOR = 1
"""Flower's node id of a ServerApp."""

_STEPS = {
    Kind.JOIN_REQUEST: "join",
    Kind.JOIN: "join",
    Kind.PREPARE_REQUEST: "prepare",
    Kind.PREPARE: "prepare",
    Kind.DRAWN_PREPARE: "prepare",
    Kind.TRAIN_REQUEST: "train",
    Kind.DRAWN_TRAIN_REQUEST: "train",
    Kind.MASKED: "train",
    Kind.COMPLAINT: "train",
    Kind.CONFIRM_REQUEST: "confirm",
    Kind.CONFIRM: "confirm",
    Kind.UNMASK_REQUEST: "unmask",
    Kind.UNMASK: "unmask",
}

_PHASES = {"train": Phase.TRAIN, "evaluate": Phase.EVALUATE}


def phase_of(message_type: str) -> Phase:
    """The phase of a Flower message type ("train", "evaluate", or one of these with an action behind a dot)."""
    try:
        return _PHASES[message_type.partition(".")[0]]
    except KeyError:
        raise LocalError(
            f"secure aggregation sums the replies to train and evaluate messages, not to {message_type!r}",
            hint="send other messages through the plain grid, to a ClientApp without the secure mod",
        ) from None


def light(message: bytes, *, riding: bytes | None = None) -> RecordDict:
    """The content of a message that carries nothing but ours, and the PREPARE that rides on it."""
    return RecordDict({RECORD: ConfigRecord({MESSAGE: message} if riding is None else {MESSAGE: message, _NEXT: riding})})


def riding_on(content: RecordDict) -> bytes | None:
    """The PREPARE that rides on a message of ours, if there is one.

    Raises:
        DecodeError: what is there is no message.
    """
    record = content.get(RECORD)
    riding = record.get(_NEXT) if isinstance(record, ConfigRecord) else None
    if not isinstance(riding, bytes | None):
        raise DecodeError(f"the record {RECORD!r} has something else than a message riding on its own")
    return riding


def unmasked_and_prepared(unmask: bytes, prepare: bytes | StfedError, run_config: bytes) -> RecordDict:
    """The content of a reply to UNMASK with a PREPARE on it: both replies, or why there is no second one."""
    riding: dict[str, bytes | str] = {_NEXT: prepare, _RUN_CONFIG: run_config} if isinstance(prepare, bytes) else {_REFUSED: str(prepare)}
    return RecordDict({RECORD: ConfigRecord({MESSAGE: unmask, **riding})})


def prepare_in(content: RecordDict) -> bytes:
    """The reply to the PREPARE that rode on a message.

    Raises:
        DecodeError: there is none; with the party's reason if it gave one.
    """
    record = content.get(RECORD)
    riding, refused = (record.get(_NEXT), record.get(_REFUSED)) if isinstance(record, ConfigRecord) else (None, None)
    if not isinstance(riding, bytes):
        raise DecodeError(refused if isinstance(refused, str) else "the reply to UNMASK has none to the PREPARE that rode on it")
    return riding


def attach(content: RecordDict, message: bytes, run_config: bytes) -> RecordDict:
    """A copy of the strategy's content with our message beside it, and the run config that the others have."""
    return beside(content, ConfigRecord({MESSAGE: message, _RUN_CONFIG: run_config}))


def beside(content: RecordDict, ours: ConfigRecord, name: str = RECORD) -> RecordDict:
    """A copy of the strategy's content with a record of ours in it. The records themselves are shared, not copied.

    Raises:
        LocalError: the strategy has a record of that name.
    """
    if name in content:
        raise LocalError(f"the strategy's messages have a record {name!r} of their own", hint="give that record another name")
    return RecordDict({**content, name: ours})


def detach(content: RecordDict, name: str = RECORD) -> tuple[bytes | None, RecordDict]:
    """Our message, if there is one, and the content without it."""
    rest = RecordDict({key: record for key, record in content.items() if key != name})
    record = content.get(name)
    if record is None:
        return None, rest
    message = record.get(MESSAGE) if isinstance(record, ConfigRecord) else None
    if not isinstance(message, bytes):
        raise DecodeError(f"the record {name!r} has no message in it")
    return message, rest


def prepared(message: bytes, run_config: bytes) -> RecordDict:
    """The content of a PREPARE reply: our message, and the digest of the run config that this party's function will see."""
    return RecordDict({RECORD: ConfigRecord({MESSAGE: message, _RUN_CONFIG: run_config})})


def run_config_of(content: RecordDict) -> bytes:
    """The digest in a PREPARE reply: that party's run config; or in TRAIN: that of everybody in U1.

    Raises:
        DecodeError: there is none.
    """
    record = content.get(RECORD)
    digest = record.get(_RUN_CONFIG) if isinstance(record, ConfigRecord) else None
    if not isinstance(digest, bytes) or len(digest) != hashlib.sha256().digest_size:
        raise DecodeError("the message does not say which run config it goes with")
    return digest


def message_of(content: RecordDict) -> bytes:
    """Our message in a reply to a light step.

    Raises:
        DecodeError: the reply is not one of ours, for example because the party runs without the mod.
    """
    message, _ = detach(content)
    if message is None:
        raise DecodeError("the reply has no secure message: does the ClientApp have the mod? ClientApp(mods=[secagg_mod])")
    return message


def masked(message: bytes, vector: bytes) -> RecordDict:
    """The content of a TRAIN reply: our message and the packed vector."""
    array = Array(dtype="uint8", shape=(len(vector),), stype=_RAW, data=vector)
    return RecordDict({RECORD: ConfigRecord({MESSAGE: message}), VECTOR_RECORD: ArrayRecord({_VECTOR: array})})


def unmasked(content: RecordDict) -> tuple[bytes, bytes]:
    """Our message and the packed vector of a TRAIN reply.

    Raises:
        DecodeError: the reply is not one of ours, for example because the party runs without the mod.
    """
    message, _ = detach(content)
    record = content.get(VECTOR_RECORD)
    array = record.get(_VECTOR) if isinstance(record, ArrayRecord) else None
    if message is None or array is None or array.stype != _RAW:
        raise DecodeError("the reply has no masked vector: does the ClientApp have the secure mod on this function?")
    return message, array.data


def for_function(message: Message, content: RecordDict) -> Message:
    """What the train function is given: the content, and of Flower's metadata only what is the same for all parties.

    A message has an id, a time and a time to live that the coordinator chooses for every party by itself. They are not in the transcript,
    so the function gets constants: whatever differed in them could make one party train in another way than the others.
    """
    own = message.metadata
    metadata = Metadata(
        run_id=own.run_id,
        message_id="",
        src_node_id=_COORDINATOR,
        dst_node_id=own.dst_node_id,
        reply_to_message_id="",
        group_id=own.group_id,
        created_at=time.time(),
        ttl=DEFAULT_TTL,
        message_type=own.message_type,
    )
    sheltered: Message = Message(content=content, metadata=metadata)  # type: ignore[call-overload] # what Flower's own code passes
    return sheltered


def describe(message: Message) -> tuple[str, int] | None:
    """Protocol step and round number of a Flower message; None for one that is not ours."""
    if not message.has_content():
        return None
    data, _ = detach(message.content)
    if data is None:
        return None
    kind, header = peek(data)
    return _STEPS[kind], header.round


def content_digest(content: RecordDict) -> bytes:
    """32 bytes over the records that a train or evaluate function receives.

    Records and entries are hashed in their order, each with its kind: an app that reads a model as a list would otherwise get another one
    if the order were another. Arrays count with their serialised bytes, dtype and shape.
    """
    state = hashlib.sha256(Writer().opaque(Label.MODEL.value).u32(len(content)).getvalue())
    for key, record in content.items():
        state.update(Writer().text(key).text(type(record).__name__).u32(len(record)).getvalue())
        for name in record:
            state.update(Writer().text(name).getvalue())
            if isinstance(record, ArrayRecord):
                array = record[name]
                writer = Writer().text(array.dtype).vector(array.shape, Writer.u64).text(array.stype).u64(len(array.data))
                state.update(writer.getvalue())
                state.update(array.data)
            else:
                state.update(_encode_value(record[name]))
    return state.digest()


def config_digest(context: Context) -> bytes:
    """32 bytes over what a Context has from the SuperLink and not from the node itself: the run config and the series id.

    The config counts in the order of its keys' names: Flower does not promise another. The node's id and config are the party's own.
    """
    config = context.run_config
    writer = Writer().opaque(_encode_value(context.series_id)).u32(len(config))
    for key in sorted(config):
        writer.text(key).opaque(_encode_value(config[key]))
    return kdf.digest(Label.RUN_CONFIG, writer.getvalue())


def bound_digest(message_type: str, group_id: str, digest: bytes, run_config: bytes) -> bytes:
    """32 bytes for the transcript, over all that a function can read and a coordinator can choose.

    Args:
        message_type: Flower's.
        group_id: Flower's.
        digest: of the content (`content_digest`).
        run_config: digest of the Context's run config (`config_digest`). It reaches a node from the SuperLink, which could hand every
            node another one: a learning rate of 1 for one party and of 0 for all others would make the sum that party's update.
    """
    return kdf.digest(Label.FUNCTION_INPUT, message_type.encode(), group_id.encode(), digest, run_config)


def _encode_value(value: object) -> bytes:
    """A config or metric value with its type: 1, 1.0, True and "1" are different."""
    writer = Writer()
    match value:
        case bool():
            return writer.text("bool").u8(value).getvalue()
        case int():
            return writer.text("int").text(str(value)).getvalue()
        case float():
            return writer.text("float").fixed(struct.pack(">d", value), 8).getvalue()  # every NaN is itself
        case str():
            return writer.text("str").text(value).getvalue()
        case bytes():
            return writer.text("bytes").opaque(value).getvalue()
        case list():
            return writer.text("list").vector(value, lambda w, item: w.opaque(_encode_value(item))).getvalue()
        case _:
            raise LocalError(f"a record holds a {type(value).__name__}, which Flower's records do not have")
