"""The committed vectors are what the code computes. A released vector that changes breaks everybody else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eth_abi.abi import decode

from scripts import make_vectors
from scripts.vector_tools import _split_types
from tests.core import reference


@pytest.mark.parametrize("name", make_vectors.FILES)
def test_regenerated_vectors_equal_the_committed_ones(name: str) -> None:
    committed = (make_vectors.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert make_vectors.render(name) == committed


def rows(name: str, family: str) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
    """Decoded inputs and outputs of one family."""
    made = json.loads((make_vectors.FOLDER / f"{name}.json").read_text(encoding="utf-8"))[family]
    inputs, outputs = (_split_types(side) for side in made["types"].split(" -> "))
    return [
        (decode(inputs, bytes.fromhex(left[2:])), decode(outputs, bytes.fromhex(right[2:])))
        for left, right in zip(made["in"], made["out"], strict=True)
    ]


def test_mean_vectors_agree_with_exact_fractions() -> None:
    for (elements, weights, bound, weighted), (right,) in rows("mean", "mean"):
        assert reference.mean(list(elements), list(weights), bound, weighted=weighted) == right


def test_step_vectors_agree_with_exact_fractions() -> None:
    for (model, mean, numerator, denominator), (right,) in rows("step", "step"):
        assert reference.step(model, mean, numerator, denominator) == right


def test_tree_vectors_agree_with_recursion() -> None:
    for (seed, leaves), (root, depth) in rows("tree", "root"):
        chunks = [make_vectors.tree_chunk(seed, leaf) for leaf in range(leaves)]
        assert reference.root(chunks) == root
        assert (1 << depth) >= leaves > (1 << depth) // 2 or leaves == 1


def test_refutation_vectors_hold_true_and_false_evidence_of_every_kind() -> None:
    for kind in ("mean", "step", "tail", "range", "equivocation"):
        errors = {outputs[0] for _, outputs in rows("refutations", kind)}
        assert {"", "EvidenceMalformed", "EvidenceMismatch", "EvidenceShowsNoFault"} <= errors
    reasons = {outputs[0] for _, outputs in rows("refutations", "plan")}
    assert reasons == set(range(22))
