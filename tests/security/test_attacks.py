"""Attacks of docs/security/attacks.md that no other test plays: on a real chain, with real bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eth_hash.auto import keccak

from collegium.chain import Chain, Indexer, NetworkSettings
from collegium.chain.following import StudyFollower
from collegium.commitment import compute_commitment, compute_seal
from collegium.errors import BlobError, CollegiumError, RootMismatchError
from collegium.inputs import BlobSource
from collegium.records import ZERO32, Kind, Phase
from collegium.storage import MultiStore
from collegium.storage.cid import Cid, cid_of
from collegium.storage.folder import BlobFolder
from collegium.tree import root_of
from collegium.verification import Recomputed, recompute_round
from tests.support.federation import Federation, Submission

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("attacks")]


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.start(tmp_path_factory.mktemp("federation"), members=4, aggregators=3) as federation:
        yield federation


def without_the_last(updates: list[Submission]) -> list[Submission]:
    return updates[:-1]


def one_weighs_more(updates: list[Submission]) -> list[Submission]:
    return [replace(updates[0], weight=updates[0].weight + 1), *updates[1:]]


def one_counts_twice(updates: list[Submission]) -> list[Submission]:
    return [*updates, updates[0]]


class TestAggregates:
    @pytest.mark.parametrize("bend", [without_the_last, one_weighs_more, one_counts_twice])
    def test_an_aggregate_over_another_set_is_refuted(
        self, federation: Federation, bend: Callable[[list[Submission]], list[Submission]]
    ) -> None:
        """Rows 6 and 15: whoever is certified counts, once, with the weight it signed. Everything else is a lie."""
        federation.open_round()
        federation.commit()
        federation.reveal()
        federation.certify()
        proposed = federation.propose(instead=_bent(federation, bend))
        assert proposed.proposal.included == 0b1111
        kind, _ = federation.build_refutation()
        assert kind is Kind.MEAN
        sent = federation.refute()
        assert sent.event("Fined").args["institution"] == proposed.aggregator.institution.address
        federation.add_aggregator(f"substitute-{bend.__name__}")
        federation.propose()
        federation.conclude()


def _bent(federation: Federation, bend: Callable[[list[Submission]], list[Submission]]) -> Recomputed:
    """A mean over other updates, and the right step from it."""
    played = federation.round
    updates = bend([played.updates[seat] for seat in sorted(played.certified)])
    elements, weights = [each.elements for each in updates], [each.weight for each in updates]
    return recompute_round(elements, weights, played.base, federation.plan, federation.table.format)


class TestBlobs:
    def test_a_root_that_is_not_of_the_blob_is_attested_by_nobody(self, federation: Federation, tmp_path: Path) -> None:
        """Row 8: the bytes are there and hash to their CID, and yet they are not what the root says."""
        federation.open_round()
        good, other = federation.prepare(0), federation.prepare(0)
        federation.store.put(good.blob)
        source = BlobSource(BlobFolder(tmp_path), MultiStore([federation.store]), federation.table.format)
        where = {"ctx": federation.round.ctx, "index": 0, "salt": good.reveal.salt}
        assert source.update(cid_of(good.blob), root=good.reveal.root, **where).tree.root == root_of(good.elements)
        with pytest.raises(RootMismatchError):
            source.update(cid_of(good.blob), root=other.reveal.root, **where)
        _give_up(federation)

    @pytest.mark.parametrize("field", ["ctx", "index", "salt"])
    def test_a_blob_of_another_round_seat_or_salt_is_attested_by_nobody(
        self, federation: Federation, tmp_path: Path, field: str
    ) -> None:
        """Row 17: a copied blob names its first owner and its round."""
        federation.open_round()
        good = federation.prepare(0)
        federation.store.put(good.blob)
        source = BlobSource(BlobFolder(tmp_path), MultiStore([federation.store]), federation.table.format)
        where = {"ctx": federation.round.ctx, "index": 0, "salt": good.reveal.salt}
        where[field] = 1 if field == "index" else bytes(32)
        with pytest.raises(BlobError):
            source.update(cid_of(good.blob), root=good.reveal.root, **where)
        _give_up(federation)

    def test_a_blob_of_another_length_is_attested_by_nobody(self, federation: Federation, tmp_path: Path) -> None:
        """Row 9: the length is the format's; a longer or a shorter blob is not read."""
        federation.open_round()
        good = federation.prepare(0)
        source = BlobSource(BlobFolder(tmp_path), MultiStore([federation.store]), federation.table.format)
        for blob in (good.blob + bytes(256), good.blob[:-256], good.blob[:100]):
            federation.store.put(blob)
            cid: Cid = cid_of(blob)
            with pytest.raises(CollegiumError):
                source.update(
                    cid, ctx=federation.round.ctx, index=0, salt=good.reveal.salt, root=root_of(good.elements)
                )
        _give_up(federation)


class TestSecrecy:
    def test_the_same_update_twice_cannot_be_linked_or_guessed(self, federation: Federation) -> None:
        """Row 32: before the reveal nothing on chain depends on the update in a way that a guesser could test."""
        elements = np.zeros(federation.table.elements, dtype="<i4")
        root, seen = root_of(elements), []
        for _ in range(2):
            federation.open_round()
            pair = [federation.prepare(seat, elements=elements, weight=7) for seat in (0, 1)]
            sent = federation.commit(submissions=pair)
            for submission in pair:
                update, salt = submission.signed.message, submission.reveal.salt
                seen += [update.commitment, submission.seal, submission.slot, salt, submission.reveal.content_digest]
                # The guesser has the model's bytes right, and lacks 32 bytes that the node key's secret gives.
                for guess in (ZERO32, keccak(b"a guess"), federation.round.ctx):
                    seal = compute_seal(bytes(guess), submission.reveal.content_digest)
                    assert compute_commitment(federation.round.ctx, submission.seat, root, seal) != update.commitment
            told = [
                transaction["input"]
                for each in sent
                if (transaction := federation.chain.rpc.request("eth_getTransactionByHash", each.hash))
            ]
            for secret in (root, *(each.reveal.salt for each in pair), *(each.reveal.content_digest for each in pair)):
                assert all(secret.hex() not in text for text in told)
            _give_up(federation)
        assert len(set(seen)) == len(seen)

    def test_nothing_is_revealed_while_a_reorganization_could_undo_the_commits(
        self, federation: Federation, tmp_path: Path
    ) -> None:
        """Row 38: with three confirmations, what the last three blocks say counts for nothing yet."""
        settings = NetworkSettings(
            rpc_url=federation.devnet.url, chain_id=federation.devnet.record.chain_id, confirmations=3
        )
        chain = Chain.connect(settings, deployment=federation.deployment)

        def mine(count: int) -> None:
            federation.chain.rpc.request("anvil_mine", hex(count))

        with Indexer(tmp_path / "index.db", chain) as indexer:
            follower = StudyFollower(indexer, federation.study_id)
            federation.open_round()
            mine(3)
            federation.commit()
            assert federation.chain.call("Collegium", "phaseOf", federation.study_id)["phase"] == Phase.REVEAL
            view = follower.refresh()
            assert view.current is not None and not follower.is_closed_to_commits(view.current)
            # The chain loses the block with the commits: had anybody revealed, others could now commit a copy.
            federation.chain.rpc.request("anvil_reorg", 1, [])
            assert federation.chain.call("Collegium", "phaseOf", federation.study_id)["phase"] == Phase.COMMIT
            view = follower.refresh()
            assert view.current is not None and not follower.is_closed_to_commits(view.current)
            # A deadline that has passed by the clock, in no confirmed block yet.
            federation.pass_time(federation.plan.commit_window)
            for _ in range(3):
                view = follower.refresh()
                assert view.current is not None and not follower.is_closed_to_commits(view.current)
                mine(1)
            view = follower.refresh()
            assert view.current is not None and follower.is_closed_to_commits(view.current)


def _give_up(federation: Federation) -> None:
    """Let the round abort, so that the next test opens one."""
    plan = federation.plan
    federation.pass_time(plan.commit_window + plan.reveal_window + plan.certify_window)
    federation.settle()
