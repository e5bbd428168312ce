from dataclasses import fields

from stfed import audit
from stfed.audit import errors
from stfed.errors import LocalError, PeerError, StfedError


def test_the_public_surface() -> None:
    assert sorted(audit.__all__) == audit.__all__
    assert " ".join(audit.__all__) == (
        "AuditLog Checkpoint ConsistencyProof Entry Event ForkError InclusionProof Kind ProofError Report SignedCheckpoint "
        "TamperedLogError UntrustedError VerifierKey Witness cosigner_key log_key open_log record"
    )
    assert all(hasattr(audit, name) for name in audit.__all__)


def test_what_others_code_against() -> None:
    assert [field.name for field in fields(audit.Event)] == ["kind", "fields"]
    assert [field.name for field in fields(audit.Entry)] == ["index", "time", "event", "data"]


def test_a_log_that_lies_is_the_peers_fault() -> None:
    own = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, StfedError) and value is not PeerError]
    assert len(own) == 4
    for error in own:
        assert issubclass(error, PeerError)
        assert not issubclass(error, LocalError)
