"""Vectors of the sealed tensor file: whole files, keys, and some four hundred scenarios with what must come of each. See `sealed_format`.

Files are named `sealed/<name>.safetensors`, scenarios `sealed/scenarios/<name>.json`; `sealed_format.scenarios` says what is in one. A
model in two files is in `sealed/sharded`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.vectors.sealed_format import (
    keys,
    lies_content,
    lies_envelope,
    lies_grants,
    lies_manifest,
    lies_outside,
    lies_payload,
    lies_signatures,
    lies_stanzas,
    sharded,
)
from tests.vectors.sealed_format.scenarios import Scenarios, add_whole, plain_file

FAMILIES = (
    add_whole,
    *(lies_outside.add_truncation, lies_outside.add_header, lies_outside.add_slots),
    lies_envelope.add_envelope,
    *(lies_stanzas.add_stanzas, lies_stanzas.add_hybrid_stanzas, lies_stanzas.add_sealers_lies, lies_stanzas.add_passphrases),
    *(lies_payload.add_segments, lies_payload.add_floe_header, lies_payload.add_digests),
    lies_content.add_content,
    *(lies_signatures.add_trust, lies_signatures.add_strangers, lies_signatures.add_signatures, lies_signatures.add_signers),
    *(lies_manifest.add_manifests, lies_manifest.add_policy),
    *(lies_grants.add_chain, lies_grants.add_generations),
)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def file_name(scenario: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", scenario.lower()).strip("-")


def generate() -> dict[str, bytes]:
    scenarios = Scenarios()
    for add in FAMILIES:
        add(scenarios)
    written = {f"sealed/scenarios/{file_name(name)}.json": _json(scenario) for name, scenario in scenarios.found.items()}
    assert len(written) == len(scenarios.found), "two scenarios have the same file name"
    return {
        "sealed/keys.json": _json(keys.listed(keys.ENCRYPTION)),
        "sealed/signing_keys.json": _json(keys.listed(keys.SIGNING)),
        "sealed/plain.safetensors": plain_file(),
        **{f"sealed/sharded/{name}": content for name, content in sharded.files().items()},
        **{f"sealed/{name}.safetensors": scenarios.whole(name) for name in scenarios.files},
        **written,
    }
