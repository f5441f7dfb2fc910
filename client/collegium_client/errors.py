"""Reasons for which the client refuses or gives up, beside those of `collegium.errors`."""

from __future__ import annotations

from collegium.errors import CollegiumError, PreconditionError, TimedOutError

__all__ = ["TaskFailed", "TaskInvalid", "TaskResultRejected", "TaskTimedOut"]


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
