"""The client of an institution: trains next to its data, takes part in rounds, watches aggregators.

A task file needs one name from here: `from collegium_client import Task`. Nothing heavy is imported until it is used.
"""

from collegium import __version__

from .task import Task

__all__ = ["Task", "__version__"]
