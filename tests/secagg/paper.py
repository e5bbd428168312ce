"""The protocol a second time, from the protocol page and the tables of `labels`, `messages` and `keystream` alone: nothing of the package.

For the complete graph, in Python integers. `Replay` takes the messages of a recorded round and each party's randomness and recomputes
what both sides must have computed: every key, share, commitment and ciphertext of PREPARE, every forwarded byte of TRAIN, and the sum.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

PRIME, SEGMENT_BYTES, LIMB_BITS = 65521, 1 << 19, 30


def u32(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def framed(label: str, *parts: bytes) -> bytes:
    return b"".join(u32(len(part)) + part for part in (f"stfed/secagg/{label}/1".encode(), *parts))


def digest(label: str, *parts: bytes) -> bytes:
    return hashlib.sha256(framed(label, *parts)).digest()


def derive(secret: bytes, label: str, *parts: bytes, salt: bytes = bytes(32)) -> bytes:
    """HKDF-SHA256 (RFC 5869), one block."""
    return hmac.digest(hmac.digest(salt, secret, "sha256"), framed(label, *parts) + b"\1", "sha256")


def keystream(key: bytes, start: int, size: int) -> bytes:
    """AES-256-CTR, segment by segment: the counter starts at (segment number in 12 bytes, 2)."""
    out = b""
    while len(out) < size:
        segment, offset = divmod(start + len(out), SEGMENT_BYTES)
        counter = CTR(segment.to_bytes(12, "big") + u32(2))
        out += Cipher(AES(key), counter).encryptor().update(bytes(SEGMENT_BYTES))[offset:]
    return out[:size]


def limbs(data: bytes) -> list[int]:
    return list(struct.unpack("<16H", data))


def interpolated(shares: dict[int, bytes]) -> bytes:
    """Lagrange at zero over GF(65521), for each of the 16 limbs."""
    total = [0] * 16
    for x, share in shares.items():
        weight = 1
        for other in shares:
            if other != x:
                weight = weight * other * pow(other - x, -1, PRIME) % PRIME
        total = [(value + weight * limb) % PRIME for value, limb in zip(total, limbs(share), strict=True)]
    return struct.pack("<16H", *total)


class Bytes:
    """Takes fields off the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        assert size <= len(self.data)
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def opaque(self) -> bytes:
        return self.take(self.u32())

    def u32s(self) -> list[int]:
        return [self.u32() for _ in range(self.u32())]

    def records(self, size: int) -> list[bytes]:
        return [self.take(size) for _ in range(self.u32())]

    def end(self) -> None:
        assert self.data == u32(0), "an empty signature, and nothing behind it"

    def signature(self) -> bytes:
        signature = self.opaque()
        assert (len(signature), self.data) == (64, b""), "a signature, and nothing behind it"
        return signature


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    """Ed25519 (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        raise AssertionError("a signature does not hold") from None


def body(data: bytes, kind: int) -> tuple[bytes, Bytes]:
    """The header as it is hashed (without the kind), and what follows it."""
    assert (data[0], data[1], data[2:4]) == (1, kind, b"\0\1")
    return data[:1] + data[2:20], Bytes(data[20:])


def pieces(data: bytes, *sizes: int) -> list[bytes]:
    reader = Bytes(data)
    return [reader.take(size) for size in sizes] + ([reader.data] if reader.data else [])


class Replay:
    """A round as `tests/vectors/secagg` records it."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        self.by_step: dict[tuple[str, str], dict[int, bytes]] = {}
        for step, direction, node, data in case["messages"]:
            self.by_step.setdefault((step, direction), {})[node] = bytes.fromhex(data)
        self.directory = sorted(self.by_step["join", "up"].values(), key=lambda join: join[20:52])
        self.nodes = [node for join in self.directory for node, sent in self.by_step["join", "up"].items() if sent == join]
        self.private = {
            index: keystream(hashlib.sha256(f"{case['seed']}/{node}".encode()).digest(), 0, 64) for index, node in enumerate(self.nodes)
        }
        self._prepare_requests()
        self.dealt = {party: self._dealt(party, data) for party, data in self.messages("prepare", "up").items()}

    def messages(self, step: str, direction: str) -> dict[int, bytes]:
        """By directory index."""
        return {self.nodes.index(node): data for node, data in self.by_step[step, direction].items()}

    def _prepare_requests(self) -> None:
        (data,) = set(self.messages("prepare", "down").values())
        self.header, fields = body(data, 3)
        self.phase, self.mode = fields.take(2)
        assert [fields.opaque() for _ in range(fields.u32())] == self.directory
        self.cohort, self.k, self.t, self.plan = fields.u32s(), fields.u32(), fields.u32(), fields.opaque()
        fields.end()
        facts = data[:20] + bytes((self.phase, self.mode)) + u32(0, len(self.cohort), *self.cohort, self.k, self.t, len(self.plan))
        self.facts = facts + self.plan + u32(0)
        assert (self.k, self.t) == (self.case["k"], self.case["t"])
        assert self.k == len(self.cohort) - 1
        epoch_header, _ = body(self.directory[0], 2)
        members = b"".join(digest("join", self.directory[index]) for index in self.cohort)
        self.cohort_digest = digest("cohort", epoch_header, u32(len(self.cohort), *self.cohort), members)

    def closed(self, party: int, data: bytes, fields: Bytes, *context: bytes) -> None:
        """The end of what a party sent: in malicious mode signed, over header, body and context."""
        if self.mode == 1:
            fields.end()
        else:
            verify(self.directory[party][20:52], fields.signature(), framed("sign-message", data[:-68], *context))

    def round_context(self) -> bytes:
        return hashlib.sha256(self.facts + self.cohort_digest).digest()

    def _dealt(self, party: int, data: bytes) -> dict[str, Any]:
        header, fields = body(data, 4)
        assert header == self.header
        found: dict[str, Any] = {"b": fields.take(32), "z": fields.take(32), "box": fields.opaque()}
        found["for"] = [pieces(record, 92, 16, 16, 16) for record in fields.records(140)]
        self.closed(party, data, fields, self.round_context())
        return found

    def neighbours(self, party: int) -> list[int]:
        return [other for other in self.cohort if other != party]

    def point(self, dealer: int, holder: int) -> int:
        return 1 + self.neighbours(dealer).index(holder)

    # --- what the parties computed -------------------------------------------------------------------------------------------------------

    def round_key(self, one: int, other: int) -> bytes:
        """R_ij of the round, from one end's private key: K(r + 1) = HKDF(K(r), next), R(r) = HKDF(K(r), round)."""
        join, theirs = self.directory[one], self.directory[other]
        secret = X25519PrivateKey.from_private_bytes(self.private[one][:32]).exchange(X25519PublicKey.from_public_bytes(theirs[52:84]))
        epoch_header, _ = body(join, 2)
        key = derive(secret, "pairwise-key", epoch_header, *sorted((join[20:84], theirs[20:84])), salt=join[4:12])
        for _ in range(int.from_bytes(self.header[15:19], "big") - int.from_bytes(epoch_header[15:19], "big") - 1):
            key = derive(key, "ratchet-next")
        return derive(key, "ratchet-round")

    def seed(self, one: int, other: int) -> bytes:
        return derive(self.round_key(one, other), "pairwise-seed", self.header, self.cohort_digest)

    def check_joins(self) -> None:
        for index, join in enumerate(self.directory):
            private, identity = self.private[index][:32], self.private[index][32:]
            if self.mode == 2:
                seed = keystream(hashlib.sha256(f"identity {self.nodes[index]}".encode()).digest(), 0, 32)
                identity = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
            assert join[20:84] == identity + X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
            self.closed(index, join, Bytes(join[84:]))

    def check_prepares(self) -> None:
        """Opens every share ciphertext with the holder's key, and holds every hash and commitment against what is in it."""
        for dealer, dealt in self.dealt.items():
            public = [part for _, *hashes in dealt["for"] for part in hashes]
            commitments = digest("commitments", self.header, u32(dealer), dealt["b"], dealt["z"], dealt["box"], *public)
            shares: dict[int, tuple[bytes, bytes]] = {}
            for holder, (sealed, hash_b, hash_z, commitment) in zip(self.neighbours(dealer), dealt["for"], strict=True):
                point = self.point(dealer, holder)
                key = derive(self.round_key(holder, dealer), "share-key", self.header, u32(dealer), u32(holder))
                associated = framed("share-ad", self.header) + u32(dealer, holder, point, self.t, self.k) + commitments
                opened = AESGCM(key).decrypt(sealed[:12], sealed[12:], associated)
                shares[point] = opened[:32], opened[32:]
                for of, share, expected in ((1, opened[:32], hash_b), (2, opened[32:], hash_z)):
                    assert digest("commit-share", self.header, bytes((of,)), u32(dealer), u32(holder), share)[:16] == expected
                ends = sorted((dealer, holder))
                seed = self.seed(dealer, holder)
                assert digest("commit-pairwise-seed", self.header, u32(ends[0]), u32(ends[1]), seed)[:16] == commitment
            first, last = (dict(list(shares.items())[cut]) for cut in (slice(self.t), slice(-self.t, None)))
            for which, name in ((0, "b"), (1, "z")):
                secret = interpolated({x: both[which] for x, both in first.items()})
                assert secret == interpolated({x: both[which] for x, both in last.items()})
                assert self.committed(dealer, name, secret) == dealt[name]
            assert self.box(dealer, secret) == [self.seed(dealer, other) for other in self.neighbours(dealer)]

    def committed(self, owner: int, name: str, secret: bytes) -> bytes:
        return digest({"b": "commit-self-seed", "z": "commit-box-key"}[name], self.header, u32(owner), secret)

    def box(self, owner: int, secret: bytes) -> list[bytes]:
        key = derive(secret, "box-key", self.header, u32(owner))
        opened = AESGCM(key).decrypt(bytes(12), self.dealt[owner]["box"], framed("box-ad", self.header) + u32(owner))
        return [opened[at : at + 32] for at in range(0, len(opened), 32)]

    # --- what the coordinator computed ---------------------------------------------------------------------------------------------------

    def check_trains(self) -> None:
        """Everybody got the same U1, and of every neighbour in it exactly what that neighbour dealt."""
        self.alive = sorted(self.dealt)
        for party, data in self.messages("train", "down").items():
            header, fields = body(data, 5)
            assert (header, fields.u32s()) == (self.header, self.alive)
            deliveries = fields.records(92 + 32 + 16 + 16)
            fields.end()
            dealers = [dealer for dealer in self.neighbours(party) if dealer in self.alive]
            for dealer, delivery in zip(dealers, deliveries, strict=True):
                sealed, hash_b, hash_z, _ = self.dealt[dealer]["for"][self.point(dealer, party) - 1]
                assert delivery[:92] + delivery[124:] == sealed + hash_b + hash_z

        for party, data in self.messages("train", "up").items():
            header, fields = body(data, 6)
            assert header == self.header
            fields.opaque()
            payload = self.messages("train", "vector")[party]
            assert fields.take(8) == len(payload).to_bytes(8, "big")
            assert fields.opaque() == (hashlib.sha256(payload).digest() if self.mode == 2 else b"")
            self.closed(party, data, fields, self.transcript())

    def check_confirms(self) -> None:
        """Who confirmed signed exactly the survivor set and the transcript, and everybody was shown all of these signatures."""
        survivors = sorted(self.messages("train", "vector"))
        asked = {data for step in ("confirm", "unmask") if (step, "down") in self.by_step for data in self.messages(step, "down").values()}
        if self.mode == 1:
            assert ("confirm", "down") not in self.by_step
            return
        confirm, unmask = sorted(asked, key=lambda data: data[1])
        header, fields = body(confirm, 7)
        assert (header, fields.u32s()) == (self.header, survivors)
        fields.end()
        signatures = {}
        for party, data in self.messages("confirm", "up").items():
            header, fields = body(data, 8)
            assert header == self.header
            signatures[party] = fields.signature()
            signed = framed("sign-survivors", self.header, self.transcript(), u32(len(survivors), *survivors))
            verify(self.directory[party][20:52], signatures[party], signed)
        header, fields = body(unmask, 9)
        assert (header, fields.u32s()) == (self.header, survivors)
        assert fields.records(68) == [u32(party) + signature for party, signature in sorted(signatures.items())]
        fields.end()

    def transcript(self) -> bytes:
        facts = bytes((self.phase, self.mode)) + u32(len(self.cohort), self.k, self.t)
        alive = u32(len(self.alive), *self.alive)
        content = bytes.fromhex(self.case["content"])
        return digest("transcript", self.header, facts, self.plan, self.cohort_digest, alive, content)

    def sum(self) -> bytes:
        """Masked vectors, minus the masks: packed as it is on the wire."""
        vectors = self.messages("train", "vector")
        survivors = sorted(vectors)
        secrets = self._secrets(survivors)
        transcript = self.transcript()
        signed = [(derive(secrets[party], "self-mask", transcript), -1) for party in survivors]
        for gone in set(self.alive) - set(survivors):
            seeds = dict(zip(self.neighbours(gone), self.box(gone, secrets[gone]), strict=True))
            signed += [(derive(seeds[other], "pairwise-mask", transcript), 1 if other > gone else -1) for other in survivors]
        total = [self.numbers(vectors[party]) for party in survivors]
        total += [[sign * value for value in self.mask(key)] for key, sign in signed]
        return self.packed([sum(column) for column in zip(*total, strict=True)])

    def _secrets(self, survivors: list[int]) -> dict[int, bytes]:
        shares: dict[int, dict[int, bytes]] = {dealer: {} for dealer in self.alive}
        for holder, data in self.messages("unmask", "up").items():
            header, fields = body(data, 10)
            assert header == self.header
            records = fields.records(33)
            self.closed(holder, data, fields, self.transcript())
            dealers = [dealer for dealer in self.neighbours(holder) if dealer in self.alive]
            for dealer, record in zip(dealers, records, strict=True):
                assert record[0] == (1 if dealer in survivors else 2)
                shares[dealer][self.point(dealer, holder)] = record[1:]
        secrets = {dealer: interpolated(dict(list(held.items())[: self.t])) for dealer, held in shares.items()}
        for dealer, secret in secrets.items():
            name = "b" if dealer in survivors else "z"
            assert self.committed(dealer, name, secret) == self.dealt[dealer][name]
        return secrets

    # --- vectors: ring words mod 2^b, then wide numbers mod 2^(30 limbs) -----------------------------------------------------------------

    def moduli(self) -> list[int]:
        wide = [1 << LIMB_BITS * limbs_ for limbs_, count in self.case["wide_groups"] for _ in range(count)]
        return [1 << self.case["ring_bits"]] * self.case["ring_words"] + wide

    def numbers(self, packed: bytes) -> list[int]:
        bits, count = self.case["ring_bits"], self.case["ring_words"]
        cut = -(-bits * count // 8)
        stream = int.from_bytes(packed[:cut], "little")
        ring = [stream >> bits * at & (1 << bits) - 1 for at in range(count)]
        return ring + self.wide([int.from_bytes(packed[at : at + 4], "little") for at in range(cut, len(packed), 4)])

    def wide(self, words: list[int]) -> list[int]:
        """A group lies limb by limb: all first limbs, then all second ones."""
        found = []
        for limbs_, count in self.case["wide_groups"]:
            group, words = words[: limbs_ * count], words[limbs_ * count :]
            found += [sum(group[place * count + number] << LIMB_BITS * place for place in range(limbs_)) for number in range(count)]
        assert not words
        return found

    def mask(self, key: bytes) -> list[int]:
        """Ring words from the start of the keystream, limbs of 30 bits from the first segment behind them."""
        bits, count = self.case["ring_bits"], self.case["ring_words"]
        lane = 2 if bits <= 16 else 4 if bits <= 32 else 8
        ring = keystream(key, 0, lane * count)
        behind = -(-lane * count // SEGMENT_BYTES) * SEGMENT_BYTES
        size = 4 * sum(limbs_ * count_ for limbs_, count_ in self.case["wide_groups"])
        tail = keystream(key, behind, size)
        words = [int.from_bytes(tail[at : at + 4], "little") & (1 << LIMB_BITS) - 1 for at in range(0, size, 4)]
        return [int.from_bytes(ring[at : at + lane], "little") for at in range(0, len(ring), lane)] + self.wide(words)

    def packed(self, numbers: list[int]) -> bytes:
        bits, count = self.case["ring_bits"], self.case["ring_words"]
        reduced = [number % modulus for number, modulus in zip(numbers, self.moduli(), strict=True)]
        out = sum(word << bits * at for at, word in enumerate(reduced[:count])).to_bytes(-(-bits * count // 8), "little")
        rest = reduced[count:]
        for limbs_, count_ in self.case["wide_groups"]:
            group, rest = rest[:count_], rest[count_:]
            for place in range(limbs_):
                out += b"".join((number >> LIMB_BITS * place & (1 << LIMB_BITS) - 1).to_bytes(4, "little") for number in group)
        return out
