"""The coordinator's side of the protocol: one class per step, fed with replies as they arrive.

Theory of operation::

    Joining --close--> Enrolment          once per epoch
    Preparing --close--> Collecting --close--> Unmasking --close--> Sum               semi-honest mode
    Preparing --close--> Collecting --confirm--> Confirming --close--> Unmasking --close--> Sum       malicious mode

Every step has `request` (what to send), `add` (one reply, checked and absorbed at once), `fail` (an error reply) and, once, `close` (no
more replies: the next step, or a `QuorumError` that names who is missing). The first answer of a party that was asked counts; doubles,
strangers and what comes after `close` change nothing. A reply that breaks a rule costs its sender the round: it is recorded in `drops`
with the reason and the others go on. `Collecting` keeps a running sum, so memory is O(model), not O(parties x model). There is no clock
and no IO here: who waits, and how long, is the driver's business.

In malicious mode every reply is signed, and a reply whose signature does not fit is as good as none. What a party signed is evidence of
what it said; a signature that does not fit is evidence of nothing, since it may have been spoilt on the way.

The coordinator learns, for each party, its self-mask seed or its pairwise seeds, never both (Bell et al., CCS 2020), and so the sum.
"""

from stfed.secagg.server.collecting import Collecting
from stfed.secagg.server.confirming import Confirming
from stfed.secagg.server.disputes import Dispute, excluded
from stfed.secagg.server.drops import Drop, DropReason
from stfed.secagg.server.joining import Enrolment, Joining
from stfed.secagg.server.preparing import Preparing
from stfed.secagg.server.unmasking import DealerFaultError, Sum, Unmasking

__all__ = [
    "Collecting",
    "Confirming",
    "DealerFaultError",
    "Dispute",
    "Drop",
    "DropReason",
    "Enrolment",
    "Joining",
    "Preparing",
    "Sum",
    "Unmasking",
    "excluded",
]
