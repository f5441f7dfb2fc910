"""A whole round through two rude providers: slow blocks, 500-block windows, 429s, lost connections, a reorganization.

Blocks come every 0.4 s and not every 12 s, and everything waits in blocks, so the logic is that of a slow chain in a
thirtieth of its time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from collegium.chain import Indexer, Rpc
from collegium.chain.devnet import Devnet
from tests.support.provider import Provider

from .arena import Arena

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

BLOCK_SECONDS = 0.4
HISTORY = 1_200
FAULTS = 0.05


class Miner:
    """Mines a block at a time; `reorganize` replaces the newest two by blocks without their transactions."""

    def __init__(self, url: str) -> None:
        self._rpc = Rpc(url)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Miner:
        self._rpc.request("evm_setAutomine", False)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def reorganize(self, before: Callable[[], object]) -> None:
        """before: done once no more block can come."""
        with self._lock:
            before()
            self._rpc.request("anvil_reorg", 2, [])

    def _run(self) -> None:
        while not self._stop.wait(BLOCK_SECONDS):
            with self._lock:
                self._rpc.request("evm_mine")


@pytest.fixture
def slow_chain() -> Iterator[Devnet]:
    """It begins in the past, so that a long history fits before now."""
    start = int(time.time()) - 2 * HISTORY
    with Devnet.start(arguments=["--timestamp", str(start)]) as devnet:
        yield devnet


def test_round_through_rude_providers(slow_chain: Devnet, tmp_path: Path) -> None:
    with ExitStack() as stack:
        providers = [
            stack.enter_context(Provider(slow_chain.url, log_range=500, throttle=FAULTS, drop=FAULTS, seed=seed))
            for seed in (1, 2)
        ]
        urls = ", ".join(provider.url for provider in providers)
        world = Arena(slow_chain, tmp_path, rpc_url=urls, plan=dict.fromkeys(
            ("commit_window", "reveal_window", "certify_window", "propose_window", "challenge_window"), 120
        ))  # fmt: skip
        stack.callback(world.close)
        rpc = world.chain.rpc
        rpc.request("anvil_mine", hex(HISTORY))
        rpc.request("evm_setNextBlockTimestamp", int(time.time()))
        rpc.request("evm_mine")
        for home in (*world.hospitals, *world.coordinators):
            world.edit(home, "network", confirmations=2, retry_for=15.0)
        miner = stack.enter_context(Miner(slow_chain.url))
        seen = stack.enter_context(Indexer(tmp_path / "seen.sqlite", world.federation.connect(urls)))
        world.start_coordinator(0)
        world.start_hospitals()
        world.wait("a commit", lambda view: view.rounds and view.rounds[-1].committed)
        seen.sync()
        generation = seen.generation
        miner.reorganize(before=seen.sync)
        seen.sync()
        assert seen.generation > generation, "the index noticed"
        world.wait_final(1)
        world.close_roles()
        seen.sync()
        with Indexer(tmp_path / "fresh.sqlite", world.chain) as fresh:
            fresh.sync()
            assert seen.raw_logs(until=fresh.head) == fresh.raw_logs(until=seen.head)
        assert len(world.view().rounds[0].proposals) == 1
        assert not world.fines()
        for provider in providers:
            assert provider.events["dropped"] and provider.events["throttled"]
        assert max(provider.widest for provider in providers) <= 500
        assert sum(provider.events["range refused"] for provider in providers) >= 1
