"""A node that drops, adds or alters what happened is found, whatever it lies about."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from collegium.audit.history import read_history
from collegium.audit.report import Tally
from collegium.chain import Rpc
from collegium.chain.abi import interface
from collegium.chain.deployment import CONTRACTS
from collegium.chain.receipts import compute_block_hash, compute_receipts_root
from tests.chain.lying import Proxy
from tests.support.federation import Federation

from .histories import EVERY_EVENT, audit, wrong

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("audit-node")]

TOPICS = {event.name: "0x" + event.topic.hex() for name in CONTRACTS for event in interface(name).events.values()}


@pytest.fixture(scope="module")
def liar(eventful: Federation) -> Iterator[Proxy]:
    with Proxy(eventful.devnet.url) as proxy:
        yield proxy


@pytest.fixture
def node(liar: Proxy) -> Iterator[Proxy]:
    """The lying node, honest again afterwards."""
    yield liar
    liar.lie = lambda method, parameters, result: result


def problems(federation: Federation, node: Proxy, *, trusted_head: str | None = None) -> list[str]:
    """What proving the history finds."""
    tally = Tally("logs")
    read_history(federation.connect(node.url), tally, trusted_head=trusted_head)
    return tally.problems


Change = Callable[[list[Any]], list[Any]]


def in_logs(change: Change) -> Callable[[str, list[Any], Any], Any]:
    """A lie in what `eth_getLogs` answers."""

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        return change(copy.deepcopy(result)) if method == "eth_getLogs" else result

    return lie


def in_receipts(change: Change) -> Callable[[str, list[Any], Any], Any]:
    """The same lie in logs and receipts: consistent, but for the roots."""

    def lie(method: str, parameters: list[Any], result: Any) -> Any:
        if method == "eth_getLogs":
            return change(copy.deepcopy(result))
        if method == "eth_getBlockReceipts" and result:
            result = copy.deepcopy(result)
            for receipt in result:
                receipt["logs"] = change(receipt["logs"])
        return result

    return lie


def drop(name: str) -> Change:
    """Every log of a kind."""
    return lambda logs: [log for log in logs if log["topics"][0] != TOPICS[name]]


class OneOfEachKind:
    """Picks the first log of every kind in the history; a lie then changes exactly those."""

    def __init__(self, logs: list[Any]) -> None:
        kinds = {topic: name for name, topic in TOPICS.items()}
        self.places: dict[tuple[int, int], str] = {}
        for log in logs:
            name = kinds.pop(log["topics"][0], None)
            if name is not None:
                self.places[int(log["blockNumber"], 16), int(log["logIndex"], 16)] = name
        assert set(self.places.values()) == EVERY_EVENT

    def is_picked(self, log: dict[str, Any]) -> bool:
        return (int(log["blockNumber"], 16), int(log["logIndex"], 16)) in self.places

    def drop(self, logs: list[Any]) -> list[Any]:
        return [log for log in logs if not self.is_picked(log)]

    def alter(self, logs: list[Any]) -> list[Any]:
        """One bit of the data, or of the last topic where there is no data."""
        for log in filter(self.is_picked, logs):
            if len(log["data"]) > 2:
                log["data"] = flip(log["data"])
            else:
                log["topics"][-1] = flip(log["topics"][-1])
        return logs

    def add(self, logs: list[Any]) -> list[Any]:
        """The log once more, as if later in its block."""
        again = [{**log, "logIndex": hex(900 + at)} for at, log in enumerate(filter(self.is_picked, logs))]
        return logs + again

    def move(self, logs: list[Any]) -> list[Any]:
        """Say that another transaction emitted it."""
        return [{**log, "transactionHash": "0x" + "cd" * 32} if self.is_picked(log) else log for log in logs]


def flip(text: str) -> str:
    """The last bit of a hex string."""
    return text[:-1] + format(int(text[-1], 16) ^ 1, "x")


@pytest.fixture(scope="module")
def picked(eventful: Federation) -> OneOfEachKind:
    addresses = list(eventful.deployment.addresses.values())
    span = {"address": addresses, "fromBlock": "0x0", "toBlock": "latest"}
    return OneOfEachKind(Rpc(eventful.devnet.url).request("eth_getLogs", span))


class TestEventsOfEveryKind:
    @pytest.mark.parametrize("how", ["drop", "alter", "move"])
    def test_each_log_is_found_by_its_place(
        self, eventful: Federation, node: Proxy, picked: OneOfEachKind, how: str
    ) -> None:
        node.lie = in_logs(getattr(picked, how))
        word = {"drop": "was not served", "alter": "other contents", "move": "another transaction"}[how]
        found = [problem for problem in problems(eventful, node) if word in problem]
        assert len(found) == len(picked.places)
        for (block, at), name in picked.places.items():
            assert any(f"block {block}: log {at} " in problem for problem in found), name

    def test_each_added_log_is_found(self, eventful: Federation, node: Proxy, picked: OneOfEachKind) -> None:
        node.lie = in_logs(picked.add)
        found = problems(eventful, node)
        assert len(found) == len(picked.places)
        assert all("is not in the block" in problem for problem in found)

    @pytest.mark.parametrize("how", ["drop", "alter", "add"])
    def test_each_log_changed_in_its_receipt_is_found(
        self, eventful: Federation, node: Proxy, picked: OneOfEachKind, how: str
    ) -> None:
        node.lie = in_receipts(getattr(picked, how))
        found = [problem for problem in problems(eventful, node) if "root" in problem]
        for (block, _), name in picked.places.items():
            assert any(f"block {block}:" in problem for problem in found), name


class TestWholeAudit:
    def test_dropped_logs_fail_the_audit_and_nothing_else(self, eventful: Federation, node: Proxy) -> None:
        node.lie = in_logs(drop("ProposalRefuted"))
        report = audit(eventful, rpc_url=node.url)
        assert report.verdict == "mismatch" and report.exit_code == 4
        # The history itself is read from receipts, so the other checks see the truth.
        assert wrong(report) == {"logs"}

    def test_hidden_block_fails_the_audit(self, eventful: Federation, node: Proxy) -> None:
        node.lie = in_receipts(drop("UpdatesCertified"))
        report = audit(eventful, rpc_url=node.url)
        assert report.verdict == "mismatch" and "logs" in wrong(report)

    def test_node_without_the_study_is_a_liar_and_not_an_unknown_study(self, eventful: Federation, node: Proxy) -> None:
        node.lie = in_receipts(drop("StudyCreated"))
        report = audit(eventful, rpc_url=node.url)
        assert report.verdict == "mismatch" and {"logs", "plan"} <= wrong(report)

    def test_malformed_answers_are_findings_not_crashes(self, eventful: Federation, node: Proxy) -> None:
        def lie(method: str, parameters: list[Any], result: Any) -> Any:
            if method == "eth_getLogs":
                return [{"address": "0x"}, {**result[0], "blockNumber": "nonsense"}, *result[1:]]
            if method == "eth_getBlockReceipts" and result:
                return [{**result[0], "cumulativeGasUsed": None}, *result[1:]]
            return result

        node.lie = lie
        report = audit(eventful, rpc_url=node.url)
        assert report.verdict == "mismatch" and "logs" in wrong(report)


class TestHeaders:
    def lie_in_header(self, node: Proxy, number: int, change: Callable[[dict[str, Any]], None]) -> None:
        def lie(method: str, parameters: list[Any], result: Any) -> Any:
            if method == "eth_getBlockByNumber" and result and int(result["number"], 16) == number:
                result = copy.deepcopy(result)
                change(result)
            return result

        node.lie = lie

    @pytest.mark.parametrize("field", ["timestamp", "receiptsRoot", "logsBloom", "transactionsRoot", "stateRoot"])
    def test_altered_field_gives_another_hash(self, eventful: Federation, node: Proxy, field: str) -> None:
        def change(block: dict[str, Any]) -> None:
            block[field] = flip(block[field])

        self.lie_in_header(node, eventful.rounds[0].sent[0].block, change)
        assert any("hash" in problem for problem in problems(eventful, node))

    def test_rehashed_header_breaks_the_chain(self, eventful: Federation, node: Proxy) -> None:
        number = eventful.rounds[0].sent[1].block

        def change(block: dict[str, Any]) -> None:
            block["timestamp"] = hex(int(block["timestamp"], 16) - 5)
            block["hash"] = "0x" + compute_block_hash(block).hex()

        self.lie_in_header(node, number, change)
        assert any(f"block {number + 1}" in problem and "parent" in problem for problem in problems(eventful, node))

    def test_hiding_a_block_consistently_breaks_the_chain(self, eventful: Federation, node: Proxy) -> None:
        """Empty receipts, an empty filter, the right root and hash: all but the child's parent."""
        number = eventful.rounds[0].sent[2].block

        def lie(method: str, parameters: list[Any], result: Any) -> Any:
            if method == "eth_getLogs":
                return [log for log in result if int(log["blockNumber"], 16) != number]
            if method == "eth_getBlockByNumber" and result and int(result["number"], 16) == number:
                hidden = {**result, "logsBloom": "0x" + "00" * 256, "transactions": []}
                hidden["receiptsRoot"] = "0x" + compute_receipts_root([]).hex()
                hidden["hash"] = "0x" + compute_block_hash(hidden).hex()
                return hidden
            return result

        node.lie = lie
        assert any(f"block {number + 1}" in problem for problem in problems(eventful, node))

    def test_another_chain_is_found_by_its_head(self, eventful: Federation, node: Proxy) -> None:
        head = Rpc(eventful.devnet.url).header("latest")
        assert head is not None
        assert problems(eventful, node, trusted_head="0x" + head.hash.hex()) == []
        found = problems(eventful, node, trusted_head="0x" + "11" * 32)
        assert found and "another source" in found[0]
        assert "node's word" in audit(eventful).check("logs").detail


class TestCalldata:
    def lie_in_calldata(self, node: Proxy, transaction: str, *, rehash: bool, raw: bool) -> None:
        """Alter one input everywhere the node shows it."""

        def altered(fields: dict[str, Any]) -> dict[str, Any]:
            fields = {**fields, "input": flip(fields["input"])}
            if rehash:
                fields["hash"] = "0x" + "ab" * 32
            return fields

        def lie(method: str, parameters: list[Any], result: Any) -> Any:
            if method == "eth_getTransactionByHash" and result and result["hash"] == transaction:
                return altered(result)
            if method == "eth_getBlockByNumber" and result and parameters[1]:
                listed = [altered(each) if each["hash"] == transaction else each for each in result["transactions"]]
                return {**result, "transactions": listed}
            if raw and method == "eth_getRawTransactionByHash" and parameters[0] == transaction:
                return flip(result)
            return result

        node.lie = lie

    @pytest.mark.parametrize(
        ("step", "rehash", "raw"),
        [(0, False, True), (1, False, False), (1, True, True), (2, False, True), (3, False, False), (5, True, True)],
    )
    def test_altered_calldata_is_found(
        self, eventful: Federation, node: Proxy, step: int, rehash: bool, raw: bool
    ) -> None:
        sent = eventful.rounds[0].sent[step]
        self.lie_in_calldata(node, sent.hash, rehash=rehash, raw=raw)
        found = problems(eventful, node)
        assert any(f"block {sent.block}" in problem for problem in found), found

    def test_altered_fields_do_not_mislead_the_checks(self, eventful: Federation, node: Proxy) -> None:
        self.lie_in_calldata(node, eventful.rounds[0].sent[1].hash, rehash=False, raw=False)
        assert wrong(audit(eventful, rpc_url=node.url)) == {"logs"}

    def test_unknown_kind_of_transaction_does_not_hide_its_calldata(self, eventful: Federation, node: Proxy) -> None:
        """A kind that the auditor does not know would be read from its raw bytes, which are proven."""

        def lie(method: str, parameters: list[Any], result: Any) -> Any:
            if method == "eth_getBlockByNumber" and result and parameters[1]:
                return {**result, "transactions": [{**each, "type": "0x7e"} for each in result["transactions"]]}
            return result

        node.lie = lie
        report = audit(eventful, rpc_url=node.url)
        assert report.verdict == "ok" and all(check.ok for check in report.checks)


class TestStorage:
    def lie_in_call(self, node: Proxy, function: str, contract: str = "Collegium") -> None:
        selector = "0x" + interface(contract).function(function).selector.hex()

        def lie(method: str, parameters: list[Any], result: Any) -> Any:
            if method == "eth_call" and parameters[0]["data"].startswith(selector):
                return result[:65] + format(int(result[65], 16) ^ 1, "x") + result[66:]
            return result

        node.lie = lie

    @pytest.mark.parametrize(
        ("contract", "function", "check"),
        [
            ("Collegium", "recordOf", "record"),
            ("Collegium", "modelOf", "model"),
            ("Bonds", "stakeOf", "money"),
            ("Bonds", "lockOf", "money"),
            ("Bonds", "creditOf", "money"),
            ("Bonds", "burnable", "money"),
            ("CollegiumToken", "balanceOf", "money"),
        ],
    )
    def test_answers_of_the_contracts_are_held_against_events(
        self, eventful: Federation, node: Proxy, contract: str, function: str, check: str
    ) -> None:
        self.lie_in_call(node, function, contract)
        assert wrong(audit(eventful, rpc_url=node.url)) == {check}

    def test_contract_without_code_is_found(self, eventful: Federation, node: Proxy) -> None:
        bonds = eventful.deployment.addresses["Bonds"].lower()

        def lie(method: str, parameters: list[Any], result: Any) -> Any:
            return "0x" if method == "eth_getCode" and parameters[0].lower() == bonds else result

        node.lie = lie
        assert wrong(audit(eventful, rpc_url=node.url)) == {"deployment"}
