"""A watcher against every kind of lie, on the real contracts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from collegium.chain import Chain, Indexer, LocalSigner, Outbox, StudyView
from collegium.chain.following import StudyFollower
from collegium.inputs import BlobSource
from collegium.records import Kind
from collegium.storage import BlobFolder, MultiStore
from collegium_client.refuting import Case, Refuter
from collegium_client.watching import Watcher, WatcherParts
from tests.support.federation import Federation, Lie

pytestmark = [pytest.mark.chain, pytest.mark.slow]


class Watching:
    """A watcher with an account of its own and a home in a folder; a second one may take it over."""

    def __init__(self, federation: Federation, folder: Path) -> None:
        self.federation = federation
        self.told: list[tuple[str, dict[str, Any]]] = []
        signer = LocalSigner(bytes.fromhex("11" * 32))
        federation.chain.rpc.request("anvil_setBalance", signer.address, hex(10**20))
        self.chain = Chain.connect(federation.chain.settings, signer, deployment=federation.deployment)
        self.indexer = Indexer(folder / "index.sqlite", self.chain)
        self.outbox = Outbox(folder / "outbox.sqlite", self.chain)
        blobs = BlobFolder(folder / "blobs")
        source = BlobSource(blobs, MultiStore([blobs, federation.store]), federation.table.format)
        self.parts = WatcherParts(
            chain=self.chain,
            indexer=self.indexer,
            outbox=self.outbox,
            source=source,
            cases=folder / "cases",
            report=lambda event, **fields: self.told.append((event, fields)),
        )
        self.watcher = Watcher(self.parts, federation.study_id)

    def look(self) -> list[Case]:
        """One look at the chain; every case so far."""
        self.watcher.step(self.view())
        return Refuter(self.chain, self.outbox, self.parts.cases, self.parts.report).cases()

    def view(self) -> StudyView:
        return StudyFollower(self.indexer, self.federation.study_id).refresh()

    def sent(self) -> int:
        """Transactions that the watcher paid for."""
        return int(self.chain.rpc.request("eth_getTransactionCount", self.chain.signer.address, "latest"), 16)

    def close(self) -> None:
        self.outbox.close()
        self.indexer.close()


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    with Federation.start(tmp_path / "federation", members=3, aggregators=2) as started:
        yield started


@pytest.fixture
def watching(federation: Federation, tmp_path: Path) -> Iterator[Watching]:
    opened = Watching(federation, tmp_path / "watcher")
    yield opened
    opened.close()


def certified_round(federation: Federation) -> None:
    federation.open_round()
    federation.commit()
    federation.reveal()
    federation.certify()


class TestProposals:
    @pytest.mark.parametrize(("lie", "kind"), [(Lie.MEAN, Kind.MEAN), (Lie.STEP, Kind.STEP), (Lie.TAIL, Kind.TAIL)])
    def test_a_lie_is_announced_refuted_and_paid_once(
        self, federation: Federation, watching: Watching, lie: Lie, kind: Kind
    ) -> None:
        certified_round(federation)
        proposed = federation.propose(lie)
        (case,) = watching.look()
        assert (case.kind, case.stage, case.announced) == (kind, "won", True)
        assert case.accused == proposed.aggregator.node.address
        refuted = watching.view().rounds[-1].refutations
        assert [event.args["kind"] for event in refuted] == [int(kind)]
        assert watching.sent() == 2
        watching.look()
        assert watching.sent() == 2

    def test_an_honest_proposal_is_left_alone(self, federation: Federation, watching: Watching) -> None:
        certified_round(federation)
        federation.propose()
        assert watching.look() == []
        assert watching.sent() == 0
        assert [name for name, _ in watching.told] == ["checked"]

    def test_withheld_output_pays_once_the_round_is_final(self, federation: Federation, watching: Watching) -> None:
        certified_round(federation)
        liar = federation.propose(Lie.WITHHELD).aggregator
        assert watching.look() == []
        assert watching.told[-1][0] == "withheld"
        federation.pass_time(federation.plan.challenge_window + 1)
        federation.propose()
        federation.conclude()
        (case,) = watching.look()
        assert (case.kind, case.stage, case.accused) == (Kind.CONTRADICTION, "won", liar.node.address)

    def test_a_finalized_lie_is_disputed(self, federation: Federation, watching: Watching) -> None:
        certified_round(federation)
        federation.propose(Lie.MEAN)
        federation.conclude()
        (case,) = watching.look()
        assert (case.kind, case.stage) == (Kind.MEAN, "won")
        assert watching.view().rounds[-1].disputed is not None

    def test_a_watcher_started_again_does_not_pay_again(
        self, federation: Federation, watching: Watching, tmp_path: Path
    ) -> None:
        certified_round(federation)
        federation.propose(Lie.MEAN)
        watching.look()
        again = Watching(federation, tmp_path / "watcher")
        try:
            again.watcher.run(until=0)
            assert again.sent() == 2
        finally:
            again.close()


class TestUpdates:
    def test_an_update_out_of_range_is_fined(self, federation: Federation, watching: Watching) -> None:
        federation.open_round()
        wrong = federation.make_elements()
        wrong[5] = federation.table.bound + 1
        federation.commit(submissions=[federation.prepare(0, elements=wrong), *map(federation.prepare, (1, 2))])
        federation.reveal()
        (case,) = watching.look()
        assert (case.kind, case.stage, case.coordinate) == (Kind.RANGE, "won", 5)
        assert case.accused == federation.members[0].node.address

    def test_two_updates_of_one_seat_are_found_in_calldata(self, federation: Federation, watching: Watching) -> None:
        federation.open_round()
        first, second = federation.prepare(0), federation.prepare(0)
        assert first.signed != second.signed
        federation.commit(submissions=[first])
        federation.commit(submissions=[second, federation.prepare(1)])
        (case,) = watching.look()
        assert (case.kind, case.stage) == (Kind.EQUIVOCATION, "won")

    def test_clean_updates_are_left_alone(self, federation: Federation, watching: Watching) -> None:
        federation.open_round()
        federation.commit()
        federation.reveal()
        assert watching.look() == []
        assert np.all([seat in watching.view().rounds[-1].reveals for seat in (0, 1, 2)])
