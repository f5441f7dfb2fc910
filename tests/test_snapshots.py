"""Gas and code sizes as committed in `tests/snapshots`: a change is reviewed as a diff, never by surprise.

`UPDATE_SNAPSHOTS=1 make test PYTEST_ARGS=tests/test_snapshots.py` writes them anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from collegium.chain.deployment import CONTRACTS
from tests.support.federation import Federation
from tests.support.rounds import Lie

SNAPSHOTS = Path(__file__).parent / "snapshots"
CODE_LIMIT = 24_576
GAS_LIMIT = 1 << 24
TOLERANCE = 0.005
"""Signatures and digests have more or fewer zero bytes from run to run, which calldata pays for."""


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory):
    with Federation.start(tmp_path_factory.mktemp("snapshots"), members=4) as federation:
        yield federation


def check(name: str, found: dict[str, int], tolerance: float) -> None:
    path = SNAPSHOTS / f"{name}.json"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert set(found) == set(kept)
    changed = {
        key: (kept[key], value) for key, value in found.items() if abs(value - kept[key]) > kept[key] * tolerance
    }
    assert not changed, f"{path.name} says otherwise (kept, found): {changed}; review, then run with UPDATE_SNAPSHOTS=1"


@pytest.mark.chain
class TestSnapshots:
    def test_code_sizes_are_the_committed_ones_and_fit(self, federation: Federation) -> None:
        sizes = {}
        for name in CONTRACTS:
            code = federation.chain.rpc.request("eth_getCode", federation.deployment.addresses[name], "latest")
            sizes[name] = len(code) // 2 - 1
        assert max(sizes.values()) <= CODE_LIMIT
        check("code_sizes", sizes, 0.0)

    def test_gas_of_a_round_and_of_a_refutation_is_the_committed_one(self, federation: Federation) -> None:
        federation.play_round()
        federation.play_round()
        spent: dict[str, int] = {}
        for sent in federation.play_round(lie=Lie.MEAN).sent:
            spent[f"{sent.function}, 4 hospitals"] = sent.gas_used
        assert max(spent.values()) <= GAS_LIMIT
        check("gas", spent, TOLERANCE)
