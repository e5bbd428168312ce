"""The global model of every round as a sealed file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from flwr.serverapp.strategy import FedAdam

from stfed import sealed
from stfed.audit import AuditLog, InclusionProof, Kind, log_key
from stfed.errors import LocalError, SealError
from stfed.flower import SecureAggregation
from stfed.keys.encryption import generate_keypair
from stfed.keys.keyfile import read_recipient, write_keypair
from stfed.keys.signing import SigningKey
from stfed.sealed import Policy, RollbackError, inspect
from stfed.sealed.numpy import load_file
from tests.flower import apps

N = 5


def key_file(folder: Path, name: str) -> Path:
    """A key pair NAME and NAME.pub; returns the path of the first."""
    identity, _ = generate_keypair()
    write_keypair(folder / name, identity)
    return folder / name


def public(key: Path) -> Path:
    return key.with_name(key.name + ".pub")


def test_every_round_is_sealed_to_all_recipients(tmp_path: Path) -> None:
    ours, theirs, strangers = (key_file(tmp_path, name) for name in ("ours", "theirs", "strangers"))
    recorder = apps.Recorder()
    strategy = apps.secure(save=tmp_path / "a" / "models", recipients=[public(ours), public(theirs).read_text().strip().splitlines()[-1]])
    strategy.start(apps.secure_grid(N), apps.model(), 3, evaluate_fn=recorder)
    files = sorted((tmp_path / "a" / "models").iterdir())
    assert [file.name for file in files] == ["round-001.safetensors", "round-002.safetensors", "round-003.safetensors"]
    for file, model in zip(files, recorder.models[1:], strict=True):
        for key in (ours, theirs):
            loaded = load_file(file, identity=key)
            assert set(loaded) == set(apps.SHAPES)
            for name, value in apps.numpy_of(model).items():
                assert loaded[name].dtype == np.float32
                assert loaded[name].tobytes() == value.tobytes()
        with pytest.raises(SealError):
            load_file(file, identity=strangers)
        raw = file.read_bytes()
        assert not any(value.tobytes() in raw for value in apps.numpy_of(model).values() if value.nbytes > 4)
        assert file.stat().st_mode & 0o022 == 0


def test_stock_safetensors_loads_what_is_opened(tmp_path: Path) -> None:
    key = key_file(tmp_path, "key")
    strategy = apps.secure(FedAdam(fraction_evaluate=0.0), save=tmp_path, recipients=[public(key)])
    result = strategy.start(apps.secure_grid(N), apps.model(), 1)
    sealed.open_file(tmp_path / "round-001.safetensors", tmp_path / "plain.safetensors", identity=key)
    plain = safetensors.numpy.load_file(tmp_path / "plain.safetensors")
    for name, value in apps.numpy_of(result.arrays).items():
        assert plain[name].dtype == np.float32
        np.testing.assert_array_equal(plain[name], value)


def test_the_file_says_where_it_comes_from_and_nothing_about_a_party(tmp_path: Path) -> None:
    key = key_file(tmp_path, "key")
    strategy = apps.secure(save=tmp_path, recipients=[public(key)])
    grid = apps.secure_grid(N, {"action": "drop-reply", "node": 1, "step": "train", "round": 2})
    strategy.start(grid, apps.model(), 2)
    report = strategy.reports[1]
    first = inspect(tmp_path / "round-001.safetensors")
    sealed.open_file(tmp_path / "round-001.safetensors", tmp_path / "plain", identity=key)
    assert dict(inspect(tmp_path / "round-002.safetensors").public) == {
        "model": f"run-{grid.run.run_id}",
        "sequence": 2,
        "previous": first.manifest_sha256,
        "model_before_sha256": hashlib.sha256((tmp_path / "plain").read_bytes()).hexdigest(),
        "run": str(grid.run.run_id),
        "server_round": 2,
        "secure_round": 2,
        "strategy": "FedAvg",
        "parties_asked": N,
        "parties_summed": N - 1,
        "neighbours_k": report.k,
        "threshold_t": report.t,
        "graph": "complete",
        "ring_bits": 32,
        "clip": 1.0,
    }
    assert (first.public["sequence"], first.public["previous"], first.signature) == (1, None, "none")


def test_signed_models_in_a_chain_over_two_runs_and_in_the_log(tmp_path: Path) -> None:
    """What an auditor can prove afterwards: who released which sum, from which model, to whom; and that the log says so."""
    key, signer, folder = key_file(tmp_path, "key"), SigningKey.generate(), tmp_path / "models"
    policy = Policy(purposes="evaluation")
    for _ in range(2):
        strategy = apps.secure(save=folder, recipients=public(key), signer=signer, policy=policy, audit=tmp_path / "log", model="heart")
        strategy.start(apps.secure_grid(N), apps.model(), 2)
    with AuditLog(tmp_path / "log", create=False) as log:
        assert log.verify(trusted_keys=[log_key(log.origin, signer)]).covered == 8
        entries = list(log.entries())
    kinds = [str(entry.event.kind) for entry in entries]
    assert kinds == ["aggregate", "seal"] * 4
    versions = [entry.event.fields["sequence"] for entry in entries if entry.event.kind is Kind.AGGREGATE]
    assert versions == [1, 2, 3, 4]
    seals = [entry.event.fields for entry in entries if entry.event.kind is Kind.SEAL]
    links = [entry.event.fields["previous"] for entry in entries if entry.event.kind is Kind.AGGREGATE]
    assert links == [None, *(fields["manifest_sha256"] for fields in seals[:-1])]
    assert {fields["recipients"] for fields in seals} == {read_recipient(public(key)).fingerprint}
    pins = tmp_path / "pins"
    for number in (1, 2):
        path = folder / f"round-00{number}.safetensors"
        with sealed.SealedReader(path, identity=key, trusted=signer.public, purpose="evaluation", pins=pins) as reader:
            stated = reader.statements
        assert (stated["model"], stated["sequence"]) == ("heart", number + 2)
        aggregate = entries[int(str(stated["audit_entry"]))]
        proof = InclusionProof.parse(str(stated["audit_proof"]))
        assert proof.verify([log_key(str(stated["audit_log"]), signer)], entry=aggregate.data)
        assert proof.index == aggregate.index
        with pytest.raises(SealError, match="purpose"):
            load_file(path, identity=key, trusted=signer.public)
    with pytest.raises(RollbackError):
        load_file(folder / "round-001.safetensors", identity=key, trusted=signer.public, purpose="evaluation", pins=pins)


def test_a_round_without_a_sum_has_no_file(tmp_path: Path) -> None:
    key = key_file(tmp_path, "key")
    strategy = apps.secure(save=tmp_path / "models", recipients=[public(key)], on_failure="skip")
    grid = apps.secure_grid(N, *({"action": "drop-reply", "node": node, "step": "train", "round": 2} for node in range(4)))
    strategy.start(grid, apps.model(), 3)
    assert [file.name for file in sorted((tmp_path / "models").iterdir())] == ["round-001.safetensors", "round-003.safetensors"]


def test_the_event_log_names_the_files(tmp_path: Path) -> None:
    key = key_file(tmp_path, "key")
    strategy = apps.secure(save=tmp_path, recipients=[public(key)], events=tmp_path / "events.jsonl")
    strategy.start(apps.secure_grid(N), apps.model(), 2)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    models = [event for event in events if event["event"] == "model"]
    assert [(event["server_round"], event["path"]) for event in models] == [
        (1, str(tmp_path / "round-001.safetensors")),
        (2, str(tmp_path / "round-002.safetensors")),
    ]
    assert [event["bytes"] for event in models] == [Path(event["path"]).stat().st_size for event in models]


def test_a_recipient_that_cannot_be_read_ends_it_before_training(tmp_path: Path) -> None:
    key = key_file(tmp_path, "key")
    for recipient in (tmp_path / "missing.pub", "no key at all", key):
        with pytest.raises((LocalError, SealError)):
            SecureAggregation(apps.only_training(), save=tmp_path, recipients=[recipient])


def test_nobody_who_may_open_them(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="nobody is named who may open them") as caught:
        SecureAggregation(apps.only_training(), save=tmp_path)
    assert caught.value.hint == "recipients=['KEY.pub']"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    key = key_file(tmp_path, "key")
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot be made"):
        SecureAggregation(apps.only_training(), save=tmp_path / "file" / "models", recipients=[public(key)])
