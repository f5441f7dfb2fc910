"""The coordinator: collects signed messages, carries them in batches, proposes on duty, serves its store."""

from collegium import __version__

__all__ = ["__version__"]
