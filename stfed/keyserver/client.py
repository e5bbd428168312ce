"""The reader's side: asks a key service for one file's key, over TLS, and takes it only from the service whose key is pinned.

    service = KeyServer("https://keys.example.org:8443", signer="me", service_key="keyserver.pub", ca="tls.crt")
    tensors = load_file("model.safetensors", service=service, purpose="evaluation")

Whoever breaks or intercepts TLS sees what is asked for and can answer nothing: the reply is encrypted to a key made for the one request and
signed by the service.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from stfed.crypto.identity import BadSignatureError
from stfed.crypto.random import Entropy, system_entropy
from stfed.errors import LocalError, MalformedError, shown
from stfed.keys.encryption import generate_keypair
from stfed.keys.keyfile import PathLike, SignerLike, VerifierLike, read_signer, read_verifier
from stfed.keys.passphrase import Passphrase
from stfed.keyserver import messages
from stfed.keyserver.errors import KeyServiceError
from stfed.keyserver.messages import REPLY_MAX_BYTES, Reply, Request
from stfed.keyserver.rules import RULES
from stfed.keyserver.statement import Statement, is_purpose
from stfed.sealed.envelope import Envelope
from stfed.sealed.errors import AccessDeniedError
from stfed.sealed.grants import key_sha256
from stfed.sealed.times import Clock, system_clock

_OK = 200
_MAYBE_BUSY = "it also closes connections when too many are open, in all or from one address"


class KeyServer:
    """A key service, as a reader sees it; what `service=` takes. Any number of threads may use one.

    Args:
        url: `https://host:port`, or with a path before `/v1`. There is no `http://`.
        signer: the caller's signing key, an object or a KEY path. The service's roster has its public half.
        service_key: the service's public signing key: an object, text or KEY.pub path.
        ca: PEM file of the certificates to trust, such as the service's own; those of the system if None.
        passphrase: of a protected `signer` file.
        proxy: URL of an HTTP proxy to go through. The environment's proxy variables are not looked at.
        timeout_s: how long to wait for each step of the network.
        clock: the time that requests state.
        entropy: where the one-time keys come from.

    Raises:
        LocalError: if the URL, a key or the certificates cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        signer: SignerLike,
        service_key: VerifierLike,
        ca: PathLike | None = None,
        passphrase: Passphrase | None = None,
        proxy: str | None = None,
        timeout_s: float = 30.0,
        clock: Clock = system_clock,
        entropy: Entropy = system_entropy,
    ) -> None:
        self._url = _checked(url)
        self._signer, self._service = read_signer(signer, passphrase), read_verifier(service_key)
        self._context = _tls(ca)
        self._proxy, self._timeout_s, self._clock, self._entropy = proxy, timeout_s, clock, entropy

    @property
    def caller(self) -> str:
        """Fingerprint of the caller's signing key."""
        return self._signer.public.fingerprint

    def file_key(self, envelope: Envelope, purpose: str | None) -> bytes:
        """The file's key, by one challenge and one request; nothing is tried twice.

        Args:
            envelope: of the file.
            purpose: what it is opened for.

        Raises:
            AccessDeniedError: if the service refuses; `rule` is one of `stfed.keyserver.rules`.
            KeyServiceError: if it cannot be reached, proves to be another one, or answers nonsense.
            LocalError: if no policy could have such a purpose.
        """
        if purpose is not None and not is_purpose(purpose):
            raise LocalError(f"{shown(purpose)} is no purpose", hint="a purpose is short printable text")
        with self._connected() as client:
            encoded, nonce = envelope.encode(), messages.decode_challenge(self._post(client, "challenge", b""))
            one_time, reply_to = generate_keypair("hybrid", entropy=self._entropy)
            statement = Statement(
                service=key_sha256(self._service),
                nonce=nonce,
                time=self._clock(),
                caller=self._signer.public,
                reply_to=reply_to,
                purpose=purpose,
                layout=envelope.manifest.layout,
                manifest_sha256=envelope.manifest.sha256,
                envelope_sha256=hashlib.sha256(encoded).digest(),
            )
            request = Request.make(statement, encoded, self._signer)
            reply = Reply.decode(self._post(client, "release", request.encode()))
            return reply.open(statement, one_time, self._service)

    def _post(self, client: httpx.Client, name: str, body: bytes) -> bytes:
        with client.stream("POST", f"{self._url}/v1/{name}", content=body) as response:
            answer = bytearray()
            for chunk in response.iter_raw():
                answer += chunk
                if len(answer) > REPLY_MAX_BYTES:
                    raise MalformedError("the answer is too long")
        if response.status_code != _OK:
            self._refused(bytes(answer), response.status_code)
        return bytes(answer)

    def _refused(self, answer: bytes, status: int) -> None:
        try:
            rule = RULES[messages.decode_refusal(answer)]
        except (MalformedError, KeyError):
            raise KeyServiceError(f"{self._url} answers with status {status}: it is no key service of ours, or too busy") from None
        if rule.name == "unavailable":
            raise KeyServiceError(f"the key service at {self._url} refuses: {rule.says}", hint=rule.hint)
        raise AccessDeniedError(f"the key service at {self._url} refuses: {rule.says}", rule=rule.name, hint=rule.hint)

    @contextmanager
    def _connected(self) -> Iterator[httpx.Client]:
        """A connection for one exchange, and what goes wrong with it in our words."""
        try:
            with httpx.Client(
                verify=self._context, trust_env=False, follow_redirects=False, timeout=self._timeout_s, proxy=self._proxy
            ) as client:
                yield client
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        except MalformedError as error:
            raise KeyServiceError(f"the key service at {self._url} answers what no service of ours does: {error.message}") from None
        except BadSignatureError:
            raise KeyServiceError(
                f"the answer from {self._url} is not signed by the key service {self._service.fingerprint}",
                hint="it is another service, or its key was replaced: compare fingerprints with whoever runs it",
            ) from None

    def _unreachable(self, error: BaseException) -> KeyServiceError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return KeyServiceError(
                    f"the TLS certificate of {self._url} is not accepted: {cause.verify_message}",
                    hint="give the right certificate authority: ca=...; somebody may be in between",
                )
            if isinstance(cause, ssl.SSLError):
                return KeyServiceError(f"TLS with {self._url} failed: {cause.reason or cause}", hint=_MAYBE_BUSY)
            cause = cause.__cause__ or cause.__context__
        if isinstance(error, httpx.TimeoutException):
            return KeyServiceError(f"the key service at {self._url} does not answer within {self._timeout_s:g} s")
        return KeyServiceError(
            f"the key service at {self._url} cannot be reached: {error}", hint=f"check the address and that it runs; {_MAYBE_BUSY}"
        )


def _checked(url: str) -> str:
    try:
        parts = httpx.URL(url)
        usable = parts.host and not (parts.userinfo or parts.query or parts.fragment)
    except (httpx.InvalidURL, TypeError):
        raise LocalError(f"{shown(url)} is no URL", hint="it reads like https://keys.example.org:8443") from None
    if parts.scheme != "https" or not usable:
        raise LocalError(f"{shown(url)} is no place for a key service: only https://host:port is", hint="TLS is not optional")
    return str(parts).rstrip("/")


def _tls(ca: PathLike | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError):  # SSLError is an OSError
        raise LocalError(f"{ca} holds no certificates", hint="ca= takes a PEM file") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
