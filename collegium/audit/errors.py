"""What can be wrong with an export of an audit."""

from __future__ import annotations

from collegium.errors import UsageError, VerificationError

__all__ = ["ExportDamagedError", "NotAnExportError"]


class NotAnExportError(UsageError):
    """The file is something else."""

    code = "not_an_export"


class ExportDamagedError(VerificationError):
    """The file was cut short or altered, or lacks what it says it holds."""

    code = "export_damaged"
