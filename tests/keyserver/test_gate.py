"""The door: as many connections as it says, counted from accept to close, by address."""

from __future__ import annotations

import gc
import logging
import socket
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.keyserver.gate import Gate, Listener, network


@pytest.mark.parametrize(
    ("host", "whom"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_an_ipv6_network_is_one_address(host: str, whom: str) -> None:
    assert network(host) == whom


@given(st.integers(1, 6), st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.sampled_from("abcd")), max_size=60))
def test_never_more_than_it_says_and_never_fewer(total: int, per_address: int, steps: list[tuple[bool, str]]) -> None:
    """Against a count kept by hand: who may come in does, and who may not does not."""
    gate, inside = Gate(total, per_address), Counter[str]()
    for comes, address in steps:
        if comes:
            may = inside.total() < total and inside[address] < per_address
            assert gate.enter(address) is may
            inside[address] += may
        elif inside[address]:
            gate.leave(address)
            inside[address] -= 1
        assert gate.open == inside.total()


def test_addresses_that_were_here_take_no_memory() -> None:
    gate = Gate(1, 1)
    for number in range(50):
        address = str(number)
        assert gate.enter(address)
        assert not gate.enter(f"refused {number}")
        gate.leave(address)
    assert not gate._open


def test_refusals_are_reported_once_a_minute_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    times = iter((100.0, 101.0, 159.0, 161.0))
    gate = Gate(8, 1, lambda: next(times))
    gate.enter("192.0.2.1")
    with caplog.at_level(logging.WARNING, "stfed.keyserver"):
        for _ in range(4):
            assert not gate.enter("192.0.2.1")
    assert [record.getMessage() for record in caplog.records] == [
        "1 connections refused, the last from 192.0.2.1: open are 1 of it, 1 in all",
        "3 connections refused, the last from 192.0.2.1: open are 1 of it, 1 in all",
    ]


@contextmanager
def listening(gate: Gate) -> Iterator[Listener]:
    with Listener(socket.create_server(("127.0.0.1", 0)), gate) as listener:
        listener.settimeout(10)
        yield listener


def test_a_connection_counts_from_accept_to_close() -> None:
    gate = Gate(10, 2)
    with listening(gate) as listener:
        address = listener.getsockname()
        peers = [socket.create_connection(address, timeout=10) for _ in range(3)]
        first, second = (listener.accept()[0] for _ in range(2))
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert gate.open == 2
        assert peers[2].recv(1) == b""
        first.sendall(b"x")
        assert peers[0].recv(1) == b"x"
        first.close()
        first.close()  # twice is once
        assert gate.open == 1
        peers.append(socket.create_connection(address, timeout=10))
        third = listener.accept()[0]
        assert gate.open == 2
        for one in (second, third, *peers):
            one.close()
        assert gate.open == 0


def test_a_connection_that_is_forgotten_counts_no_more() -> None:
    gate = Gate(10, 10)
    with listening(gate) as listener, closing(socket.create_connection(listener.getsockname(), timeout=10)):
        accepted = listener.accept()[0]
        assert gate.open == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del accepted
            gc.collect()
        assert gate.open == 0
