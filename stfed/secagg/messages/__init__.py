"""The messages between coordinator and party, and nothing about what they mean.

Every message is `header ‖ body ‖ signature`, encoded with `stfed.wire`: equal messages are equal bytes. The header (version, kind,
suite, run, epoch, round) is the same in all of them, so whatever is hashed or signed over a message is bound to its place in the
protocol. The signature is empty in semi-honest mode, and always in what the coordinator says; in malicious mode it is the sending party's
(`stfed.secagg.signing` says over what).

A *set of parties* (cohort, U1, U2) is a strictly increasing list of directory indices: it has one encoding, and a party that is named
twice cannot be written down. What is per neighbour stands in the order of the sorted neighbour list, which both sides compute, so it
carries no names. Only where parties draw their share-holders themselves (malicious mode, large cohorts) do lists carry names, and two
messages have another form: `DrawnPrepare` and `DrawnTrainRequest`.

Message by message (`docs/protocol.md`; the steps are those of Bonawitz et al., CCS 2017, and Bell et al., CCS 2020)::

    JOIN      JoinRequest     ->   Join        once per epoch
    PREPARE   PrepareRequest  ->   Prepare     keys, shares, box, commitments
    TRAIN     TrainRequest    ->   Masked      the masked vector travels beside it, packed; or a Complaint (malicious mode)
    CONFIRM   ConfirmRequest  ->   Confirm     a signature under the survivor set (malicious mode)
    UNMASK    UnmaskRequest   ->   Unmask      one share per neighbour, of b or of z
"""

from stfed.secagg.messages.base import (
    COMMITMENT_BYTES,
    IDENTITY_BYTES,
    MAX_BOX_BYTES,
    MAX_NEIGHBOURS,
    MAX_PARTIES,
    MAX_PLAN_BYTES,
    MAX_SCHEMA_BYTES,
    MAX_SIGNATURE_BYTES,
    PUBLIC_KEY_BYTES,
    SEALED_SHARES_BYTES,
    SHORT_HASH_BYTES,
    VERSION,
    Header,
    Kind,
    Message,
    Phase,
    ShareOf,
    check_party_set,
    encode_parties,
    peek,
)
from stfed.secagg.messages.join import (
    Join,
    JoinRequest,
)
from stfed.secagg.messages.prepare import (
    DealtShares,
    DrawnPrepare,
    Prepare,
    PrepareRequest,
)
from stfed.secagg.messages.train import (
    Complaint,
    Delivery,
    DrawnTrainRequest,
    Grievance,
    Masked,
    TrainRequest,
)
from stfed.secagg.messages.unmask import (
    Confirm,
    ConfirmRequest,
    Unmask,
    UnmaskRequest,
)

__all__ = [
    "COMMITMENT_BYTES",
    "IDENTITY_BYTES",
    "MAX_BOX_BYTES",
    "MAX_NEIGHBOURS",
    "MAX_PARTIES",
    "MAX_PLAN_BYTES",
    "MAX_SCHEMA_BYTES",
    "MAX_SIGNATURE_BYTES",
    "PUBLIC_KEY_BYTES",
    "SEALED_SHARES_BYTES",
    "SHORT_HASH_BYTES",
    "VERSION",
    "Complaint",
    "Confirm",
    "ConfirmRequest",
    "DealtShares",
    "Delivery",
    "DrawnPrepare",
    "DrawnTrainRequest",
    "Grievance",
    "Header",
    "Join",
    "JoinRequest",
    "Kind",
    "Masked",
    "Message",
    "Phase",
    "Prepare",
    "PrepareRequest",
    "ShareOf",
    "TrainRequest",
    "Unmask",
    "UnmaskRequest",
    "check_party_set",
    "encode_parties",
    "peek",
]
