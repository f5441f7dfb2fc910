"""Checking others: recompute a round, check an update, and find the one coordinate that proves a proposal wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collegium.aggregation import BLOCK, Source, aggregate
from collegium.errors import EvidenceError, RootMismatchError, ShapeError
from collegium.evidence import (
    TREE_MEAN,
    TREE_MODEL,
    ClientOpening,
    build_contradiction_evidence,
    build_equivocation_evidence,
    build_mean_evidence,
    build_range_evidence,
    build_step_evidence,
    build_tail_evidence,
    compute_announcement,
)
from collegium.optimizer import fedavg_step
from collegium.records import (
    CHUNK_ELEMENTS,
    Format,
    Kind,
    Plan,
    Proposal,
    Signed,
    Update,
    bits,
)
from collegium.tree import Buffer, ChunkTree

__all__ = [
    "Certified",
    "Finding",
    "Recomputed",
    "Refutation",
    "WrongCoordinate",
    "build_contradiction_evidence",
    "build_equivocation_evidence",
    "build_mean_evidence",
    "build_range_evidence",
    "build_step_evidence",
    "build_tail_evidence",
    "check_update",
    "compute_announcement",
    "compute_round",
    "find_refutation",
    "find_wrong_coordinate",
    "recompute_round",
    "refute_update",
]


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What an honest aggregator proposes: elements (int32, padded) and their trees."""

    mean: NDArray[np.int32]
    model: NDArray[np.int32]
    mean_tree: ChunkTree
    model_tree: ChunkTree


@dataclass(frozen=True, slots=True)
class Certified:
    """One update of U as it was committed and revealed; ``elements`` are its payload."""

    seal: bytes
    weight: int
    ext: bytes
    elements: Source


@dataclass(frozen=True, slots=True)
class Finding:
    """Why an update is refused: the first bad element. ``reason`` is "range", "padding" or "length"."""

    reason: str
    coordinate: int
    value: int

    def __str__(self) -> str:
        if self.reason == "length":
            return f"The payload has {self.value} elements, the format {self.coordinate}."
        where = "Padding element" if self.reason == "padding" else "Element"
        return f"{where} {self.coordinate} is {self.value}."


@dataclass(frozen=True, slots=True)
class WrongCoordinate:
    """Where a claimed payload differs from the honest one. ``leaf`` * 64 + ``k`` is the element's position."""

    leaf: int
    k: int
    claimed: int
    right: int

    @property
    def coordinate(self) -> int:
        return self.leaf * CHUNK_ELEMENTS + self.k


@dataclass(frozen=True, slots=True)
class Refutation:
    """A proof that is ready to be sent: the kind of fine and the packed evidence."""

    kind: Kind
    coordinate: int
    claimed: int
    right: int
    evidence: bytes


def compute_round(
    updates: Sequence[Source],
    weights: Sequence[int],
    base_model: NDArray[Any],
    plan: Plan,
    fmt: Format,
    *,
    threads: int = 1,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Mean and new model of a round from certified updates (in index order) and the base model's elements."""
    if base_model.shape != (fmt.elements,):
        raise ShapeError(f"The base model has {base_model.size} elements, the format {fmt.elements}.")
    mean = aggregate(updates, weights, fmt, threads=threads)
    model = np.empty(fmt.elements, dtype="<i4")
    for section in fmt.sections:
        span = slice(section.first_chunk * CHUNK_ELEMENTS, (section.first_chunk + section.chunks) * CHUNK_ELEMENTS)
        fedavg_step(
            base_model[span],
            mean[span],
            numerator=plan.rate_numerator,
            denominator=plan.rate_denominator,
            count=section.count,
            out=model[span],
            threads=threads,
        )
    return mean, model


def recompute_round(
    updates: Sequence[Source],
    weights: Sequence[int],
    base_model: NDArray[Any],
    plan: Plan,
    fmt: Format,
    *,
    threads: int = 1,
) -> Recomputed:
    """`compute_round` with the trees of its results."""
    mean, model = compute_round(updates, weights, base_model, plan, fmt, threads=threads)
    return Recomputed(mean, model, ChunkTree.build(mean, threads=threads), ChunkTree.build(model, threads=threads))


def check_update(payload: Buffer, fmt: Format) -> Finding | None:
    """The first element out of range or non-zero padding; None when the update is clean."""
    elements = payload if isinstance(payload, np.ndarray) else np.frombuffer(payload, dtype="<i4")
    if elements.shape != (fmt.elements,):
        return Finding("length", fmt.elements, elements.size)
    for section in fmt.sections:
        first = section.first_chunk * CHUNK_ELEMENTS
        for start in range(first, first + section.count, BLOCK):
            block = elements[start : min(start + BLOCK, first + section.count)]
            if block.max() > section.bound or block.min() < -section.bound:
                at = int(np.argmax((block > section.bound) | (block < -section.bound)))
                return Finding("range", start + at, int(block[at]))
        padding = elements[first + section.count : first + section.chunks * CHUNK_ELEMENTS]
        if padding.any():
            at = int(np.argmax(padding != 0))
            return Finding("padding", first + section.count + at, int(padding[at]))
    return None


def refute_update(
    signed: Signed[Update], seal: bytes, payload: Buffer, fmt: Format, *, threads: int = 1
) -> Refutation | None:
    """R4 evidence against a signed update whose root covers ``payload``; None when it is clean.

    A payload longer than the format's is judged too, as long as its tree has the format's depth.
    """
    elements = payload if isinstance(payload, np.ndarray) else np.frombuffer(payload, dtype="<i4")
    finding = check_update(elements[: fmt.elements], fmt)
    tail = elements[fmt.elements :]
    if finding is None and tail.any():
        at = int(np.argmax(tail != 0))
        finding = Finding("padding", fmt.elements + at, int(tail[at]))
    tree = ChunkTree.build(elements, threads=threads)
    if finding is None or finding.reason == "length" or tree.depth != fmt.depth:
        return None
    leaf = finding.coordinate // CHUNK_ELEMENTS
    evidence = build_range_evidence(signed, seal, leaf, tree.open(leaf))
    return Refutation(Kind.RANGE, finding.coordinate, finding.value, 0, evidence)


def find_wrong_coordinate(honest: ChunkTree, claimed: ChunkTree) -> WrongCoordinate | None:
    """The lowest coordinate where two payloads differ, in O(depth) once both are hashed; None when they agree."""
    leaf = honest.first_difference(claimed)
    if leaf is None:
        return None
    right = np.frombuffer(honest.chunk(leaf), dtype="<i4")
    wrong = np.frombuffer(claimed.chunk(leaf), dtype="<i4")
    k = int(np.argmax(right != wrong))
    return WrongCoordinate(leaf, k, int(wrong[k]), int(right[k]))


def find_refutation(
    *,
    proposal: Proposal,
    fmt: Format,
    updates: Mapping[int, Certified],
    base_model: NDArray[Any],
    honest: Recomputed,
    claimed_mean: Buffer | None,
    claimed_model: Buffer | None,
    threads: int = 1,
) -> Refutation | None:
    """The evidence against a proposal; None when both roots are right.

    ``updates`` maps seat index to what was certified; a claimed payload is needed only where its root is wrong.
    Raises ``RootMismatchError`` when a claimed payload does not
    lead to the proposed root: that proposal withholds its output, and only R11 can answer it.
    """
    count = fmt.sections[0].count

    mean_tree = _claimed_tree(claimed_mean, proposal.mean_root, honest.mean_tree, "mean", threads)
    wrong = find_wrong_coordinate(honest.mean_tree, mean_tree)
    if wrong is not None:
        opening = mean_tree.open(wrong.leaf)
        if wrong.coordinate >= count:
            evidence = build_tail_evidence(TREE_MEAN, wrong.leaf, opening)
            return Refutation(Kind.TAIL, wrong.coordinate, wrong.claimed, 0, evidence)
        included = bits(proposal.included)
        if set(included) - set(updates):
            raise EvidenceError("Evidence on the mean needs every included update.", included=included)
        clients = [
            ClientOpening(u.seal, u.weight, u.ext, _open(u.elements, wrong.leaf, threads))
            for u in (updates[index] for index in included)
        ]
        evidence = build_mean_evidence(wrong.leaf, wrong.k, clients, opening)
        return Refutation(Kind.MEAN, wrong.coordinate, wrong.claimed, wrong.right, evidence)

    # The mean is right, so the honest model is the step over it.
    model_tree = _claimed_tree(claimed_model, proposal.new_model_root, honest.model_tree, "model", threads)
    wrong = find_wrong_coordinate(honest.model_tree, model_tree)
    if wrong is None:
        return None
    opening = model_tree.open(wrong.leaf)
    if wrong.coordinate >= count:
        evidence = build_tail_evidence(TREE_MODEL, wrong.leaf, opening)
        return Refutation(Kind.TAIL, wrong.coordinate, wrong.claimed, 0, evidence)
    evidence = build_step_evidence(
        wrong.leaf, wrong.k, mean_tree.open(wrong.leaf), _open(base_model, wrong.leaf, threads), opening
    )
    return Refutation(Kind.STEP, wrong.coordinate, wrong.claimed, wrong.right, evidence)


def _open(elements: NDArray[Any], leaf: int, threads: int) -> Any:
    return ChunkTree.build(elements, threads=threads).open(leaf)


def _claimed_tree(payload: Buffer | None, root: bytes, honest: ChunkTree, name: str, threads: int) -> ChunkTree:
    if root == honest.root:
        return honest
    tree = None if payload is None else ChunkTree.build(payload, threads=threads)
    if tree is None or tree.depth != honest.depth or tree.root != root:
        raise RootMismatchError(
            f"No {name} blob leads to the proposed root, which is not the right one.",
            hint="Do not endorse: the output is withheld or damaged.",
            expected=root,
            actual=None if tree is None else tree.root,
        )
    return tree
