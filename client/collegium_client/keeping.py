"""What a hospital does with a final model: fetch and verify it, keep it, evaluate it on local data."""

from __future__ import annotations

import time
from contextlib import nullcontext

from collegium.chain import RoundView, StudyView
from collegium.crashpoints import crashpoint, register
from collegium.egress import about
from collegium.encoding import export_model
from collegium.errors import CollegiumError
from collegium.files import write_atomically
from collegium.observability.tracing import RoundSpan, span
from collegium.records import ZERO_ADDRESS
from collegium.storage import parse_cid

from .errors import TaskFailed
from .parts import NodeParts

__all__ = ["ModelKeeper", "seat_of"]

register("client.model_kept")

RETRY_SECONDS = 5.0
PATIENCE_SECONDS = 120.0
"""How long a model that no store has is asked for, unless the next one is final before."""


def seat_of(round: RoundView, node_key: str) -> int | None:
    """Seat of a node key in a round's snapshot."""
    keys = round.snapshot.node_keys
    return keys.index(node_key) if node_key != ZERO_ADDRESS and node_key in keys else None


class ModelKeeper:
    """finished: round of the last model that was kept, or given up."""

    def __init__(self, parts: NodeParts, study_id: int) -> None:
        self._parts, self._study_id, self._report = parts, study_id, parts.report
        self.finished: int | None = None
        self._announced = 0
        self._since = self._again = 0.0

    def keep(self, view: StudyView, trace: RoundSpan | None = None) -> None:
        """Call at every look; does something once per final round, and again while its model cannot be fetched."""
        _, cid, number = view.model
        if number in (0, self.finished) or (self._announced == number and time.monotonic() < self._again):
            return
        round = view.round(number)
        assert round is not None
        if self._announced != number:
            self._announced, self._since, self._again = number, time.monotonic(), 0.0
            self._report("round_final", round=number, record=round.record, model=cid, fate=self._fate(round),
                         disputed=round.disputed is not None)  # fmt: skip
        with about(self._study_id, number), trace.inside() if trace else nullcontext():
            self._keep(view, round)
        if trace is not None:
            trace.end(outcome=self._fate(round))

    def _keep(self, view: StudyView, round: RoundView) -> None:
        root, cid, number = view.model
        try:
            model = self._parts.source.model(parse_cid(cid), root=root, ctx=round.ctx)
        except CollegiumError as error:
            self._note_missing(number, error)
            return
        # Whoever proposed it may be gone tomorrow: every store gets what it lacks.
        self._parts.pusher.push(model.cid, wait=0)
        state = export_model(model.elements, self._parts.table)
        from safetensors.numpy import save

        self._parts.models.mkdir(parents=True, exist_ok=True)
        write_atomically(self._parts.models / f"study-{self._study_id}.safetensors", save(state))
        crashpoint("client.model_kept")
        self.finished = number
        buffers = self._parts.state / f"buffers-{self._study_id}.safetensors"
        try:
            kept = buffers.read_bytes() if buffers.exists() else b""
            with span("evaluate"):
                found = self._parts.sandbox.evaluate(state, buffers=kept)
        except TaskFailed as error:
            self._report("evaluation_failed", round=number, reason=error.message)
            return
        self._report("evaluated", round=number, metrics=found)

    def _note_missing(self, number: int, error: CollegiumError) -> None:
        """Said once; what a store may still bring is asked for again for a while."""
        if not self._again:
            self._report("model_unavailable", round=number, code=error.code, reason=error.message)
        self._again = time.monotonic() + RETRY_SECONDS
        if not error.retryable or time.monotonic() - self._since > PATIENCE_SECONDS:
            self.finished = number

    def _fate(self, round: RoundView) -> str:
        """What became of our update in a final round."""
        index = seat_of(round, self._parts.signer.address)
        if index is None or not round.invited >> index & 1:
            return "skipped"
        if round.outcome is not None and round.outcome.included >> index & 1:
            return "aggregated"
        return "rejected" if index in round.commits else "late"
