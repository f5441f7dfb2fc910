"""Deploys the contracts of one chain and connects them, resumable at any transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from collegium.chain.abi import interface
from collegium.chain.client import Chain, NetworkSettings
from collegium.chain.deployment import CONTRACTS, Deployment
from collegium.contract_source.children import compute_created_address as compute_contract_address
from collegium.errors import ContractMismatchError

from .artifacts import load_artifacts
from .policy import Policy
from .progress import Progress
from .sender import Mined, Sender, SignedTransaction, Transaction

__all__ = ["Deployed", "check", "compute_contract_address", "deploy", "state_path"]

Say = Callable[[str], None]
COMPILER = {"name": "solc", "version": "0.8.30", "evmVersion": "prague", "optimizerRuns": 200, "viaIR": True}


@dataclass(frozen=True, slots=True)
class Deployed:
    """transactions: step to hash (0x hex), in order. gas: of the steps that this run sent or waited for."""

    deployment: Deployment
    transactions: dict[str, str]
    gas: int


def state_path(output: Path) -> Path:
    """Where the progress towards a deployment file is kept."""
    return output.with_name(f"{output.stem}.progress.json")


def deploy(sender: Sender, policy: Policy, output: Path, *, say: Say = lambda line: None) -> Deployed:
    """Deploy what is not yet deployed. `output` is rewritten after each creation, before it is waited for.

    Raises PreconditionError when `output` was begun with other parameters or on another chain, RevertedError,
    TimedOutError, ChainUnreachableError; after each of them the same call goes on where it stopped.
    """
    progress = Progress(state_path(output), sender, operation="deployment", parameters=policy.digest())
    run = _Run(sender, progress, output, say)
    windows = policy.minimum_windows
    run.create(
        "CollegiumToken",
        policy.token_name,
        policy.token_symbol,
        policy.token_recipient or sender.address,
        policy.token_supply * 10**18,
    )
    run.create("Members", list(policy.council), policy.threshold)
    run.create("Bonds", run.at("CollegiumToken"), policy.unbonding_period, policy.reward_hold)
    run.create("Referee")
    run.create(
        "Collegium",
        run.at("Members"),
        run.at("Bonds"),
        (windows.commit, windows.reveal, windows.certify, windows.propose, windows.challenge, windows.evidence),
        [],
    )
    run.create("Refutations", run.at("Collegium"), run.at("Bonds"), run.at("Members"))
    run.call("Members", "connect", run.at("Collegium"))
    run.call("Bonds", "connect", run.at("Collegium"), run.at("Refutations"))
    last = run.call("Collegium", "connect", run.at("Refutations"))
    sender.confirm(last)
    check(sender, run.deployment, policy)
    return Deployed(run.deployment, run.transactions, run.gas)


def check(sender: Sender, deployment: Deployment, policy: Policy) -> None:
    """Ask every contract whom it knows. Raises ContractMismatchError on the first wrong answer."""
    settings = NetworkSettings(rpc_url=sender.rpc.url, chain_id=sender.chain_id)
    chain = Chain.connect(settings, deployment=deployment)
    at = deployment.addresses
    council = chain.call("Members", "council")
    expected: Sequence[tuple[str, Any, Any]] = (
        ("council", [each.lower() for each in council["members"]], [each.lower() for each in policy.council]),
        ("threshold", council["threshold"], policy.threshold),
        ("Bonds.token", chain.call("Bonds", "token"), at["CollegiumToken"]),
        ("Collegium.refutations", chain.call("Collegium", "refutations"), at["Refutations"]),
        ("Refutations.COLLEGIUM", chain.call("Refutations", "COLLEGIUM"), at["Collegium"]),
        ("Refutations.BONDS", chain.call("Refutations", "BONDS"), at["Bonds"]),
        ("Refutations.MEMBERS", chain.call("Refutations", "MEMBERS"), at["Members"]),
    )
    for what, actual, wanted in expected:
        if actual != wanted:
            raise ContractMismatchError(
                f"{what} is {actual}, not {wanted}.", hint="This is not the deployment it claims to be; deploy anew."
            )


class _Run:
    """One run of `deploy`."""

    def __init__(self, sender: Sender, progress: Progress, output: Path, say: Say) -> None:
        self._sender = sender
        self._progress = progress
        self._output = output
        self._say = say
        self.gas = 0
        self.transactions: dict[str, str] = {}
        head = sender.rpc.header("latest")
        first = head.number + 1 if head else 0
        self.deployment = Deployment(sender.chain_id, first, sender.address, {}, COMPILER)

    def at(self, name: str) -> str:
        return self.deployment.contracts[name].address

    def create(self, name: str, *arguments: Any) -> None:
        artifact = load_artifacts()[name]
        addresses: dict[str, str] = {}

        def announce(signed: SignedTransaction) -> None:
            # Known before the network confirms it, so nothing that was paid for is ever lost.
            addresses[name] = compute_contract_address(self._sender.address, signed.nonce)
            self._record(name, addresses[name], signed.hash, arguments)

        mined = self._progress.perform(
            f"create {name}", lambda: Transaction(None, artifact.encode_creation(arguments)), announce=announce
        )
        if self._sender.rpc.request("eth_getCode", addresses[name], "latest") in ("0x", None):
            raise ContractMismatchError(
                f"There is no code at {addresses[name]}.", hint="Was the chain reset? Deploy anew."
            )
        self._record(name, addresses[name], mined.hash, arguments, mined.block)
        self._done(f"create {name}", mined, addresses[name])

    def call(self, name: str, function: str, *arguments: Any) -> Mined:
        data = interface(name).function(function).encode(arguments)
        step = f"{name}.{function}"
        mined = self._progress.perform(step, lambda: Transaction(self.at(name), data))
        self._done(step, mined, self.at(name))
        return mined

    def _record(self, name: str, address: str, digest: bytes, arguments: tuple[Any, ...], block: int = 0) -> None:
        shown = tuple(list(each) if isinstance(each, tuple) else each for each in arguments)
        found = self.deployment.with_contract(
            name, address, transaction="0x" + digest.hex(), arguments=shown, block=block
        )
        blocks = [each.block for each in found.contracts.values() if each.block]
        self.deployment = replace(found, start_block=min([found.start_block, *blocks]))
        assert set(found.contracts) <= set(CONTRACTS)
        self.deployment.save(self._output)

    def _done(self, step: str, mined: Mined, address: str) -> None:
        self.gas += mined.gas_used
        self.transactions[step] = "0x" + mined.hash.hex()
        self._say(f"{step:<24} {address}  0x{mined.hash.hex()}  {mined.gas_used:>9,} gas")
