"""What explorers accepted and have not decided: a small file, so that another run asks on instead of sending again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium.errors import ConfigError
from collegium.files import write_atomically

from .explorer import Explorer
from .targets import Target

__all__ = ["Tickets"]

SCHEMA = "collegium.verification/1"


@dataclass
class Tickets:
    """Open submissions by explorer, chain, address and input. Every change is on disk before it counts."""

    path: Path

    def get(self, explorer: Explorer, target: Target) -> str | None:
        """The ticket of an open submission, None when there is none; empty when its answer was lost."""
        entry = self._load().get(_key(explorer, target))
        return None if entry is None else str(entry.get("ticket", ""))

    def put(self, explorer: Explorer, target: Target, ticket: str) -> None:
        entries = self._load()
        entries[_key(explorer, target)] = {"contract": target.name, "ticket": ticket, "time": int(time.time())}
        self._save(entries)

    def remove(self, explorer: Explorer, target: Target) -> None:
        entries = self._load()
        if entries.pop(_key(explorer, target), None) is not None:
            self._save(entries)

    def _load(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r}")
            return dict(content["submissions"])
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self.path} is no record of submissions: {error!r}.",
                hint="Move it away: explorers are asked anew, and nothing is lost.",
            ) from error

    def _save(self, entries: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"schema": SCHEMA, "submissions": entries}, indent=1) + "\n"
        write_atomically(self.path, text.encode(), mode=0o600)


def _key(explorer: Explorer, target: Target) -> str:
    return f"{explorer.name} {explorer.base} {target.chain_id} {target.address} {target.released.input_hash[:16]}"
