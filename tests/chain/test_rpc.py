"""The connection: retries, the right chain, the right deployment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from collegium.chain import Chain, Deployment, NetworkSettings, Rpc
from collegium.chain.devnet import Devnet
from collegium.errors import (
    ChainIdMismatchError,
    ChainUnreachableError,
    ConfigError,
    DeploymentMissingError,
    KeyMissingError,
)

from .lying import Proxy
from .worlds import World

pytestmark = pytest.mark.chain


@pytest.fixture
def proxy(world: World) -> Iterator[Proxy]:
    with Proxy(world.devnet.url) as proxy:
        yield proxy


class TestRpc:
    def test_node_that_comes_back_is_awaited(self, proxy: Proxy) -> None:
        rpc = Rpc(proxy.url, retry_for=10)
        proxy.down = True
        threading.Timer(0.5, lambda: setattr(proxy, "down", False)).start()
        started = time.monotonic()
        assert int(rpc.request("eth_chainId"), 16) == 31337
        assert time.monotonic() - started >= 0.4

    def test_node_that_stays_away_is_an_error_with_a_way_on(self, proxy: Proxy) -> None:
        proxy.down = True
        with pytest.raises(ChainUnreachableError) as caught:
            Rpc(proxy.url, retry_for=0.3).request("eth_chainId")
        assert (caught.value.exit_code, caught.value.retryable) == (5, True)
        assert proxy.url in str(caught.value)

    def test_batch_keeps_its_order(self, world: World) -> None:
        world.mine(250)
        blocks = world.rpc.batch("eth_getBlockByNumber", [[hex(number), False] for number in range(230)])
        assert [int(block["number"], 16) for block in blocks] == list(range(230))

    def test_head_lies_below_the_confirmations(self, world: World) -> None:
        world.mine(5)
        latest = world.rpc.header("latest")
        assert latest is not None
        deep = world.rpc.head(3)
        assert deep is not None
        assert deep.number == latest.number - 3
        assert world.rpc.head(10**6) is None
        assert world.rpc.head(None) is not None


class TestConnect:
    def test_other_chain_id_is_refused(self, world: World) -> None:
        settings = NetworkSettings(rpc_url=world.devnet.url, chain_id=1)
        with pytest.raises(ChainIdMismatchError) as caught:
            Chain.connect(settings, deployment=replace(world.deployment, chain_id=1))
        assert (caught.value.actual, caught.value.expected) == (31337, 1)

    def test_deployment_without_code_is_refused(self, world: World) -> None:
        stale = world.deployment.with_contract("Collegium", "0x" + "77" * 20)
        with pytest.raises(DeploymentMissingError):
            Chain.connect(NetworkSettings(rpc_url=world.devnet.url), deployment=stale)

    def test_reading_needs_no_key_and_writing_does(self, world: World) -> None:
        chain = Chain.connect(NetworkSettings(rpc_url=world.devnet.url), deployment=world.deployment)
        assert chain.call("CollegiumToken", "symbol") == "STK"
        with pytest.raises(KeyMissingError):
            _ = chain.signer


class TestDeployment:
    def test_saved_deployment_is_found_again(self, world: World, tmp_path: Path) -> None:
        world.deployment.save(tmp_path / "31337.json")
        assert Deployment.find(31337, tmp_path) == world.deployment
        assert Deployment.find(31337, tmp_path / "31337.json") == world.deployment

    def test_deployment_of_another_chain_is_refused(self, world: World, tmp_path: Path) -> None:
        world.deployment.save(tmp_path / "deployment.json")
        with pytest.raises(ConfigError):
            Deployment.find(1, tmp_path / "deployment.json")

    def test_missing_or_damaged_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(DeploymentMissingError):
            Deployment.find(31337, tmp_path / "nowhere.json")
        with pytest.raises(DeploymentMissingError):
            Deployment.find(424242)
        for text in ("", "[]", "{}", '{"chainId": 1, "startBlock": 0, "deployer": "0x12", "contracts": {}}'):
            (tmp_path / "bad.json").write_text(text)
            with pytest.raises(ConfigError):
                Deployment.load(tmp_path / "bad.json")


class TestDevnet:
    def test_two_devnets_are_two_chains(self) -> None:
        with Devnet.start(accounts=1) as one, Devnet.start(accounts=1) as two:
            assert one.url != two.url
            assert one.key(0) != two.key(0)

    def test_stopped_devnet_leaves_no_process(self, tmp_path: Path) -> None:
        devnet = Devnet.start(accounts=1)
        record = devnet.record
        record.save(tmp_path / "devnet.json")
        loaded = type(record).load(tmp_path / "devnet.json")
        assert loaded == record
        assert record.is_running()
        devnet.stop()
        assert not record.is_running()
        assert not record.stop()
        assert devnet.process.poll() is not None

    def test_taken_port_is_not_mistaken_for_ours(self, world: World) -> None:
        port = int(world.devnet.url.rpartition(":")[2])
        with pytest.raises(ChainUnreachableError):
            Devnet.start(port=port, accounts=1)
