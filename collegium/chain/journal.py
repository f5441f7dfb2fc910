"""What this node key signed, so that it never signs a second, different thing.

Every message is on the disk before its signature exists. Losing the journal means skipping the round: two updates
for one seat and round are a fault that anyone can prove (R8). Entries are never changed or deleted; they move
between machines as JSON, in the spirit of EIP-3076.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Self, cast

from collegium.crashpoints import crashpoint, register
from collegium.database import open_database
from collegium.errors import ConfigError, DoubleSignError
from collegium.messages import Domain, digest
from collegium.records import Attestation, Endorsement, ExtFields, Record, Reveal, Signed, Update

from .signer import Signer

__all__ = ["Journal"]

_VERSION = "collegium.journal/1"

register("journal.update_written", "journal.attestation_written", "journal.endorsement_written", "journal.signed")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS signed (
    chain INTEGER NOT NULL, contract TEXT NOT NULL, signer TEXT NOT NULL, kind TEXT NOT NULL, study INTEGER NOT NULL,
    round INTEGER NOT NULL, slot TEXT NOT NULL, message TEXT NOT NULL, reveal TEXT,
    created TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (chain, contract, signer, kind, study, round, slot));
"""


class Journal:
    """The messages of one key towards one deployment. Thread-safe; keys and processes may share the file.

    The one way to a signature of a round is through here: `sign_update`, `sign_attestation`, `sign_endorsement`.
    """

    def __init__(self, path: Path, domain: Domain, signer: Signer) -> None:
        self._domain = domain
        self._signer = signer
        self._lock = threading.RLock()
        self._db = open_database(path, synchronous="FULL")
        self._db.executescript(_SCHEMA)

    def sign_update(self, update: Update, reveal: Reveal | None = None) -> Signed[Update]:
        """Record an update with what will open it, then sign it. The same update may be signed again.

        Raises DoubleSignError: this seat signed a different update in this round.
        """
        self._record("update", update, str(update.index), reveal)
        crashpoint("journal.update_written")
        return self._sign(update)

    def sign_attestation(self, attestation: Attestation) -> Signed[Attestation]:
        """Record and sign. A wider bitmap may follow, over the same set of revealed slots.

        Raises DoubleSignError: an earlier attestation of this round was over another set.
        """
        with self._lock:
            for earlier in self._rows("attest", attestation.study_id, attestation.round):
                if (earlier["ctx"], earlier["set_hash"]) != (_text(attestation.ctx), _text(attestation.set_hash)):
                    raise _conflict("attestation", attestation.study_id, attestation.round)
            self._record("attest", attestation, f"{attestation.index}/{attestation.bitmap:x}")
        crashpoint("journal.attestation_written")
        return self._sign(attestation)

    def sign_endorsement(self, endorsement: Endorsement, attempt: int) -> Signed[Endorsement]:
        """Record and sign. One proposal per attempt: a later attempt may bring another one.

        Raises DoubleSignError.
        """
        slot = f"{endorsement.index}/{_text(endorsement.ctx)}/{attempt}"
        self._record("endorse", endorsement, slot)
        crashpoint("journal.endorsement_written")
        return self._sign(endorsement)

    def find_update(self, study_id: int, round_number: int) -> tuple[Update, Reveal | None] | None:
        """The update recorded for a round, to carry it or open it after a restart."""
        with self._lock:
            row = self._db.execute(
                "SELECT message, reveal FROM signed WHERE chain=? AND contract=? AND signer=? AND kind='update'"
                " AND study=? AND round=?",
                (*self._owner, study_id, round_number),
            ).fetchone()
        if row is None:
            return None
        reveal = json.loads(row[1]) if row[1] else None
        return Update(**json.loads(row[0])), None if reveal is None else _reveal(reveal)

    def has_endorsed(self, study_id: int, round_number: int, proposal: bytes) -> bool:
        """Whether this key endorsed the proposal."""
        rows = self._rows("endorse", study_id, round_number)
        return any(row["proposal"] == _text(proposal) for row in rows)

    def export(self) -> dict[str, Any]:
        """Everything in the file, for another machine. Contains no key and no signature."""
        with self._lock:
            rows = self._db.execute(
                "SELECT chain, contract, signer, kind, study, round, slot, message, reveal FROM signed ORDER BY rowid"
            ).fetchall()
        return {
            "version": _VERSION,
            "entries": [
                {
                    "chain_id": row[0],
                    "contract": row[1],
                    "signer": row[2],
                    "kind": row[3],
                    "study_id": row[4],
                    "round": row[5],
                    "slot": row[6],
                    "message": json.loads(row[7]),
                    "reveal": json.loads(row[8]) if row[8] else None,
                }
                for row in rows
            ],
        }

    def import_(self, content: Mapping[str, Any]) -> int:
        """Add the entries of an export; all or none. Returns how many were new.

        Raises ConfigError when it is no export, DoubleSignError when it contradicts what is here.
        """
        if content.get("version") != _VERSION:
            raise ConfigError("This is not a journal export.", hint=f"It must say version {_VERSION}.")
        added = 0
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for entry in content["entries"]:
                    key = tuple(
                        entry[name] for name in ("chain_id", "contract", "signer", "kind", "study_id", "round", "slot")
                    )
                    added += self._insert(key, entry["message"], entry.get("reveal"))
            except (KeyError, TypeError) as error:
                self._db.execute("ROLLBACK")
                raise ConfigError(f"The journal export lacks {error}.", hint="Export it again.") from error
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        return added

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _owner(self) -> tuple[int, str, str]:
        return self._domain.chain_id, self._domain.contract, self._signer.address

    def _sign(self, message: Any) -> Signed[Any]:
        signature = self._signer.sign_digest(digest(message, self._domain))
        crashpoint("journal.signed")
        return Signed(message, signature)

    def _record(self, kind: str, message: Any, slot: str, reveal: Reveal | None = None) -> None:
        key = (*self._owner, kind, message.study_id, message.round, slot)
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._insert(key, _json(message), None if reveal is None else _json(reveal))
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _insert(self, key: tuple[Any, ...], message: Mapping[str, Any], reveal: Mapping[str, Any] | None) -> int:
        """1 when new, 0 when the same entry is here. An opening may be added to an update that had none."""
        kept = self._db.execute(
            "SELECT message, reveal FROM signed WHERE chain=? AND contract=? AND signer=? AND kind=? AND study=?"
            " AND round=? AND slot=?",
            key,
        ).fetchone()
        opening = None if reveal is None else json.dumps(reveal, sort_keys=True)
        if kept is None:
            self._db.execute(
                "INSERT INTO signed (chain, contract, signer, kind, study, round, slot, message, reveal)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*key, json.dumps(message, sort_keys=True), opening),
            )
            return 1
        other_opening = kept[1] is not None and opening is not None and kept[1] != opening
        if json.loads(kept[0]) != dict(message) or other_opening:
            raise _conflict(key[3], key[4], key[5])
        if kept[1] is None and opening is not None:
            self._db.execute(
                "UPDATE signed SET reveal=? WHERE chain=? AND contract=? AND signer=? AND kind=? AND study=?"
                " AND round=? AND slot=?",
                (opening, *key),
            )
        return 0

    def _rows(self, kind: str, study_id: int, round_number: int) -> list[dict[str, Any]]:
        with self._lock:
            rows = self._db.execute(
                "SELECT message FROM signed WHERE chain=? AND contract=? AND signer=? AND kind=?"
                " AND study=? AND round=?",
                (*self._owner, kind, study_id, round_number),
            ).fetchall()
        return [json.loads(row[0]) for row in rows]


def _conflict(kind: str, study_id: int, round_number: int) -> DoubleSignError:
    return DoubleSignError(
        f"This key signed a different {kind} for round {round_number} of study {study_id}.",
        hint="Signing a second one could be fined; skip the round. If two machines share the key, stop one.",
        kind=kind,
        study_id=study_id,
        round=round_number,
    )


def _text(value: bytes) -> str:
    return "0x" + value.hex()


def _json(record: Record) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for field in fields(cast(Any, record)):
        value = getattr(record, field.name)
        if isinstance(value, bytes):
            value = _text(value)
        elif isinstance(value, ExtFields):
            value = _json(value)
        result[field.name] = value
    return result


def _reveal(content: Mapping[str, Any]) -> Reveal:
    return Reveal(**{**content, "ext_fields": ExtFields(**content["ext_fields"])})
