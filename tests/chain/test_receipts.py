"""A node that drops, adds or alters events is found, whichever answers it bends."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.chain import Indexer, Outbox, Rpc, intents, verify_logs
from collegium.chain.devnet import Devnet
from collegium.chain.receipts import Verified, compute_block_hash
from collegium.chain.rpc import to_int
from collegium.errors import LogMismatchError
from collegium.records import checksum_address

from .lying import Proxy
from .worlds import World

pytestmark = pytest.mark.chain

FRIEND = checksum_address("0x" + "fe" * 20)


@pytest.fixture(scope="module", params=["prague", "osaka"])
def history(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Five payments in single blocks, then twenty in one block, then empty blocks."""
    with Devnet.start(accounts=2, hardfork=request.param) as devnet:
        world = World.create(devnet)
        with Outbox(tmp_path_factory.mktemp("outbox") / "outbox.db", world.chain()) as outbox:
            for number in range(5):
                outbox.submit(intents.transfer_tokens(FRIEND, 1, request=str(number)))
            world.automine(False)
            for number in range(5, 25):
                outbox.send(intents.transfer_tokens(FRIEND, 1, request=str(number)))
            world.mine()
            world.automine(True)
            outbox.resume()
        world.mine(3)
        yield world


@pytest.fixture
def proxy(history: World) -> Iterator[Proxy]:
    with Proxy(history.devnet.url) as proxy:
        yield proxy


def check(world: World, url: str, **options: Any) -> Verified:
    rpc = Rpc(url)
    addresses = list(world.deployment.addresses.values())
    start, head = world.deployment.start_block, rpc.header("latest")
    assert head is not None
    logs = rpc.request("eth_getLogs", {"address": addresses, "fromBlock": hex(start), "toBlock": hex(head.number)})
    return verify_logs(rpc, logs, start, head.number, addresses, **options)


def kinds(verified: Verified) -> set[str]:
    return {finding.kind for finding in verified.findings}


class TestHonestNode:
    def test_everything_matches(self, history: World) -> None:
        verified = check(history, history.devnet.url)
        assert verified.ok
        assert verified.logs == 26
        verified.require()

    def test_block_hashes_are_recomputed(self, history: World) -> None:
        for number in range(4):
            block = history.rpc.request("eth_getBlockByNumber", hex(number), False)
            assert "0x" + compute_block_hash(block).hex() == block["hash"]

    def test_indexed_logs_match(self, history: World, tmp_path: Path) -> None:
        with Indexer(tmp_path / "index.db", history.chain()) as indexer:
            head = indexer.sync().head
            addresses = list(history.deployment.addresses.values())
            start = history.deployment.start_block
            assert verify_logs(history.rpc, indexer.raw_logs(), start, head, addresses).ok

    def test_other_head_from_a_second_source_is_found(self, history: World) -> None:
        assert kinds(check(history, history.devnet.url, trusted_head="0x" + "11" * 32)) == {"head"}
        head = history.rpc.header("latest")
        assert head is not None
        assert check(history, history.devnet.url, trusted_head="0x" + head.hash.hex()).ok


def bend_logs(bend: Any) -> Any:
    """Lie in eth_getLogs alone."""

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        return bend(copy.deepcopy(result)) if method == "eth_getLogs" else result

    return lie


def change(logs: list[dict[str, Any]], field: str, value: Any, at: int = 7) -> list[dict[str, Any]]:
    logs[at][field] = value
    return logs


class TestLyingAboutLogs:
    @pytest.mark.parametrize("position", [0, 3, 12, 25])
    def test_dropped_event_is_found(self, history: World, proxy: Proxy, position: int) -> None:
        proxy.lie = bend_logs(lambda logs: logs[:position] + logs[position + 1 :])
        verified = check(history, proxy.url)
        assert kinds(verified) == {"dropped"}
        with pytest.raises(LogMismatchError):
            verified.require()

    def test_all_events_dropped_is_found(self, history: World, proxy: Proxy) -> None:
        proxy.lie = bend_logs(lambda logs: [])
        assert len(check(history, proxy.url).findings) == 26

    def test_added_event_is_found(self, history: World, proxy: Proxy) -> None:
        proxy.lie = bend_logs(lambda logs: [*logs, {**logs[2], "logIndex": "0x9"}])
        assert kinds(check(history, proxy.url)) == {"added"}

    def test_added_event_in_an_empty_block_is_found(self, history: World, proxy: Proxy) -> None:
        head = history.rpc.header("latest")
        assert head is not None
        forged = {"blockNumber": hex(head.number), "blockHash": "0x" + head.hash.hex()}
        proxy.lie = bend_logs(lambda logs: [*logs, {**logs[2], **forged}])
        assert kinds(check(history, proxy.url)) == {"added"}

    def test_repeated_event_is_found(self, history: World, proxy: Proxy) -> None:
        proxy.lie = bend_logs(lambda logs: [*logs, logs[4]])
        assert kinds(check(history, proxy.url)) == {"added"}

    def test_event_in_a_block_that_is_not_asked_about_is_found(self, history: World, proxy: Proxy) -> None:
        proxy.lie = bend_logs(lambda logs: change(logs, "blockNumber", "0x0"))
        assert "outside" in kinds(check(history, proxy.url))

    @pytest.mark.parametrize(
        ("field", "value"),
        [("data", "0x" + "00" * 31 + "02"), ("transactionHash", "0x" + "11" * 32), ("blockHash", "0x" + "11" * 32)],
    )
    def test_altered_event_is_found(self, history: World, proxy: Proxy, field: str, value: str) -> None:
        proxy.lie = bend_logs(lambda logs: change(logs, field, value))
        assert kinds(check(history, proxy.url)) == {"altered"}

    def test_altered_topic_is_found(self, history: World, proxy: Proxy) -> None:
        def swap(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
            logs[7]["topics"][2] = "0x" + "00" * 12 + "ab" * 20
            return logs

        proxy.lie = bend_logs(swap)
        assert kinds(check(history, proxy.url)) == {"altered"}

    def test_moved_event_is_found(self, history: World, proxy: Proxy) -> None:
        def move(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
            logs[2]["blockNumber"] = hex(to_int(logs[2]["blockNumber"]) + 1)
            logs[2]["logIndex"] = "0x7"
            return logs

        proxy.lie = bend_logs(move)
        assert {"added", "dropped"} <= kinds(check(history, proxy.url))


class TestLyingConsistently:
    """Receipts and headers are bent as well, so that they agree with the logs served."""

    def _drop(self, method: str, parameters: list[Any], result: Any, victim: str) -> Any:
        result = copy.deepcopy(result)
        if method == "eth_getLogs":
            return [log for log in result if log["transactionHash"] != victim]
        if method == "eth_getBlockReceipts":
            return [{**receipt, "logs": []} if receipt["transactionHash"] == victim else receipt for receipt in result]
        return result

    def _victim(self, history: World) -> dict[str, Any]:
        logs = history.rpc.request(
            "eth_getLogs", {"address": list(history.deployment.addresses.values()), "fromBlock": "0x0"}
        )
        return dict(logs[3])

    def test_receipts_without_the_log_do_not_give_the_root(self, history: World, proxy: Proxy) -> None:
        victim = self._victim(history)["transactionHash"]
        proxy.lie = lambda method, parameters, result: self._drop(method, parameters, result, victim)
        assert kinds(check(history, proxy.url)) == {"receipts"}

    def test_transaction_left_out_of_its_block_is_found(self, history: World, proxy: Proxy) -> None:
        victim = self._victim(history)["transactionHash"]

        def lie(method: str, parameters: list[Any], result: Any) -> Any:
            if method == "eth_getBlockByNumber":
                return {**result, "transactions": [each for each in result["transactions"] if each != victim]}
            if method in ("eth_getLogs", "eth_getBlockReceipts"):
                return [each for each in result if each["transactionHash"] != victim]
            return result

        proxy.lie = lie
        assert kinds(check(history, proxy.url)) == {"receipts"}

    @pytest.mark.parametrize("field", ["logsBloom", "receiptsRoot"])
    def test_bent_header_has_another_hash(self, history: World, proxy: Proxy, field: str) -> None:
        victim = self._victim(history)

        def lie(method: str, parameters: list[Any], result: Any) -> Any:
            if method == "eth_getBlockByNumber" and parameters[0] == victim["blockNumber"]:
                return {**result, field: "0x" + "00" * ((len(result[field]) - 2) // 2)}
            return self._drop(method, parameters, result, victim["transactionHash"])

        proxy.lie = lie
        assert "hash" in kinds(check(history, proxy.url))

    def test_bent_header_with_a_matching_hash_breaks_the_chain(self, history: World, proxy: Proxy) -> None:
        victim = self._victim(history)

        def lie(method: str, parameters: list[Any], result: Any) -> Any:
            if method == "eth_getBlockByNumber" and parameters[0] == victim["blockNumber"]:
                bent = {**result, "logsBloom": "0x" + "00" * 256}
                return {**bent, "hash": "0x" + compute_block_hash(bent).hex()}
            return self._drop(method, parameters, result, victim["transactionHash"])

        proxy.lie = lie
        assert kinds(check(history, proxy.url)) == {"parent"}

    def test_missing_block_is_found(self, history: World, proxy: Proxy) -> None:
        number = self._victim(history)["blockNumber"]
        proxy.lie = lambda method, parameters, result: (
            None if method == "eth_getBlockByNumber" and parameters[0] == number else result
        )
        assert "missing" in kinds(check(history, proxy.url))
