"""Deploying, admitting and funding with nothing but a JSON-RPC endpoint and a key."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import rlp
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from collegium import crashpoints
from collegium.chain.client import Chain, NetworkSettings
from collegium.chain.deployment import Deployment
from collegium.chain.devnet import Devnet
from collegium.chain.rpc import Rpc, to_int
from collegium.chain.signer import LocalSigner
from collegium.errors import ConfigError, ContractMismatchError, PreconditionError, RevertedError, UsageError
from collegium.records import checksum_address
from scripts.operations.council import Applicant, admit, allow_referee, is_allowed, read_applicant
from scripts.operations.deployment import check, compute_contract_address, deploy, state_path
from scripts.operations.funding import Grant, fund, read_grant, to_wei
from scripts.operations.policy import Policy
from scripts.operations.sender import Web3Sender

pytestmark = pytest.mark.chain

COUNCIL = (1, 2, 3)
STEPS = 9
POINTS = ("operation.signed", "operation.recorded", "operation.sent", "operation.announced", "operation.mined")


@pytest.fixture(scope="module")
def devnet() -> Iterator[Devnet]:
    with Devnet.start() as running:
        yield running


def signer(devnet: Devnet, index: int) -> LocalSigner:
    return LocalSigner(devnet.key(index))


def sender_of(devnet: Devnet, index: int = 0) -> Web3Sender:
    return Web3Sender(Rpc(devnet.url), signer(devnet, index))


def policy_of(devnet: Devnet, **changes: object) -> Policy:
    council = tuple(signer(devnet, index).address for index in COUNCIL)
    return Policy(**{"council": council, "threshold": 2, "unbonding_period": 3600, **changes})  # type: ignore[arg-type]


def connect(devnet: Devnet, deployment: Deployment) -> Chain:
    return Chain.connect(NetworkSettings(devnet.url, deployment.chain_id), deployment=deployment)


def count(devnet: Devnet, index: int = 0) -> int:
    address = signer(devnet, index).address
    return to_int(Rpc(devnet.url).request("eth_getTransactionCount", address, "latest"))


class TestDeploy:
    def test_contracts_know_each_other(self, devnet: Devnet, tmp_path: Path) -> None:
        output = tmp_path / "31337.json"
        done = deploy(sender_of(devnet), policy_of(devnet), output)
        assert Deployment.load(output) == done.deployment
        assert done.deployment.is_complete
        assert len(done.transactions) == STEPS
        chain = connect(devnet, done.deployment)
        assert chain.call("Collegium", "studyCount") == 0
        assert chain.call("CollegiumToken", "balanceOf", signer(devnet, 0).address) == 10**26

    def test_a_second_run_sends_nothing(self, devnet: Devnet, tmp_path: Path) -> None:
        output = tmp_path / "31337.json"
        first = deploy(sender_of(devnet), policy_of(devnet), output)
        before = count(devnet)
        assert deploy(sender_of(devnet), policy_of(devnet), output) == first
        assert count(devnet) == before

    def test_another_policy_does_not_continue_a_deployment(self, devnet: Devnet, tmp_path: Path) -> None:
        output = tmp_path / "31337.json"
        deploy(sender_of(devnet), policy_of(devnet), output)
        with pytest.raises(PreconditionError, match="another parameters"):
            deploy(sender_of(devnet), policy_of(devnet, threshold=3), output)

    def test_another_devnet_of_the_same_id_begins_anew(self, devnet: Devnet, tmp_path: Path) -> None:
        output = tmp_path / "31337.json"
        deploy(sender_of(devnet), policy_of(devnet), output)
        # Another first block: anvil writes the start time into it.
        with Devnet.start(arguments=("--timestamp", "1700000000")) as other:
            done = deploy(sender_of(other), policy_of(other), output)
            assert count(other) == STEPS
            assert done.deployment.deployer == signer(other, 0).address

    def test_a_check_finds_a_foreign_council(self, devnet: Devnet, tmp_path: Path) -> None:
        done = deploy(sender_of(devnet), policy_of(devnet), tmp_path / "31337.json")
        with pytest.raises(ContractMismatchError, match="threshold"):
            check(sender_of(devnet), done.deployment, policy_of(devnet, threshold=3))

    def test_a_sender_without_gas_sends_nothing(self, devnet: Devnet, tmp_path: Path) -> None:
        poor = Web3Sender(Rpc(devnet.url), LocalSigner(bytes([7]) * 32))
        with pytest.raises(Exception, match="gas"):
            deploy(poor, policy_of(devnet), tmp_path / "31337.json")


class TestKilledDeployment:
    def test_a_kill_at_any_point_of_any_transaction_deploys_once(self, tmp_path: Path) -> None:
        output = tmp_path / "31337.json"
        with Devnet.start() as devnet:
            for step in range(1, STEPS + 1):
                for point in POINTS:
                    # Steps that are done pass every point again but the first: nothing is signed twice.
                    passes = 1 if point == "operation.signed" else step
                    assert run_killed(devnet, output, point, passes) == -signal.SIGKILL, (step, point)
            done = deploy(sender_of(devnet), policy_of(devnet), output)
            assert count(devnet) == STEPS
            assert done.deployment.is_complete
            assert [each.block for each in done.deployment.contracts.values()] == sorted(
                each.block for each in done.deployment.contracts.values()
            )

    def test_the_file_names_what_was_sent_before_it_is_mined(self, tmp_path: Path) -> None:
        output = tmp_path / "31337.json"
        with Devnet.start(block_time=2) as devnet:
            assert run_killed(devnet, output, "operation.announced", 1) == -signal.SIGKILL
            found = Deployment.load(output).contracts["CollegiumToken"]
            assert found.address == compute_contract_address(signer(devnet, 0).address, 0)
            assert found.block == 0 and not Deployment.load(output).is_complete
            assert state_path(output).exists()

    def test_a_nonce_that_went_elsewhere_is_signed_anew(self, tmp_path: Path) -> None:
        output = tmp_path / "31337.json"
        with Devnet.start() as devnet:
            assert run_killed(devnet, output, "operation.recorded", 1) == -signal.SIGKILL
            fund_someone = sender_of(devnet)
            from scripts.operations.sender import Transaction, send

            send(fund_someone, Transaction(signer(devnet, 5).address, b"", 1))
            done = deploy(sender_of(devnet), policy_of(devnet), output)
            assert done.deployment.is_complete
            assert count(devnet) == STEPS + 1


def run_killed(devnet: Devnet, output: Path, point: str, passes: int) -> int:
    """Exit code of a process that deploys until it is killed at a point."""

    def work() -> None:
        crashpoints._target, crashpoints._passes_left = point, passes
        deploy(sender_of(devnet), policy_of(devnet), output)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode


class TestCouncil:
    @pytest.fixture(scope="class")
    def chain(self, devnet: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Chain:
        output = tmp_path_factory.mktemp("deployment") / "31337.json"
        return connect(devnet, deploy(sender_of(devnet), policy_of(devnet), output).deployment)

    def test_one_of_three_alone_reverts(self, devnet: Devnet, chain: Chain) -> None:
        applicant = Applicant(checksum_address(bytes([9]) * 20), "Alone")
        before = count(devnet)
        with pytest.raises(RevertedError) as caught:
            admit(chain, sender_of(devnet), [applicant], [signer(devnet, 1)])
        assert caught.value.error == "MembersTooFewApprovals"
        assert count(devnet) == before
        assert not chain.call("Members", "isActive", applicant.institution)

    def test_two_of_three_admit_once(self, devnet: Devnet, chain: Chain) -> None:
        applicant = Applicant(checksum_address(bytes([8]) * 20), "North")
        council = [signer(devnet, 3), signer(devnet, 1)]
        assert len(admit(chain, sender_of(devnet), [applicant], council)) == 1
        assert chain.call("Members", "isActive", applicant.institution)
        assert admit(chain, sender_of(devnet), [applicant], council) == []

    def test_a_stranger_counts_for_nothing(self, devnet: Devnet, chain: Chain) -> None:
        applicant = Applicant(checksum_address(bytes([6]) * 20), "South")
        with pytest.raises(RevertedError) as caught:
            admit(chain, sender_of(devnet), [applicant], [signer(devnet, 1), signer(devnet, 7)])
        assert caught.value.error == "MembersNotCouncil"

    def test_a_referee_is_allowed_and_disallowed(self, devnet: Devnet, chain: Chain) -> None:
        referee = chain.address_of("Referee")
        council = [signer(devnet, 1), signer(devnet, 2)]
        assert not is_allowed(chain, referee)
        assert allow_referee(chain, sender_of(devnet), referee, council) is not None
        assert is_allowed(chain, referee)
        assert allow_referee(chain, sender_of(devnet), referee, council) is None
        assert allow_referee(chain, sender_of(devnet), referee, council, allowed=False) is not None
        assert not is_allowed(chain, referee)

    def test_funding_tops_up_and_never_twice(self, devnet: Devnet, chain: Chain) -> None:
        account = LocalSigner(bytes([5]) * 32).address
        grants = [Grant(account, 10**17, 3 * 10**18)]
        assert len(fund(chain, sender_of(devnet), grants)) == 2
        assert chain.balance(account) == 10**17
        assert chain.call("CollegiumToken", "balanceOf", account) == 3 * 10**18
        assert fund(chain, sender_of(devnet), grants) == []


class TestInput:
    @given(st.integers(0, 2**64 - 1), st.binary(min_size=20, max_size=20))
    def test_contract_address_is_that_of_rlp(self, nonce: int, deployer: bytes) -> None:
        expected = bytes(keccak(rlp.encode([deployer, nonce])))[12:]
        assert compute_contract_address("0x" + deployer.hex(), nonce) == checksum_address(expected)

    @given(st.decimals(min_value=0, max_value=10**9, places=18, allow_nan=False, allow_infinity=False))
    def test_amounts_are_exact(self, amount: object) -> None:
        assert to_wei(f"{amount:f}") == int(amount * 10**18)  # type: ignore[operator]

    @pytest.mark.parametrize("text", ["", "x", "-1", "0.0000000000000000001", "nan"])
    def test_no_amount(self, text: str) -> None:
        with pytest.raises(UsageError):
            to_wei(text)

    def test_grant_needs_three_parts(self) -> None:
        with pytest.raises(UsageError, match="no grant"):
            read_grant("0x" + "11" * 20 + ",1")

    def test_applicant_from_an_address_or_a_file(self, tmp_path: Path) -> None:
        address = checksum_address(bytes([3]) * 20)
        assert read_applicant(f"{address}=North Clinic") == Applicant(address, "North Clinic")
        path = tmp_path / "request.json"
        path.write_text(f'{{"data": {{"institution": "{address}", "name": "West", "profile": "0x{"01" * 32}"}}}}')
        assert read_applicant(str(path)) == Applicant(address, "West", bytes([1]) * 32)
        # As `collegium institution register --json` prints it.
        path.write_text(f'{{"data": {{"request": {path.read_text()[9:-1]}}}}}')
        assert read_applicant(str(path)) == Applicant(address, "West", bytes([1]) * 32)
        with pytest.raises(PreconditionError, match="names no institution"):
            read_applicant(str(tmp_path / "missing.json"))

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"council": {"members": [], "threshold": 1}}, "cannot have the threshold"),
            ({"council": {"members": ["0x" + "11" * 20] * 2, "threshold": 1}}, "twice"),
            ({"council": {"memberz": []}}, "memberz"),
            ({"tokens": {}}, "tokens"),
            ({"minimum_windows": {"evidence": 10**9}}, "Stake would leave"),
            ({"council": {"members": ["0x12"], "threshold": 1}}, "incomplete or wrong"),
        ],
    )
    def test_policy_names_what_is_wrong(self, change: dict[str, object], message: str) -> None:
        good = {"council": {"members": ["0x" + "11" * 20], "threshold": 1}}
        with pytest.raises(ConfigError, match=message):
            Policy.from_mapping({**good, **change})
