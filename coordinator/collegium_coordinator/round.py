"""One round as a coordinator lives it: carry, aggregate, propose, conclude, open the next.

The coordinator holds no secret and no state that matters: whatever it knows is on chain, in stores, or in its
inbox, and another one takes over when it is late. `RoundRunner.step` looks at the chain once and does what is due.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from collegium.chain import intents
from collegium.chain.client import Chain
from collegium.chain.intents import Intent
from collegium.chain.outbox import Outbox
from collegium.chain.views import ProposalView, RoundView, StudyView
from collegium.crashpoints import crashpoint, register
from collegium.egress import about
from collegium.errors import CollegiumError, RevertedError
from collegium.hours import Hours
from collegium.inputs import BlobSource
from collegium.observability import metrics
from collegium.observability.tracing import span
from collegium.phases import Clock
from collegium.records import Phase, bits
from collegium.storage.cid import parse_cid
from collegium.storage.store import Store

from .aggregation import Aggregate, Inputs, compute_aggregate, store_aggregate
from .inbox import Inbox, Item, Topic

__all__ = ["RoundRunner", "RunnerSettings"]

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5
"""How long what the chain refused is not tried again."""

register(
    "coordinator.aggregated",
    "coordinator.stored",
    "coordinator.proposed",
    "coordinator.carried",
    "coordinator.concluded",
)


@dataclass(frozen=True)
class RunnerSettings:
    """gather: share of a window to wait for an incomplete batch. stagger: share waited more per rank.

    rounds: stop opening after that many final rounds; None never stops. auto_open: open rounds at all.
    open_every: seconds from one opening to the next at least. open_hours: when rounds may open; none is always.
    """

    gather: float = 0.4
    stagger: float = 0.1
    rounds: int | None = None
    auto_open: bool = True
    open_every: float = 0.0
    open_hours: Hours = field(default_factory=Hours)

    def may_open(self, *, opened: float | None, now: float) -> bool:
        """Whether the schedule allows another round. opened: chain time of the last opening."""
        if self.open_hours.windows and not self.open_hours.contains(now):
            return False
        return opened is None or now >= opened + self.open_every


@dataclass
class RoundRunner:
    """Acts for one aggregator of one study.

    aggregate: from inputs to mean and model; anything but the plan's arithmetic costs the bond.
    """

    chain: Chain
    outbox: Outbox
    study_id: int
    inbox: Inbox
    source: BlobSource
    store: Store
    settings: RunnerSettings = field(default_factory=RunnerSettings)
    aggregate: Callable[[Inputs], Aggregate] = compute_aggregate
    now: Callable[[], float] = time.time
    _done: set[str] = field(default_factory=set)
    _carried: set[bytes] = field(default_factory=set)
    _refused: dict[str, float] = field(default_factory=dict)
    _number: int | None = None

    def step(self, view: StudyView) -> bool:
        """Do what is due; whether anything was sent."""
        current = view.current
        now = int(self.now())
        number = current.number if current else None
        if number != self._number:
            self._turn_to(number)
        if current is None or current.is_over:
            return self._open(view, now)
        clock = current.clock_at(now)
        self._measure(current)
        match clock.phase:
            case Phase.COMMIT:
                return self._carry_updates(current, clock, now)
            case Phase.REVEAL:
                return self._carry_reveals(current, clock, now)
            case Phase.CERTIFY:
                return self._carry_attestations(current, clock, now)
            case Phase.PROPOSE:
                return self._propose(view, current, clock)
            case Phase.CHALLENGE | Phase.FINAL:
                return self._conclude(view, current, clock, now)
            case Phase.ABORTED:
                return self._open(view, now)
        return False

    def _turn_to(self, number: int | None) -> None:
        """Forget earlier rounds, whoever concluded them: the chain holds what mattered."""
        self._number = number
        self._done.clear()
        self._carried.clear()
        self._refused.clear()
        if number is not None:
            self.inbox.discard_before(self.study_id, number)

    def _measure(self, current: RoundView) -> None:
        if not metrics.is_enabled():
            return
        waiting = {item.index for item in self.inbox.get(self.study_id, current.number, Topic.UPDATES)}
        metrics.set_gauge("aggregator_round_current", current.number)
        metrics.set_gauge("aggregator_quorum", current.quorum)
        metrics.set_gauge("aggregator_updates_received", len(waiting | set(bits(current.committed))))

    # carry

    def _carry_updates(self, current: RoundView, clock: Clock, now: int) -> bool:
        items = self._waiting(current, Topic.UPDATES, current.committed)
        complete = {item.index for item in items} >= set(bits(current.invited & ~current.committed))
        return self._carry(current, clock, now, items, complete, intents.commit_updates)

    def _carry_reveals(self, current: RoundView, clock: Clock, now: int) -> bool:
        items = self._waiting(current, Topic.REVEALS, current.revealed)
        complete = {item.index for item in items} >= set(bits(current.committed & ~current.revealed))
        return self._carry(current, clock, now, items, complete, intents.reveal_updates)

    def _carry_attestations(self, current: RoundView, clock: Clock, now: int) -> bool:
        """A call counts only the attestations it carries, so it waits for all members, then for a quorum."""
        items = self.inbox.get(self.study_id, current.number, Topic.ATTESTATIONS)
        items = [item for item in items if current.snapshot.active >> item.index & 1]
        agreed = _agreed(items, current.quorum) & current.revealed
        if not agreed & ~current.certified:
            return False
        everyone = len(items) >= current.snapshot.active.bit_count()
        complete = agreed == current.revealed or everyone
        return self._carry(current, clock, now, items, complete, intents.certify)

    def _waiting(self, current: RoundView, topic: Topic, done: int) -> list[Item]:
        """What is not on chain; an item that the chain passed over is not carried again."""
        items = self.inbox.get(self.study_id, current.number, topic)
        return [item for item in items if not done >> item.index & 1 and item.wire not in self._carried]

    def _carry(
        self,
        current: RoundView,
        clock: Clock,
        now: int,
        items: list[Item],
        complete: bool,
        make: Callable[[int, int, bytes], Intent],
    ) -> bool:
        if not items or not self._is_my_turn(current, clock, now, complete):
            return False
        packed = b"".join(item.wire for item in items)
        sent = self._send(make(self.study_id, current.number, packed))
        if sent:
            self._carried |= {item.wire for item in items}
        crashpoint("coordinator.carried")
        return sent

    def _is_my_turn(self, current: RoundView, clock: Clock, now: float, complete: bool) -> bool:
        """The first in the order carries at once; the others wait their share of the window."""
        window = current.deadline_at(int(now)) - clock.mark
        waited = self.now() - clock.mark
        share = self.settings.stagger * self._rank(current, clock) + (0.0 if complete else self.settings.gather)
        return waited >= share * window

    def _rank(self, current: RoundView, clock: Clock) -> int:
        """How many come before this coordinator, from the one on duty on."""
        order = current.snapshot.aggregators
        me = self.chain.signer.address
        return (order.index(me) - clock.position) % len(order) if me in order else len(order)

    # propose

    def _propose(self, view: StudyView, current: RoundView, clock: Clock) -> bool:
        if current.snapshot.aggregators[clock.position] != self.chain.signer.address:
            return False
        with span("propose", study=self.study_id, round=current.number), metrics.timed(
            "aggregator_propose_duration_seconds"
        ):
            return self._propose_now(view, current, clock)

    def _propose_now(self, view: StudyView, current: RoundView, clock: Clock) -> bool:
        started = time.perf_counter()
        with span("fetch"):
            inputs = self._inputs(view, current)
        fetched = time.perf_counter()
        with span("aggregate"):
            result = self.aggregate(inputs)
        crashpoint("coordinator.aggregated")
        with span("store"):
            stored = store_aggregate(result, ctx=current.ctx, fmt=view.format, store=self.store)
        crashpoint("coordinator.stored")
        done = time.perf_counter()
        sent = self._send(
            intents.propose(
                self.study_id,
                current.number,
                clock.attempt,
                mean_root=stored.mean_root,
                new_model_root=stored.model_root,
                model_digest=stored.model_cid.digest,
                mean_digest=stored.mean_cid.digest,
            )
        )
        crashpoint("coordinator.proposed")
        logger.info(
            "round %d: proposed model %s from %d updates (fetch %.3f s, aggregate %.3f s)",
            current.number, stored.model_cid, len(inputs.updates), fetched - started, done - fetched,
        )  # fmt: skip
        return sent

    def _inputs(self, view: StudyView, current: RoundView) -> Inputs:
        base = self.source.model(parse_cid(current.model_cid), root=current.model_root)
        included = bits(current.certified)
        updates = [
            self.source.update(
                parse_cid(opened.cid), ctx=current.ctx, index=index, salt=opened.salt, root=opened.root
            ).elements
            for index in included
            for opened in (current.reveals[index],)
        ]
        weights = [current.commits[index].weight for index in included]
        return Inputs(view.plan, view.format, current.ctx, base.elements, updates, weights)

    # conclude

    def _conclude(self, view: StudyView, current: RoundView, clock: Clock, now: int) -> bool:
        live = current.live
        if live is None:
            return False
        items = self.inbox.get(self.study_id, current.number, Topic.ENDORSEMENTS, live.hash)
        items = [item for item in items if not live.endorsed >> item.index & 1]
        held = live.endorsed | sum(1 << item.index for item in items)
        if held & current.snapshot.active == current.snapshot.active or clock.phase is Phase.FINAL:
            return self._finalize(view, current, clock, now, live, items)
        # Endorsements count only before the deadline: what is there is written down in time.
        if items and held.bit_count() >= current.quorum and self._is_my_turn(current, clock, now, complete=False):
            return self._send(intents.endorse(self.study_id, current.number, _packed(items)))
        return False

    def _finalize(
        self, view: StudyView, current: RoundView, clock: Clock, now: int, live: ProposalView, items: list[Item]
    ) -> bool:
        deadline = current.deadline_at(now) or live.event.time + view.plan.challenge_window
        window = max(deadline - clock.mark, 1)
        # Anyone may finalize; the one who proposed does it first.
        order = current.snapshot.aggregators
        me = self.chain.signer.address
        rank = (order.index(me) - order.index(live.proposal.aggregator)) % len(order) if me in order else len(order)
        late = self.now() - (deadline if clock.phase is Phase.FINAL and not items else live.event.time)
        if late < self.settings.stagger * rank * window:
            return False
        finals = len(view.final_rounds) + 1
        enough = self.settings.rounds is not None and finals >= self.settings.rounds
        open_next = (
            self.settings.auto_open
            and not enough
            and view.may_open(now)
            and self.settings.may_open(opened=current.opened.time, now=self.now())
        )
        intent = intents.conclude(self.study_id, current.number, _packed(items), live.proposal, open_next=open_next)
        sent = self._send(intent)
        if not sent and open_next and intent.key in self._refused:
            # Too few may be left for another round; that must not keep this one from its record.
            open_next = False
            sent = self._send(
                intents.conclude(self.study_id, current.number, _packed(items), live.proposal, open_next=False)
            )
        crashpoint("coordinator.concluded")
        if sent:
            logger.info("round %d: final%s", current.number, ", next one opened" if open_next else "")
        return sent

    # open

    def _open(self, view: StudyView, now: int) -> bool:
        last = view.current
        enough = self.settings.rounds is not None and len(view.final_rounds) >= self.settings.rounds
        waits = not self.settings.may_open(opened=last.opened.time if last else None, now=self.now())
        # The sponsor may have paused or closed the study, or its term is over.
        if enough or waits or not self.settings.auto_open or not view.may_open(now):
            return self._settle(last) if last else False
        me = self.chain.signer.address
        order = last.snapshot.aggregators if last else ()
        number = last.number + 1 if last else 1
        # Whoever will be on duty opens; another one does when that does not happen.
        if last and order and me in order:
            rank = (order.index(me) - number) % len(order)
            ended = last.finalized or last.aborted
            since = ended.time if ended else last.clock_at(now).mark
            if self.now() - since < rank * max(2.0, self.settings.stagger * view.plan.commit_window):
                return False
        intent = intents.open_round(self.study_id, number)
        if self._send(intent):
            return True
        # Perhaps nobody's bond suffices any more: the ended round is written down all the same.
        return intent.key in self._refused and last is not None and self._settle(last)

    def _settle(self, last: RoundView) -> bool:
        """Without a next round nobody's opening orders the fines of the last one."""
        missed = last.outcome.failed_duties if last.outcome else last.missed
        if last.is_over and not missed and last.committed == last.revealed:
            return False
        return self._send(intents.settle(self.study_id, last.number, request="fines"))

    # send

    def _send(self, intent: Intent) -> bool:
        """Send and wait; true when it was mined by this call. What another party did meanwhile is no error."""
        if intent.key in self._done or time.monotonic() < self._refused.get(intent.key, 0.0):
            return False
        try:
            with about(self.study_id, self._number):
                receipt = self.outbox.submit(intent)
        except RevertedError as error:
            self._refuse(intent, logging.INFO, f"not needed or not possible: {error.message}")
            return False
        except CollegiumError as error:
            if error.retryable:
                logger.info("%s is delayed: %s", intent.function, error.message)
            else:
                self._refuse(intent, logging.WARNING, f"failed: {error}")
            return False
        self._done.add(intent.key)
        logger.info("%s: %d gas, %s", intent.function, receipt.gas_used, receipt.transaction)
        return True

    def _refuse(self, intent: Intent, level: int, reason: str) -> None:
        """Say it once, and try again after a moment: it may become possible."""
        if intent.key not in self._refused:
            logger.log(level, "%s: %s", intent.function, reason)
        self._refused[intent.key] = time.monotonic() + RETRY_SECONDS


def _agreed(items: list[Item], quorum: int) -> int:
    """Bits that at least `quorum` of these attestations carry."""
    bitmaps = [int.from_bytes(item.wire[1:17], "big") for item in items]
    union = 0
    for bitmap in bitmaps:
        union |= bitmap
    return sum(1 << bit for bit in bits(union) if sum(bitmap >> bit & 1 for bitmap in bitmaps) >= quorum)


def _packed(items: list[Item]) -> bytes:
    return b"".join(item.wire for item in items)
