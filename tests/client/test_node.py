"""A federation of real nodes with real training: confined processes, coordinators over HTTP, records on chain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collegium.records import bits
from tests.client.worlds import World

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]


def test_three_rounds_train_a_good_model(tmp_path: Path) -> None:
    with (
        World.start(tmp_path, hospitals=4, coordinators=2) as world,
        world.coordinator(0, rounds=3),
        world.coordinator(1, rounds=3),
    ):
        assert world.run_nodes(3) == [3, 3, 3, 3]
        view = world.view()
    for round in view.final_rounds:
        assert round.outcome is not None
        assert bits(round.outcome.included) == [0, 1, 2, 3]
    evaluated = world.named(0, "evaluated")
    assert [each["round"] for each in evaluated] == [1, 2, 3]
    assert evaluated[-1]["metrics"]["auroc"] > 0.95
    # Larger hospitals weigh more, by their own data alone.
    weights = [view.rounds[0].commits[seat].weight for seat in range(4)]
    assert weights == sorted(weights, reverse=True) and weights[0] > weights[-1]
    assert (world.homes[0] / "models" / "study-1.safetensors").exists()
    # Metrics and data stay at home: nothing of them is in what was said.
    log = (world.homes[0] / "logs" / "node.jsonl").read_text().splitlines()
    assert {json.loads(line)["event"] for line in log} >= {"trained", "handed", "attested", "endorsed", "evaluated"}
