"""Following a study: views made from new events alone are those that the whole history gives."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collegium.chain import Indexer, StudyView
from collegium.chain.events import ChainEvent
from collegium.chain.following import StudyFollower
from tests.support.federation import Federation, Lie

# One history, played in order.
pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("following")]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Three rounds: one refuted and then final, one that lapses and is then final, one abandoned."""
    with Federation.start(tmp_path_factory.mktemp("federation"), members=3, aggregators=3) as federation:
        federation.play_round(lie=Lie.MEAN)
        federation.open_round()
        federation.commit([0, 1])
        federation.pass_time(federation.plan.commit_window)
        federation.reveal([0, 1])
        federation.certify([0, 1])
        federation.propose()
        federation.pass_time(federation.plan.challenge_window)
        federation.propose()
        federation.conclude()
        federation.open_round()
        federation.pass_time(federation.plan.commit_window)
        federation.settle()
        yield federation


@pytest.fixture(scope="module")
def history(federation: Federation, tmp_path_factory: pytest.TempPathFactory) -> list[ChainEvent]:
    with Indexer(tmp_path_factory.mktemp("index") / "index.db", federation.chain) as indexer:
        indexer.sync()
        return indexer.events(federation.study_id)


class TestExtended:
    @settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_split_gives_the_view_of_the_whole(self, history: list[ChainEvent], data: st.DataObject) -> None:
        study_id = history[0].study_id
        assert study_id is not None
        marks = st.lists(st.integers(1, len(history)), min_size=1, max_size=6, unique=True).map(sorted)
        cuts = data.draw(marks)
        view = StudyView.build(history[: cuts[0]], study_id)
        for begin, end in zip(cuts, [*cuts[1:], len(history)], strict=True):
            before = deepcopy(view)
            later = view.extended(history[begin:end])
            assert view == before, "a view that was given out changed"
            view = later
        assert view == StudyView.build(history, study_id)

    def test_rounds_without_news_are_shared(self, history: list[ChainEvent]) -> None:
        study_id = history[0].study_id
        assert study_id is not None
        opened = next(at for at, event in enumerate(history) if event.name == "RoundOpened" and event.round == 2)
        first = StudyView.build(history[: opened + 1], study_id)
        assert first.extended(history[opened + 1 :]).rounds[0] is first.rounds[0]

    def test_events_of_other_studies_are_passed_over(self, history: list[ChainEvent]) -> None:
        study_id = history[0].study_id
        assert study_id is not None
        view = StudyView.build(history, study_id)
        assert view.extended([]) == view


class TestStudyFollower:
    def test_two_followers_of_one_index_see_the_same(self, federation: Federation, tmp_path: Path) -> None:
        with Indexer(tmp_path / "index.db", federation.chain) as indexer:
            first, second = (StudyFollower(indexer, federation.study_id) for _ in range(2))
            seen = second.refresh()
            federation.open_round()
            # The first one stores what the second one must not miss.
            assert first.refresh() == second.refresh() != seen
            assert second.refresh() is second.refresh()
            federation.pass_time(federation.plan.commit_window)
            federation.settle()

    def test_what_another_process_stored_is_seen(self, federation: Federation, tmp_path: Path) -> None:
        """A command run beside a client may be the one that stores an event; the client must not miss it."""
        path = tmp_path / "index.db"
        with Indexer(path, federation.chain) as mine, Indexer(path, federation.chain) as command:
            follower = StudyFollower(mine, federation.study_id)
            before = follower.refresh()
            federation.open_round()
            command.sync()
            assert len(follower.refresh().rounds) == len(before.rounds) + 1
            federation.pass_time(federation.plan.commit_window)
            federation.settle()

    def test_reorganization_takes_events_back(self, federation: Federation, tmp_path: Path) -> None:
        rpc = federation.chain.rpc
        with Indexer(tmp_path / "index.db", federation.chain) as indexer:
            follower = StudyFollower(indexer, federation.study_id)
            before = follower.refresh()
            snapshot = rpc.request("evm_snapshot")
            federation.open_round()
            assert len(follower.refresh().rounds) == len(before.rounds) + 1
            assert rpc.request("evm_revert", snapshot)
            federation.rounds.pop()
            rpc.request("anvil_mine", "0x2")
            assert follower.refresh() == before
