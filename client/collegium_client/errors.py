"""Reasons for which the client refuses or gives up, beside those of `collegium.errors`."""

from __future__ import annotations

from collegium.errors import CollegiumError, PreconditionError, TimedOutError, VerificationError

__all__ = [
    "DataMismatch",
    "DataUnreadable",
    "SchemaInvalid",
    "TaskFailed",
    "TaskInvalid",
    "TaskResultRejected",
    "TaskTimedOut",
]


class TaskInvalid(PreconditionError):
    """A task file does not define what a task must define."""

    code = "task_invalid"


class TaskFailed(CollegiumError):
    """The task raised, or its process ended."""

    code = "task_failed"


class TaskTimedOut(TaskFailed, TimedOutError):
    """The task ran longer than it may; its process was ended."""

    code = "task_timed_out"
    exit_code = 8


class TaskResultRejected(TaskFailed):
    """What the task handed back is not a finite tensor set of the promised names, shapes and types."""

    code = "task_result_rejected"


class DataUnreadable(PreconditionError):
    """There is no data at a path, or no program here reads its form."""

    code = "data_unreadable"


class SchemaInvalid(PreconditionError):
    """A schema file does not say what a schema must say."""

    code = "schema_invalid"


class DataMismatch(VerificationError):
    """Local data are not what the study's schema promises. Counts only, never values."""

    code = "data_mismatch"
