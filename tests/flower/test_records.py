"""Where our messages sit in Flower's records, and the digest of what a train function receives."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from flwr.app import DEFAULT_TTL, Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from stfed.errors import DecodeError, LocalError
from stfed.flower import records
from stfed.secagg.messages import Header, JoinRequest, Masked, Phase
from stfed.secagg.suite import Suite
from stfed.testing.parcel import pack, unpack
from tests.flower import apps

JOIN = JoinRequest(header=Header(7, 1, 4, Suite.X25519_AES256), mode=0).encode()


def content(**config: Any) -> RecordDict:
    return RecordDict({"arrays": apps.model(), "config": ConfigRecord({"server-round": 1, **config})})


def seen(series: int = 0, **config: Any) -> Context:
    """A Context with this run config."""
    return Context(7, 3, {}, RecordDict(), config, series)


def crossed(sent: RecordDict, kind: str = "train") -> RecordDict:
    """The content after a way through Flower's own serialisation."""
    apps.plain_grid(1)
    return unpack(pack(Message(sent, 1, kind))).content


@given(st.binary(max_size=200))
def test_a_light_message_comes_back(message: bytes) -> None:
    assert records.message_of(records.light(message)) == message


def test_a_message_beside_a_model_comes_back_and_leaves_the_rest_as_it_was() -> None:
    ours = content(lr=0.5)
    sent = records.attach(ours, JOIN, bytes(32))
    assert list(ours) == ["arrays", "config"]
    message, rest = records.detach(crossed(sent))
    assert message == JOIN
    assert records.run_config_of(crossed(sent)) == bytes(32)
    assert list(rest) == ["arrays", "config"]
    assert records.content_digest(rest) == records.content_digest(ours)


def test_attaching_shares_the_records() -> None:
    ours = content()
    assert records.attach(ours, JOIN, bytes(32))["arrays"] is ours["arrays"]


def test_a_name_that_is_taken() -> None:
    with pytest.raises(LocalError, match="record 'stfed' of their own") as caught:
        records.attach(RecordDict({"stfed": ConfigRecord({"x": 1})}), JOIN, bytes(32))
    assert caught.value.hint == "give that record another name"


def test_a_plain_content_has_no_message() -> None:
    assert records.detach(content())[0] is None
    with pytest.raises(DecodeError, match="does the ClientApp have the mod"):
        records.message_of(content())


@pytest.mark.parametrize(
    "record", [ConfigRecord({}), ConfigRecord({"message": "text"}), ConfigRecord({"message": [b"x"]}), MetricRecord({"message": 1})]
)
def test_a_record_with_our_name_and_something_else(record: Any) -> None:
    with pytest.raises(DecodeError, match="has no message in it"):
        records.detach(RecordDict({"stfed": record}))


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_a_masked_vector_comes_back(vector: bytes, message: bytes) -> None:
    assert records.unmasked(records.masked(message, vector)) == (message, vector)


def test_a_masked_vector_survives_flowers_serialisation() -> None:
    vector = np.random.default_rng(0).bytes(6 << 20)  # more than one chunk of 5 MiB
    assert records.unmasked(crossed(records.masked(JOIN, vector))) == (JOIN, vector)


@pytest.mark.parametrize(
    "reply",
    [
        RecordDict({"arrays": apps.model(), "metrics": MetricRecord({"num-examples": 1})}),
        RecordDict({"stfed": ConfigRecord({"message": JOIN})}),
        RecordDict({"stfed": ConfigRecord({"message": JOIN}), "stfed.masked": MetricRecord({"vector": 1})}),
        RecordDict({"stfed": ConfigRecord({"message": JOIN}), "stfed.masked": ArrayRecord({"other": apps.array_of(np.zeros(1))})}),
        RecordDict({"stfed": ConfigRecord({"message": JOIN}), "stfed.masked": ArrayRecord({"vector": apps.array_of(np.zeros(1))})}),
        RecordDict({"stfed.masked": ArrayRecord({"vector": Array("uint8", (1,), "stfed.packed", b"x")})}),
    ],
    ids=["plain", "no vector", "metrics", "another name", "a plain array", "no message"],
)
def test_a_train_reply_that_is_not_ours(reply: RecordDict) -> None:
    with pytest.raises(DecodeError, match="no masked vector"):
        records.unmasked(reply)


@pytest.mark.parametrize(
    ("kind", "phase"),
    [("train", Phase.TRAIN), ("train.warm_up", Phase.TRAIN), ("evaluate", Phase.EVALUATE), ("evaluate.test", Phase.EVALUATE)],
)
def test_the_phase_of_a_message_type(kind: str, phase: Phase) -> None:
    assert records.phase_of(kind) is phase


@pytest.mark.parametrize("kind", ["query", "query.x", "trains", "", "system"])
def test_a_message_type_without_a_sum(kind: str) -> None:
    with pytest.raises(LocalError, match="train and evaluate messages") as caught:
        records.phase_of(kind)
    assert "ClientApp without the secure mod" in str(caught.value.hint)


def test_describing_messages_for_a_dump() -> None:
    apps.plain_grid(1)
    assert records.describe(Message(records.light(JOIN), 1, "train")) == ("join", 4)
    masked = Masked(header=Header(7, 1, 9, Suite.X25519_AES256), schema=b"", payload_bytes=3)
    assert records.describe(Message(records.masked(masked.encode(), b"abc"), 1, "train")) == ("train", 9)
    assert records.describe(Message(content(), 1, "train")) is None
    assert records.describe(Message(Error(1, "x"), reply_to=Message(content(), 1, "train"))) is None


# The digest


digest = records.content_digest


def test_equal_contents_have_equal_digests_wherever_they_are() -> None:
    assert digest(content(lr=0.5)) == digest(content(lr=0.5)) == digest(crossed(content(lr=0.5)))
    assert len(digest(content())) == 32


def record_of(**arrays: Any) -> RecordDict:
    return RecordDict({"arrays": apps.record_of(arrays)})


def raw(dtype: str, shape: tuple[int, ...], stype: str) -> RecordDict:
    """An array whose bytes do not say what they are."""
    return RecordDict({"arrays": ArrayRecord({"w": Array(dtype, shape, stype, b"abcd")})})


ZEROS = np.zeros(2, np.float32)
DIFFERENT: list[RecordDict] = [
    content(),
    content(lr=0.5),
    content(lr=0.25),
    content(lr=1),
    content(lr=1.0),
    content(lr=True),
    content(lr="1"),
    content(lr=b"1"),
    content(lr=[1]),
    content(lr=[1.0]),
    content(lr=[1, 1]),
    content(lr=[]),
    content(lr=-0.0),
    content(lr=0.0),
    content(lr2=0.5),
    content(a=1, b=2),
    content(b=2, a=1),
    RecordDict({}),
    RecordDict({"arrays": apps.model()}),
    RecordDict({"model": apps.model()}),
    RecordDict({"config": ConfigRecord({"server-round": 1}), "arrays": apps.model()}),
    RecordDict({"arrays": apps.model(1), "config": ConfigRecord({"server-round": 1})}),
    RecordDict({"config": ConfigRecord({"x": 1})}),
    RecordDict({"config": MetricRecord({"x": 1})}),
    record_of(w=ZEROS),
    record_of(w=ZEROS.reshape(1, 2)),
    record_of(w=ZEROS.view(np.int32)),
    record_of(v=ZEROS),
    record_of(w=ZEROS[:1], v=ZEROS[:1]),
    record_of(v=ZEROS[:1], w=ZEROS[:1]),
    record_of(w=-ZEROS),
    raw("uint8", (4,), "raw"),
    raw("int8", (4,), "raw"),
    raw("uint8", (2, 2), "raw"),
    raw("uint8", (4,), "other"),
]


def test_any_difference_makes_another_digest() -> None:
    """Names, kinds, values, their types and their order, dtype, shape and bytes of an array; 1, 1.0, True and "1" are four things."""
    digests = [digest(record) for record in DIFFERENT]
    same = [(i, j) for i, one in enumerate(digests) for j, other in enumerate(digests[:i]) if one == other]
    assert same == []


@pytest.mark.parametrize("at", range(len(DIFFERENT)))
def test_both_sides_compute_the_same_digest(at: int) -> None:
    """Flower's serialisation keeps every type, and the order of everything."""
    assert digest(crossed(DIFFERENT[at])) == digest(DIFFERENT[at])


def test_the_kind_of_message_and_its_group_are_bound_to_the_digest() -> None:
    """A function can read them. Where one name ends and the next begins is in it as well."""
    same, none = digest(content()), records.config_digest(seen())
    bound = [records.bound_digest(kind, group, same, none) for kind in ("train", "evaluate", "train.x") for group in ("", "1", "x", ".x")]
    assert len({same, *bound}) == 13
    assert records.bound_digest("train", "", digest(RecordDict()), none) not in bound
    assert records.bound_digest("train", "", same, records.config_digest(seen(lr=1))) not in bound


def test_run_configs_differ_by_value_and_type_and_not_by_order() -> None:
    configs: list[Any] = [{}, {"a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"b": 1}, {"a": 1, "b": 2}, {"a": "1b", "2": ""}]
    assert len({records.config_digest(seen(**config)) for config in configs} | {records.config_digest(seen(series=1))}) == len(configs) + 1
    assert records.config_digest(seen(b=2, a=1)) == records.config_digest(seen(a=1, b=2))
    own = Context(7, 3, {"mine": 1}, RecordDict(), {})
    assert records.config_digest(own) == records.config_digest(Context(7, 4, {}, RecordDict(), {}))


def test_a_prepare_reply_says_which_run_config_it_is_for() -> None:
    reply = records.prepared(JOIN, records.config_digest(seen(lr=0.1)))
    assert records.message_of(reply) == JOIN
    assert records.run_config_of(reply) == records.config_digest(seen(lr=0.1))
    for bad in (records.light(JOIN), records.prepared(JOIN, b"short"), RecordDict()):
        with pytest.raises(DecodeError, match="does not say which run config"):
            records.run_config_of(bad)


def test_the_function_is_given_the_content_and_nothing_that_differs_between_parties() -> None:
    message = Message(content(), 7, "train.x", ttl=3.25, group_id="5")
    message.metadata.__dict__.update(_message_id="chosen for you", _src_node_id=99, _reply_to_message_id="other")
    message.metadata.created_at = 12.5
    given = records.for_function(message, RecordDict({"config": ConfigRecord({"lr": 0.1})}))
    assert list(given.content) == ["config"]
    metadata = given.metadata
    assert (metadata.message_id, metadata.reply_to_message_id, metadata.src_node_id, metadata.ttl) == ("", "", 1, DEFAULT_TTL)
    assert abs(metadata.created_at - time.time()) < 60
    assert (metadata.run_id, metadata.dst_node_id, metadata.message_type, metadata.group_id) == (message.metadata.run_id, 7, "train.x", "5")


@given(
    st.lists(st.text(max_size=3), max_size=4),
    st.lists(st.text(max_size=3), max_size=4),
)
def test_lists_are_not_confused_with_each_other(one: list[str], other: list[str]) -> None:
    assert (digest(RecordDict({"c": ConfigRecord({"v": one})})) == digest(RecordDict({"c": ConfigRecord({"v": other})}))) == (one == other)
