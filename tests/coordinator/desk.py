"""What one coordinator works with, without threads: every step is a call."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from collegium.chain import Chain, Indexer, NetworkSettings, Outbox, StudyView
from collegium.chain.following import ChainTime, StudyFollower
from collegium.inputs import BlobSource
from collegium.messages import pack_attestations, pack_commits, pack_endorsements, pack_reveals
from collegium.storage import BlobFolder, MultiStore
from collegium_coordinator.aggregation import Aggregate, Inputs, compute_aggregate
from collegium_coordinator.inbox import Inbox, Item, Topic
from collegium_coordinator.intake import MessageIntake
from collegium_coordinator.round import RoundRunner, RunnerSettings
from tests.support.federation import Federation, PlayedRound, Submission

__all__ = ["Desk"]


class Desk:
    """at: which aggregator; odd rounds put the second one on duty first. settings: of the runner."""

    def __init__(
        self,
        federation: Federation,
        folder: Path,
        at: int,
        *,
        rpc_url: str | None = None,
        aggregate: Callable[[Inputs], Aggregate] = compute_aggregate,
        **settings: Any,
    ) -> None:
        self.federation = federation
        self.member = federation.aggregators[at]
        network = NetworkSettings(
            rpc_url=rpc_url or federation.devnet.url, chain_id=federation.chain.chain_id, poll_interval=0.02,
            retry_for=0.3,
        )  # fmt: skip
        self.chain = Chain.connect(network, self.member.node.signer, deployment=federation.deployment)
        self.time = ChainTime()
        self._indexer = Indexer(folder / "index.sqlite", self.chain)
        self.follower = StudyFollower(self._indexer, federation.study_id, self.time)
        self.inbox = Inbox(folder / "inbox.sqlite")
        self.outbox = Outbox(folder / "outbox.sqlite", self.chain)
        self.folder = BlobFolder(folder / "store")
        self.runner = RoundRunner(
            chain=self.chain, outbox=self.outbox, study_id=federation.study_id, inbox=self.inbox,
            source=BlobSource(self.folder, MultiStore([self.folder, federation.store]), federation.table.format),
            store=self.folder, settings=RunnerSettings(**settings), aggregate=aggregate, now=self.time.now,
        )  # fmt: skip
        self.intake = MessageIntake(
            study_id=federation.study_id, domain=self.chain.domain(), inbox=self.inbox,
            view=lambda: self.follower.view, refresh=self.follower.refresh, clock=self.time.now,
        )  # fmt: skip

    def close(self) -> None:
        for each in (self._indexer, self.inbox, self.outbox):
            each.close()

    def view(self) -> StudyView:
        return self.follower.refresh()

    def step(self) -> bool:
        return self.runner.step(self.follower.refresh())

    @property
    def played(self) -> PlayedRound:
        return self.federation.round

    # what hospitals hand in

    def body(self, wire: bytes, proposal: bytes = b"", **changes: Any) -> Mapping[str, Any]:
        """As a hospital posts it."""
        body = {"study": self.federation.study_id, "round": self.played.number, "item": wire.hex()}
        return {**body, **({"proposal": proposal.hex()} if proposal else {}), **changes}

    def take(self, topic: Topic, wire: bytes, proposal: bytes = b"", **changes: Any) -> Mapping[str, Any]:
        return self.intake(topic, self.body(wire, proposal, **changes))

    def hand_updates(self, *seats: int) -> list[Submission]:
        """Prepared, signed and taken."""
        prepared = [self.federation.prepare(seat) for seat in seats]
        for each in prepared:
            self.played.updates[each.seat] = each
            self.take(Topic.UPDATES, pack_commits([each.signed]))
        self.played.committed |= set(seats)
        return prepared

    def hand_reveals(self, *seats: int) -> None:
        for seat in seats:
            self.federation.store.put(self.played.updates[seat].blob)
            self.take(Topic.REVEALS, pack_reveals([self.played.updates[seat].reveal]))
        self.played.revealed |= set(seats)

    def hand_attestations(self, *signers: int, seats: Sequence[int] | None = None) -> None:
        for signer in signers:
            self.take(Topic.ATTESTATIONS, pack_attestations([self.federation.attest(signer, seats)]))

    def hand_endorsements(self, *seats: int) -> None:
        """Of the live proposal, whoever made it."""
        live = self.live_hash()
        for seat in seats:
            self.take(Topic.ENDORSEMENTS, pack_endorsements([self.endorsement(seat)]), live)

    def endorsement(self, seat: int) -> Any:
        from collegium.records import Endorsement

        message = Endorsement(self.federation.study_id, self.played.number, self.played.ctx, seat, self.live_hash())
        return self.federation.members[seat].node.sign(message, self.chain.domain())

    def live_hash(self) -> bytes:
        live = self.view().rounds[-1].live
        assert live is not None
        return live.hash

    def put(self, topic: Topic, seat: int, wire: bytes, subject: bytes = b"") -> None:
        """Past the intake."""
        self.inbox.put(
            Item(topic, self.federation.study_id, self.played.number, seat, subject, wire, time.time())
        )

    # to a phase

    def to_propose(self) -> None:
        """A round with every hospital certified."""
        self.federation.open_round()
        self.federation.commit()
        self.federation.reveal()
        self.federation.certify()
