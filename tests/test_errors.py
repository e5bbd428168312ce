import pickle

import pytest

from stfed.errors import DecodeError, LocalError, PeerError, QuorumError, SealError, StfedError

FAMILIES = (LocalError, PeerError, QuorumError, DecodeError, SealError)


def test_every_family_is_one_of_ours_and_no_family_is_inside_another() -> None:
    for family in FAMILIES:
        assert issubclass(family, StfedError)
        assert [other for other in FAMILIES if issubclass(family, other)] == [family]


def test_wrong_arguments_and_wrong_bytes_are_value_errors_too_and_the_peers_faults_are_not() -> None:
    assert {family for family in FAMILIES if issubclass(family, ValueError)} == {LocalError, DecodeError}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_hint_is_apart_and_in_the_text(family: type[StfedError]) -> None:
    plain, hinted = family("it broke"), family("it broke", hint="mend it")
    assert (plain.message, plain.hint, str(plain)) == ("it broke", None, "it broke")
    assert (hinted.message, hinted.hint, str(hinted)) == ("it broke", "mend it", "it broke (mend it)")


def test_a_peers_fault_names_the_peer_where_it_is_known() -> None:
    assert PeerError("x").party is None
    assert PeerError("x", party="north").party == "north"


def test_who_is_missing_is_sorted_and_frozen() -> None:
    assert QuorumError("x").missing == ()
    assert QuorumError("x", missing={"south", "east", "north"}).missing == ("east", "north", "south")


@pytest.mark.parametrize(
    "error", [LocalError("a", hint="b"), PeerError("a", party="c", hint="b"), QuorumError("a", missing=["c"], hint="b"), DecodeError("a")]
)
def test_errors_cross_a_process_border_whole(error: StfedError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert vars(back) == vars(error)
    assert str(back) == str(error)
