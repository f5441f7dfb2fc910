"""A devnet with the stake token on it: small, fast, and its Transfer events count effects exactly."""

from __future__ import annotations

import functools
import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode

from collegium.chain import Chain, Deployment, LocalSigner, NetworkSettings, Rpc
from collegium.chain.devnet import Devnet
from collegium.chain.rpc import to_int
from scripts.setup.paths import ROOT, environment, tool

SUPPLY = 10**27


@functools.cache
def token_code() -> bytes:
    """Creation code of CollegiumToken, compiled here so that no other step must run first."""
    source = "contracts/CollegiumToken.sol"
    request = {
        "language": "Solidity",
        "sources": {source: {"content": (ROOT / source).read_text()}},
        "settings": {
            "remappings": ["@openzeppelin/contracts/=node_modules/@openzeppelin/contracts/"],
            "outputSelection": {"*": {"CollegiumToken": ["evm.bytecode.object"]}},
        },
    }
    done = subprocess.run(
        [str(tool("solc")), "--standard-json", "--base-path", str(ROOT)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    contract = json.loads(done.stdout)["contracts"][source]["CollegiumToken"]
    return bytes.fromhex(contract["evm"]["bytecode"]["object"])


@dataclass(frozen=True)
class World:
    """A chain with a token whose whole supply is the first account's."""

    devnet: Devnet
    deployment: Deployment

    @classmethod
    def create(cls, devnet: Devnet) -> World:
        rpc = Rpc(devnet.url)
        owner = LocalSigner(devnet.key(0))
        creation = token_code() + encode(
            ["string", "string", "address", "uint256"], ["Stake", "STK", owner.address, SUPPLY]
        )
        receipt = send_raw(rpc, owner, data=creation)
        deployment = Deployment(
            chain_id=devnet.record.chain_id,
            start_block=to_int(receipt["blockNumber"]),
            deployer=owner.address,
        ).with_contract("CollegiumToken", receipt["contractAddress"])
        return cls(devnet, deployment)

    @property
    def rpc(self) -> Rpc:
        return Rpc(self.devnet.url)

    def signer(self, index: int = 0) -> LocalSigner:
        return LocalSigner(self.devnet.key(index))

    def chain(self, index: int = 0, *, rpc_url: str | None = None, **settings: Any) -> Chain:
        network = NetworkSettings(
            rpc_url=rpc_url or self.devnet.url,
            chain_id=self.devnet.record.chain_id,
            **{"poll_interval": 0.05, "retry_for": 5.0, **settings},
        )
        return Chain.connect(network, self.signer(index), deployment=self.deployment)

    def balance(self, account: str) -> int:
        return int(self.chain().call("CollegiumToken", "balanceOf", account))

    def automine(self, on: bool) -> None:
        self.rpc.request("evm_setAutomine", on)

    def mine(self, blocks: int = 1) -> None:
        self.rpc.request("anvil_mine", hex(blocks))


def send_raw(rpc: Rpc, signer: LocalSigner, *, to: str = "", data: bytes = b"", gas: int = 4_000_000) -> dict[str, Any]:
    """Send past the outbox and wait: what a foreign tool would do."""
    transaction = {
        "type": 2,
        "chainId": to_int(rpc.request("eth_chainId")),
        "nonce": to_int(rpc.request("eth_getTransactionCount", signer.address, "pending")),
        "to": to,
        "value": 0,
        "data": data,
        "gas": gas,
        "maxFeePerGas": 10**11,
        "maxPriorityFeePerGas": 10**9,
    }
    raw, digest = signer.sign_transaction(transaction)
    rpc.request("eth_sendRawTransaction", "0x" + raw.hex())
    return wait_for(lambda: rpc.request("eth_getTransactionReceipt", "0x" + digest.hex()))


def wait_for(look: Any, seconds: float = 10.0) -> Any:
    """The first truthy answer of `look`."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if found := look():
            return found
        time.sleep(0.05)
    raise AssertionError("nothing happened in time")


def named(events: Sequence[Any], name: str) -> list[Any]:
    return [event for event in events if event.name == name]
