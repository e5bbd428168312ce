import re

from stfed.crypto.labels import Label


def test_no_two_names_share_a_label() -> None:
    # An Enum turns a repeated value into an alias without a word: the members with their aliases must be as many as the values.
    assert len(Label.__members__) == len({label.value for label in Label})


def test_no_label_is_the_beginning_of_another() -> None:
    for label in Label:
        for other in Label:
            assert label is other or not other.value.startswith(label.value)


def test_every_label_names_the_project_the_area_the_use_and_a_version() -> None:
    for label in Label:
        assert re.fullmatch(rb"stfed/[a-z]+/[a-z]+(-[a-z]+)*/[1-9][0-9]*", label.value), label


def test_a_label_is_its_bytes() -> None:
    assert isinstance(Label.JOIN, bytes)
    assert Label(b"stfed/secagg/join/1") is Label.JOIN
