"""What a hospital says in a round, prepared once and never changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

from collegium.chain import Journal
from collegium.commitment import compute_commitment, compute_ext, compute_seal
from collegium.encoding import HEADER_BYTES
from collegium.records import ExtFields, Format, Reveal, Update
from collegium.storage import Cid, cid_from_digest

__all__ = ["PreparedUpdate", "compute_weight"]

_STEP = 1.25


def compute_weight(num_examples: int, max_weight: int) -> int:
    """Examples rounded to a power of 1.25, so that the weight tells little about the exact number."""
    exponent = round(math.log(max(1, num_examples)) / math.log(_STEP))
    return max(1, min(max_weight, round(_STEP**exponent)))


@dataclass(frozen=True)
class PreparedUpdate:
    """A commitment and what opens it."""

    update: Update
    reveal: Reveal

    @classmethod
    def make(
        cls, *, study_id: int, round: int, ctx: bytes, index: int, root: bytes, cid: Cid, salt: bytes, weight: int,
        ext_fields: ExtFields,
    ) -> PreparedUpdate:  # fmt: skip
        """Commit to a stored blob."""
        commitment = compute_commitment(ctx, index, root, compute_seal(salt, cid.digest))
        update = Update(study_id, round, ctx, index, commitment, weight, compute_ext(ext_fields))
        return cls(update, Reveal(index, salt, root, cid.digest, weight, ext_fields))

    @classmethod
    def find(cls, journal: Journal, study_id: int, round: int, ctx: bytes) -> PreparedUpdate | None:
        """What the journal holds for this round and context."""
        found = journal.find_update(study_id, round)
        if found is None or found[1] is None or found[0].ctx != ctx:
            return None
        return cls(found[0], found[1])

    def cid(self, format: Format) -> Cid:
        """Where the blob is stored."""
        return cid_from_digest(self.reveal.content_digest, HEADER_BYTES + format.payload_bytes)
