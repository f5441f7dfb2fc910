"""What a client remembers of a round on disk, so that it goes on after any interruption."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium.commitment import compute_commitment, compute_ext, compute_seal
from collegium.files import write_atomically
from collegium.records import ExtFields, Reveal, Update

__all__ = ["PreparedUpdate", "RoundNotes", "compute_weight"]

_STEP = 1.25


def compute_weight(num_examples: int, max_weight: int) -> int:
    """Examples rounded to a power of 1.25, so that the weight tells little about the exact number."""
    exponent = round(math.log(max(1, num_examples)) / math.log(_STEP))
    return max(1, min(max_weight, round(_STEP**exponent)))


@dataclass(frozen=True)
class PreparedUpdate:
    """A trained, encoded and stored update: everything but its signature."""

    study_id: int
    round: int
    ctx: bytes
    index: int
    cid: str
    root: bytes
    content_digest: bytes
    salt: bytes
    weight: int
    ext_fields: ExtFields

    @property
    def message(self) -> Update:
        """What is signed and committed."""
        seal = compute_seal(self.salt, self.content_digest)
        commitment = compute_commitment(self.ctx, self.index, self.root, seal)
        return Update(
            self.study_id, self.round, self.ctx, self.index, commitment, self.weight, compute_ext(self.ext_fields)
        )

    @property
    def reveal(self) -> Reveal:
        """What opens the commitment."""
        return Reveal(self.index, self.salt, self.root, self.content_digest, self.weight, self.ext_fields)


class RoundNotes:
    """One small file per round and study below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _path(self, study_id: int, round: int) -> Path:
        return self._folder / f"{study_id}-{round}.json"

    def write(self, update: PreparedUpdate) -> None:
        """Keep an update; durable when this returns."""
        ext = update.ext_fields
        content: dict[str, Any] = {
            "study_id": update.study_id,
            "round": update.round,
            "ctx": update.ctx.hex(),
            "index": update.index,
            "cid": update.cid,
            "root": update.root.hex(),
            "content_digest": update.content_digest.hex(),
            "salt": update.salt.hex(),
            "weight": update.weight,
            "ext_fields": [ext.dp_profile, ext.base_round, ext.local_steps, ext.extras.hex()],
        }
        write_atomically(self._path(update.study_id, update.round), json.dumps(content).encode(), mode=0o600)

    def read(self, study_id: int, round: int, ctx: bytes) -> PreparedUpdate | None:
        """The update of this round and context; None when there is none, or when it cannot be read."""
        try:
            content = json.loads(self._path(study_id, round).read_text())
            *numbers, extras = content["ext_fields"]
            found = PreparedUpdate(
                content["study_id"],
                content["round"],
                bytes.fromhex(content["ctx"]),
                content["index"],
                content["cid"],
                bytes.fromhex(content["root"]),
                bytes.fromhex(content["content_digest"]),
                bytes.fromhex(content["salt"]),
                content["weight"],
                ExtFields(*numbers, bytes.fromhex(extras)),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if (found.study_id, found.round, found.ctx) == (study_id, round, ctx) else None
