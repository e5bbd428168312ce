"""The policy file: what it says is the policy, what it does not say is the default, and what it cannot say is an error with its place."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stfed.encoding.plan import CLIP_RANGE, MAX_WEIGHT
from stfed.encoding.tensors import TensorSpec
from stfed.errors import DecodeError, LocalError
from stfed.secagg import policy_toml as module
from stfed.secagg.configlimit import ConfigLimit
from stfed.secagg.params import Mode
from stfed.secagg.policy import Policy
from stfed.secagg.policy_settings import SECTIONS, TOP
from stfed.secagg.policy_toml import MAX_BYTES, policy_from_toml, policy_toml, read_policy
from tests.strangers import give_away

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=0, max_size=12)
SPECS = st.builds(
    TensorSpec, NAMES, st.sampled_from(["float32", "bfloat16", "int64", "bool"]), st.lists(st.integers(0, 9), max_size=4).map(tuple)
)


def ranges(low: float, high: float) -> st.SearchStrategy[tuple[float, float]]:
    numbers = st.floats(low, high)
    return st.tuples(numbers, numbers).map(lambda both: (min(both), max(both)))


SCALARS = NAMES | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
LIMITS = (
    st.builds(ConfigLimit, NAMES, st.none() | st.floats(-9, 9), st.none() | st.floats(9, 99))
    | st.builds(ConfigLimit, NAMES)
    | st.builds(ConfigLimit, NAMES, one_of=st.lists(SCALARS, max_size=3).map(tuple))
)


POLICIES = st.builds(
    Policy,
    mode=st.sampled_from(Mode),
    gamma=st.floats(0, 0.99),
    delta=st.floats(0, 0.99),
    min_cohort=st.integers(2, 10_000),
    min_survivors=st.integers(2, 10_000),
    honest_survivors=st.none() | st.integers(2, 10_000),
    min_threshold=st.integers(1, 10_000),
    ring_bits=st.tuples(st.integers(8, 64), st.integers(8, 64)).map(lambda both: (min(both), max(both))),
    clip=ranges(*CLIP_RANGE),
    clip_moves=st.booleans(),
    max_weight=ranges(2.0**-20, MAX_WEIGHT),
    max_parameters=st.integers(1, 1 << 40),
    tensors=st.none() | st.lists(SPECS, max_size=4, unique_by=lambda spec: spec.name).map(tuple),
    weight_keys=st.lists(NAMES, max_size=3).map(tuple),
    max_skipped_rounds=st.integers(0, 1 << 32),
    eager_parties=st.integers(0, 1 << 20),
    fixed_encoding=st.booleans(),
    allow_repeats=st.booleans(),
    sigma=st.integers(1, 256),
    roster=st.none() | st.integers(1, 10_000),
    config=st.none() | st.lists(LIMITS, max_size=4, unique_by=lambda limit: limit.name).map(tuple),
    max_rounds=st.none() | st.integers(1, 1 << 32),
)


@given(policy=POLICIES, other=st.sampled_from(Mode))
def test_what_is_written_is_read(policy: Policy, other: Mode) -> None:
    assert policy_from_toml(policy_toml(policy).encode(), mode=other) == policy


def test_every_setting_of_a_policy_is_in_the_file_once_with_what_it_means() -> None:
    settings = [setting for group in SECTIONS.values() for setting in group]
    assert sorted(setting.name for setting in settings) == sorted(one.name for one in fields(Policy))
    text = policy_toml(Policy())
    for setting in settings:
        assert setting.comment.splitlines()[0] in text
        assert setting.example or getattr(Policy(), setting.name) is not None
    assert max(map(len, text.splitlines())) <= 140
    assert text.isascii()


def test_what_stands_in_comments_is_what_one_would_write() -> None:
    """A commented setting without its `# ` is a setting."""
    text = policy_toml(Policy())
    for line, expected in (
        ("honest_survivors = 3", Policy(honest_survivors=3)),
        ("roster = 100", Policy(roster=100)),
        ("max_rounds = 500", Policy(max_rounds=500)),
    ):
        assert policy_from_toml(text.replace(f"# {line}", line).encode()) == expected
    tensors = text.replace("# [model.tensors]", "[model.tensors]").replace('# "layer.weight"', '"layer.weight"')
    assert policy_from_toml(tensors.encode()).tensors == (TensorSpec("layer.weight", "float32", (10, 784)),)
    start = text.index("# [model.config]")
    end = text.index("\n\n", start)
    config = text[:start] + text[start:end].replace("# ", "") + text[end:]
    assert policy_from_toml(config.encode()).config == (
        ConfigLimit("server-round"),
        ConfigLimit("learning-rate", 1e-5, 0.1),
        ConfigLimit("local-epochs", 1.0, 5.0),
        ConfigLimit("optimizer", one_of=("sgd", "adam")),
    )


def test_an_empty_file_is_the_default_policy() -> None:
    assert policy_from_toml(b"") == Policy()
    assert policy_from_toml(b"[cohort]\n") == Policy()
    assert policy_from_toml(b"", mode=Mode.MALICIOUS) == Policy(mode=Mode.MALICIOUS)
    assert policy_from_toml(b'mode = "semi-honest"', mode=Mode.MALICIOUS) == Policy()


def test_whole_numbers_where_numbers_are_meant() -> None:
    policy = policy_from_toml(b"gamma = 0\n[encoding]\nclip = [1, 10]\nmax_weight = [1, 500]\n")
    assert policy == Policy(gamma=0.0, clip=(1.0, 10.0), max_weight=(1.0, 500.0))


WRONG: list[tuple[str, str, str]] = [
    # what it says, what is wrong with it, what to do
    ("gama = 0.1", "there is no setting gama", "did you mean gamma"),
    ("[cohort]\nmin_survivers = 3", r"there is no setting \[cohort\] min_survivers", "did you mean min_survivors"),
    ("min_cohort = 3", "there is no setting min_cohort", r"min_cohort stands under \[cohort\]"),
    ("[cohort]\ngamma = 0.1", r"there is no setting \[cohort\] gamma", r"gamma stands before the first \[table\]"),
    ("[cohorts]\nmin_cohort = 3", "there is no setting cohorts", "did you mean cohort"),
    ("[rounds]\nzzz = 1", r"there is no setting \[rounds\] zzz", "known here are max_rounds, max_skipped_rounds, allow_repeats"),
    ('"\\u001b[2J" = 1', r"there is no setting '\\x1b\[2J'", "known here are mode"),
    ("cohort = 3", "cohort is no table", r"begins with \[cohort\]"),
    ("[[cohort]]\nmin_cohort = 3", "cohort is no table", ""),
    ('mode = "honest"', "mode is 'honest'", "modes: semi-honest, malicious"),
    ("mode = 2", "mode is 2", "modes"),
    ("mode = []", r"mode is \[\]", "modes"),
    ("gamma = 1.0", "gamma is no share", "0.1 for ten percent"),
    ("gamma = -0.1", "gamma is no share", ""),
    ("gamma = nan", "gamma is no share", ""),
    ("gamma = true", "gamma is no share", ""),
    ('gamma = "0.1"', "gamma is no share", ""),
    ("gamma = 10", "gamma is no share", "ten percent"),
    ("sigma = 40.0", "sigma is no whole number", ""),
    ("sigma = 0", "sigma is 0, it must be at least 1 and at most 256", ""),
    ("sigma = 257", "sigma is 257", ""),
    ("[cohort]\nmin_cohort = true", r"\[cohort\] min_cohort is no whole number", ""),
    ("[cohort]\nmin_cohort = 1", "min_cohort is 1; a cohort of one is never a sum", "2 or more"),
    ("[cohort]\nmin_survivors = 1", "min_survivors is 1", "2 or more"),
    ("[cohort]\nhonest_survivors = 1", "honest_survivors is 1", "2 or more"),
    ("[cohort]\nmin_threshold = 0", "min_threshold is 0", ""),
    ("[cohort]\neager_parties = -1", "eager_parties is -1, it must be at least 0", ""),
    ("[cohort]\nroster = 0", "roster is 0, it must be at least 1", ""),
    ("[encoding]\nring_bits = 32", r"\[encoding\] ring_bits is no pair", r"\[1, 10\]"),
    ("[encoding]\nring_bits = [8, 16, 32]", "ring_bits is no pair", ""),
    ("[encoding]\nring_bits = [8, 32.0]", "ring_bits is no whole number", ""),
    ("[encoding]\nring_bits = [7, 32]", "ring_bits is 7 to 32", "between 8 and 64"),
    ("[encoding]\nring_bits = [8, 65]", "ring_bits is 8 to 65", ""),
    ("[encoding]\nring_bits = [32, 8]", "ring_bits is 32 to 8", "the smallest and the largest"),
    ("[encoding]\nclip = [0, 1]", "clip is 0 to 1", ""),
    ("[encoding]\nclip = [1, inf]", "clip is 1 to inf", ""),
    ("[encoding]\nclip = [nan, nan]", "clip is nan to nan", ""),
    ("[encoding]\nmax_weight = [10, 1]", "max_weight is 10 to 1", ""),
    (f"[encoding]\nmax_weight = [1, {10**400}]", r"\[encoding\] max_weight is too large", ""),
    ("[encoding]\nweight_keys = 'steps'", "weight_keys is no array of strings", "num-examples"),
    ("[encoding]\nweight_keys = [1]", "weight_keys is no array of strings", ""),
    ("[encoding]\nclip_moves = 1", "clip_moves is neither true nor false", ""),
    ("[encoding]\nfixed_encoding = 1", "fixed_encoding is neither true nor false", ""),
    ("[model]\nmax_parameters = 0", "max_parameters is 0", ""),
    ("[model]\ntensors = 3", r"\[model\] tensors is no table", r"\[model.tensors\]"),
    ("[model.tensors]\nw = 3", "entry 'w' that is not a dtype and a shape", "float32"),
    ("[model.tensors.w]\ndtype = 'float32'", "entry 'w' that is not a dtype and a shape", ""),
    ("[model.tensors]\nw = {dtype = 'float32', shape = [1], x = 1}", "entry 'w' that is not a dtype and a shape", ""),
    ("[model.tensors]\nw = {dtype = 'float32', shape = 1}", "entry 'w' whose dtype is no string or whose shape", ""),
    ("[model.tensors]\nw = {dtype = 'float32', shape = [true]}", "entry 'w' whose dtype is no string or whose shape", ""),
    ("[model.tensors]\nw = {dtype = 'float33', shape = [1]}", "unknown dtype 'float33'", ""),
    ("[model.tensors]\nw = {dtype = 'float32', shape = [-1]}", "cannot be", ""),
    ("[model.tensors]\nlayer.weight = {dtype = 'float32', shape = [1]}", "entry 'layer' that is not", '"layer.weight"'),
    ("[model]\nconfig = 3", r"\[model\] config is no table", r"\[model.config\]"),
    ("[model.config]\nlr = 3", "entry 'lr' that is no limit", "min = "),
    ("[model.config]\nlr.decay = { min = 1 }", "entry 'lr' that is no limit", ""),
    ("[model.config]\nlr = { minimum = 1 }", "entry 'lr' that is no limit", ""),
    ("[model.config]\nlr = { min = '1' }", "entry 'lr' whose min or max is no number", ""),
    ("[model.config]\nlr = { max = true }", "entry 'lr' whose min or max is no number", ""),
    ("[model.config]\nlr = { min = 2, max = 1 }", "no number is a config value 'lr'", ""),
    ("[model.config]\nlr = { min = nan }", "no number is a config value 'lr'", ""),
    ("[model.config]\nlr = { min = 1, one_of = [1] }", "has bounds and a choice", ""),
    ("[model.config]\nlr = { one_of = 'sgd' }", "entry 'lr' whose one_of is no array of values", "adam"),
    ("[model.config]\nlr = { one_of = [[1]] }", "entry 'lr' whose one_of is no array of values", ""),
    ("[rounds]\nmax_rounds = 0", "max_rounds is 0", ""),
    ("[rounds]\nallow_repeats = 'no'", "allow_repeats is neither true nor false", ""),
    ("[rounds]\nmax_skipped_rounds = -1", "max_skipped_rounds is -1", ""),
    ("gamma = 0.1\ngamma = 0.2\n", "it is not TOML: .*line 2", ""),
    ("gamma = \n", "it is not TOML: .*line 1", ""),
    (f"gamma = {'1' * 5000}", "it is not TOML", ""),
    (f"x = {'[' * 10_000}", "nested too deeply", ""),
    (f"{'.'.join('x' * 500)} = 1", "more full stops than a policy needs", ""),
]


@pytest.mark.parametrize(("text", "match", "hint"), WRONG)
def test_what_a_file_cannot_say(tmp_path: Path, text: str, match: str, hint: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(LocalError, match=match) as caught:
        read_policy(path)
    assert caught.value.message.startswith(f"{path} is no policy: ")
    assert not isinstance(caught.value, DecodeError)
    assert caught.value.message.isprintable()
    with pytest.raises(LocalError):
        policy_from_toml(text.encode())
    if hint:
        assert caught.value.hint is not None
        assert re.search(hint, caught.value.hint)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(LocalError, match="is not UTF-8"):
        read_policy(path)


@given(data=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_whatever_a_file_holds_is_a_policy_or_one_error(data: bytes) -> None:
    try:
        policy_from_toml(data)
    except LocalError:
        return
    assert not tomllib.loads(data.decode()) or b"=" in data or b"[" in data


# --- who may write to it -----------------------------------------------------------------------------------------------------------------


def written(folder: Path, text: str = "") -> Path:
    path = folder / "policy.toml"
    path.write_text(text)
    return path


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"there is no policy .*gone") as caught:
        read_policy(tmp_path / "gone")
    assert "stfed policy init" in str(caught.value.hint)


def test_a_folder_and_a_pipe_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(LocalError, match="is not a plain file"):
            read_policy(path)


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    assert read_policy(written(tmp_path, "#" * MAX_BYTES)) == Policy()
    with pytest.raises(LocalError, match="is too long") as caught:
        read_policy(written(tmp_path, "#" * (MAX_BYTES + 1)))
    assert not isinstance(caught.value, DecodeError)


def test_a_file_that_others_may_change(tmp_path: Path) -> None:
    path = written(tmp_path)
    for mode in (0o664, 0o646):
        path.chmod(mode)
        with pytest.raises(LocalError, match="others than its owner may change it") as caught:
            read_policy(path)
        assert "chmod go-w" in str(caught.value.hint)
    path.chmod(0o644)
    read_policy(path)
    tmp_path.chmod(0o777)
    with pytest.raises(LocalError, match="others may replace it"):
        read_policy(path)
    tmp_path.chmod(0o755)


def test_a_file_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    give_away(path, monkeypatch)
    with pytest.raises(LocalError, match="belongs to another user"):
        read_policy(path)


def test_a_change_is_seen_and_the_same_text_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    module._parsed.cache_clear()
    real = module.policy_from_toml

    def counting(data: bytes, *, mode: Mode) -> Policy:
        parsed.append(data)
        return real(data, mode=mode)

    monkeypatch.setattr(module, "policy_from_toml", counting)
    path = written(tmp_path, "gamma = 0.1")
    assert [read_policy(path).gamma for _ in range(3)] == [0.1] * 3
    path.write_text("gamma = 0.2")
    assert read_policy(path).gamma == 0.2
    assert read_policy(path, mode=Mode.MALICIOUS).mode is Mode.MALICIOUS
    assert len(parsed) == 3


def test_a_place_is_a_table_or_the_top() -> None:
    values: dict[str, Any] = tomllib.loads(policy_toml(Policy()))
    assert {name for name, value in values.items() if isinstance(value, dict)} == set(SECTIONS) - {TOP}
