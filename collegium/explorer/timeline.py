"""The phases of a round with their times, as its events and the published catch-up rule give them."""

from __future__ import annotations

from dataclasses import dataclass

from collegium.chain.views import ProposalStatus, ProposalView, RoundView
from collegium.phases import MAX_ATTEMPTS
from collegium.records import Phase

__all__ = ["Stretch", "read_timeline"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """One phase. attempt: which try, from 1; 0 for phases before any. end: None while it lasts. Unix seconds.

    ended: how, in words. actor: node key of the aggregator, empty before Propose.
    """

    phase: Phase
    attempt: int
    start: int
    deadline: int
    end: int | None
    ended: str
    actor: str = ""


def read_timeline(view: RoundView, now: int, last_endorsement: int = 0) -> tuple[Stretch, ...]:
    """Oldest first. now: the chain's time; last_endorsement: of the last proposal, for unanimity."""
    found: list[Stretch] = []
    start = _before_proposals(view, now, found)
    if start is not None:
        _attempts(view, now, last_endorsement, start, found)
    return tuple(found)


def _before_proposals(view: RoundView, now: int, found: list[Stretch]) -> int | None:
    """Commit, Reveal, Certify; the start of Propose, or None when the round is not there or aborted."""
    rules, start = view.rules, view.opened.time
    committed = [each.event for each in view.commits.values()]
    revealed = [each.event for each in view.reveals.values()]
    for phase, window, done, wanted, acts in (
        (Phase.COMMIT, rules.commit_window, len(committed), view.invited.bit_count(), committed),
        (Phase.REVEAL, rules.reveal_window, len(revealed), len(committed), revealed),
        (Phase.CERTIFY, rules.certify_window, view.certified.bit_count(), len(revealed), view.certificates),
    ):
        deadline = start + window
        if done and done == wanted:
            last = max(each.time for each in acts)
            found.append(Stretch(phase, 0, start, deadline, last, "everybody acted"))
            start = last
            continue
        if now < deadline:
            found.append(Stretch(phase, 0, start, deadline, None, ""))
            return None
        enough = done >= rules.min_clients
        found.append(Stretch(phase, 0, start, deadline, deadline, "time ran out" if enough else "too few: aborted"))
        if not enough:
            return None
        start = deadline
    return start


def _attempts(view: RoundView, now: int, last_endorsement: int, start: int, found: list[Stretch]) -> None:
    """Propose and Challenge, again after every failed duty."""
    clock = view.clock_at(now)
    # A final round's clock stands at its last attempt; one that aborted has counted one more.
    last = clock.attempt if clock.phase is not Phase.ABORTED else clock.attempt - 1
    for attempt in range(min(last + 1, MAX_ATTEMPTS)):
        claimed = next((each for each in view.proposals if each.proposal.attempt == attempt), None)
        deadline = start + view.rules.propose_window
        if claimed is None:
            actor = next((each.args["aggregator"] for each in view.missed if each.args["attempt"] == attempt), "")
            if now < deadline:
                duty = view.on_duty(now) or ""
                found.append(Stretch(Phase.PROPOSE, attempt + 1, start, deadline, None, "", duty))
                return
            found.append(Stretch(Phase.PROPOSE, attempt + 1, start, deadline, deadline, "no proposal came", actor))
            start = deadline
            continue
        actor, proposed = claimed.proposal.aggregator, claimed.event.time
        found.append(Stretch(Phase.PROPOSE, attempt + 1, start, deadline, proposed, "proposed", actor))
        challenge = _challenge(view, claimed, now, last_endorsement)
        found.append(challenge)
        if challenge.end is None or challenge.ended.startswith(("all", "quorum")):
            return
        start = challenge.end


def _challenge(view: RoundView, claimed: ProposalView, now: int, last_endorsement: int) -> Stretch:
    start, actor, attempt = claimed.event.time, claimed.proposal.aggregator, claimed.proposal.attempt + 1
    deadline = start + view.rules.challenge_window
    endorsed = claimed.endorsed.bit_count()
    end: int | None = deadline
    if claimed.status is ProposalStatus.REFUTED and claimed.ended is not None:
        end, ended = claimed.ended.time, "refuted"
    elif claimed.status is ProposalStatus.LAPSED:
        ended = "too few endorsements"
    elif endorsed >= view.snapshot.active.bit_count():
        end, ended = last_endorsement or start, "all members endorsed"
    elif now < deadline and claimed.status is ProposalStatus.LIVE:
        end, ended = None, ""
    else:
        ended = "quorum endorsed" if endorsed >= view.rules.quorum else "too few endorsements"
    return Stretch(Phase.CHALLENGE, attempt, start, deadline, end, ended, actor)

