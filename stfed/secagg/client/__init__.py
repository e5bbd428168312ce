"""The party's side of the protocol: one class per state, each holding only the secrets that are still alive.

Theory of operation::

    JOIN                PREPARE              TRAIN                  vector masked        UNMASK
     -> Joined ---------> Prepared -----------> Training + MaskKeys ---> Trained ----------> Ready -> (PREPARE of a later round)
                                                                            |     UNMASK       ^
                                                      malicious mode:       '--> Confirmed ----'
                                                                         CONFIRM

A state is a value: a handler takes a message and returns the next state and the reply, and never changes the state it was called on.
Whoever drives it (`stfed.secagg.party`) stores the new state durably *before* the reply leaves, which is what makes PREPARE, TRAIN,
CONFIRM and UNMASK happen once only. `freeze` writes a state to bytes and `thaw` brings it back, because a Flower client handles every
message in a fresh process. Every handler checks every claim of the coordinator, each with its own error (`refusals`), before it uses a
secret.

What each state knows:

- `Joined`: the X25519 private key. No pairwise key exists yet.
- `Ready`: the pairwise keys, ratcheted past the last round. Nothing of the last round is left (see `PairwiseKeys` for the private key).
- `Prepared`: besides the keys: b_i, the seeds s_ij and the keys that open incoming shares. z_i is gone: it is in the box and the shares.
- `Training`, `Trained`: U1 and the shares held for the neighbours. The own seeds are gone: `MaskKeys` has them, in memory only.
- `Confirmed`: the same, and the U2 that this party signed.
"""

from __future__ import annotations

from stfed.errors import DecodeError
from stfed.secagg.client.confirmed import Confirmed
from stfed.secagg.client.joined import Joined, join
from stfed.secagg.client.masks import MaskKeys
from stfed.secagg.client.membership import Membership
from stfed.secagg.client.pairwise import PairwiseKeys
from stfed.secagg.client.prepared import Prepared
from stfed.secagg.client.ready import Ready, check_round_order
from stfed.secagg.client.state import ClientState
from stfed.secagg.client.trained import Trained, Training
from stfed.wire import Reader

__all__ = [
    "ClientState",
    "Confirmed",
    "Joined",
    "MaskKeys",
    "Membership",
    "PairwiseKeys",
    "Prepared",
    "Ready",
    "Trained",
    "Training",
    "check_round_order",
    "join",
    "thaw",
]


def thaw(data: bytes) -> ClientState:
    """The state that `freeze` wrote."""
    reader = Reader(data, "party state")
    tag = reader.u8("tag")
    for state in (Joined, Ready, Prepared, Training, Trained, Confirmed):
        if tag == state.TAG:
            result: ClientState = state._read(reader)
            reader.end()
            return result
    raise DecodeError(f"party state {tag} is not known")
