"""An independent audit: replay a study from public events, calldata and blobs, and recompute every final round.

Trusts neither a node's storage, nor a store, nor an index kept from before. What remains to be trusted is that the
node serves the right chain, which the hash of the last block settles.
"""

from __future__ import annotations

from .errors import ExportDamagedError, NotAnExportError
from .export import Exported, export_audit
from .offline import OfflineAudit, audit_export
from .report import CHECKS, AuditIncompleteError, Check, Report, Status
from .study import audit_study

__all__ = [
    "CHECKS",
    "AuditIncompleteError",
    "Check",
    "ExportDamagedError",
    "Exported",
    "NotAnExportError",
    "OfflineAudit",
    "Report",
    "Status",
    "audit_export",
    "audit_study",
    "export_audit",
]
