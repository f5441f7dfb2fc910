"""The inbox: signed wire items handed in by hospitals, kept until the chain holds them.

An inbox is durable (SQLite, write-ahead log) so that a restarted coordinator still carries what it accepted.
It never judges content; `intake` does that before anything is stored.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from collegium.crashpoints import crashpoint, register
from collegium.database import open_database

__all__ = ["Inbox", "Item", "Topic"]

register("coordinator.message_kept")


class Topic(StrEnum):
    """What an item carries; the value is its HTTP path segment."""

    UPDATES = "updates"
    REVEALS = "reveals"
    ATTESTATIONS = "attestations"
    ENDORSEMENTS = "endorsements"


@dataclass(frozen=True)
class Item:
    """One packed wire item.

    subject: what the item is about beyond its round: the proposal hash of an endorsement, empty otherwise.
    arrived: unix seconds.
    """

    topic: Topic
    study_id: int
    round: int
    index: int
    subject: bytes
    wire: bytes
    arrived: float


class Inbox:
    """Items by study, round, topic, seat and subject; the latest one wins."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = open_database(path, synchronous="FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS items (study INTEGER, round INTEGER, topic TEXT, seat INTEGER, subject BLOB,"
            " wire BLOB NOT NULL, arrived REAL NOT NULL, PRIMARY KEY (study, round, topic, seat, subject))"
        )

    def put(self, item: Item) -> None:
        """Keep one item; an earlier item of the same seat, topic and subject is replaced."""
        with self._lock:
            self._db.execute(
                "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?)",
                (item.study_id, item.round, item.topic.value, item.index, item.subject, item.wire, item.arrived),
            )
        crashpoint("coordinator.message_kept")

    def get(self, study_id: int, round_number: int, topic: Topic, subject: bytes = b"") -> list[Item]:
        """Items of one topic in ascending seat order."""
        with self._lock:
            rows = self._db.execute(
                "SELECT seat, wire, arrived FROM items"
                " WHERE study=? AND round=? AND topic=? AND subject=? ORDER BY seat",
                (study_id, round_number, topic.value, subject),
            ).fetchall()
        return [Item(topic, study_id, round_number, seat, subject, wire, arrived) for seat, wire, arrived in rows]

    def discard_before(self, study_id: int, round_number: int) -> None:
        """Forget items of rounds before `round_number`: the chain holds what mattered."""
        with self._lock:
            self._db.execute("DELETE FROM items WHERE study=? AND round<?", (study_id, round_number))

    def close(self) -> None:
        with self._lock:
            self._db.close()
