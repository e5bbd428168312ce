"""The pictures of the protocol are those that its code draws today, and say all that its tables say."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from stfed.secagg.params import Mode
from stfed.secagg.transitions import CLIENT, SERVER, Event
from tests.pictures import chosen, rounds, sequence, states
from tests.pictures.__main__ import FOLDER, files

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn() -> dict[str, str]:
    return files()


def words(text: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(text).iter(f"{SVG}text")]


def test_they_are_up_to_date(drawn: dict[str, str]) -> None:
    for name, text in drawn.items():
        assert (FOLDER / name).read_text() == text, f"{name} is stale: python -m tests.pictures"


def test_the_table_of_parameters_is_the_calculators() -> None:
    page = chosen.PAGE.read_text()
    assert chosen.written(page) == page, "stale: python -m tests.pictures"
    assert page.count("\n| 1000 | ") == 1


@pytest.mark.parametrize("mode", Mode)
def test_a_partys_diagram_has_every_arrow_of_the_table(mode: Mode, drawn: dict[str, str]) -> None:
    table = CLIENT[mode]
    anywhere = states.everywhere(table)
    assert set(anywhere) == {Event.JOIN, Event.PREPARE}
    one_by_one = set(states.drawn(table))
    for state, events in table.items():
        for event, following in events.items():
            assert (state, event, following) in one_by_one or anywhere[event] is following
    assert all(table[state][event] is following for state, event, following in one_by_one)
    found = words(drawn[f"states-party-{mode.value}.svg"])
    assert {state.__name__ for state in table} <= set(found)
    assert all(event.value in found for _, event, _ in one_by_one)
    assert ("Confirmed" in found) is (mode is Mode.MALICIOUS)


@pytest.mark.parametrize("mode", Mode)
def test_the_coordinators_diagram_has_every_step_and_what_it_takes(mode: Mode, drawn: dict[str, str]) -> None:
    found = words(drawn[f"states-coordinator-{mode.value}.svg"])
    known = {*SERVER[mode], *(following for events in SERVER[mode].values() for following in events.values())}
    assert {state.__name__ for state in known} <= set(found)
    arrows = [(state, event, following) for state, events in SERVER[mode].items() for event, following in events.items()]
    onward = [event.value for state, event, following in arrows if following is not state]
    assert sorted(word for word in found if word in ("close", "confirm")) == sorted(onward)
    assert sum(word in ("reply", "error reply", "complaint") for word in found) == len(arrows) - len(onward)


def test_a_state_without_a_place_on_the_paper_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asleep:
        pass

    table = {**CLIENT[Mode.SEMI_HONEST], Asleep: {}}
    monkeypatch.setattr(states, "CLIENT", {**CLIENT, Mode.SEMI_HONEST: table})
    with pytest.raises(KeyError):
        states.party(Mode.SEMI_HONEST)


@pytest.mark.parametrize("mode", Mode)
def test_the_round_that_is_drawn_lost_one_party_and_gave_the_sum_of_the_others(mode: Mode) -> None:
    played = rounds.play(mode)
    assert len(played.report.summed) == rounds.PARTIES - 1
    assert not played.up["train", rounds.LOST].arrived
    assert ("unmask", rounds.LOST) not in played.down
    assert ("confirm" in played.steps) is (mode is Mode.MALICIOUS)
    names = sequence.Names(played)
    assert sequence.carries(played.down["unmask", 0].message, names).startswith("U2 = A, B, C, D")
    assert sequence.carries(played.up["unmask", 0].message, names) == "shares: 3 × of b, 1 × of z"


def test_every_picture_of_the_book_can_be_told_and_stands_alone() -> None:
    """Title and description, ids of its own, and nothing from elsewhere."""
    found = sorted(Path(FOLDER).glob("*.svg"))
    assert len(found) >= 6
    seen = set[str]()
    for path in found:
        text = path.read_text()
        root = ElementTree.fromstring(text)
        ids = {element.attrib["id"] for element in root.iter() if "id" in element.attrib}
        assert not ids & seen, path.name
        seen |= ids
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-labelledby"].split() == [root.find(f"{SVG}{part}").attrib["id"] for part in ("title", "desc")]
        assert float(root.attrib["width"]) <= 700
        assert "href" not in text
        assert "script" not in text
        for element in root.iter(f"{SVG}text"):
            assert float(element.attrib["font-size"]) >= 10, "too small to read at 700 pixels"
