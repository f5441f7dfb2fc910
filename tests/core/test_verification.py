"""Whole small rounds: every lie is found and proven, honest results are never refutable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import commitment, errors, evidence, messages, verification
from collegium.records import ZERO32, Format, Kind, Plan, Proposal, Section, Update, bitmap_of
from collegium.tree import ChunkTree
from scripts.vector_tools import make_plan, make_proposal
from tests.core import reference

DOMAIN = messages.Domain(31337, "0x" + "22" * 20)
KEY = b"\7" * 32


@dataclass
class Round:
    plan: Plan
    fmt: Format
    base: Any
    updates: dict[int, verification.Certified]
    honest: verification.Recomputed
    proposal: Proposal

    def refute(self, proposal: Proposal, mean: Any, model: Any) -> verification.Refutation | None:
        return verification.find_refutation(
            proposal=proposal,
            fmt=self.fmt,
            updates=self.updates,
            base_model=self.base,
            honest=self.honest,
            claimed_mean=mean,
            claimed_model=model,
        )


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    """Clients that send anything: out of range, garbage in the padding."""
    count, bound = draw(st.integers(1, 200)), draw(st.sampled_from([1, 127, 2**23]))
    fmt = Format((Section(count, 0, 1, 16, bound, draw(st.booleans())),), bytes(32))
    plan = make_plan("t", rate_numerator=draw(st.integers(0, 9)), rate_denominator=draw(st.integers(1, 9)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    seats = sorted(draw(st.sets(st.integers(0, 127), min_size=1, max_size=4)))
    ctx, slots, updates = b"c" * 32, [], {}
    for seat in seats:
        elements = rng.integers(-(2**31), 2**31, fmt.elements).astype("<i4")
        elements[: count // 2] %= bound
        weight = int(rng.integers(1, plan.max_weight))
        updates[seat] = verification.Certified(rng.bytes(32), weight, rng.bytes(32), elements)
        root = ChunkTree.build(elements).root
        bound_root = commitment.compute_commitment(ctx, seat, root, updates[seat].seal)
        slots.append(commitment.compute_slot(commitment.compute_item(bound_root, weight, updates[seat].ext), weight))
    base = rng.integers(-(2**31), 2**31, fmt.elements).astype("<i4")
    honest = verification.recompute_round(
        [u.elements for u in updates.values()], [u.weight for u in updates.values()], base, plan, fmt
    )
    proposal = make_proposal(
        "p",
        ctx=ctx,
        included=bitmap_of(seats),
        set_hash=commitment.compute_set_hash(slots),
        mean_root=honest.mean_tree.root,
        new_model_root=honest.model_tree.root,
    )
    return Round(plan, fmt, base, updates, honest, proposal)


class TestRound:
    @given(made=rounds())
    def test_recomputed_round_equals_exact_fractions(self, made: Round) -> None:
        section = made.fmt.sections[0]
        for at in (0, section.count // 2, section.count - 1):
            elements = [int(u.elements[at]) for u in made.updates.values()]
            weights = [u.weight for u in made.updates.values()]
            mean = reference.mean(elements, weights, section.bound, weighted=section.weighted)
            assert made.honest.mean[at] == mean
            rate = (made.plan.rate_numerator, made.plan.rate_denominator)
            assert made.honest.model[at] == reference.step(int(made.base[at]), mean, *rate)
        assert not made.honest.mean[section.count :].any()
        assert not made.honest.model[section.count :].any()

    @given(made=rounds())
    def test_honest_proposal_is_never_refuted(self, made: Round) -> None:
        assert made.refute(made.proposal, None, None) is None
        assert made.refute(made.proposal, made.honest.mean, made.honest.model) is None

    @given(made=rounds(), data=st.data())
    def test_one_wrong_mean_coordinate_is_proven(self, made: Round, data: st.DataObject) -> None:
        count = made.fmt.sections[0].count
        at, value = data.draw(st.integers(0, count - 1)), data.draw(st.integers(-(2**31), 2**31 - 1))
        lie = made.honest.mean.copy()
        lie[at] = value
        proposal = replace(made.proposal, mean_root=ChunkTree.build(lie).root)
        found = made.refute(proposal, lie, made.honest.model)
        if value == made.honest.mean[at]:
            assert found is None
            return
        assert found is not None and (found.kind, found.coordinate, found.claimed) == (Kind.MEAN, at, value)
        verdict = evidence.judge_mean(made.fmt, proposal, found.evidence)
        assert (verdict.coordinate, verdict.claimed, verdict.right) == (at, value, int(made.honest.mean[at]))
        with pytest.raises(errors.EvidenceError):
            evidence.judge_mean(made.fmt, made.proposal, found.evidence)

    @given(made=rounds(), data=st.data())
    def test_one_wrong_model_coordinate_is_proven(self, made: Round, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, made.fmt.sections[0].count - 1))
        lie = made.honest.model.copy()
        lie[at] ^= 1
        proposal = replace(made.proposal, new_model_root=ChunkTree.build(lie).root)
        found = made.refute(proposal, None, lie)
        assert found is not None and (found.kind, found.coordinate) == (Kind.STEP, at)
        base_root = ChunkTree.build(made.base).root
        verdict = evidence.judge_step(made.plan, made.fmt, base_root, proposal, found.evidence)
        assert (verdict.claimed, verdict.right) == (int(lie[at]), int(made.honest.model[at]))

    @given(made=rounds(), data=st.data(), model=st.booleans())
    def test_bytes_beyond_the_payload_are_proven(self, made: Round, data: st.DataObject, model: bool) -> None:
        fmt = made.fmt
        right = made.honest.model if model else made.honest.mean
        capacity = 64 << fmt.depth
        if fmt.sections[0].count == capacity:
            return
        at = data.draw(st.integers(fmt.sections[0].count, capacity - 1))
        lie = np.zeros(capacity if at >= fmt.elements else fmt.elements, dtype="<i4")
        lie[: right.size] = right
        lie[at] = 1
        root = ChunkTree.build(lie).root
        changes: dict[str, Any] = {"new_model_root" if model else "mean_root": root}
        proposal = replace(made.proposal, **changes)
        found = made.refute(proposal, None if model else lie, lie if model else None)
        assert found is not None and found.kind is Kind.TAIL
        assert evidence.judge_tail(fmt, proposal, found.evidence).coordinate == at
        with pytest.raises(errors.EvidenceError):
            evidence.judge_tail(fmt, made.proposal, found.evidence)

    @given(made=rounds())
    def test_withheld_output_is_told_apart_from_a_wrong_one(self, made: Round) -> None:
        proposal = replace(made.proposal, mean_root=b"\1" * 32)
        for blob in (None, made.honest.mean):
            with pytest.raises(errors.RootMismatchError):
                made.refute(proposal, blob, made.honest.model)


class TestUpdate:
    @given(count=st.integers(1, 200), bound=st.sampled_from([1, 127, 2**31 - 1]), data=st.data())
    def test_first_bad_element_is_named_and_proven(self, count: int, bound: int, data: st.DataObject) -> None:
        fmt = Format((Section(count, 0, 1, 16, bound, True),), bytes(32))
        elements = np.zeros(fmt.elements, dtype="<i4")
        elements[:count] = data.draw(st.sampled_from([-bound, bound, 0]))
        edges = st.sampled_from([-(2**31), -bound - 1 if bound < 2**31 - 1 else -(2**31), -bound, bound])
        changed = data.draw(st.dictionaries(st.integers(0, fmt.elements - 1), edges, max_size=4))
        for at, value in changed.items():
            elements[at] = value
        bad = [at for at, value in enumerate(elements.tolist()) if (abs(value) > bound if at < count else value)]
        finding = verification.check_update(elements, fmt)
        ranged = [at for at in bad if at < count]
        assert (finding.coordinate if finding else None) == (min(ranged or bad) if bad else None)

        seal = b"s" * 32
        bound_root = commitment.compute_commitment(b"c" * 32, 3, ChunkTree.build(elements).root, seal)
        signed: Any = messages.sign_message(Update(1, 2, b"c" * 32, 3, bound_root, 5, ZERO32), DOMAIN, KEY)
        found = verification.refute_update(signed, seal, elements, fmt)
        assert (found is None) == (not bad)
        if found is not None:
            verdict = evidence.judge_range(1, DOMAIN, fmt, found.evidence)
            assert (verdict.signer, verdict.index) == (messages.address_of(KEY), 3)
            assert verdict.coordinate in bad and verdict.claimed == elements[verdict.coordinate]
            with pytest.raises(errors.EvidenceError):
                evidence.judge_range(1, replace(DOMAIN, chain_id=1), fmt, found.evidence[:-1])
            assert evidence.judge_range(2, DOMAIN, fmt, found.evidence).signer != messages.address_of(KEY)

    def test_chunk_beyond_the_payload_is_proven(self) -> None:
        fmt = Format((Section(130, 0, 1, 16, 9, True),), bytes(32))
        elements = np.zeros(256, dtype="<i4")
        elements[200] = 1
        root = ChunkTree.build(elements).root
        bound_root = commitment.compute_commitment(b"c" * 32, 3, root, b"s" * 32)
        signed: Any = messages.sign_message(Update(1, 2, b"c" * 32, 3, bound_root, 5, ZERO32), DOMAIN, KEY)
        found = verification.refute_update(signed, b"s" * 32, elements, fmt)
        assert found is not None
        assert evidence.judge_range(1, DOMAIN, fmt, found.evidence).coordinate == 200

    def test_wrong_length_is_a_finding(self) -> None:
        fmt = Format((Section(1, 0, 1, 16, 9, True),), bytes(32))
        finding = verification.check_update(bytes(512), fmt)
        assert finding is not None and finding.reason == "length" and "128" in str(finding)


class TestEquivocation:
    @given(weight=st.integers(0, 2**32 - 1), commitment_bytes=st.binary(min_size=32, max_size=32))
    def test_two_different_updates_convict_their_signer(self, weight: int, commitment_bytes: bytes) -> None:
        one = Update(1, 2, b"c" * 32, 3, b"d" * 32, 5, ZERO32)
        other = replace(one, weight=weight, commitment=commitment_bytes)
        pair: list[Any] = [messages.sign_message(u, DOMAIN, KEY) for u in (one, other)]
        packed = evidence.build_equivocation_evidence(*pair)
        if one == other:
            with pytest.raises(errors.EvidenceError):
                evidence.judge_equivocation(1, DOMAIN, packed)
        else:
            assert evidence.judge_equivocation(1, DOMAIN, packed).signer == messages.address_of(KEY)

    def test_updates_of_two_rounds_are_no_contradiction(self) -> None:
        one = Update(1, 2, b"c" * 32, 3, b"d" * 32, 5, ZERO32)
        pair: list[Any] = [messages.sign_message(u, DOMAIN, KEY) for u in (one, replace(one, round=3))]
        with pytest.raises(errors.EvidenceError):
            evidence.build_equivocation_evidence(*pair)
