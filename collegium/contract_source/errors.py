"""What can go wrong between a contract and its published source."""

from __future__ import annotations

from collegium.errors import (
    CollegiumError,
    PreconditionError,
    TimedOutError,
    UnauthorizedError,
    UnreachableError,
    VerificationError,
)

__all__ = [
    "BytecodeMismatchError",
    "CompilerMissingError",
    "ExplorerKeyError",
    "ExplorerPendingError",
    "ExplorerRefusedError",
    "ExplorerUnreachableError",
]


class BytecodeMismatchError(VerificationError):
    """The chain holds other code than this release compiles to."""

    code = "bytecode_mismatch"


class CompilerMissingError(PreconditionError):
    code = "compiler_missing"


class ExplorerRefusedError(CollegiumError):
    """An explorer took the request and said no; the message carries its reason."""

    code = "explorer_refused"


class ExplorerUnreachableError(UnreachableError):
    """No answer, or one that is not of this API."""

    code = "explorer_unreachable"


class ExplorerKeyError(UnauthorizedError):
    code = "explorer_key"


class ExplorerPendingError(TimedOutError):
    """Accepted, not yet decided; the ticket is kept."""

    code = "explorer_pending"
