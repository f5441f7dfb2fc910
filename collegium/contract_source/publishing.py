"""Publishing the source of many contracts at one explorer: idempotent, patient, and able to go on later."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from collegium.errors import CollegiumError

from .bytecode import Match
from .errors import ExplorerKeyError, ExplorerPendingError, ExplorerRefusedError, ExplorerUnreachableError
from .explorer import Explorer, Refused, Submitted, Verified
from .release import Release
from .targets import Target
from .tickets import Tickets

__all__ = ["Outcome", "publish", "summarize"]

PAUSE = 2.0
"""Seconds between two rounds of asking, at first."""
ATTEMPTS = 3
"""Submissions of one contract within a run: lost answers and lost tickets."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """status: verified, pending, refused, unreachable or key. reason: why not. page: where to read the source."""

    explorer: str
    contract: str
    address: str
    status: str
    match: Match = Match.NONE
    already: bool = False
    note: str = ""
    reason: str = ""
    page: str = ""

    def to_json(self) -> dict[str, Any]:
        match = self.match.value if self.match is not Match.NONE else None
        return {
            "explorer": self.explorer, "contract": self.contract, "address": self.address, "status": self.status,
            "match": match, "already_verified": self.already, "note": self.note, "reason": self.reason,
            "page": self.page,
        }  # fmt: skip


@dataclass
class _Job:
    target: Target
    ticket: str | None = None
    attempts: int = 0
    outcome: Outcome | None = None
    reason: str = ""


@dataclass
class _Run:
    explorer: Explorer
    release: Release
    tickets: Tickets
    say: Callable[[str], None]
    jobs: list[_Job] = field(default_factory=list)

    def begin(self, job: _Job) -> None:
        """Look whether it is done, go on with an open submission, else submit."""
        known = self.explorer.find(job.target)
        if known is not None:
            self.verified(job, known, already=True)
            return
        job.ticket = self.tickets.get(self.explorer, job.target)
        if job.ticket:
            self.say(f"{job.target.name}: going on with an earlier submission")
        else:
            self.submit(job)

    def submit(self, job: _Job) -> None:
        job.attempts += 1
        # Written first: if the answer is lost, the next run knows that something may be on its way.
        self.tickets.put(self.explorer, job.target, "")
        try:
            answer = self.explorer.submit(job.target, self.release.input_text(job.target.released))
        except ExplorerUnreachableError as error:
            if not error.evidence.get("accepted"):
                self.tickets.remove(self.explorer, job.target)
                raise
            job.ticket, job.reason = None, error.message
            return
        if isinstance(answer, Submitted):
            job.ticket = answer.ticket
            self.tickets.put(self.explorer, job.target, answer.ticket)
            self.say(f"{job.target.name}: accepted by {self.explorer.base}")
        elif isinstance(answer, Verified):
            self.verified(job, answer, already=True)
        else:
            self.refused(job, answer)

    def step(self, job: _Job) -> None:
        """Ask once about an open job."""
        if job.ticket is None:
            known = self.explorer.find(job.target)
            if known is not None:
                self.verified(job, known)
            elif job.attempts < ATTEMPTS:
                self.submit(job)
            return
        answer = self.explorer.poll(job.target, job.ticket)
        if isinstance(answer, Verified):
            self.verified(job, answer)
        elif isinstance(answer, Refused):
            self.refused(job, answer)

    def verified(self, job: _Job, answer: Verified, *, already: bool = False) -> None:
        self.tickets.remove(self.explorer, job.target)
        before = already or (answer.already and not job.attempts)
        self.finish(job, "verified", match=answer.match, already=before, note=answer.note)
        self.say(f"{job.target.name}: verified at {self.explorer.name}")

    def refused(self, job: _Job, answer: Refused) -> None:
        self.tickets.remove(self.explorer, job.target)
        job.ticket, job.reason = None, answer.reason
        if not answer.again or job.attempts >= ATTEMPTS:
            self.finish(job, "refused", reason=answer.reason)
            self.say(f"{job.target.name}: refused: {answer.reason}")

    def finish(self, job: _Job, status: str, **more: Any) -> None:
        target = job.target
        job.outcome = Outcome(
            self.explorer.name, target.name, target.address, status, page=self.explorer.page(target), **more
        )


def publish(
    explorer: Explorer,
    targets: Sequence[Target],
    release: Release,
    tickets: Tickets,
    *,
    timeout: float = 300.0,
    pause: float | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Hand in every contract, then ask until all are decided or `timeout` seconds have passed; never raises for one.

    What is undecided then keeps its ticket: the same call goes on. pause: seconds between two rounds of asking.
    """
    run = _Run(explorer, release, tickets, say, [_Job(target) for target in targets])
    give_up, pause = time.monotonic() + timeout, PAUSE if pause is None else pause
    for job in run.jobs:
        _guarded(run, job, run.begin)
    while any(job.outcome is None for job in run.jobs):
        if time.monotonic() + pause > give_up:
            break
        time.sleep(pause)
        pause = min(pause * 1.3, 15.0)
        for job in run.jobs:
            if job.outcome is None:
                _guarded(run, job, run.step)
    for job in run.jobs:
        if job.outcome is None:
            run.finish(job, "pending", reason=job.reason or f"not decided after {timeout:.0f} s")
    return [job.outcome for job in run.jobs if job.outcome is not None]


def _guarded(run: _Run, job: _Job, act: Callable[[_Job], None]) -> None:
    """An explorer that fails for one contract is tried for the next; what is kept is kept."""
    try:
        act(job)
    except ExplorerUnreachableError as error:
        run.finish(job, "unreachable", reason=error.message)
    except CollegiumError as error:
        run.finish(job, "key" if error.exit_code == 6 else "refused", reason=error.message)


_KINDS: tuple[tuple[str, type[CollegiumError], str, str], ...] = (
    ("key", ExplorerKeyError, "the key was not taken", "Check --api-key-file or ETHERSCAN_API_KEY."),
    ("refused", ExplorerRefusedError, "refused", "`collegium contracts verify --offline` compares the code."),
    ("unreachable", ExplorerUnreachableError, "not published", "Run the same command again; it sends nothing twice."),
    ("pending", ExplorerPendingError, "not decided yet", "Run the same command again; it goes on with its tickets."),
)


def summarize(outcomes: Sequence[Outcome]) -> CollegiumError | None:
    """One error for all that is not verified, the gravest first; None when everything is."""
    for status, kind, words, hint in _KINDS:
        found = [each for each in outcomes if each.status == status]
        if found:
            names = ", ".join(f"{each.contract} at {each.explorer}" for each in found)
            return kind(f"{names}: {words} ({found[0].reason}).", hint=hint)
    return None
