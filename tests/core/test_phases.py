"""The clock of a round moves forward, loses nothing by being read late, and always ends."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from collegium.phases import MAX_ATTEMPTS, Clock, Rules, Tally, catch_up, compute_deadline, compute_quorum
from collegium.records import Phase

RUNNING = [Phase.COMMIT, Phase.REVEAL, Phase.CERTIFY, Phase.PROPOSE, Phase.CHALLENGE]
windows = st.integers(1, 100)
rules = st.builds(Rules, *[windows] * 5, st.integers(1, 5), st.integers(1, 5), st.integers(1, 16))
counts = st.integers(0, 5)
tallies = st.builds(Tally, st.just(5), counts, counts, counts, counts)


@st.composite
def clocks(draw: st.DrawFn, order: int = 16) -> Clock:
    return Clock(
        draw(st.sampled_from(RUNNING)),
        1000,
        draw(st.integers(0, MAX_ATTEMPTS - 1)),
        draw(st.integers(0, order - 1)),
        draw(st.integers(0, 2**order - 1)),
        draw(st.integers(0, 2**order - 1)),
    )


@given(clock=clocks(), plan=rules, tally=tallies, first=st.integers(0, 3000), second=st.integers(0, 3000))
def test_reading_in_between_changes_nothing(clock: Clock, plan: Rules, tally: Tally, first: int, second: int) -> None:
    clock = replace(clock, position=clock.position % plan.order_size)
    early, late = sorted((1000 + first, 1000 + second))
    once = catch_up(clock, plan, tally, late)
    assert catch_up(catch_up(clock, plan, tally, early), plan, tally, late) == once
    assert catch_up(once, plan, tally, late) == once


@given(clock=clocks(), plan=rules, tally=tallies)
def test_time_alone_ends_every_round(clock: Clock, plan: Rules, tally: Tally) -> None:
    clock = replace(clock, position=clock.position % plan.order_size)
    assert catch_up(clock, plan, tally, 10**6).phase in (Phase.FINAL, Phase.ABORTED)


@given(clock=clocks(), plan=rules, tally=tallies, elapsed=st.integers(0, 3000))
def test_a_phase_holds_until_just_before_its_deadline(clock: Clock, plan: Rules, tally: Tally, elapsed: int) -> None:
    clock = replace(clock, position=clock.position % plan.order_size)
    reached = catch_up(clock, plan, tally, 1000 + elapsed)
    deadline = compute_deadline(reached, plan)
    if reached.phase in RUNNING:
        assert reached.mark <= 1000 + elapsed < deadline
        assert catch_up(reached, plan, tally, deadline - 1) == reached
        assert catch_up(reached, plan, tally, deadline) != reached
    else:
        assert deadline == 0
    assert reached.attempt >= clock.attempt
    assert reached.failed_duties & clock.failed_duties == clock.failed_duties


@given(clock=clocks(), plan=rules, tally=tallies, elapsed=st.integers(0, 3000))
def test_an_excluded_aggregator_gets_no_duty(clock: Clock, plan: Rules, tally: Tally, elapsed: int) -> None:
    clock = replace(clock, position=clock.position % plan.order_size)
    reached = catch_up(clock, plan, tally, 1000 + elapsed)
    if reached.phase is Phase.PROPOSE and reached.attempt > clock.attempt:
        assert not reached.excluded >> reached.position & 1


def test_everybody_endorsing_ends_the_challenge_at_once() -> None:
    plan, clock = Rules(1, 1, 1, 1, 100, 1, 3, 2), Clock(Phase.CHALLENGE, 1000)
    assert catch_up(clock, plan, Tally(4, 4, 4, 4, 4), 1000).phase is Phase.FINAL
    assert catch_up(clock, plan, Tally(4, 4, 4, 4, 3), 1099).phase is Phase.CHALLENGE
    assert catch_up(clock, plan, Tally(4, 4, 4, 4, 3), 1100).phase is Phase.FINAL
    assert catch_up(clock, plan, Tally(4, 4, 4, 4, 2), 1100).phase is Phase.PROPOSE


@given(members=st.integers(1, 128), least=st.integers(1, 128))
def test_quorum_is_a_majority_and_at_least_the_minimum(members: int, least: int) -> None:
    quorum = compute_quorum(least, members)
    assert 2 * quorum > members and quorum >= least
