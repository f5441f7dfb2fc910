"""What every explorer does for `publishing`: look a contract up, take its source, say how that went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .bytecode import Match
from .targets import Target

__all__ = ["Explorer", "Refused", "Submitted", "Verified", "Waiting"]


@dataclass(frozen=True, slots=True)
class Verified:
    """match: how well, NONE when the explorer does not say. note: what else a person should know."""

    match: Match = Match.NONE
    already: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Submitted:
    """ticket: what to ask with; empty when the explorer knows the address alone."""

    ticket: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not decided yet."""


@dataclass(frozen=True, slots=True)
class Refused:
    """reason: in the explorer's words. again: whether sending it anew may help, such as after a lost ticket."""

    reason: str
    again: bool = False


class Explorer(Protocol):
    """Raises ExplorerUnreachableError, ExplorerKeyError."""

    name: str
    base: str

    def find(self, target: Target) -> Verified | None:
        """What it knows already; None when nothing that is good enough."""

    def submit(self, target: Target, source: str) -> Submitted | Verified | Refused:
        """Hand in the standard-JSON input."""

    def poll(self, target: Target, ticket: str) -> Verified | Waiting | Refused:
        """How a submission went."""

    def page(self, target: Target) -> str:
        """Where a person reads the source."""
