"""The process: ready, stopped, killed, beside another one, attacked by slowness, and started with something wrong."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from stfed.audit import AuditLog, Kind
from stfed.errors import LocalError
from stfed.keyserver import KeyServiceError, server
from stfed.keyserver.config import Config
from stfed.keyserver.messages import encode_refusal
from stfed.sealed import AccessDeniedError
from stfed.sealed.numpy import load
from tests.keyserver.world import ALICE, ROOT, House, envelope_of, for_alice, running, sealed


def file_of(house: House) -> bytes:
    return sealed(house.made.recipient, policy=for_alice())


def test_it_stops_when_told_and_signs_the_log(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys")
    for how in (signal.SIGTERM, signal.SIGINT):
        with running(house) as service:
            load(file_of(house), service=service.client())
            assert service.stop(how) == (0, "key service stopped\n")
    with AuditLog(house.folder / "audit.db", create=False) as log:
        assert [text.split("\n")[1] for text in log.checkpoints()] == ["1", "2"]
        assert {entry.event.kind for entry in log.entries()} == {Kind.KEY_RELEASE}


def test_a_request_in_progress_is_finished_before_it_stops(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys")
    with running(house) as service, _tls(service.url, house.folder / "tls.crt") as connection:
        body = service.request(envelope_of(file_of(house))).encode()
        head = f"POST /v1/release HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head + body[:100])
        time.sleep(0.3)
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(body[100:])
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        connection.close()
        assert service.process.wait(timeout=20) == 0


def test_what_was_burned_before_a_restart_stays_burned(tmp_path: Path) -> None:
    """Replay over a restart: neither a clean stop nor a kill brings a nonce back; one that was not used still works."""
    house = House.new(tmp_path / "keys")
    envelope = envelope_of(file_of(house))
    with running(house) as service:
        used, unused = service.request(envelope), service.request(envelope)
        assert service.release(used)[0] == 200
        service.stop(signal.SIGKILL)
    with running(house) as service:
        assert service.release(used) == (403, encode_refusal("unauthenticated"))
        assert service.release(unused)[0] == 200
        service.stop()
    with running(house) as service:
        for request in (used, unused):
            assert service.release(request) == (403, encode_refusal("unauthenticated"))


def test_killed_in_the_middle_of_requests_it_leaves_a_valid_log_and_no_nonce_twice(tmp_path: Path) -> None:
    """SIGKILL under load, three times: every reply that arrived has its entry, and none of the requests works again."""
    house = House.new(tmp_path / "keys", checkpoint_every=3)
    envelope = envelope_of(file_of(house))
    sent, answered = [], 0
    for _ in range(3):
        with running(house) as service:
            stop = threading.Event()
            oks: list[bool] = []

            def ask(service: Any = service, stop: threading.Event = stop, oks: list[bool] = oks) -> None:
                while not stop.is_set():
                    try:
                        request = service.request(envelope)
                        sent.append(request)
                        oks.append(service.release(request)[0] == 200)
                    except httpx.HTTPError:
                        return

            threads = [threading.Thread(target=ask) for _ in range(2)]
            for thread in threads:
                thread.start()
            time.sleep(0.7)
            service.process.kill()
            stop.set()
            for thread in threads:
                thread.join(30)
            answered += sum(oks)
    released = [entry.event.fields["request_sha256"] for entry in house.entries() if entry.event.kind is Kind.KEY_RELEASE]
    assert 0 < answered <= len(released) == len(set(released))
    with running(house) as service:
        again = [service.release(request)[0] for request in sent if request.statement.sha256.hex() in released]
        assert set(again) == {403}


def test_two_processes_share_nonces_allowances_and_log(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys", per_caller=3)
    envelope = envelope_of(file_of(house))
    with running(house) as one, running(house) as two:
        request = one.request(envelope)
        assert two.release(request)[0] == 200
        assert one.release(request)[0] == 403
        assert two.release(request)[0] == 403
        load(file_of(house), service=one.client())
        load(file_of(house), service=two.client())
        for service in (one, two):
            with pytest.raises(AccessDeniedError, match="too many requests") as refused:
                load(file_of(house), service=service.client())
            assert refused.value.rule == "rate"
    kinds = [entry.event.kind for entry in house.entries()]
    assert kinds.count(Kind.KEY_RELEASE) == 3
    assert [entry.event.fields["rule"] for entry in house.entries() if entry.event.kind is Kind.KEY_REFUSED] == ["nonce", "nonce", "rate"]


def test_strangers_have_an_allowance(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys", per_address=3)
    with running(house) as service:
        codes = [service.post("/v1/challenge")[0] for _ in range(6)]
        assert codes == [200] * 3 + [429] * 3
        assert service.post("/v1/release", b"x") == (429, encode_refusal("rate"))
    assert [entry.event.fields["rule"] for entry in house.entries()] == ["rate"]


def test_no_key_without_an_entry(tmp_path: Path) -> None:
    """Whoever makes the log go away gets no keys: not unlogged ones, and none at all."""
    house = House.new(tmp_path / "keys")
    with running(house) as service:
        load(file_of(house), service=service.client())
        assert service.post("/v1/health")[0] == 405
        (house.folder / "audit.db").unlink()
        with pytest.raises(Exception, match="can't keep its records"):
            load(file_of(house), service=service.client())
        code, said = service.stop()
    assert code != 0
    assert "a refusal (unavailable) could not be logged" in said
    assert "Traceback" not in said


def test_health(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys")
    with running(house) as service:
        context = ssl.create_default_context(cafile=house.folder / "tls.crt")
        with httpx.Client(verify=context, trust_env=False, base_url=service.url) as client:
            assert (client.get("/v1/health").status_code, client.get("/v1/health").json()) == (200, {"status": "ok"})
            (house.folder / "roster.toml").chmod(0o666)
            assert (client.get("/v1/health").status_code, client.get("/v1/health").json()["refused"]) == (503, "unavailable")


def test_tls_only_and_not_an_old_one(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys")
    with running(house) as service:
        with pytest.raises(httpx.HTTPError):
            httpx.post(service.url.replace("https", "http") + "/v1/challenge", trust_env=False)
        old = ssl.create_default_context(cafile=house.folder / "tls.crt")
        with pytest.warns(DeprecationWarning, match="TLS"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError):
            httpx.post(f"{service.url}/v1/challenge", verify=old, trust_env=False)


HASTY = """
import sys
from stfed import cli
from stfed.keyserver import server
name, seconds, *arguments = sys.argv[1:]
setattr(server, name, float(seconds))
sys.exit(cli.main(arguments))
"""


@contextmanager
def _hasty(house: House, name: str) -> Iterator[str]:
    """The service as a process with one deadline of a second; its URL. It stops as it should."""
    command = [sys.executable, "-c", HASTY, name, "1.0", "keyserver", "--config", str(house.made.config)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stderr is not None
        yield process.stderr.readline().split()[-1]
    finally:
        process.terminate()
        assert process.communicate(timeout=20)[1] == "key service stopped\n"


HALF_A_HEAD = b"POST /v1/release HTTP/1.1\r\nHo"
HALF_A_BODY = b"POST /v1/release HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n12"
CHALLENGE = b"POST /v1/challenge HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "starts"),
    [
        ("CONNECTION_S", (b"", HALF_A_HEAD, HALF_A_BODY)),
        ("HEAD_S", (b"", HALF_A_HEAD, CHALLENGE + HALF_A_HEAD)),
    ],
)
def test_a_connection_that_sends_nothing_more_is_closed(name: str, starts: tuple[bytes, ...], tmp_path: Path) -> None:
    """Half a head, half a body, or nothing: each would hold one of the connections for ever."""
    house = House.new(tmp_path / "keys")
    with _hasty(house, name) as url:
        for start in starts:
            with _tls(url, house.folder / "tls.crt") as connection:
                connection.settimeout(10)
                connection.sendall(start)
                began = time.monotonic()
                assert _end_of(connection)
                assert 0.5 < time.monotonic() - began < 4


def test_a_body_may_take_longer_than_a_head(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys")
    with _hasty(house, "HEAD_S") as url, _tls(url, house.folder / "tls.crt") as connection:
        connection.sendall(HALF_A_BODY)
        time.sleep(1.5)
        connection.sendall(b"3456789")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 400")


def test_a_handshake_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys")
    with _hasty(house, "HANDSHAKE_S") as url, socket.create_connection(_address(url), timeout=10) as connection:
        began = time.monotonic()
        assert _end_of(connection)
        assert 0.5 < time.monotonic() - began < 4


def test_the_deadlines_are_what_the_page_says() -> None:
    assert (server.HANDSHAKE_S, server.HEAD_S, server.CONNECTION_S) == (5, 10, 60)


@pytest.mark.skipif(sys.platform != "linux", reason="only there every 127.x.y.z is an address of this machine")
def test_whoever_holds_connections_open_keeps_nobody_else_out(tmp_path: Path) -> None:
    """One address opens all that it can, with TLS or without a byte, and still gets no more than its share: others get their keys."""
    house = House.new(tmp_path / "keys", connections_per_address=8)
    file = file_of(house)
    context = ssl.create_default_context(cafile=house.folder / "tls.crt")
    with running(house) as service:
        with ExitStack() as held:
            for number in range(300):
                connection = socket.create_connection(_address(service.url), timeout=10, source_address=("127.0.0.2", 0))
                if number < 4:
                    connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
                held.enter_context(connection)
            time.sleep(0.5)
            with socket.create_connection(_address(service.url), 10, ("127.0.0.2", 0)) as one_more:
                assert _end_of(one_more)
            began = time.monotonic()
            assert load(file, service=service.client())["w"].shape == (1000,)
            assert time.monotonic() - began < 3
        code, said = service.stop()
    assert code == 0
    refusals, *others = said.splitlines()
    assert "connections refused, the last from 127.0.0.2" in refusals
    assert others == ["key service stopped"]


def test_one_connection_too_many_is_closed_and_the_reader_hears_of_it(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys", connections_per_address=1)
    with running(house) as service:
        with _tls(service.url, house.folder / "tls.crt"), pytest.raises(KeyServiceError) as failed:
            load(file_of(house), service=service.client())
        assert "too many are open" in str(failed.value.hint)
        time.sleep(0.3)
        load(file_of(house), service=service.client())


def test_connections_that_were_closed_count_no_more(tmp_path: Path) -> None:
    """Ten times as many as may be open, one after the other, each dropped in another state."""
    house = House.new(tmp_path / "keys", connections=3)
    with running(house) as service:
        for number in range(30):
            if number % 3 == 0:
                socket.create_connection(_address(service.url), timeout=10).close()
            else:
                with _tls(service.url, house.folder / "tls.crt") as connection:
                    connection.sendall((HALF_A_HEAD, CHALLENGE)[number % 2])
            time.sleep(0.03)
        load(file_of(house), service=service.client())


def test_a_flood_of_junk_grows_the_log_by_a_few_entries(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys", strangers_logged=3, checkpoint_every=2)
    with running(house) as service:
        for _ in range(40):
            assert service.post("/v1/release", b"x" * 64)[0] == 400
        assert service.stop()[0] == 0
    fields = [entry.event.fields for entry in house.entries()]
    assert 3 <= len(fields) < 9
    assert sum(int(one.get("suppressed") or 0) + ("rule" in one) for one in fields) == 40
    with AuditLog(house.folder / "audit.db", create=False) as log:
        assert len(log.checkpoints()) == 1  # the one at the end


def _end_of(connection: socket.socket) -> bool:
    try:
        while connection.recv(1 << 16):
            continue
        return True
    except (ConnectionError, ssl.SSLEOFError):
        return True


def _address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("https://").split(":")
    return host, int(port)


def _tls(url: str, ca: Path) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=ca)
    return context.wrap_socket(socket.create_connection(_address(url), timeout=10), server_hostname=_address(url)[0])


@pytest.mark.parametrize(
    ("breaking", "says"),
    [
        (lambda folder: (folder / "tls.crt").unlink(), "TLS certificate .* No such file"),
        (lambda folder: (folder / "tls.key").write_text("junk"), "TLS certificate .* cannot be used"),
        (lambda folder: (folder / "tls.key").chmod(0o644), "may be used by everybody"),
        (lambda folder: (folder / "roster.toml").unlink(), "there is no|cannot be read"),
        (lambda folder: (folder / "keyserver.key").chmod(0o644), "others than its owner"),
        (lambda folder: (folder / "audit.db").write_text("a text that is no database" * 9), "audit"),
        (lambda folder: (folder / "keyserver.db").write_text("a text that is no database" * 9), "cannot be used"),
    ],
)  # fmt: skip
def test_it_does_not_start_with_something_wrong(breaking: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys")
    breaking(house.folder)
    with pytest.raises(LocalError, match=says):
        server.serve(Config.read(house.made.config), lambda *_: pytest.fail("it started"))


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        house = House.new(tmp_path / "keys", port=other.getsockname()[1])
        with pytest.raises(LocalError, match="cannot listen on 127"):
            server.serve(Config.read(house.made.config), lambda *_: None)


def test_a_signing_key_alone_is_not_enough(tmp_path: Path) -> None:
    from stfed.keys.keyfile import write_keypair

    house = House.new(tmp_path / "keys")
    (house.folder / "keyserver.key").unlink()
    (house.folder / "keyserver.key.pub").unlink()
    write_keypair(house.folder / "keyserver.key", signing=ALICE.signing)
    with pytest.raises(LocalError, match="both a key to decrypt with and one to sign with"):
        server.serve(Config.read(house.made.config), lambda *_: None)
