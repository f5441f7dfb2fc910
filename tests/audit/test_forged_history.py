"""Had the contracts let it happen: every field of every event is held against something else.

Here the proofs of the history are left out, as if a chain had recorded the forged event, and one value at a time is
changed in an honest history. What the checks say of it is all that is asked.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from collegium import messages
from collegium.audit.admissions import Council, check_deployment
from collegium.audit.history import History, read_history
from collegium.audit.report import Findings, Status, Tally
from collegium.audit.standing import check_governance, check_money, check_records
from collegium.audit.study import replay
from collegium.audit.world import Ledger, World
from collegium.chain.events import ChainEvent
from collegium.records import StudyStatus
from tests.support.federation import Federation

from .histories import EVERY_EVENT

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("audit-forged")]

UNCHECKED = {
    # Allowances of the token move nothing.
    ("Approval", "owner"), ("Approval", "spender"), ("Approval", "value"), ("Approval", None),
    # Why an item of a batch was skipped is for its sender to read; that it was, and whose, is checked.
    ("ItemSkipped", "reason"),
}  # fmt: skip


@pytest.fixture(scope="module")
def history(eventful: Federation) -> Iterator[History]:
    """The honest history; a signature is recovered once, however often it is looked at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(messages, "recover", functools.lru_cache(maxsize=None)(messages.recover))
        yield read_history(eventful.connect(), Tally("logs"))


def forge(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, list):
        return value[:-1] if value else ["0x" + "11" * 32]
    if value.startswith("0x") and len(value) == 42:
        return "0x000000000000000000000000000000000000dEaD"
    if value.startswith("0x"):
        return value[:-1] + format(int(value[-1], 16) ^ 1, "x")
    return value[:-1] + ("a" if value[-1] != "a" else "b")


def forgeries(event: ChainEvent) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field by name, also inside structs, with the arguments in which it is another."""
    for name, value in event.args.items():
        if not isinstance(value, dict):
            yield name, {**event.args, name: forge(value)}
            continue
        for inner, part in value.items():
            if not (isinstance(part, list) and part and isinstance(part[0], dict)):
                yield f"{name}.{inner}", {**event.args, name: {**value, inner: forge(part)}}


def check(history: History, council: Council) -> set[str]:
    """Names of the checks that fail. What the contracts answer stays the truth."""
    findings, world = Findings(), World(1, Ledger(history.chain.address_of("Bonds")))
    replay(history, world, findings, council)
    if world.study is None:
        return {"plan"}
    failed = {each.name for each in findings.checks() if each.status is Status.MISMATCH}
    if not failed:
        check_deployment(history, findings.of("deployment"))
        check_records(history, world.study, findings)
        check_governance(history, world.study, findings)
        check_money(history, world, findings)
        failed = {each.name for each in findings.checks() if each.status is Status.MISMATCH}
    return failed


@pytest.fixture(scope="module")
def council(history: History) -> Council:
    return check_deployment(history, Tally("deployment"))


def test_honest_history_passes(history: History, council: Council) -> None:
    assert check(history, council) == set()


@pytest.mark.parametrize("name", sorted(EVERY_EVENT))
def test_every_forged_field_and_every_missing_event_is_found(history: History, council: Council, name: str) -> None:
    at = max(position for position, event in enumerate(history.events) if event.name == name)
    event, events = history.events[at], list(history.events)
    changed: list[tuple[str | None, list[ChainEvent]]] = [(None, events[:at] + events[at + 1 :])]
    for field, args in forgeries(event):
        changed.append((field, [*events[:at], replace(event, args=args), *events[at + 1 :]]))
    for field, forged in changed:
        if (name, field) not in UNCHECKED:
            assert check(replace(history, events=tuple(forged)), council), f"{name}.{field} was forged unnoticed"


@pytest.mark.parametrize(
    "name", ["UpdateCommitted", "UpdateRevealed", "UpdatesCertified", "AggregateProposed", "RoundFinalized"]
)
def test_act_after_its_phase_is_found(history: History, council: Council, name: str) -> None:
    at = max(position for position, event in enumerate(history.events) if event.name == name)
    events = list(history.events)
    events[at] = replace(events[at], time=events[at].time + 86_400)
    assert check(replace(history, events=tuple(events)), council) & {"phases", "record"}


@pytest.mark.parametrize("status", [StudyStatus.PAUSED, StudyStatus.CLOSED])
def test_a_round_opened_in_a_stopped_study_is_found(history: History, council: Council, status: StudyStatus) -> None:
    """A pause that is told before the last opening, as if the contract had not minded it."""
    at = max(position for position, event in enumerate(history.events) if event.name == "RoundOpened")
    said = next(event for event in history.events if event.name == "StudyStatusChanged")
    stop = replace(said, args={**said.args, "status": int(status)}, time=history.events[at].time)
    events = [*history.events[:at], stop, *history.events[at:]]
    assert "phases" in check(replace(history, events=tuple(events)), council)


def test_a_round_opened_after_the_term_is_found(history: History, council: Council) -> None:
    at = max(position for position, event in enumerate(history.events) if event.name == "RoundOpened")
    extended = next(position for position, event in enumerate(history.events) if event.name == "StudyExtended")
    assert extended < at
    event, events = history.events[extended], list(history.events)
    events[extended] = replace(event, args={**event.args, "openUntil": history.events[at].time})
    assert "phases" in check(replace(history, events=tuple(events)), council)


def test_a_removed_member_in_a_later_roster_is_found(history: History, council: Council) -> None:
    """Removed in the history before the last opening, and yet in its snapshot."""
    at = max(position for position, event in enumerate(history.events) if event.name == "RosterSnapshotted")
    removed = next(event for event in history.events if event.name == "MemberRemoved")
    snapshot, events = history.events[at], list(history.events)
    institutions, index = list(snapshot.args["institutions"]), removed.args["index"]
    institutions[index] = removed.args["institution"]
    events[at] = replace(snapshot, args={**snapshot.args, "institutions": institutions})
    assert "roster" in check(replace(history, events=tuple(events)), council)
