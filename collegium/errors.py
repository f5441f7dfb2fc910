"""The one error tree: what went wrong, why, and what to do next.

``code`` is stable for machines, ``exit_code`` is what a command returns, ``retryable`` says whether the same
call may succeed later without anybody changing anything.
"""

from __future__ import annotations

from typing import Any, ClassVar


class CollegiumError(Exception):
    """Base of every error raised on purpose. Evidence is kept as attributes and in ``evidence``."""

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", **evidence: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = evidence

    def __getattr__(self, name: str) -> Any:
        evidence = self.__dict__.get("evidence", {})
        if name in evidence:
            return evidence[name]
        raise AttributeError(name)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.evidence))

    def to_json(self) -> dict[str, Any]:
        """The error as the ``--json`` envelope and the coordinator's HTTP answers show it."""
        shown = {
            name: "0x" + bytes(value).hex() if isinstance(value, (bytes, bytearray)) else value
            for name, value in self.evidence.items()
        }
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "evidence": shown,
        }


def _rebuild(kind: type[CollegiumError], message: str, hint: str, evidence: dict[str, Any]) -> CollegiumError:
    return kind(message, hint=hint, **evidence)


# 2: the call itself is wrong


class UsageError(CollegiumError):
    code = "usage"
    exit_code = 2


class ConfigError(UsageError):
    code = "config_invalid"


class RecordError(UsageError):
    """A field of a record does not fit the type that is hashed or signed."""

    code = "record_invalid"


# 3: the call is right but something must happen first


class PreconditionError(CollegiumError):
    code = "precondition"
    exit_code = 3


class ChainIdMismatchError(PreconditionError):
    code = "chain_id_mismatch"


class DeploymentMissingError(PreconditionError):
    code = "deployment_missing"


class InsufficientGasError(PreconditionError):
    code = "insufficient_gas"


class InsufficientStakeError(PreconditionError):
    code = "insufficient_stake"


class StudyUnknownError(PreconditionError):
    code = "study_unknown"


class WrongPhaseError(PreconditionError):
    code = "wrong_phase"


class DeadlinePassedError(PreconditionError):
    code = "deadline_passed"


class NotAMemberError(PreconditionError):
    code = "not_a_member"


class TaskNotApprovedError(PreconditionError):
    code = "task_not_approved"


class DoubleSignError(PreconditionError):
    """The journal holds a different message for this round; signing a second one would be finable (R8)."""

    code = "double_sign_refused"


class QuotaExceededError(PreconditionError):
    code = "quota_exceeded"


class DiskError(PreconditionError):
    """The disk is full, read-only or failing."""

    code = "disk"


class ExtraMissingError(PreconditionError):
    """A command needs an extra that is not installed."""

    code = "extra_missing"


class ConfirmationRequiredError(PreconditionError):
    code = "confirmation_required"


class PlanRejectedError(PreconditionError):
    """A plan breaks a creation check. ``reason`` is the number the Referee reports."""

    code = "plan_rejected"


class EncodingError(PreconditionError):
    """Floats that cannot become fixed-point numbers of the format table."""

    code = "encoding_failed"


class NonFiniteError(EncodingError):
    code = "encoding_non_finite"


class ShapeError(EncodingError):
    code = "encoding_shape"


class TensorNamesError(EncodingError):
    code = "encoding_names"


class TableError(EncodingError):
    code = "format_table_invalid"


class ArithmeticBoundError(PreconditionError):
    """Numbers beyond what 64-bit arithmetic of this format carries exactly."""

    code = "arithmetic_bound"


# 4: something does not match what was committed, signed or promised


class VerificationError(CollegiumError):
    code = "verification_failed"
    exit_code = 4


class BlobError(VerificationError):
    code = "blob_invalid"


class BlobTruncatedError(BlobError):
    code = "blob_truncated"


class BlobOversizedError(BlobError):
    code = "blob_oversized"


class BlobMagicError(BlobError):
    code = "blob_magic"


class BlobVersionError(BlobError):
    code = "blob_version"


class BlobKindError(BlobError):
    code = "blob_kind"


class BlobFormatError(BlobError):
    code = "blob_format"


class BlobContextError(BlobError):
    code = "blob_context"


class BlobIndexError(BlobError):
    code = "blob_index"


class BlobSaltError(BlobError):
    code = "blob_salt"


class BlobReservedError(BlobError):
    code = "blob_reserved"


class BlobPayloadError(BlobError):
    """The payload's length is not that of the format."""

    code = "blob_payload"


class RootMismatchError(VerificationError):
    code = "root_mismatch"


class OpeningError(VerificationError):
    """An opening has the wrong size or names a leaf outside its tree."""

    code = "opening_invalid"


class SignatureError(VerificationError):
    code = "signature_invalid"


class HighSError(SignatureError):
    code = "signature_high_s"


class SignerMismatchError(SignatureError):
    code = "signer_mismatch"


class WireError(VerificationError):
    """Packed items do not have the length their kind prescribes."""

    code = "wire_length"


class AbiError(VerificationError):
    """Bytes of a call, an answer or a log that are not what the ABI says."""

    code = "abi_invalid"


class EvidenceError(VerificationError):
    """Evidence is malformed or shows no fault."""

    code = "evidence_invalid"


class CidError(VerificationError):
    code = "cid_invalid"


class CidMismatchError(CidError):
    code = "cid_mismatch"


class CidUnsupportedError(CidError):
    code = "cid_unsupported"


class ContractMismatchError(VerificationError):
    """Chain state differs from what the records say."""

    code = "contract_mismatch"


class LogMismatchError(VerificationError):
    """Logs served by a node differ from the receipt roots of the blocks they claim."""

    code = "log_mismatch"


class EgressLogError(VerificationError):
    """The egress log was changed after it was written."""

    code = "egress_log_broken"


class AuditFailedError(VerificationError):
    code = "audit_failed"


# 5: somebody does not answer


class UnreachableError(CollegiumError):
    code = "unreachable"
    exit_code = 5
    retryable = True


class ChainUnreachableError(UnreachableError):
    code = "chain_unreachable"


class ChainDisagreementError(ChainUnreachableError):
    """Chain nodes have different blocks where a quorum of them must have the same."""

    code = "chain_disagreement"


class StoreUnreachableError(UnreachableError):
    code = "store_unreachable"


class BlobNotFoundError(UnreachableError):
    """No store that answered has the blob."""

    code = "blob_not_found"


class CoordinatorUnreachableError(UnreachableError):
    code = "coordinator_unreachable"


# 6: key or authorization


class KeystoreError(CollegiumError):
    code = "keystore"
    exit_code = 6


class WrongPasswordError(KeystoreError):
    code = "wrong_password"


class KeyMissingError(KeystoreError):
    code = "key_missing"


class KeyExistsError(KeystoreError):
    code = "key_exists"


class UnauthorizedError(KeystoreError):
    code = "unauthorized"


# 7: the chain refused


class RevertedError(CollegiumError):
    """A transaction or call reverted. ``error`` is the contract's own error name when it is known."""

    code = "reverted"
    exit_code = 7


# 8: nothing happened in time


class TimedOutError(CollegiumError):
    code = "timed_out"
    exit_code = 8
    retryable = True


class InterruptedByUserError(CollegiumError):
    code = "interrupted"
    exit_code = 130
