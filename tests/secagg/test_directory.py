"""The directory of JOINs: what a party refuses when it comes with the first PREPARE, and what its digests stand for."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from stfed.crypto import agreement
from stfed.crypto.identity import Identity
from stfed.crypto.labels import Label
from stfed.errors import DecodeError
from stfed.secagg.client import Prepared
from stfed.secagg.directory import Directory, check_join
from stfed.secagg.messages import Header, Join, Prepare, PrepareRequest
from stfed.secagg.params import Mode
from stfed.secagg.refusals import DirectoryError, DuplicateKeyError, ShareUnreadableError, UnknownPartyError, WeakKeyError
from tests.secagg.scene import Scene, join_request, without

FIELD = 2**255 - 19
# The u-coordinates of all points of low order on Curve25519 and its twist; RFC 7748, section 6.1 asks to refuse them.
LOW_ORDER = (
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    FIELD - 1,
)
HEADER = Header(7, 1, 0)


def with_entry(scene: Scene, at: int, **changes: Any) -> PrepareRequest:
    """The PREPARE that the victim is owed, with one JOIN of its directory changed."""
    entries = list(scene.request.directory)
    entries[at] = replace(Join.decode(entries[at]), **changes).encode()
    request: PrepareRequest = scene.but(directory=tuple(entries))
    return request


def refuses(error: type[Exception], match: str, **changes: Any) -> None:
    """The victim refuses a directory in which somebody else's JOIN is changed; then the round goes on."""
    scene = Scene().at("prepare")
    with scene.refuses(error, match):
        scene.answer(with_entry(scene, scene.others[0], **changes))
    scene.finishes()


# --- what a party refuses ----------------------------------------------------------------------------------------------------------------


def test_the_first_prepare_without_a_directory_is_refused() -> None:
    scene = Scene().at("prepare")
    with scene.refuses(DirectoryError, "must carry the directory"):
        scene.answer(scene.but(directory=()))
    scene.finishes()


def test_a_second_directory_is_refused() -> None:
    scene = Scene()
    first = scene.at("prepare").request.directory
    scene.finishes()
    scene.at("prepare")
    for directory in (first, first[::-1]):
        with scene.refuses(DirectoryError, "a second directory"):
            scene.answer(scene.but(directory=directory))
    scene.finishes()


def test_a_directory_without_this_partys_own_join_is_refused() -> None:
    scene = Scene().at("prepare")
    directory = scene.request.directory
    with scene.refuses(DirectoryError, "own JOIN is not in the directory"):
        scene.answer(scene.but(directory=without(directory, directory[scene.index])))
    with scene.refuses(DirectoryError, "own JOIN is not in the directory"):
        scene.answer(with_entry(scene, scene.index, public_key=agreement.public_key(bytes(range(32)))))
    scene.finishes()


def test_an_unsorted_directory_is_refused() -> None:
    scene = Scene().at("prepare")
    with scene.refuses(DirectoryError, "not sorted"):
        scene.answer(scene.but(directory=scene.request.directory[::-1]))
    scene.finishes()


def test_an_identity_twice_is_refused() -> None:
    scene = Scene().at("prepare")
    directory = scene.request.directory
    twin = replace(Join.decode(directory[-1]), public_key=agreement.public_key(bytes(range(32)))).encode()
    with scene.refuses(DirectoryError, "names an identity twice"):
        scene.answer(scene.but(directory=(*directory, twin)))
    scene.finishes()


def test_a_duplicate_public_key_is_refused() -> None:
    scene = Scene().at("prepare")
    victims = Join.decode(scene.request.directory[scene.index]).public_key
    with scene.refuses(DuplicateKeyError, "same public key"):
        scene.answer(with_entry(scene, scene.others[0], public_key=victims))
    scene.finishes()


def test_a_duplicate_public_key_in_another_encoding_is_refused() -> None:
    """X25519 ignores the top bit: without a rule of its own, one key could stand there twice."""
    scene = Scene().at("prepare")
    victims = bytearray(Join.decode(scene.request.directory[scene.index]).public_key)
    victims[-1] |= 0x80
    with scene.refuses(WeakKeyError, "canonical"):
        scene.answer(with_entry(scene, scene.others[0], public_key=bytes(victims)))
    scene.finishes()


@pytest.mark.parametrize("u", LOW_ORDER)
def test_a_low_order_public_key_is_refused(u: int) -> None:
    refuses(WeakKeyError, "has low order", public_key=u.to_bytes(32, "little"))


@pytest.mark.parametrize("u", [*(u + FIELD for u in LOW_ORDER[:2]), *(u + (1 << 255) for u in LOW_ORDER)])
def test_a_low_order_public_key_in_another_encoding_is_refused(u: int) -> None:
    refuses(WeakKeyError, "has low order", public_key=u.to_bytes(32, "little"))


@pytest.mark.parametrize("header", [Header(8, 1, 0), Header(7, 2, 0), Header(7, 1, 1)], ids=["run", "epoch", "round base"])
def test_a_join_of_another_epoch_is_refused(header: Header) -> None:
    refuses(DirectoryError, "belongs to another run, epoch or suite", header=header)


def test_a_signed_join_in_semi_honest_mode_is_refused() -> None:
    """An ignored field would be one that two parties could see differently."""
    refuses(DirectoryError, "is signed, but the run is semi-honest", signature=bytes(64))


def test_an_entry_that_is_no_join_is_refused() -> None:
    scene = Scene().at("prepare")
    with scene.refuses(DecodeError, "expected JOIN, got JOIN_REQUEST"):
        scene.answer(scene.but(directory=(join_request(), *scene.request.directory[1:])))
    scene.finishes()


def test_an_identity_swapped_for_one_party_shares_no_key_with_it() -> None:
    """Identities are in K_ij, so a public key that is shown under another name opens nothing (unknown key share)."""
    scene = Scene().at("prepare")
    at = scene.others[0]
    identity = bytearray(Join.decode(scene.request.directory[at]).identity)
    identity[-1] ^= 1  # the last byte, so that the order stays
    reply = Prepare.decode(scene.answer(with_entry(scene, at, identity=bytes(identity))))
    # All of the victim's commitments differ from its neighbours'. A coordinator that ignores it gets no further than TRAIN:
    honest = {party: scene.preparing._prepares[party].dealt[point(scene, party)].seed_commitment for party in scene.others}
    assert all(dealt.seed_commitment != honest[party] for dealt, party in zip(reply.dealt, scene.others, strict=True))
    dealt = tuple(replace(item, seed_commitment=honest[party]) for item, party in zip(reply.dealt, scene.others, strict=True))
    scene.preparing.add(scene.index, replace(reply, dealt=dealt).encode())
    collecting = scene.preparing.close(scene.content)
    assert collecting.drops == {}
    with scene.refuses(ShareUnreadableError, "do not open"):
        scene.start(collecting.request(scene.index))


def point(scene: Scene, dealer: int) -> int:
    """Where the victim stands in what a neighbour deals."""
    state = scene.state()
    assert isinstance(state, Prepared)
    return state.facts.graph().point(dealer, scene.index) - 1


# --- the directory itself ----------------------------------------------------------------------------------------------------------------


def joins(count: int, header: Header = HEADER) -> list[Join]:
    return [Join(header=header, identity=bytes((at,)) * 32, public_key=agreement.public_key(bytes((at + 1,)) * 32)) for at in range(count)]


def directory_of(entries: list[Join], mode: Mode = Mode.SEMI_HONEST) -> Directory:
    return Directory.of(HEADER, mode, [join.encode() for join in entries])


def test_an_empty_directory_is_refused() -> None:
    with pytest.raises(DirectoryError, match="is empty"):
        directory_of([])


def test_a_refused_directory_stays_refused() -> None:
    """The check is cached, what it found wrong is not."""
    entries = joins(3)
    for _ in range(2):
        with pytest.raises(DirectoryError, match="not sorted"):
            directory_of(entries[::-1])
    assert len(directory_of(entries)) == len(directory_of(entries)) == 3


def test_names_and_places() -> None:
    directory = directory_of(joins(4))
    assert [directory.index_of(directory.join(at).encode()) for at in range(4)] == [0, 1, 2, 3]
    assert len({directory.name(at) for at in range(4)}) == 4
    assert "identity" not in repr(directory)


def test_parties_beyond_the_directory_are_unknown() -> None:
    directory = directory_of(joins(3))
    directory.check_known((), "the cohort")
    directory.check_known((0, 2), "the cohort")
    with pytest.raises(UnknownPartyError, match="the cohort names party 3, the directory has 3"):
        directory.check_known((0, 3), "the cohort")


def test_the_cohort_digest_stands_for_exactly_these_parties_with_exactly_these_joins() -> None:
    base, later = joins(4), joins(4, replace(HEADER, round=1))
    other_key = [*base[:3], replace(base[3], public_key=agreement.public_key(bytes((9,)) * 32))]
    other_name = [*base[:3], replace(base[3], identity=bytes((9,)) * 32)]
    digests = [directory_of(entries).cohort_digest((0, 1, 3)) for entries in (base, other_key, other_name)]
    digests += [directory_of(base).cohort_digest(cohort) for cohort in ((0, 1), (0, 1, 2), (1, 3), (0, 1, 2, 3))]
    digests.append(Directory.of(replace(HEADER, round=1), Mode.SEMI_HONEST, [join.encode() for join in later]).cohort_digest((0, 1, 3)))
    assert all(one != other for one, other in combinations(digests, 2))
    assert directory_of(base).cohort_digest((0, 1, 3)) == digests[0]


def test_the_cohort_digest_does_not_depend_on_who_else_joined() -> None:
    entries = joins(4)
    assert directory_of(entries).cohort_digest((0, 1)) == directory_of(entries[:2]).cohort_digest((0, 1))


def test_in_malicious_mode_every_join_is_signed_by_its_identity() -> None:
    identity, somebody = (Identity.from_private_bytes(bytes((at,)) * 32) for at in (1, 2))
    join = Join(header=HEADER, identity=identity.public_bytes, public_key=agreement.public_key(bytes((3,)) * 32))
    signed = replace(join, signature=identity.sign(Label.SIGN_MESSAGE, join.unsigned()))
    check_join(signed, HEADER, Mode.MALICIOUS)
    for bad in (
        join,
        replace(join, signature=somebody.sign(Label.SIGN_MESSAGE, join.unsigned())),
        replace(join, signature=identity.sign(Label.SIGN_SURVIVORS, join.unsigned())),
        replace(signed, public_key=agreement.public_key(bytes((4,)) * 32)),
    ):
        with pytest.raises(DirectoryError, match="is not signed by its identity"):
            check_join(bad, HEADER, Mode.MALICIOUS)
