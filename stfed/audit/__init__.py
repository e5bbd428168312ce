"""The audit log: an append-only Merkle log whose head is signed, and proofs that are checked without the log.

    log = AuditLog("audit.db")
    index = log.append(Event(Kind.SEAL, {"actor": "…", "file_id": "…"}))
    checkpoint = log.checkpoint(signer)                      give it away: it is what the log can't take back
    proof = log.inclusion_proof(index, checkpoint)           mail it: InclusionProof.parse(proof).verify([key])
    request = log.cosign_request(seen_size, checkpoint)      to a party, which keeps a Witness and cosigns
    log.verify(trusted_keys=[key], known=checkpoint)

How the parts depend on each other, from the outside in:

    witness, log > replay > tables, database > proof > checkpoint > signatures > note      events, merkle

The formats are those of C2SP (signed-note, tlog-checkpoint, tlog-cosignature, tlog-proof, tlog-witness), so other software reads them.
"""

from stfed.audit.checkpoint import Checkpoint, SignedCheckpoint
from stfed.audit.errors import ForkError, ProofError, TamperedLogError, UntrustedError
from stfed.audit.events import Entry, Event, Kind
from stfed.audit.log import AuditLog, open_log, record
from stfed.audit.proof import ConsistencyProof, InclusionProof
from stfed.audit.replay import Report
from stfed.audit.signatures import VerifierKey, cosigner_key, log_key
from stfed.audit.witness import Witness

__all__ = [
    "AuditLog",
    "Checkpoint",
    "ConsistencyProof",
    "Entry",
    "Event",
    "ForkError",
    "InclusionProof",
    "Kind",
    "ProofError",
    "Report",
    "SignedCheckpoint",
    "TamperedLogError",
    "UntrustedError",
    "VerifierKey",
    "Witness",
    "cosigner_key",
    "log_key",
    "open_log",
    "record",
]
