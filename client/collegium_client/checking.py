"""Recomputing a round from public bytes: what members do before they endorse, and watchers before they refute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collegium.chain import RoundView, StudyView
from collegium.commitment import compute_format_hash, compute_seal
from collegium.encoding import BlobKind, pack_blob
from collegium.inputs import BlobSource, FetchedBlob
from collegium.records import ZERO32, Proposal, bits
from collegium.storage import Cid, cid_of, parse_cid
from collegium.verification import Certified, Recomputed, recompute_round

__all__ = ["Checked", "RoundChecker"]


@dataclass(frozen=True)
class Checked:
    """An honest result of a round. `updates` by seat; blobs carry header and payload."""

    base: FetchedBlob
    updates: Mapping[int, Certified]
    result: Recomputed
    mean_blob: bytes
    model_blob: bytes
    mean_cid: Cid
    model_cid: Cid


class RoundChecker:
    """Fetches a round's inputs once and recomputes it. Holds no more than one round."""

    def __init__(self, source: BlobSource, study: StudyView) -> None:
        self._source, self._plan, self._format = source, study.plan, study.format
        self._kept: tuple[tuple[int, int], Checked] | None = None
        self._updates: dict[tuple[int, int], FetchedBlob] = {}

    def fetch_update(self, round: RoundView, index: int) -> FetchedBlob:
        """A revealed update, verified against the chain: CID, header, root.

        Raises `BlobUnavailableError`, or a `VerificationError` when the bytes are not what was revealed.
        """
        key = (round.number, index)
        if key not in self._updates:
            self._updates = {known: blob for known, blob in self._updates.items() if known[0] == round.number}
            reveal = round.reveals[index]
            self._updates[key] = self._source.update(
                parse_cid(reveal.cid), ctx=round.ctx, index=index, salt=reveal.salt, root=reveal.root
            )
        return self._updates[key]

    def recompute(self, round: RoundView, included: int) -> Checked:
        """Mean and model over the seats of `included`. Raises as `fetch_update` does."""
        key = (round.number, included)
        if self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        base = self._source.model(parse_cid(round.model_cid), root=round.model_root)
        updates = {}
        for index in bits(included):
            blob, commit, reveal = self.fetch_update(round, index), round.commits[index], round.reveals[index]
            seal = compute_seal(reveal.salt, parse_cid(reveal.cid).digest)
            updates[index] = Certified(seal, commit.weight, commit.ext, blob.elements)
        result = recompute_round(
            [update.elements for update in updates.values()],
            [update.weight for update in updates.values()],
            base.elements,
            self._plan,
            self._format,
            threads=self._source.threads,
        )
        format_id = compute_format_hash(self._format)
        mean = pack_blob(BlobKind.MEAN, result.mean, format_id=format_id, ctx=round.ctx)
        model = pack_blob(BlobKind.MODEL, result.model, format_id=format_id, ctx=round.ctx)
        checked = Checked(base, updates, result, mean, model, cid_of(mean), cid_of(model))
        self._kept = (key, checked)
        return checked

    def compare(self, round: RoundView, proposal: Proposal) -> tuple[Checked, list[str]]:
        """Recompute and return every field of the proposal that is not as it must be; empty for an honest one."""
        included = proposal.included
        wrong = []
        if included != round.certified & round.revealed & round.committed:
            wrong.append("included")
            included &= round.revealed & round.committed
        checked = self.recompute(round, included)
        expected = {
            "ctx": round.ctx,
            "set_hash": round.set_hash(included),
            "weight_sum": round.weight_sum(included),
            "dropouts": 0,
            "mean_root": checked.result.mean_tree.root,
            "new_model_root": checked.result.model_tree.root,
            "new_state_root": ZERO32,
            "model_digest": checked.model_cid.digest,
            "mean_digest": checked.mean_cid.digest,
            "seeds_hash": ZERO32,
            "ext": ZERO32,
        }
        wrong += [name for name, value in expected.items() if getattr(proposal, name) != value]
        return checked, wrong
