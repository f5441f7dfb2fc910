"""The chain's time: deadlines are kept by it, however wrong this machine's clock is."""

from __future__ import annotations

import logging
import time
from types import SimpleNamespace

import pytest

from collegium.chain import following as module
from collegium.chain.following import ChainTime, measure_skew
from tests.support.provider import Provider

from .worlds import World

pytestmark = pytest.mark.chain


class WrongClock(SimpleNamespace):
    """`time`, `ahead` seconds off."""

    def __init__(self, ahead: float) -> None:
        super().__init__(ahead=ahead, monotonic=time.monotonic)

    def time(self) -> float:
        return time.time() + float(self.ahead)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> WrongClock:
    clock = WrongClock(0)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "CALIBRATE_EVERY", 0.0)
    return clock


@pytest.fixture
def now(world: World) -> ChainTime:
    """The chain's newest block is of this moment."""
    world.rpc.request("evm_mine")
    return ChainTime()


def observe(world: World, clock: ChainTime) -> None:
    clock.calibrate(world.chain())
    header = world.rpc.header("latest")
    assert header is not None
    clock.observe(header.timestamp)


@pytest.mark.parametrize("ahead", [-86_400, -600, -5, 0, 5, 600, 86_400])
def test_chain_time_is_told_by_any_clock(world: World, now: ChainTime, wrong: WrongClock, ahead: float) -> None:
    wrong.ahead = ahead
    observe(world, now)
    assert abs(now.now() - world.chain().now()) <= 2 + (ahead if 0 < ahead < module.TOLERANCE else 0)
    assert abs(measure_skew(world.chain()) - ahead) <= 2


def test_clock_that_is_corrected_is_followed(
    world: World, now: ChainTime, wrong: WrongClock, caplog: pytest.LogCaptureFixture
) -> None:
    """NTP sets the clock, forwards or back, while the client runs."""
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        for ahead in (600, 0, -600, 0, 600):
            wrong.ahead = ahead
            observe(world, now)
            assert abs(now.now() - world.chain().now()) <= 2
    assert ["ahead" in record.message for record in caplog.records] == [True, False, True]


def test_time_never_runs_behind_the_newest_block(world: World, now: ChainTime, wrong: WrongClock) -> None:
    world.rpc.request("evm_increaseTime", 5000)
    world.rpc.request("evm_mine")
    observe(world, now)
    header = world.rpc.header("latest")
    assert header is not None
    assert 0 <= now.now() - header.timestamp <= 2


def test_clocks_are_compared_now_and_then_only(world: World) -> None:
    clock = ChainTime()
    with Provider(world.devnet.url) as provider:
        chain = world.chain(rpc_url=provider.url)
        provider.calls.clear()
        for _ in range(5):
            clock.calibrate(chain)
        assert provider.calls == ["eth_getBlockByNumber"]
