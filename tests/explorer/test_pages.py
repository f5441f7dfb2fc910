"""Read models against what the players of the history remember and what the contracts answer."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from collegium.chain.rpc import to_int
from collegium.explorer.models import LINEAGE_ROWS
from collegium.explorer.records import ModelPage, RefutationPage, RoundPage, StudyPage
from collegium.explorer.site import list_pages, read_page
from collegium.explorer.source import Source
from collegium.records import Kind, Role, bits
from tests.support.federation import Federation

from .worlds import HOSTILE_TITLE, open_source

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("explorer")]


def rounds_of(source: Source, federation: Federation) -> list[RoundPage]:
    return [read_page(source, f"studies/1/rounds/{each.number}").record for each in federation.rounds]


class TestRounds:
    def test_roll_call_is_who_did_what(self, source: Source, history: Federation) -> None:
        for played, page in zip(history.rounds, rounds_of(source, history), strict=True):
            roll = page.roll_call
            assert [row.seat for row in roll if row.invited] == played.invited
            assert {row.seat for row in roll if row.committed} == played.committed
            assert {row.seat for row in roll if row.revealed} == played.revealed
            assert {row.seat for row in roll if row.certified} == played.certified
            for row in roll:
                if row.blob is not None:
                    assert row.weight == played.updates[row.seat].weight
                    assert row.blob.root == "0x" + played.updates[row.seat].reveal.root.hex()

    def test_gas_is_that_of_the_receipts(self, source: Source, history: Federation) -> None:
        used: dict[str, int] = {}
        for played in history.rounds:
            used |= {sent.hash: sent.gas_used for sent in played.sent}
        seen: dict[str, int] = {}
        for page in rounds_of(source, history):
            for row in page.transactions:
                if row.elsewhere is None:
                    assert row.hash not in seen, "a transaction is counted once"
                    assert row.gas is not None
                    seen[row.hash] = row.gas
            assert page.gas == sum(row.gas or 0 for row in page.transactions if row.elsewhere is None)
        assert {name: seen[name] for name in used if name in seen} == {n: g for n, g in used.items() if n in seen}
        # `settle` may tell nothing, and then no event names it.
        assert len(set(used) - set(seen)) <= 1

    def test_phases_join_and_agree_with_the_contract(self, source: Source, history: Federation) -> None:
        for page in rounds_of(source, history):
            phases = [row for row in page.phases if row.phase not in ("recorded", "aborted", "disputed")]
            assert phases[0].start == next(row.time for row in page.transactions if "RoundOpened" in row.events)
            for before, after in itertools.pairwise(phases):
                assert before.end == after.start <= after.deadline
            assert all(row.end is None or row.start <= row.end <= row.deadline for row in phases)
            if page.outcome.mark == "✓":
                assert phases[-1].ended in ("all members endorsed", "quorum endorsed")
        open_ = rounds_of(source, history)[-1]
        found = history.chain.call("Collegium", "phaseOf", history.study_id, block="latest")
        assert open_.live is not None and open_.live.phase == "commit"
        assert open_.live.deadline == found["deadline"] == open_.phases[-1].deadline
        assert open_.phases[-1].end is None

    def test_every_way_a_phase_ends_occurs(self, source: Source, history: Federation) -> None:
        ended = {row.ended for page in rounds_of(source, history) for row in page.phases}
        assert ended >= {
            "", "everybody acted", "time ran out", "too few: aborted", "no proposal came", "proposed", "refuted",
            "too few endorsements", "all members endorsed", "quorum endorsed", "written on chain",
        }  # fmt: skip

    def test_skipped_items_have_their_reason(self, source: Source, history: Federation) -> None:
        skipped = [row for page in rounds_of(source, history) for row in page.skipped]
        assert "its seat had already acted" in {row.reason for row in skipped}
        events = [event for played in history.rounds for sent in played.sent for event in sent.named("ItemSkipped")]
        assert sorted(row.seat for row in skipped) == sorted(event.args["index"] for event in events)

    def test_attempts_that_failed_are_told(self, source: Source, history: Federation) -> None:
        for played, page in zip(history.rounds, rounds_of(source, history), strict=True):
            assert ["0x" + each.hash.hex() for each in played.proposals] == [row.hash for row in page.proposals]
        words = {row.status.words for page in rounds_of(source, history) for row in page.proposals}
        assert words == {"final", "refuted", "lapsed: too few endorsements"}


class TestGrid:
    def test_cells_say_how_far_each_came(self, source: Source, history: Federation) -> None:
        grid = read_page(source, "studies/1/rounds/page-1").record
        cells = {(row.seat, column.round): cell for row in grid.members
                 for column, cell in zip(grid.columns, row.cells, strict=True)}  # fmt: skip
        assert cells[0, 1].words.startswith("endorsed:")
        assert cells[1, 2].mark == "!" and "never revealed" in cells[1, 2].words
        assert cells[2, 3].words.startswith("left out:") and "endorsed" in cells[2, 3].words
        for played in history.rounds[:-1]:
            for seat in played.invited:
                if seat not in played.committed:
                    assert cells[seat, played.number].words.startswith("late")
        assert len(grid.rows) == len(history.rounds) == grid.last

    def test_there_is_no_page_beyond(self, source: Source) -> None:
        for path in ("studies/1/rounds/page-2", "studies/1/rounds/page-0", "studies/1/rounds/999", "studies/9/index"):
            with pytest.raises(LookupError):
                read_page(source, path)


class TestMoney:
    def test_stake_is_what_the_contract_answers(self, source: Source, history: Federation) -> None:
        page = read_page(source, "institutions/index").record
        assert len(page.institutions) >= 10
        for row in page.institutions:
            found = read_page(source, f"institutions/{row.party.address}").record
            stake = history.chain.call("Bonds", "stakeOf", row.party.address)
            assert (found.free, found.unbonding) == (stake["free"], stake["unbonding"])
            locks = [
                history.chain.call("Bonds", "lockOf", history.study_id, row.party.address, role)["amount"]
                for role in (Role.MEMBER, Role.AGGREGATOR)
            ]
            assert found.locked == sum(locks) == sum(each.locked for each in found.studies)

    def test_every_movement_follows_from_the_one_before(self, source: Source) -> None:
        for row in read_page(source, "institutions/index").record.institutions:
            moves = read_page(source, f"institutions/{row.party.address}").record.movements
            balance = (0, 0, 0)
            for move in reversed(moves):
                change = {
                    "deposited": (1, 0, 0), "began to unbond": (-1, 1, 0), "withdrawn": (0, -1, 0),
                    "locked as member": (-1, 0, 1), "locked as aggregator": (-1, 0, 1), "lock released": (1, 0, -1),
                    "fined": (0, 0, -1),
                }.get(move.what, (0, 0, 0))  # fmt: skip
                balance = tuple(
                    each + sign * move.amount for each, sign in zip(balance, change, strict=True)
                )  # type: ignore[assignment]
                assert balance == (move.free, move.unbonding, move.locked), move

    def test_keys_over_time(self, source: Source, history: Federation) -> None:
        page = read_page(source, f"institutions/{history.members[0].institution.address}").record
        assert page.keys[0].key == history.members[0].node.address and page.keys[0].until == 0
        assert len(page.keys) == 2 and page.keys[1].until >= page.keys[1].since

    def test_fines_split_without_rest(self, source: Source, history: Federation) -> None:
        fines = [fine for page in rounds_of(source, history) for fine in page.fines]
        assert {fine.kind.split()[0] for fine in fines} and len(fines) >= 6
        for fine in fines:
            assert fine.amount == fine.burned + fine.reward + fine.share * len(fine.sharers)


class TestModels:
    def test_lineage_reaches_genesis_by_records(self, source: Source, history: Federation) -> None:
        final = [each for each in history.rounds if each.record is not None]
        page: ModelPage = read_page(source, f"studies/1/models/{final[-1].number}").record
        rows = list(page.lineage)
        assert rows[-1].round == 0 and page.omitted == max(0, len(final) - 12)
        for newer, older in itertools.pairwise(rows[:-1]):
            assert newer.parent == older.record
        for row in rows[:-1]:
            assert row.record == "0x" + history.chain.call("Collegium", "recordOf", 1, row.round)["record"].hex()
        assert rows[0].root == "0x" + history.chain.call("Collegium", "modelOf", 1)["modelRoot"].hex()
        whole = read_page(source, "studies/1/lineage/page-1").record
        assert [row.round for row in whole.rows] == [0, *(each.number for each in final)]
        assert len(whole.rows) <= LINEAGE_ROWS

    def test_contributors_are_the_certified(self, source: Source, history: Federation) -> None:
        for played in history.rounds:
            if played.record is None:
                continue
            page: ModelPage = read_page(source, f"studies/1/models/{played.number}").record
            assert {int(fact.name) for fact in page.contributors} == set(bits(played.last.proposal.included))

    def test_an_aborted_round_made_none(self, source: Source, history: Federation) -> None:
        aborted = next(each for each in history.rounds[:-1] if each.record is None)
        with pytest.raises(LookupError):
            read_page(source, f"studies/1/models/{aborted.number}")


class TestRefutations:
    def pages(self, source: Source) -> list[RefutationPage]:
        return [
            read_page(source, path).record for path in list_pages(source) if path.startswith("studies/1/refutations/")
        ]

    def test_every_kind_is_proven_again_from_calldata(self, source: Source) -> None:
        pages = self.pages(source)
        assert len(pages) == 6 and len({page.kind for page in pages}) == 6
        for page in pages:
            assert page.checked.ok, page.checked.detail
            assert page.fine is not None and page.fine.transaction == page.transaction

    def test_the_lie_is_the_one_that_was_told(self, source: Source, history: Federation) -> None:
        mean, step = self.pages(source)[:2]
        for page, tree in ((mean, "mean"), (step, "model")):
            played = history.rounds[page.round - 1]
            lied, honest = getattr(played.proposals[0], tree), getattr(played.last, tree)
            (where,) = (lied != honest).nonzero()
            assert [page.coordinate] == where.tolist()
            assert (page.claimed, page.right) == (int(lied[where[0]]), int(honest[where[0]]))

    def test_each_client_is_shown_as_it_was_committed(self, source: Source, history: Federation) -> None:
        page = self.pages(source)[0]
        played = history.rounds[page.round - 1]
        assert {row.seat for row in page.clients} == played.certified
        for row in page.clients:
            update = played.updates[row.seat]
            assert (row.weight, row.element) == (update.weight, int(update.elements[page.coordinate]))
            assert row.product == row.weight * row.read
        total, weights = sum(row.product for row in page.clients), sum(row.weight for row in page.clients)
        assert page.right == (2 * total + weights) // (2 * weights)

    def test_a_coordinate_is_named_by_its_tensor(self, source: Source) -> None:
        page = self.pages(source)[0]
        row, column = divmod(page.coordinate or 0, 30)
        assert page.place.endswith(f"[{row}, {column}]")

    def test_evidence_that_another_contract_carried_is_not_invented(
        self, source: Source, history: Federation, tmp_path: Path
    ) -> None:
        with open_source(history, tmp_path) as other:
            other.refresh()
            other.book._db.execute("UPDATE transactions SET input = NULL")
            page: RefutationPage = read_page(other, "studies/1/refutations/1").record
        assert page.checked.ok is None and page.clients == ()
        assert page.claimed == self.pages(source)[0].claimed

    def test_evidence_that_says_something_else_is_told(self, history: Federation, tmp_path: Path) -> None:
        with open_source(history, tmp_path) as other:
            other.refresh()
            event = other.replay.studies[1].refutations[0]
            event.args["claimed"] += 1  # type: ignore[index]
            page: RefutationPage = read_page(other, "studies/1/refutations/1").record
        assert page.checked.ok is False and "evidence proves" in page.checked.detail


class TestStudy:
    def test_plan_in_words_covers_every_field(self, source: Source, history: Federation) -> None:
        page: StudyPage = read_page(source, "studies/1/index").record
        text = json.dumps([[fact.name, str(fact.value), fact.note] for _, facts in page.plan for fact in facts])
        plan = history.plan
        for digest in (plan.agreement, plan.task_digest, plan.format_id, plan.genesis_model_root):
            assert digest.hex() in text
        for number in (plan.unrevealed_fine, plan.aggregator_bond, plan.duty_fine, plan.contradiction_fine):
            assert f"units={number}" in text
        assert text.count("1 h") == 5 and plan.referee in text
        assert page.title == HOSTILE_TITLE

    def test_counts(self, source: Source, history: Federation) -> None:
        page: StudyPage = read_page(source, "studies/1/index").record
        counts = {fact.name: fact.value for fact in page.counts}
        assert counts["Rounds opened"] == str(len(history.rounds))
        assert counts["Final"] == str(sum(each.record is not None for each in history.rounds))
        assert page.refutations_total == 6
        assert {row.seat for row in page.seats} >= {member.seat for member in history.members}

    def test_what_sponsor_and_council_did_is_told(self, source: Source) -> None:
        page: StudyPage = read_page(source, "studies/1/index").record
        assert {"set to paused", "set to open", "term set", "member removed by the council"} <= {
            row.what for row in page.governance
        }
        assert page.open_until > page.created and page.status == "open"
        states = {row.left for row in page.seats}
        assert states == {"", "left", "removed by the council"}

    def test_history_of_an_institution(self, source: Source, history: Federation) -> None:
        told = [
            row.what
            for row in read_page(source, f"institutions/{history.members[3].institution.address}").record.history
        ]
        assert told[-1] == "admitted by the council" and "joined as a member" in told
        everything = {
            row.what
            for each in read_page(source, "institutions/index").record.institutions
            for row in read_page(source, f"institutions/{each.party.address}").record.history
        }
        assert {"suspended by the council", "suspension lifted by the council", "node key revoked", "left",
                "removed by the council", "delisted as an aggregator"} <= everything  # fmt: skip

    def test_without_stores_there_is_a_number_instead_of_a_title(self, history: Federation, tmp_path: Path) -> None:
        with open_source(history, tmp_path, stores=False) as other:
            other.refresh()
            page: StudyPage = read_page(other, "studies/1/index").record
        assert page.title == "Study 1" and page.published.ok is None

    def test_a_plan_once_fetched_is_kept(self, history: Federation, tmp_path: Path) -> None:
        with open_source(history, tmp_path) as first:
            first.refresh()
            read_page(first, "studies/1/index")
        with open_source(history, tmp_path, stores=False) as second:
            second.refresh()
            assert read_page(second, "studies/1/index").record.title == HOSTILE_TITLE


class TestOverview:
    def test_code_is_that_of_the_release_or_said_to_be_other(self, source: Source) -> None:
        page = read_page(source, "index").record
        assert len(page.contracts) == 6
        for row in page.contracts:
            assert row.code_bytes > 1000 and row.check.ok is not None
        health = {check.name: check.ok for check in page.health}
        assert health == {"node": True, "events": True, "receipts": True, "stores": True, "proof": None}

    def test_only_what_is_asked_for_is_shown(self, history: Federation, tmp_path: Path) -> None:
        from collegium.explorer.source import Source as Reader

        with Reader(history.connect(), tmp_path, studies=frozenset((7,))) as other:
            other.refresh()
            assert other.lacking == [7] and other.studies == []
            assert not any(path.startswith("studies/") for path in list_pages(other))
            with pytest.raises(LookupError):
                read_page(other, "studies/1/index")


def test_kinds_have_words() -> None:
    from collegium.explorer.words import KINDS, SKIPPED
    from collegium.records import SkipReason

    assert set(KINDS) == set(Kind) and set(SKIPPED) == set(SkipReason)


def test_times_are_those_of_blocks(source: Source, history: Federation) -> None:
    row = read_page(source, "studies/1/rounds/1").record.transactions[0]
    block = history.chain.rpc.request("eth_getBlockByNumber", hex(row.block), False)
    assert row.time == to_int(block["timestamp"])
