"""The vectors of tests/vectors/refutations.json: evidence of every kind, true and false, with its verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collegium import commitment as hashes
from collegium import evidence, messages, optimizer
from collegium.errors import EvidenceError, PlanRejectedError
from collegium.evidence import ClientOpening, Verdict
from collegium.records import ZERO32, Format, Plan, Proposal, Section, Signed, Update, bitmap_of
from collegium.tree import ZERO, ChunkTree, Opening, hash_node, root_from_opening
from collegium.verification import Recomputed, recompute_round
from scripts.vector_tools import DOMAIN, Family, draw, make_format, make_plan, make_proposal, number, private_key

STUDY = 5
OK = ""


@dataclass(frozen=True)
class Round:
    """A whole small round: honest results, and what its clients committed."""

    plan: Plan
    fmt: Format
    base: ChunkTree
    honest: Recomputed
    proposal: Proposal
    updates: dict[int, NDArray[Any]]
    clients: dict[int, tuple[bytes, int, bytes]]

    def mean_evidence(self, leaf: int, k: int, mean: Opening) -> bytes:
        opened = [
            ClientOpening(*self.clients[i], ChunkTree.build(self.updates[i]).open(leaf)) for i in sorted(self.updates)
        ]
        return evidence.build_mean_evidence(leaf, k, opened, mean)


def make_round(name: str, seats: list[int], count: int, bound: int, **settings: Any) -> Round:
    """Clients send anything at all: also out of range, and with garbage in the padding."""
    weighted = settings.pop("weighted", True)
    fmt = make_format(count, bound, weighted=weighted)
    plan = make_plan(name, format_id=hashes.compute_format_hash(fmt), **settings)
    updates, clients, slots = {}, {}, []
    ctx = draw(f"{name}/ctx")
    for seat in seats:
        elements = np.frombuffer(draw(f"{name}/update/{seat}", 4 * fmt.elements), dtype="<i4") >> (seat % 20)
        elements = elements.astype("<i4")
        elements[0] = (-(2**31), 2**31 - 1, bound, -bound)[seat % 4]
        updates[seat] = elements
        weight = number(f"{name}/weight/{seat}", 1, plan.max_weight)
        clients[seat] = (draw(f"{name}/seal/{seat}"), weight, draw(f"{name}/ext/{seat}"))
        root = ChunkTree.build(elements).root
        bound_root = hashes.compute_commitment(ctx, seat, root, clients[seat][0])
        slots.append(hashes.compute_slot(hashes.compute_item(bound_root, weight, clients[seat][2]), weight))
    base = np.frombuffer(draw(f"{name}/base", 4 * fmt.elements), dtype="<i4")
    weights = [clients[seat][1] for seat in seats]
    honest = recompute_round([updates[seat] for seat in seats], weights, base, plan, fmt)
    proposal = make_proposal(
        name,
        ctx=ctx,
        set_hash=hashes.compute_set_hash(slots),
        included=bitmap_of(seats),
        weight_sum=sum(weights),
        mean_root=honest.mean_tree.root,
        new_model_root=honest.model_tree.root,
    )
    return Round(plan, fmt, ChunkTree.build(base), honest, proposal, updates, clients)


def _verdict(judge: Any, *arguments: Any) -> tuple[str, Verdict]:
    try:
        return OK, judge(*arguments)
    except EvidenceError as error:
        return str(error.error), Verdict()


def _changed(elements: NDArray[Any], coordinate: int, value: int) -> ChunkTree:
    copy = elements.copy()
    copy[coordinate] = value
    return ChunkTree.build(copy)


def _rounds() -> list[Round]:
    top = 2**31 - 1
    return [
        make_round("one", [0], 1, 1, max_weight=1),
        make_round("unweighted", [0, 3, 127], 64, 2**23, weighted=False),
        make_round("padding", [0, 1, 2, 5], 64 * 4 + 7, 127, rate_numerator=7, rate_denominator=10),
        make_round("widest", [1, 2], 130, top, max_weight=(2**63 - 1) // (128 * (2 * top + 1))),
        make_round("everyone", list(range(128)), 100, 2**23, rate_numerator=1, rate_denominator=3),
    ]


def make() -> dict[str, Family]:
    rounds = _rounds()
    return {
        "mean": _mean(rounds),
        "step": _step(rounds),
        "tail": _tail(rounds),
        "range": _range(rounds),
        "equivocation": _equivocation(),
        "announcement": _announcement(),
        "plan": _plans(),
    }


def _mean(rounds: list[Round]) -> Family:
    family = Family("Plan,Format,Proposal,bytes", "string,uint256,int256,int256")

    def add(r: Round, proposal: Proposal, packed: bytes) -> None:
        error, v = _verdict(evidence.judge_mean, r.fmt, proposal, packed)
        family.add((r.plan, r.fmt, proposal, packed), (error, v.coordinate, v.claimed, v.right))

    for r in rounds:
        count = r.fmt.sections[0].count
        for coordinate in sorted({0, count - 1}):
            leaf, k = divmod(coordinate, 64)
            true = int(r.honest.mean[coordinate])
            # Off by one, and the far end of int32: both are lies.
            for value in (true - 1, -(2**31)):
                lie = _changed(r.honest.mean, coordinate, value)
                lying = replace(r.proposal, mean_root=lie.root)
                add(r, lying, r.mean_evidence(leaf, k, lie.open(leaf)))
                if len(r.updates) > 100:
                    break
            if len(r.updates) > 100:
                continue
            add(r, r.proposal, r.mean_evidence(leaf, k, r.honest.mean_tree.open(leaf)))
            add(r, replace(r.proposal, set_hash=draw("other")), r.mean_evidence(leaf, k, lie.open(leaf)))
            add(r, lying, r.mean_evidence(leaf, k, r.honest.mean_tree.open(leaf)))
            packed = r.mean_evidence(leaf, k, lie.open(leaf))
            add(r, lying, packed[:-1])
            add(r, lying, packed + b"\0")
            add(r, replace(lying, included=0), packed)
            add(r, lying, packed[:4] + bytes([64]) + packed[5:])
        if count % 64:
            # A padding coordinate belongs to the tail, not to the mean.
            leaf, k = divmod(count, 64)
            lie = _changed(r.honest.mean, count, 1)
            lying = replace(r.proposal, mean_root=lie.root)
            if len(r.updates) < 100:
                add(r, lying, r.mean_evidence(leaf, k, lie.open(leaf)))
    return family


def _step(rounds: list[Round]) -> Family:
    family = Family("Plan,Format,bytes32,Proposal,bytes", "string,uint256,int256,int256")

    def add(r: Round, proposal: Proposal, packed: bytes) -> None:
        error, v = _verdict(evidence.judge_step, r.plan, r.fmt, r.base.root, proposal, packed)
        family.add((r.plan, r.fmt, r.base.root, proposal, packed), (error, v.coordinate, v.claimed, v.right))

    for r in rounds:
        for coordinate in sorted({0, r.fmt.sections[0].count - 1}):
            leaf, k = divmod(coordinate, 64)
            base, mean = r.base.open(leaf), r.honest.mean_tree.open(leaf)
            for value in (int(r.honest.model[coordinate]) ^ 1, -(2**31)):
                lie = _changed(r.honest.model, coordinate, value)
                lying = replace(r.proposal, new_model_root=lie.root)
                packed = evidence.build_step_evidence(leaf, k, mean, base, lie.open(leaf))
                add(r, lying, packed)
            honest = evidence.build_step_evidence(leaf, k, mean, base, r.honest.model_tree.open(leaf))
            add(r, r.proposal, honest)
            add(r, lying, honest)
            add(r, lying, packed[:-32])
            add(r, lying, evidence.build_step_evidence(leaf, k, base, mean, lie.open(leaf)))
    return family


def _tail(rounds: list[Round]) -> Family:
    family = Family("Format,Proposal,bytes", "string,uint256")

    def lied(r: Round, which: int, root: bytes) -> Proposal:
        if which == evidence.TREE_MEAN:
            return replace(r.proposal, mean_root=root)
        return replace(r.proposal, new_model_root=root)

    def add(r: Round, proposal: Proposal, packed: bytes) -> None:
        error, v = _verdict(evidence.judge_tail, r.fmt, proposal, packed)
        family.add((r.fmt, proposal, packed), (error, v.coordinate))

    for r in rounds:
        count, leaves, depth = r.fmt.sections[0].count, r.fmt.leaves, r.fmt.depth
        for which, elements in enumerate((r.honest.mean, r.honest.model)):
            honest = (r.honest.mean_tree, r.honest.model_tree)[which]
            for leaf in sorted({0, leaves - 1, (1 << depth) - 1}):
                add(r, r.proposal, evidence.build_tail_evidence(which, leaf, honest.open(leaf)))
            if count % 64:
                lie = _changed(elements, r.fmt.elements - 1, 1)
                lying = lied(r, which, lie.root)
                add(r, lying, evidence.build_tail_evidence(which, leaves - 1, lie.open(leaves - 1)))
                add(r, r.proposal, evidence.build_tail_evidence(which, leaves - 1, lie.open(leaves - 1)))
            if leaves < 1 << depth:
                # A chunk beyond the payload, shown itself and as a sibling.
                longer = ChunkTree.build(np.append(elements, np.ones(64, dtype="<i4")))
                lying = lied(r, which, longer.root)
                for leaf in (leaves, leaves ^ 1, 0):
                    add(r, lying, evidence.build_tail_evidence(which, leaf, longer.open(leaf)))
        add(r, r.proposal, evidence.build_tail_evidence(2, 0, r.honest.mean_tree.open(0)))
        add(r, r.proposal, evidence.build_tail_evidence(0, 1 << depth, r.honest.mean_tree.open(0)))
    return family


def _sign(update: Update) -> Signed[Any]:
    return messages.sign_message(update, DOMAIN, private_key(f"seat/{update.index}"))


def _range(rounds: list[Round]) -> Family:
    family = Family("uint64,uint256,address,Format,bytes", "string,address,bytes32,uint16,uint256,int256")

    def add(r: Round, packed: bytes) -> None:
        error, v = _verdict(evidence.judge_range, STUDY, DOMAIN, r.fmt, packed)
        signer = v.signer or "0x" + "00" * 20
        family.add(
            (STUDY, DOMAIN.chain_id, DOMAIN.contract, r.fmt, packed),
            (error, signer, v.ctx or ZERO32, v.index, v.coordinate, v.claimed),
        )

    def signed_root(r: Round, root: bytes, seat: int) -> tuple[Signed[Any], bytes]:
        seal = draw(f"range/{seat}")
        bound = hashes.compute_commitment(r.proposal.ctx, seat, root, seal)
        return _sign(Update(STUDY, 3, r.proposal.ctx, seat, bound, 9, draw("ext"))), seal

    for r in rounds:
        section = r.fmt.sections[0]
        clean = np.zeros(r.fmt.elements, dtype="<i4")
        clean[: section.count] = -section.bound
        cases: list[tuple[ChunkTree, int]] = [(ChunkTree.build(clean), 0)]
        for coordinate, value in (
            (0, -(2**31)),
            (section.count - 1, section.bound + 1),
            (section.count - 1, -section.bound - 1),
            (r.fmt.elements - 1, -1),
        ):
            if value < 2**31:
                cases.append((_changed(clean, coordinate, value), coordinate // 64))
        if r.fmt.leaves < 1 << r.fmt.depth:
            longer = ChunkTree.build(np.append(clean, np.ones(64, dtype="<i4")))
            cases += [(longer, r.fmt.leaves), (longer, r.fmt.leaves ^ 1), (longer, 0)]
        for seat, (built, leaf) in enumerate(cases):
            signed, seal = signed_root(r, built.root, seat)
            packed = evidence.build_range_evidence(signed, seal, leaf, built.open(leaf))
            add(r, packed)
            if seat == 1:
                # Another weight, a high s and a leaf outside the tree.
                add(r, packed[:73] + bytes([packed[73] ^ 1]) + packed[74:])
                add(r, packed[:138] + b"\x7f" + b"\xff" * 31 + packed[170:])
                add(r, packed[:170] + (1 << r.fmt.depth).to_bytes(4, "big") + packed[174:])
                add(r, packed[:-1])
    # A foreign node high above the payload.
    r = rounds[2]
    path = list(ChunkTree.build(np.zeros(r.fmt.elements, dtype="<i4")).path(0))
    path[-1] = hash_node(ZERO[1], draw("foreign"))
    opening = Opening(bytes(256), tuple(path))
    signed, seal = signed_root(r, root_from_opening(opening, 0), 9)
    add(r, evidence.build_range_evidence(signed, seal, 0, opening))
    return family


def _equivocation() -> Family:
    family = Family("uint64,uint256,address,bytes", "string,address,bytes32,uint16")

    def add(packed: bytes) -> None:
        error, v = _verdict(evidence.judge_equivocation, STUDY, DOMAIN, packed)
        signer = v.signer or "0x" + "00" * 20
        family.add((STUDY, DOMAIN.chain_id, DOMAIN.contract, packed), (error, signer, v.ctx or ZERO32, v.index))

    for seat in (0, 1, 127):
        one = Update(STUDY, 4, draw("ctx"), seat, draw("c"), 7, draw("e"))
        for other in (
            replace(one, commitment=draw("c2")),
            replace(one, weight=8),
            replace(one, ext=draw("e2")),
            one,
        ):
            add(evidence.build_equivocation_evidence(_sign(one), _sign(other)))
        stranger: Any = messages.sign_message(replace(one, weight=8), DOMAIN, private_key("stranger"))
        add(evidence.build_equivocation_evidence(_sign(one), stranger))
        packed = evidence.build_equivocation_evidence(_sign(one), _sign(replace(one, weight=8)))
        add(packed[:-1])
    return family


def _announcement() -> Family:
    family = Family("address,bytes,bytes32", "bytes32")
    for size in (0, 1, 300):
        sender, packed, salt = DOMAIN.contract, draw("evidence", size), draw("salt")
        family.add((sender, packed, salt), (evidence.compute_announcement(sender, packed, salt),))
    return family


def _plans() -> Family:
    """Creation checks: the reason a plan is rejected for, 0 when it is accepted."""
    family = Family("Plan,Format", "uint256")
    base, fmt, top = make_plan("checks"), make_format(1000, 2**23), 2**31 - 1

    def add(plan: Plan = base, form: Format = fmt) -> None:
        reason = 0
        try:
            optimizer.check_plan(plan, form)
        except PlanRejectedError as error:
            reason = error.reason
        family.add((plan, form), (reason,))

    def section(**changes: Any) -> Format:
        return Format((replace(fmt.sections[0], **changes),), fmt.table_hash)

    add()
    for field in ("mode", "rule", "optimizer"):
        for value in (0, 2):
            wrong: dict[str, Any] = {field: value}
            add(replace(base, **wrong))
    add(form=Format((), fmt.table_hash))
    add(form=Format((fmt.sections[0], Section(1, 16, 1, 1, 1, True)), fmt.table_hash))
    for changes in ({"element_type": 2}, {"first_chunk": 1}, {"bound": 0}, {"bound": 2**31}, {"count": 0}):
        add(form=section(**changes))
    add(form=section(count=2**38 + 1))
    limits: list[dict[str, Any]] = [
        {"max_members": 0},
        {"max_members": 129},
        {"quorum_min": 0},
        {"quorum_min": 129},
        {"min_clients": 0},
        {"min_clients": 129},
        {"max_weight": 0},
        {"rate_denominator": 0},
        {"rate_denominator": 2**62},
        {"rate_denominator": 2**62 - 1},
        {"rate_numerator": 2**63 - 1},
        {"aggregator_bond": 0},
        {"unrevealed_fine": 0},
        {"range_fine": 0},
        {"equivocation_fine": 0},
        {"duty_fine": 0},
        {"duty_fine": 10**21},
        {"duty_fine": 10**21 + 1},
        {"contradiction_fine": 0},
        {"contradiction_fine": 10**21},
        {"contradiction_fine": 10**21 - 1},
    ]
    for limit in limits:
        add(replace(base, **limit))
    # The arithmetic bounds, just kept and just broken.
    for bound in (1, 2**23, top):
        weight = (2**63 - 1) // (128 * (2 * bound + 1))
        for value in (weight, weight + 1):
            if 1 <= value < 2**32:
                add(replace(base, max_weight=value), section(bound=bound))
        numerator = (2**63 - 2) // (2 * bound)
        for value in (numerator, numerator + 1):
            add(replace(base, rate_numerator=value, max_weight=1), section(bound=bound))
    # The largest format whose evidence fits a transaction with everybody in it.
    for leaves in (2**19, 2**20, 2**21, 2**21 + 1, 2**22):
        add(form=section(count=leaves * 64))
        add(replace(base, max_members=100), section(count=leaves * 64))
    return family
