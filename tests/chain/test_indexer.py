"""The index of events: complete, in order, and following the chain through reorganizations and restarts."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from collegium.chain import Indexer, Outbox, intents
from collegium.chain.devnet import Devnet
from collegium.errors import ChainUnreachableError
from collegium.records import checksum_address

from .lying import Proxy
from .worlds import World, named

pytestmark = pytest.mark.chain

FRIEND = checksum_address("0x" + "fe" * 20)


@pytest.fixture
def outbox(world: World, tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox.db", world.chain())


def pay(outbox: Outbox, amount: int) -> None:
    outbox.submit(intents.transfer_tokens(FRIEND, amount))


def amounts(indexer: Indexer) -> list[int]:
    return [event.args["value"] for event in indexer.events(name="Transfer")][1:]


class TestSync:
    def test_events_come_in_order_with_their_time(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        for amount in (3, 1, 2):
            pay(outbox, amount)
        with Indexer(tmp_path / "index.db", world.chain()) as indexer:
            done = indexer.sync()
            assert done.added == 4
            assert amounts(indexer) == [3, 1, 2]
            event = named(indexer.events(), "Transfer")[-1]
            header = world.rpc.header(event.block)
            assert header is not None
            assert (event.time, event.block_hash) == (header.timestamp, "0x" + header.hash.hex())
            assert indexer.head_time == header.timestamp
            assert event.contract == "CollegiumToken"

    def test_sync_goes_on_where_it_stopped(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        pay(outbox, 1)
        with Indexer(tmp_path / "index.db", world.chain()) as indexer:
            indexer.sync()
        pay(outbox, 2)
        with Indexer(tmp_path / "index.db", world.chain()) as indexer:
            assert indexer.sync().added == 1
            assert indexer.sync().added == 0
            assert amounts(indexer) == [1, 2]

    def test_nothing_new_costs_one_question(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        pay(outbox, 1)
        with Proxy(world.devnet.url) as proxy, Indexer(tmp_path / "i.db", world.chain(rpc_url=proxy.url)) as indexer:
            indexer.sync()
            proxy.calls.clear()
            indexer.sync()
            assert proxy.calls == ["eth_getBlockByNumber"]
            pay(outbox, 1)
            proxy.calls.clear()
            indexer.sync()
            assert proxy.calls == ["eth_getBlockByNumber", "eth_getLogs"]

    def test_long_history_is_read_in_windows(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        for amount in range(4):
            pay(outbox, amount)
            world.mine(6)
        with Indexer(tmp_path / "index.db", world.chain(log_window=5)) as indexer:
            indexer.sync()
            assert amounts(indexer) == [0, 1, 2, 3]

    def test_only_deep_blocks_are_read(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        pay(outbox, 1)
        with Indexer(tmp_path / "index.db", world.chain(confirmations=2)) as indexer:
            indexer.sync()
            assert amounts(indexer) == []
            world.mine(2)
            indexer.sync()
            assert amounts(indexer) == [1]

    def test_absent_node_is_an_error_and_keeps_what_is_there(
        self, world: World, outbox: Outbox, tmp_path: Path
    ) -> None:
        pay(outbox, 1)
        with Proxy(world.devnet.url) as proxy:
            chain = world.chain(rpc_url=proxy.url, retry_for=0.3)
            with Indexer(tmp_path / "index.db", chain) as indexer:
                indexer.sync()
                proxy.down = True
                with pytest.raises(ChainUnreachableError):
                    indexer.sync()
                assert amounts(indexer) == [1]
                proxy.down = False
                pay(outbox, 2)
                indexer.sync()
                assert amounts(indexer) == [1, 2]


class TestReorganization:
    def test_events_of_lost_blocks_are_forgotten(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        with Indexer(tmp_path / "index.db", world.chain()) as indexer:
            pay(outbox, 1)
            pay(outbox, 2)
            pay(outbox, 3)
            indexer.sync()
            generation = indexer.generation
            world.rpc.request("anvil_reorg", 2, [])
            done = indexer.sync()
            assert done.rolled_back_to is not None
            assert indexer.generation > generation
            assert amounts(indexer) == [1]

    def test_shorter_chain_is_followed(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        snapshot = world.rpc.request("evm_snapshot")
        with Indexer(tmp_path / "index.db", world.chain()) as indexer:
            pay(outbox, 1)
            pay(outbox, 2)
            indexer.sync()
            world.rpc.request("evm_revert", snapshot)
            indexer.sync()
            assert amounts(indexer) == []

    def test_node_that_is_behind_undoes_nothing(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        pay(outbox, 1)
        behind = world.rpc.header("latest")
        assert behind is not None
        pay(outbox, 2)
        with Proxy(world.devnet.url) as proxy, Indexer(tmp_path / "i.db", world.chain(rpc_url=proxy.url)) as indexer:
            indexer.sync()
            old = world.rpc.request("eth_getBlockByNumber", hex(behind.number), False)
            proxy.lie = lambda method, parameters, result: (
                old if method == "eth_getBlockByNumber" and parameters[0] == "latest" else result
            )
            indexer.sync()
            assert amounts(indexer) == [1, 2]

    def test_other_chain_starts_a_new_index(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        pay(outbox, 1)
        with Indexer(tmp_path / "index.db", world.chain()) as indexer:
            indexer.sync()
        with Devnet.start(accounts=1) as devnet:
            other = World.create(devnet)
            with Indexer(tmp_path / "index.db", other.chain()) as indexer:
                assert indexer.events() == []
                indexer.sync()
                assert len(indexer.events()) == 1


class TestSharedFile:
    def test_what_another_process_stored_is_seen(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        """A command run beside a client may be the one that stores an event; the client must not miss it."""
        path = tmp_path / "index.db"
        with Indexer(path, world.chain()) as client, Indexer(path, world.chain()) as command:
            before = client.sync().head
            pay(outbox, 7)
            assert command.sync().added == 1
            assert client.sync().added == 0
            assert amounts(client) == [7] and client.head > before

    def test_several_write_at_once(self, world: World, outbox: Outbox, tmp_path: Path) -> None:
        indexers = [Indexer(tmp_path / "index.db", world.chain()) for _ in range(3)]
        stop = threading.Event()
        failures: list[BaseException] = []

        def keep_up(indexer: Indexer) -> None:
            try:
                while not stop.is_set():
                    indexer.sync()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=keep_up, args=(indexer,)) for indexer in indexers]
        for thread in threads:
            thread.start()
        for amount in range(1, 9):
            pay(outbox, amount)
        stop.set()
        for thread in threads:
            thread.join(20)
        assert not failures
        indexers[0].sync()
        assert amounts(indexers[0]) == list(range(1, 9))
        for indexer in indexers:
            indexer.close()
