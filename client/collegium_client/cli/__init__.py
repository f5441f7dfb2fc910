"""The command `collegium`. Command modules are imported only when one of their commands runs."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point: run the command line and exit with its code."""
    from .app import run

    raise SystemExit(run())
