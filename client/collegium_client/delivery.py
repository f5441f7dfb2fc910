"""Bringing a message to the chain, and a blob to the stores, whoever is down."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from collegium.chain import Outbox, RoundView
from collegium.chain.following import ChainTime
from collegium.crashpoints import crashpoint, register
from collegium.errors import CollegiumError
from collegium.observability.tracing import span
from collegium.phases import Clock, compute_deadline
from collegium.storage import BlobFolder, Cid, Store

from .couriers import Couriers, Errand

__all__ = ["Delivery", "Pusher", "Window"]

register("client.message_handed", "client.message_carried", "client.blob_pushed")

GRACE_SECONDS = 3.0
"""How long a coordinator that took a message late is trusted before the client carries it too."""
LAST_CALL = 0.2
"""Share of a window before its deadline in which the client carries its message whatever was promised."""
RETRY_SECONDS = 0.5

Report = Callable[..., None]


@dataclass(frozen=True)
class Window:
    """The present phase of a round, as far as time goes."""

    start: int
    deadline: int
    now: int

    @classmethod
    def of(cls, round: RoundView, clock: Clock, time: ChainTime) -> Window:
        """At the present time."""
        return cls(clock.mark, compute_deadline(clock, round.rules), time.now())

    def is_past(self, share: float) -> bool:
        """Whether this share of the phase is over."""
        return self.now >= self.start + share * (self.deadline - self.start)


@dataclass(frozen=True)
class Delivery:
    """Hands messages to coordinators and carries them when they are late.

    carry_after: share of a phase after which a message that is not on chain is carried; half of it when nobody
    took the message.
    """

    couriers: Couriers
    outbox: Outbox
    carry_after: float
    report: Report

    def deliver(self, errand: Errand, window: Window) -> None:
        """Hand it over; carry it alone when it is not on chain in time. Call again until the chain shows it."""
        before = bool(errand.taken_by)
        if self.couriers.hand(errand) and not before:
            crashpoint("client.message_handed")
            self.report("handed", round=errand.round, topic=errand.topic, to=sorted(errand.taken_by))
        if errand.intent is None or errand.carried or not self.is_carry_time(errand, window):
            return
        self.outbox.submit(errand.intent)
        errand.carried = True
        crashpoint("client.message_carried")
        self.report("carried", round=errand.round, topic=errand.topic)

    def is_carry_time(self, errand: Errand, window: Window) -> bool:
        """Whether waiting for coordinators is over."""
        if window.is_past(1 - LAST_CALL):
            return True
        if errand.handed_at is None:
            return window.is_past(self.carry_after / 2)
        return time.monotonic() - errand.handed_at >= GRACE_SECONDS and window.is_past(self.carry_after)


class Pusher:
    """Brings revealed blobs to the stores in the background, again and again until each has them."""

    def __init__(self, stores: Sequence[Store], folder: BlobFolder, report: Report) -> None:
        self._stores, self._folder, self._report = tuple(stores), folder, report
        self._pool = ThreadPoolExecutor(max_workers=max(1, len(self._stores)), thread_name_prefix="push")
        self._running: dict[tuple[str, Cid], Future[Any]] = {}
        self._retry: dict[tuple[str, Cid], float] = {}
        self._told: set[str] = set()

    def push(self, cid: Cid, *, wait: float) -> bool:
        """Start or go on; wait at most so many seconds. True when a store has it, or there is no store."""
        keys = [(store.name, cid) for store in self._stores]
        self._running = {key: value for key, value in self._running.items() if key in keys}
        for store, key in zip(self._stores, keys, strict=True):
            known = self._running.get(key)
            if known is None or (known.done() and known.exception() and self._retry[key] < time.monotonic()):
                # With the context of the caller: the egress log knows the round, the trace its parent.
                self._running[key] = self._pool.submit(contextvars.copy_context().run, self._put, store, cid)
                self._retry[key] = time.monotonic() + RETRY_SECONDS
        give_up = time.monotonic() + wait
        while not (done := self._is_somewhere()) and time.monotonic() < give_up:
            time.sleep(0.01)
        if done:
            crashpoint("client.blob_pushed")
        return done or not self._stores

    def _put(self, store: Store, cid: Cid) -> None:
        try:
            with span("push", cid=cid.text):
                store.put(self._folder.path_of(cid))
        except CollegiumError as error:
            if store.name not in self._told:
                self._told.add(store.name)
                self._report("not_stored", store=store.name, code=error.code, reason=error.message)
            raise
        self._told.discard(store.name)

    def _is_somewhere(self) -> bool:
        return any(each.done() and each.exception() is None for each in self._running.values())

    def close(self) -> None:
        """Stop after what is running."""
        self._pool.shutdown(wait=False, cancel_futures=True)
