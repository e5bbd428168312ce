"""Every limit of the format, with its unit. Reading checks them before it allocates; writing never exceeds them."""

from __future__ import annotations

from typing import Final

HEADER_BYTES: Final = 4096
"""The outer header, its length field included: one page, so that slots and payload begin on pages."""
HEADER_CAP_BYTES: Final = 100_000_000
"""safetensors' own cap on a header; holds for the header inside as well."""
SLOT_MIN_BYTES: Final = 64 << 10
"""One envelope slot. The smallest is chosen that leaves half of itself for grants, so this one holds 19 hybrid or 239 X25519 recipients."""
SLOT_MAX_BYTES: Final = 4 << 20
SEGMENT_MIN_BYTES: Final = 4 << 10
SEGMENT_DEFAULT_BYTES: Final = 1 << 20
SEGMENT_MAX_BYTES: Final = 64 << 20
RECIPIENTS_MAX: Final = 1024
PROVENANCE_MAX_BYTES: Final = 32 << 10
INTEGER_MAX: Final = (1 << 53) - 1
"""Largest integer in a provenance entry: what every JSON reader keeps exact."""
SIGNERS_MAX: Final = 8
OWNERS_MAX: Final = 64
READERS_MAX: Final = 256
PURPOSES_MAX: Final = 32
PURPOSE_MAX_CHARACTERS: Final = 64
