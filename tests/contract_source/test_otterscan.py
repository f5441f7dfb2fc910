"""The calls that Otterscan makes, answered by Anvil about transactions of ours; and the compose file that starts it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import requests
import yaml

from collegium.chain import Rpc
from collegium.chain.rpc import to_int
from collegium.contract_source.children import compute_created_address
from scripts.setup.paths import ROOT
from tests.support.federation import Federation, Lie

COMPOSE = ROOT / "packaging" / "otterscan" / "compose.yaml"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.start(tmp_path_factory.mktemp("otterscan"), members=2) as federation:
        federation.play_round(lie=Lie.MEAN)
        yield federation


@pytest.fixture
def rpc(federation: Federation) -> Rpc:
    return Rpc(federation.devnet.url)


@pytest.mark.chain
class TestCalls:
    def test_the_level_is_the_one_that_otterscan_asks_for(self, rpc: Rpc) -> None:
        assert rpc.request("ots_getApiLevel") >= 8

    def test_a_contract_and_its_creation(self, federation: Federation, rpc: Rpc) -> None:
        collegium = federation.deployment.contracts["Collegium"]
        assert rpc.request("ots_hasCode", collegium.address, "latest") is True
        assert rpc.request("ots_hasCode", federation.relay.address, "latest") is False
        found = rpc.request("ots_getContractCreator", collegium.address)
        assert found["hash"] == collegium.transaction
        assert found["creator"].lower() == federation.deployment.deployer.lower()

    def test_the_contract_that_collegium_created(self, federation: Federation, rpc: Rpc) -> None:
        collegium = federation.deployment.contracts["Collegium"]
        studies = compute_created_address(collegium.address, 1)
        assert rpc.request("ots_hasCode", studies, "latest") is True
        operations = rpc.request("ots_getInternalOperations", collegium.transaction)
        assert studies.lower() in {each["to"].lower() for each in operations}

    def test_blocks(self, federation: Federation, rpc: Rpc) -> None:
        sent = federation.rounds[0].sent[-1]
        details = rpc.request("ots_getBlockDetails", sent.block)
        assert to_int(details["block"]["transactionCount"]) >= 1
        page = rpc.request("ots_getBlockTransactions", sent.block, 0, 10)
        assert sent.hash in {each["transactionHash"] for each in page["receipts"]}
        header = rpc.request("erigon_getHeaderByNumber", sent.block)
        assert to_int(header["number"]) == sent.block
        assert header["hash"] == rpc.request("eth_getBlockByNumber", hex(sent.block), False)["hash"]

    def test_the_trace_of_a_refutation_shows_the_referee_and_the_fine(self, federation: Federation, rpc: Rpc) -> None:
        (refuted,) = [sent for sent in federation.rounds[0].sent if sent.function == "refute"]
        at = federation.deployment.addresses
        called = {each["to"].lower() for each in rpc.request("ots_traceTransaction", refuted.hash)}
        assert {at[name].lower() for name in ("Refutations", "Referee", "Bonds", "Collegium")} <= called

    def test_the_error_of_a_failed_transaction(self, federation: Federation, rpc: Rpc) -> None:
        operator = federation.operator.address
        rpc.request("anvil_impersonateAccount", operator)
        failing = {"from": operator, "to": federation.deployment.addresses["Collegium"], "gas": hex(200_000),
                   "data": "0x" + "ff" * 4}  # fmt: skip
        digest = rpc.request("eth_sendTransaction", failing)
        receipt = rpc.request("eth_getTransactionReceipt", digest)
        assert receipt["status"] == "0x0"
        assert isinstance(rpc.request("ots_getTransactionError", digest), str)
        assert rpc.request("ots_getTransactionError", federation.rounds[0].sent[0].hash) == "0x"

    def test_a_hospitals_transactions_both_ways(self, federation: Federation, rpc: Rpc) -> None:
        relay = federation.relay.address
        mine = {sent.hash for sent in federation.rounds[0].sent if sent.function in ("commitUpdates", "refute")}
        before = rpc.request("ots_searchTransactionsBefore", relay, 0, 100)
        after = rpc.request("ots_searchTransactionsAfter", relay, 0, 100)
        for found in (before, after):
            assert mine <= {each["hash"] for each in found["txs"]}
        assert before["firstPage"] and after["lastPage"]

    def test_a_transaction_by_sender_and_nonce(self, federation: Federation, rpc: Rpc) -> None:
        deployer, first = federation.deployment.deployer, federation.deployment.contracts["CollegiumToken"]
        nonce = to_int(rpc.request("eth_getTransactionByHash", first.transaction)["nonce"])
        assert rpc.request("ots_getTransactionBySenderAndNonce", deployer, nonce) == first.transaction


@pytest.mark.chain
def test_a_page_from_another_port_may_ask(federation: Federation) -> None:
    """Otterscan runs in the browser: without this header the browser keeps the answers from it."""
    asked = {"Origin": "http://127.0.0.1:5100"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "ots_getApiLevel", "params": []}
    answer = requests.post(federation.devnet.url, json=body, headers=asked, timeout=5)
    assert answer.headers["access-control-allow-origin"] in ("*", asked["Origin"])


class TestCompose:
    def test_it_listens_on_loopback_and_reads_the_node_of_the_page(self) -> None:
        service = yaml.safe_load(COMPOSE.read_text())["services"]["otterscan"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert re.fullmatch(r"\$\{OTTERSCAN_RPC:-http://127\.0\.0\.1:8545\}", service["environment"]["ERIGON_URL"])
