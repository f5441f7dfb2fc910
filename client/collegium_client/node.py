"""A hospital's node: the story of an update, from the opening of a round to its record.

open → train → encode → store → commit → reveal → certify → recompute → endorse → final. Raw data never leaves
`train`; bytes and salts leave only in `reveal`, when the commit phase is over. Every step may be killed and
repeated: what was promised is on disk before it is said.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from collegium.chain import RoundView, StudyView, intents
from collegium.chain.following import ChainTime, StudyFollower
from collegium.commitment import derive_salt
from collegium.crashpoints import crashpoint, register
from collegium.egress import about
from collegium.encoding import BlobKind, compute_delta, encode_update, export_model, pack_blob
from collegium.errors import (
    BlobNotFoundError,
    ChainUnreachableError,
    CollegiumError,
    DoubleSignError,
    RevertedError,
    TimedOutError,
    VerificationError,
)
from collegium.files import explain_disk, write_atomically
from collegium.messages import pack_attestations, pack_commits, pack_endorsements, pack_reveals
from collegium.observability import metrics
from collegium.observability.tracing import RoundSpan, span
from collegium.records import (
    ZERO32,
    Attestation,
    Endorsement,
    ExtFields,
    Phase,
    bits,
)
from collegium.storage import parse_cid
from collegium.tree import root_of
from collegium.verification import check_update

from .checking import RoundChecker
from .couriers import Errand
from .delivery import Delivery, Window
from .errors import TaskFailed
from .keeping import ModelKeeper, seat_of
from .memory import Memory
from .parts import NodeParts
from .progress import PreparedUpdate, compute_weight

__all__ = ["Node", "NodeParts"]

register(
    "client.trained",
    "client.buffers_kept",
    "client.blob_stored",
    "client.update_signed",
    "client.attested",
    "client.endorsed",
)

SAY_AGAIN_SECONDS = 60.0

@dataclass
class _Work:
    """What this process did in one round so far; rebuilt from disk and chain after a restart."""

    update: PreparedUpdate | None = None
    gave_up: bool = False
    errands: dict[str, Errand] = field(default_factory=dict)
    attested: int = 0
    good: int = 0
    told: set[str] = field(default_factory=set)
    final_since: float | None = None
    trace: RoundSpan | None = None


class Node:
    """Takes part in the rounds of one study with one node key."""

    def __init__(self, parts: NodeParts, study_id: int) -> None:
        self._parts, self._study_id = parts, study_id
        self._settings, self._report = parts.settings, parts.report
        self._follower = parts.follower or StudyFollower(parts.indexer, study_id, ChainTime())
        self._time = self._follower.time
        self._work: tuple[int, _Work] = (-1, _Work())
        self._checker: RoundChecker | None = None
        self._delivery = Delivery(parts.couriers, parts.outbox, parts.settings.carry_after, parts.report)
        self._memory = Memory(parts.journal, parts.signer.address, parts.state / f"skipped-{study_id}.json")
        self._keeper = ModelKeeper(parts, study_id)
        self._waiting: tuple[int, str] = (0, "")
        self._final_rounds, self._resumed = 0, False
        self._unreachable, self._disk_told = False, 0.0

    @property
    def follower(self) -> StudyFollower:
        """What is known of the chain, and since when."""
        return self._follower

    def run(self, *, until: int | None = None, stop: threading.Event | None = None) -> int:
        """Follow rounds until the study has `until` final ones (None: for ever) or `stop` is set.

        Returns how many final rounds it has seen.
        """
        stop = stop or threading.Event()
        try:
            while not stop.is_set() and not self.turn(until=until):
                stop.wait(self._settings.poll_interval)
            return self._final_rounds
        finally:
            self.close()

    def turn(self, *, until: int | None = None) -> bool:
        """Look once and do what is due; whether the study has `until` final rounds, after which nothing is begun.

        The first turn brings to its end what an earlier process began.
        """
        try:
            self._resumed = self._resumed or self._resume()
            view = self.look() if self._resumed else None
            if view is None:
                return False
            self._final_rounds = len(view.final_rounds)
            if until is not None and self._final_rounds >= until and self._has_finished(view):
                return True
            self.step(view)
        except (OSError, sqlite3.OperationalError) as error:
            self._note_disk(error)
        return False

    def close(self) -> None:
        """Stop bringing blobs to stores; what the parts are is closed by whoever opened them."""
        self._parts.pusher.close()

    def _resume(self) -> bool:
        """Bring to its end what an earlier process began to send; false while the chain's node does not answer."""
        try:
            self._parts.outbox.resume()
        except (ChainUnreachableError, TimedOutError) as error:
            self._note_outage(error)
            return False
        return True

    def look(self) -> StudyView | None:
        """Read the chain; None while its node does not answer."""
        try:
            view = self._follower.refresh()
        except ChainUnreachableError as error:
            self._note_outage(error)
            return None
        if self._unreachable:
            self._report("chain_reachable")
        self._unreachable = False
        return view

    def _note_disk(self, error: Exception) -> None:
        """A full disk is waited for, as a silent node is; any other error ends the node."""
        disk = explain_disk(error, self._parts.state)
        if disk is None:
            raise error
        if time.monotonic() >= self._disk_told:
            self._disk_told = time.monotonic() + SAY_AGAIN_SECONDS
            self._report("disk_unwritable", code=disk.code, reason=disk.message, hint=disk.hint)

    def _note_outage(self, error: CollegiumError) -> None:
        if not self._unreachable:
            self._report("chain_unreachable", reason=error.message)
        self._unreachable = True

    def step(self, view: StudyView) -> None:
        """Do what the current phase asks of this node; errors of one step never end the node."""
        if self._checker is None:
            self._checker = RoundChecker(self._parts.source, view)
        self.keep_model(view)
        self._parts.upkeep(view, self._time.now())
        round = view.current
        if round is None or round.is_over:
            self._tell_waiting(view, round.number + 1 if round else 1)
        if round is None:
            return
        if self._work[0] != round.number:
            if self._work[1].trace is not None:
                self._work[1].trace.end()
            opened = RoundSpan("round", study=self._study_id, round=round.number)
            self._work = (round.number, _Work(trace=opened))
            self._measure(round.number)
            self._report("round_opened", round=round.number, invited=bits(round.invited), model=round.model_cid)
        if round.is_over:
            return
        trace = self._work[1].trace
        assert trace is not None
        try:
            with about(self._study_id, round.number), trace.inside():
                self.take_part(view, round)
        except ChainUnreachableError as error:
            self._note_outage(error)
        except RevertedError as error:
            # Somebody else was faster, or the phase has just ended; the next look tells.
            self._tell_once(f"not_accepted:{error.message}", round, reason=error.message)
        except CollegiumError as error:
            # No gas, a full disk, a transaction that waits: said once, tried again until the round is over.
            self._tell_once(f"failed:{error.code}", round, code=error.code, reason=error.message, hint=error.hint)

    def _tell_waiting(self, view: StudyView, number: int) -> None:
        """Once per round and reason: a silent process looks like a dead one."""
        members = sum(seat.left is None for seat in view.seats.values())
        if not view.may_open(self._time.now()):
            why = "the sponsor: the study is not open"
        elif members < view.plan.min_clients:
            why = f"members: {members} of {view.plan.min_clients} needed have joined"
        else:
            why = "a coordinator to open it"
        if self._waiting != (number, why):
            self._waiting = (number, why)
            self._report("waiting", round=number, why=why)

    def _measure(self, number: int) -> None:
        metrics.set_gauge("client_round_current", number)
        if metrics.is_enabled():
            with suppress(CollegiumError):
                metrics.set_gauge("wallet_balance_wei", self._parts.chain.balance(self._parts.signer.address))

    def take_part(self, view: StudyView, round: RoundView) -> None:
        """One look at one round, from its opening to its record."""
        now = self._time.now()
        clock = round.clock_at(now)
        window = Window.of(round, clock, self._time)
        index = self._seat(round)
        if index is None:
            self._tell_once("no_seat", round, key=self._parts.signer.address)
            return
        metrics.set_state("client_phase", clock.phase.name.lower())
        self._watch_key(round, index)
        match clock.phase:
            case Phase.COMMIT:
                self.commit(view, round, window, index)
            case Phase.REVEAL:
                # What a reorganization could undo is not over: a copy could still be committed.
                if self._follower.is_closed_to_commits(round):
                    self.reveal(round, window, index)
            case Phase.CERTIFY:
                self.certify(round, window, index)
            case Phase.PROPOSE:
                self.compute_ahead(round)
            case Phase.CHALLENGE:
                self.endorse(view, round, window, index)
            case Phase.FINAL:
                self.finalize(round)

    def _watch_key(self, round: RoundView, index: int) -> None:
        """Say it loudly when our key committed to what this home never signed: another machine has the key."""
        seen, work = round.commits.get(index), self._work[1]
        if seen is None or "key_used_elsewhere" in work.told:
            return
        work.update = work.update or self._find_update(round)
        if work.update is None or work.update.update.commitment != seen.commitment:
            hint = (
                "Stop the other client: two signed updates for one round are fined. If you know of none, somebody"
                " has the key: `collegium keys revoke`. After a lost journal this is said once and harmless."
            )
            self._tell_once("key_used_elsewhere", round, key=self._parts.signer.address, hint=hint)

    # -- commit -----------------------------------------------------------------------------------------------

    def commit(self, view: StudyView, round: RoundView, window: Window, index: int) -> None:
        """Train on local data and commit to the result."""
        work = self._work[1]
        if index in round.commits or not round.invited >> index & 1 or work.gave_up:
            return
        if work.update is None:
            work.update = self._find_update(round)
        if work.update is None and self._memory.must_skip(view, round):
            work.gave_up = True
            reason = "the journal was lost: another update of this round may have been signed"
            self._report("skipped", round=round.number, reason=reason)
            return
        if work.update is None and self._is_quiet(round, window):
            return
        if work.update is None:
            try:
                work.update = self.prepare(view, round, index)
            except (TaskFailed, VerificationError, BlobNotFoundError) as error:
                # Unreachable bytes may come back; a failed task will fail again.
                work.gave_up = not error.retryable
                self._tell_once("training_failed", round, code=error.code, reason=error.message, hint=error.hint)
                return
            if self._time.now() >= window.deadline:
                work.gave_up = True
                self._report("too_late", round=round.number, hint="Train less, or ask for longer windows.")
                return
        if "updates" not in work.errands:
            try:
                signed = self._parts.journal.sign_update(work.update.update, work.update.reveal)
            except DoubleSignError as error:
                work.gave_up = True
                self._report("skipped", round=round.number, reason=error.message)
                return
            crashpoint("client.update_signed")
            intent = intents.commit_updates(self._study_id, round.number, [signed])
            work.errands["updates"] = self._errand("updates", round, pack_commits([signed]), intent)
        self._delivery.deliver(work.errands["updates"], window)

    def _is_quiet(self, round: RoundView, window: Window) -> bool:
        """In the hospital's quiet hours no training begins; what was promised before is kept all the same."""
        now = time.time()
        end = self._settings.quiet.end(now)
        if end <= now:
            return False
        if self._time.now() + (end - now) >= window.deadline:
            self._work[1].gave_up = True
            self._report("skipped", round=round.number, reason="the commit window ends within the quiet hours")
        else:
            self._tell_once("quiet", round, until=int(end))
        return True

    def prepare(self, view: StudyView, round: RoundView, index: int) -> PreparedUpdate:
        """Train from the round's base model, encode the difference and store it at home."""
        parts = self._parts
        base = parts.source.model(parse_cid(round.model_cid), root=round.model_root)
        state = export_model(base.elements, parts.table)
        buffers = parts.state / f"buffers-{self._study_id}.safetensors"
        started = time.monotonic()
        with span("train"):
            trained = parts.sandbox.train(
                state,
                seed=self._settings.seed,
                round=round.number,
                buffers=buffers.read_bytes() if buffers.exists() else b"",
                progress=parts.progress,
            )
        crashpoint("client.trained")
        if trained.buffers:
            write_atomically(buffers, trained.buffers, mode=0o600)
            crashpoint("client.buffers_kept")
        salt = derive_salt(parts.salt_secret, round.ctx)
        with span("encode"):
            delta = compute_delta(trained.state, state)
            elements = encode_update(delta, parts.table, clip_norm=self._settings.clip_norm or None)
            blob = pack_blob(
                BlobKind.UPDATE, elements, format_id=parts.table.format_id, ctx=round.ctx, index=index, salt=salt
            )
        with span("store"):
            cid = parts.folder.put(blob)
        crashpoint("client.blob_stored")
        update = PreparedUpdate.make(
            study_id=self._study_id,
            round=round.number,
            ctx=round.ctx,
            index=index,
            root=root_of(elements, threads=self._settings.threads),
            cid=cid,
            salt=salt,
            weight=compute_weight(trained.num_examples, view.plan.max_weight),
            ext_fields=ExtFields(0, round.number, int(trained.report["steps"]), ZERO32),
        )
        self._report(
            "trained", round=round.number, seconds=time.monotonic() - started, bytes=len(blob), training=trained.report
        )
        return update

    def _find_update(self, round: RoundView) -> PreparedUpdate | None:
        return PreparedUpdate.find(self._parts.journal, self._study_id, round.number, round.ctx)

    # -- reveal -----------------------------------------------------------------------------------------------

    def reveal(self, round: RoundView, window: Window, index: int) -> None:
        """Open the commitment. Only now do the bytes and the salt leave the hospital."""
        work = self._work[1]
        if index not in round.commits or index in round.reveals:
            self._push(round, index)
            return
        if work.update is None:
            work.update = self._find_update(round)
        if work.update is None or work.update.update.commitment != round.commits[index].commitment:
            self._tell_once("cannot_reveal", round, hint="The committed update is not in this home's state folder.")
            return
        # Stores first: a reveal whose bytes nobody serves cannot be certified. But a silent store is no reason to pay.
        if not self._push(round, index) and not window.is_past(0.25):
            return
        if "reveals" not in work.errands:
            reveal = work.update.reveal
            intent = intents.reveal_updates(self._study_id, round.number, [reveal])
            work.errands["reveals"] = self._errand("reveals", round, pack_reveals([reveal]), intent)
        self._delivery.deliver(work.errands["reveals"], window)

    def _push(self, round: RoundView, index: int) -> bool:
        """Bring the own blob to every store; true when one has it, or there is nothing to bring."""
        work = self._work[1]
        if index not in round.commits or not self._follower.is_closed_to_commits(round):
            return True
        if work.update is None:
            work.update = self._find_update(round)
        if work.update is None:
            return True
        return self._parts.pusher.push(work.update.cid(self._parts.source.format), wait=self._settings.poll_interval)

    # -- certify ----------------------------------------------------------------------------------------------

    def certify(self, round: RoundView, window: Window, index: int) -> None:
        """Fetch every revealed update, check it against the chain, and attest those that are in range."""
        work = self._work[1]
        self._push(round, index)
        for seat in bits(round.revealed & ~work.good):
            if self._is_good(round, seat):
                work.good |= 1 << seat
        complete = work.good == round.revealed
        if work.good & ~work.attested and (complete or window.is_past(self._settings.attest_after)):
            attestation = Attestation(
                self._study_id, round.number, round.ctx, index, work.good, round.set_hash(round.revealed)
            )
            signed = self._parts.journal.sign_attestation(attestation)
            work.attested = work.good
            work.errands["attestations"] = self._errand("attestations", round, pack_attestations([signed]), None)
            crashpoint("client.attested")
            self._report("attested", round=round.number, seats=bits(work.good))
        errand = work.errands.get("attestations")
        if errand is None:
            return
        self._delivery.deliver(errand, window)
        if not errand.carried and self._delivery.is_carry_time(errand, window) and work.attested & ~round.certified:
            self._carry_certificates(errand, round)

    def _is_good(self, round: RoundView, seat: int) -> bool:
        assert self._checker is not None
        try:
            blob = self._checker.fetch_update(round, seat)
        except BlobNotFoundError:
            return False
        except CollegiumError as error:
            self._tell_once(f"bad_update:{seat}", round, seat=seat, code=error.code, reason=error.message)
            return False
        finding = check_update(blob.elements, self._parts.source.format)
        if finding is not None:
            self._tell_once(f"bad_update:{seat}", round, seat=seat, code="out_of_range", reason=str(finding))
            return False
        return True

    def _carry_certificates(self, errand: Errand, round: RoundView) -> None:
        """One attestation alone certifies nothing: carry it with those that coordinators share."""
        others = {item[0]: item for item in self._parts.couriers.attestations(self._study_id, round.number)}
        items = {**others, errand.item[0]: errand.item}
        if len(items) < round.quorum:
            self._tell_once("not_certified", round, have=len(items), needed=round.quorum)
            return
        errand.carried = True
        packed = b"".join(items[index] for index in sorted(items))
        self._parts.outbox.submit(intents.certify(self._study_id, round.number, packed))
        self._report("carried", round=round.number, topic=errand.topic)

    # -- recompute and endorse --------------------------------------------------------------------------------

    def compute_ahead(self, round: RoundView) -> None:
        """While the aggregator works, compute what it must propose."""
        assert self._checker is not None
        try:
            self._checker.recompute(round, round.certified & round.revealed & round.committed)
        except CollegiumError as error:
            self._tell_once("cannot_recompute", round, code=error.code, reason=error.message)

    def endorse(self, view: StudyView, round: RoundView, window: Window, index: int) -> None:
        """Recompute every field of the proposal; endorse when all are right, else say so loudly."""
        work, live = self._work[1], round.live
        if live is None or live.endorsed >> index & 1:
            return
        name = f"endorsements:{live.hash.hex()}"
        if name in work.errands:
            self._delivery.deliver(work.errands[name], window)
            return
        if f"wrong:{live.hash.hex()}" in work.told:
            return
        assert self._checker is not None
        try:
            with span("recompute"):
                checked, wrong = self._checker.compare(round, live.proposal)
        except CollegiumError as error:
            self._tell_once("cannot_recompute", round, code=error.code, reason=error.message)
            return
        if wrong:
            work.told.add(f"wrong:{live.hash.hex()}")
            self._report("wrong_proposal", round=round.number, aggregator=live.proposal.aggregator, fields=wrong)
            if self._settings.refute:
                self._refute(view, round)
            return
        self._parts.folder.put(checked.mean_blob)
        self._parts.folder.put(checked.model_blob)
        endorsement = Endorsement(self._study_id, round.number, round.ctx, index, live.hash)
        signed = self._parts.journal.sign_endorsement(endorsement, live.proposal.attempt)
        intent = intents.endorse(self._study_id, round.number, [signed])
        errand = self._errand("endorsements", round, pack_endorsements([signed]), intent, live.hash)
        work.errands[name] = errand
        crashpoint("client.endorsed")
        self._report("endorsed", round=round.number, proposal=live.hash)
        self._delivery.deliver(errand, window)

    def _refute(self, view: StudyView, round: RoundView) -> None:
        from .watching import Watcher, WatcherParts

        parts = self._parts
        watcher = WatcherParts(
            parts.chain, parts.indexer, parts.outbox, parts.source, parts.state / "refutations", self._report
        )
        Watcher(watcher, self._study_id).watch_proposal(view, round)

    # -- final ------------------------------------------------------------------------------------------------

    def finalize(self, round: RoundView) -> None:
        """Time has made the proposal final; write it down when nobody else does."""
        work, live = self._work[1], round.live
        if work.final_since is None:
            work.final_since = time.monotonic()
        if live is not None and time.monotonic() - work.final_since > self._settings.finalize_after:
            self._parts.outbox.submit(intents.finalize(self._study_id, round.number, live.proposal))
            self._report("carried", round=round.number, topic="finalize")

    def keep_model(self, view: StudyView) -> None:
        """After finality: verify the new model, keep it, and evaluate it on local data. Metrics stay here."""
        number = view.model[2]
        self._keeper.keep(view, self._work[1].trace if self._work[0] == number else None)

    def _has_finished(self, view: StudyView) -> bool:
        self.keep_model(view)
        return self._keeper.finished == view.model[2]

    # -- small things -----------------------------------------------------------------------------------------

    def _seat(self, round: RoundView) -> int | None:
        return seat_of(round, self._parts.signer.address)

    def _errand(self, topic: str, round: RoundView, item: bytes, intent: Any, proposal: bytes = b"") -> Errand:
        return Errand(topic, self._study_id, round.number, item, intent, proposal)

    def _tell_once(self, name: str, round: RoundView, **fields: Any) -> None:
        work = self._work[1]
        if name not in work.told:
            work.told.add(name)
            self._report(name.partition(":")[0], round=round.number, **fields)
