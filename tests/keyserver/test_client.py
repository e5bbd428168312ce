"""The reader's side: TLS always, the right service or none, clear words for whatever goes wrong, and nothing tried twice."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stfed.errors import LocalError
from stfed.keys.encryption import generate_keypair
from stfed.keys.keyfile import write_keypair
from stfed.keys.signing import SigningKey
from stfed.keyserver import KeyServer, KeyServiceError
from stfed.keyserver.certificate import self_signed
from stfed.keyserver.messages import REPLY_MAX_BYTES, Reply, Request, encode_challenge, encode_refusal
from stfed.sealed import AccessDeniedError, SealedReader, TamperedError
from stfed.sealed.numpy import load
from stfed.sealed.unwrapping import KeyService
from tests.keyserver.world import ALICE, House, envelope_of, for_alice, running, sealed

SERVICE = SigningKey.generate()
IDENTITY, KEY = generate_keypair("x25519")
FILE = sealed(KEY, policy=for_alice())
ENVELOPE = envelope_of(FILE)

Answer = Callable[[str, bytes], tuple[int, bytes]]


@contextmanager
def serving(tmp_path: Path, answer: Answer) -> Iterator[tuple[str, Path, list[str]]]:
    """A real HTTPS server that answers what a test tells it to: its URL, its certificate, and the paths that were asked for."""
    certificate, key = self_signed(["127.0.0.1"], datetime.now(UTC))
    (tmp_path / "fake.crt").write_bytes(certificate)
    (tmp_path / "fake.key").write_bytes(key)
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            status, body = answer(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            if status // 100 == 3:
                self.send_header("Location", "https://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    fake = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "fake.crt", tmp_path / "fake.key")
    fake.socket = context.wrap_socket(fake.socket, server_side=True)
    thread = threading.Thread(target=fake.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{fake.server_port}", tmp_path / "fake.crt", asked
    finally:
        fake.shutdown()
        thread.join()
        fake.server_close()


def honest(path: str, body: bytes) -> tuple[int, bytes]:
    """A service that gives its key to everybody, in due form."""
    if path == "/v1/challenge":
        return 200, encode_challenge(b"n" * 32)
    request = Request.decode(body)
    request.verify()
    key = IDENTITY.decrypt(ENVELOPE.recipients[0].body, ENVELOPE.manifest.context.key_info)
    return 200, Reply.make(request.statement, key, SERVICE).encode()


def then(status: int, body: bytes) -> Answer:
    """The challenge as it should be, and this in answer to the request."""
    return lambda path, data: honest(path, data) if path == "/v1/challenge" else (status, body)


def client(url: str, ca: Path | None, **more: object) -> KeyServer:
    return KeyServer(url, signer=ALICE.signing, service_key=SERVICE.public, ca=ca, **more)  # type: ignore[arg-type]


def test_it_is_what_readers_take_for_a_service(tmp_path: Path) -> None:
    with serving(tmp_path, honest) as (url, ca, asked):
        service: KeyService = client(f"{url}/", ca)
        assert service.caller == ALICE.public.fingerprint
        with SealedReader(FILE, service=service) as reader:
            assert reader.access.how == "key service"
        assert asked == ["/v1/challenge", "/v1/release"]


def test_keys_from_files(tmp_path: Path) -> None:
    write_keypair(tmp_path / "alice", ALICE.identity, ALICE.signing)
    write_keypair(tmp_path / "service", signing=SERVICE)
    with serving(tmp_path, honest) as (url, ca, _):
        service = KeyServer(url, signer=tmp_path / "alice", service_key=tmp_path / "service.pub", ca=ca)
        assert len(load(FILE, service=service)) == 1


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1", "127.0.0.1:1", "https://", "https://user:word@host", "https://host/?a=b", "https://host/#a", "ftp://host", "",
     "https://[::1", "file:///etc"],
)  # fmt: skip
def test_what_is_no_https_url_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(LocalError):
        client(url, None)


def test_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    for ca in (tmp_path / "junk", tmp_path / "nothing"):
        with pytest.raises(LocalError, match="holds no certificates"):
            client("https://localhost", ca)


def test_a_man_in_the_middle_with_another_certificate_gets_nothing(tmp_path: Path) -> None:
    """His certificate is valid for the same host, but not the one that the reader was given: the request is never sent."""
    mine, _ = self_signed(["127.0.0.1"], datetime.now(UTC))
    (tmp_path / "real.crt").write_bytes(mine)
    with serving(tmp_path, honest) as (url, _, asked):
        with pytest.raises(KeyServiceError, match=r"certificate .* is not accepted.*self-signed"):
            client(url, tmp_path / "real.crt").file_key(ENVELOPE, None)
        with pytest.raises(KeyServiceError, match="is not accepted"):
            client(url, None).file_key(ENVELOPE, None)
        assert asked == []


def test_a_certificate_for_another_host(tmp_path: Path) -> None:
    house = House.new(tmp_path / "keys")
    with running(house) as service, pytest.raises(KeyServiceError, match=r"is not accepted.*[Hh]ostname mismatch"):
        house.client(ALICE, service.url.replace("127.0.0.1", "localhost")).file_key(envelope_of(sealed(house.made.recipient)), None)


def test_another_service_is_noticed_by_its_signature(tmp_path: Path) -> None:
    """Somebody with a valid certificate for the host runs a service of their own: the pinned key tells.

    A key service of ours refuses by itself, because the request names another one; a forger who does not care answers in vain.
    """
    house = House.new(tmp_path / "keys")
    with running(house) as service:
        with pytest.raises(AccessDeniedError) as refused:
            service.client(service_key=SERVICE.public).file_key(envelope_of(sealed(house.made.recipient)), None)
        assert refused.value.rule == "unauthenticated"
        assert house.last()["rule"] == "service"
    with (
        serving(tmp_path, honest) as (url, ca, _),
        pytest.raises(KeyServiceError, match=f"not signed by the key service {ALICE.public.fingerprint}"),
    ):
        KeyServer(url, signer=ALICE.signing, service_key=ALICE.public, ca=ca).file_key(ENVELOPE, None)


def test_a_reply_to_somebody_elses_request(tmp_path: Path) -> None:
    """A proxy that has seen other replies by the real service puts one of them here."""
    other: list[bytes] = []

    def answer(path: str, body: bytes) -> tuple[int, bytes]:
        status, reply = honest(path, body)
        if path == "/v1/release":
            other.append(reply)
        return status, other[0] if path == "/v1/release" else reply

    with serving(tmp_path, answer) as (url, ca, _):
        assert len(client(url, ca).file_key(ENVELOPE, None)) == 32
        with pytest.raises(KeyServiceError, match="not signed by"):
            client(url, ca).file_key(ENVELOPE, None)


def test_a_wrong_key_from_the_right_service_opens_nothing(tmp_path: Path) -> None:
    """A service that errs, or lies, about the key: the file's own commitment to its key shows it."""

    def answer(path: str, body: bytes) -> tuple[int, bytes]:
        if path == "/v1/challenge":
            return honest(path, body)
        return 200, Reply.make(Request.decode(body).statement, bytes(32), SERVICE).encode()

    with serving(tmp_path, answer) as (url, ca, _), pytest.raises(TamperedError):
        load(FILE, service=client(url, ca))


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"\xff", b'{"nonce":"00","version":1}', b"x" * (REPLY_MAX_BYTES + 1)])
def test_nonsense_instead_of_an_answer(body: bytes, tmp_path: Path) -> None:
    for answer in (lambda _path, _data: (200, body), then(200, body)):
        with serving(tmp_path, answer) as (url, ca, _), pytest.raises(KeyServiceError, match="answers what no service of ours does"):
            client(url, ca).file_key(ENVELOPE, None)


def test_an_answer_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    """A reply that would fit, padded by a service of somebody's own to many times its length: the limit counts before the content."""
    endless = b" " * (64 << 20)
    with serving(tmp_path, lambda _path, _data: (200, endless)) as (url, ca, _), pytest.raises(KeyServiceError, match="answer is too long"):
        client(url, ca).file_key(ENVELOPE, None)


@pytest.mark.parametrize("status", [204, 301, 307, 401, 404, 500, 503])
def test_another_status_without_a_rule(status: int, tmp_path: Path) -> None:
    body = b"" if status == 204 else b"<html>"
    with serving(tmp_path, then(status, body)) as (url, ca, asked):
        with pytest.raises(KeyServiceError, match=f"status {status}"):
            client(url, ca).file_key(ENVELOPE, None)
        assert asked == ["/v1/challenge", "/v1/release"]


def test_a_rule_is_said_in_our_own_words(tmp_path: Path) -> None:
    """What comes over the network is a name in a table; no text of a stranger reaches the terminal."""
    with serving(tmp_path, then(403, encode_refusal("purpose"))) as (url, ca, asked):
        with pytest.raises(AccessDeniedError, match="may not be opened for this purpose") as refused:
            client(url, ca).file_key(ENVELOPE, None)
        assert refused.value.rule == "purpose"
        assert asked.count("/v1/release") == 1, "a burned nonce is not tried again"
    for rule in ("\x1b[2Jowned", "", "nothing of ours"):
        with (
            serving(tmp_path, then(403, encode_refusal(rule))) as (url, ca, _),
            pytest.raises(KeyServiceError, match="status 403") as other,
        ):
            client(url, ca).file_key(ENVELOPE, None)
        assert "\x1b" not in str(other.value)


def test_unreachable_and_slow(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(KeyServiceError, match=r"does not answer within 0\.3 s"):
            client(url, None, timeout_s=0.3).file_key(ENVELOPE, None)
    with pytest.raises(KeyServiceError, match="cannot be reached"):
        client(url, None).file_key(ENVELOPE, None)


def test_plain_http_behind_an_https_url() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def hang_up() -> None:
            connection, _ = plain.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(KeyServiceError, match="TLS with"):
            client(f"https://127.0.0.1:{plain.getsockname()[1]}", None).file_key(ENVELOPE, None)
        thread.join()


def test_a_purpose_that_no_policy_names() -> None:
    with pytest.raises(LocalError, match="is no purpose"):
        client("https://127.0.0.1:1", None).file_key(ENVELOPE, "a\nb")


def test_nothing_secret_in_its_repr() -> None:
    assert ALICE.signing.secret_string() not in repr(vars(client("https://127.0.0.1:1", None)))
