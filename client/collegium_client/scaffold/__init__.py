"""A new task: the files that `collegium task new` writes, from the form of somebody's data."""

from .writing import KINDS, NewTask, write_task

__all__ = ["KINDS", "NewTask", "write_task"]
