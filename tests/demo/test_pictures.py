"""The attacker's arithmetic, and what a person sees of it: page, PNG, terminal."""

from __future__ import annotations

import io
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from stfed.demo import clinics
from stfed.demo.answers import Answer, answer_of
from stfed.demo.attack import Attack, Told
from stfed.demo.clinics import BIAS, CLINICS, HIDDEN, PIXELS, WEIGHTS, image, model
from stfed.demo.lies import LIES
from stfed.demo.page import page_of
from stfed.demo.picture import png_of
from stfed.demo.recovery import closeness, from_words, is_image, quotient, shown
from stfed.demo.terminal import tell
from stfed.errors import LocalError
from stfed.report.html import to_html
from stfed.report.pdf import to_pdf
from stfed.secagg.params import Mode

REFUSED = (Answer(0, "SomeError", "it <does> not"), Answer(1, "SomeError", "it <does> not"), Answer(2))


def an_attack() -> Attack:
    """As if: every picture is there, one lie was believed, one left nothing."""
    own = {clinic: image(clinic)[0] for clinic in range(CLINICS)}
    noise = {clinic: np.random.default_rng(clinic).normal(0, 9, PIXELS) for clinic in range(CLINICS)}
    told = (Told(LIES[0], Mode.SEMI_HONEST, REFUSED, None), Told(LIES[6], Mode.SEMI_HONEST, REFUSED[2:], own[0], "much"))
    return Attack(own, noise, sum(own.values()) / CLINICS, (*told, Told(LIES[0], Mode.MALICIOUS, REFUSED, noise[0])))


@given(
    st.integers(0, CLINICS - 1),
    st.lists(st.floats(-1, 1), min_size=HIDDEN, max_size=HIDDEN).filter(lambda wrong: max(map(abs, wrong)) > 0.01),
)
def test_the_quotient_of_a_gradient_step_is_the_image(clinic: int, wrong: list[float]) -> None:
    pixels, _ = image(clinic)
    change = {WEIGHTS: -0.5 * np.outer(wrong, pixels), BIAS: -0.5 * np.array(wrong)}
    assert np.abs(quotient(change) - pixels).max() < 1e-9
    words = np.concatenate([change[WEIGHTS].ravel(), change[BIAS]]) * 2**30
    found = from_words(words.astype(np.int64).astype(np.uint32))
    assert closeness(found, clinic) > 0.999


@given(st.integers(0, 2**32 - 1))
def test_noise_is_no_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert not is_image(closeness(from_words(rng.integers(0, 2**32, 1100, np.uint32)), 0))


def test_what_training_does_not_touch_gives_no_picture() -> None:
    assert not closeness(quotient({WEIGHTS: np.zeros((HIDDEN, PIXELS)), BIAS: np.zeros(HIDDEN)}), 0)


@given(st.lists(st.floats(-1e9, 1e9), min_size=PIXELS, max_size=PIXELS))
def test_whatever_is_found_can_be_drawn(numbers: list[float]) -> None:
    drawn = shown(np.array(numbers))
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_an_answer_is_the_error_without_its_hint() -> None:
    assert answer_of(1, "<class 'a.b.CohortTooSmallError'>:<'U1 has (1 of 5) parties (ask (more) of them)'>") == Answer(
        1, "CohortTooSmallError", "U1 has (1 of 5) parties"
    )
    assert answer_of(1, "<class 'a.AError'>:<'floor((n+C)/2)+1 are needed'>").reason == "floor((n+C)/2)+1 are needed"
    assert answer_of(2, "out of memory") == Answer(2, "error", "out of memory")


def test_the_page_has_every_picture_and_every_sentence() -> None:
    page = to_html(page_of(an_attack()))
    assert page.count("<svg") == 5 + 5 + 5 + 1 + 2 + 1
    assert page.count('class="alarm"') == 5 + 1
    assert "clinics 1 and 2: it &lt;does&gt; not (SomeError)" in page
    assert "<img" not in page
    assert "nothing of a single clinic" in page


def test_the_page_says_so_if_something_was_found() -> None:
    attack = an_attack()
    page = to_html(page_of(Attack(attack.plain, attack.plain, attack.mean, attack.told)))
    assert "This must not be: a masked update shows clinic 1&#x27;s image" in page
    assert "says nothing" in to_html(page_of(Attack(attack.secure, attack.secure, attack.mean, attack.told)))


def test_a_terminal_shows_the_images_in_greys() -> None:
    out = io.StringIO()
    tell(an_attack(), Console(file=out, width=100, force_terminal=True, color_system="truecolor"))
    text = out.getvalue()
    row = next(line for line in text.splitlines() if "▀" in line)
    greys = re.findall(r"38;2;(\d+);\1;\1;48;2;(\d+);\2;\2m▀▀", row)
    assert len(greys) == CLINICS * 8
    pixels = image(0)[0].reshape(8, 8)
    assert [int(upper) for upper, _ in greys[:8]] == [round(255 * (1 - value)) for value in pixels[0]]
    assert text.count("▀▀") == (3 * CLINICS + 1) * 8 * 8


def test_a_pipe_gets_words_only() -> None:
    out = io.StringIO()
    tell(an_attack(), Console(file=out, width=80, color_system=None))
    assert "▀" not in out.getvalue()
    assert "\x1b" not in out.getvalue()
    assert "It sees the image (correlation 1.000)" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_the_page_can_be_a_pdf() -> None:
    assert to_pdf(page_of(an_attack()))[:5] == b"%PDF-"


def test_the_png_is_one() -> None:
    assert png_of(an_attack())[:8] == b"\x89PNG\r\n\x1a\n"


def test_without_matplotlib_or_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = an_attack()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(LocalError, match="Matplotlib") as caught:
        png_of(attack)
    assert "stfed[examples]" in str(caught.value.hint)
    clinics.image.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(LocalError, match="scikit-learn") as caught:
        image(0)
    assert "stfed[examples]" in str(caught.value.hint)


def test_training_is_a_step_down_the_gradient() -> None:
    """Held against differences of the loss, so that what is attacked is a network that really trains."""
    before, (pixels, digit) = model(), image(2)

    def loss(arrays: clinics.Arrays) -> float:
        hidden = np.maximum(arrays[WEIGHTS] @ pixels + arrays[BIAS], 0)
        scores = arrays["second.weights"] @ hidden + arrays["second.bias"]
        return float(np.log(np.exp(scores).sum()) - scores[digit])

    after = clinics.trained(before, 2)
    for name, array in before.items():
        for at in np.ndindex(array.shape):
            if sum(at) % 7 == 0:
                moved = {**before, name: array.copy()}
                moved[name][at] += 1e-6
                slope = (loss(moved) - loss(before)) / 1e-6
                assert after[name][at] - array[at] == pytest.approx(-0.5 * slope, abs=1e-5)


def test_the_first_model_is_always_the_same() -> None:
    assert all((model()[name] == model()[name]).all() for name in model())
