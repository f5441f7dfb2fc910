"""A connected chain: one node, one deployment, at most one signer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from collegium.egress import EgressLog
from collegium.errors import DeploymentMissingError, KeyMissingError
from collegium.messages import Domain
from collegium.records import checksum_address
from collegium.transport.proxies import Proxies

from .abi import interface
from .deployment import Deployment
from .errors import explain
from .rpc import DEVNET_CHAIN_ID, RETRY_FOR, TIMEOUT, Header, Rpc, RpcError, to_int
from .signer import Signer
from .windows import LOG_WINDOW

__all__ = ["Chain", "NetworkSettings"]


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """rpc_url: one endpoint, or several with commas between, asked in this order.

    deployment: file or folder; None takes the packaged one.
    rate, log_window, quorum: as in `Rpc`.
    confirmations: blocks on top before a block is acted on; None waits for the network's finalized block.
    poll_interval, timeout, retry_for, bump_after: seconds. bump_after: a transaction waiting that long is
    sent again with a higher fee.
    """

    rpc_url: str = "http://127.0.0.1:8545"
    chain_id: int = DEVNET_CHAIN_ID
    deployment: Path | str | None = None
    confirmations: int | None = 0
    poll_interval: float = 0.5
    timeout: float = TIMEOUT
    retry_for: float = RETRY_FOR
    bump_after: float = 45.0
    rate: float = 0.0
    log_window: int = LOG_WINDOW
    quorum: int = 1
    proxies: Proxies = field(default_factory=Proxies)

    @classmethod
    def of(cls, table: Mapping[str, Any], home: Path) -> Self:
        """From the `[network]` table of a party's settings. Raises ConfigError."""
        deployment, confirmations = table["deployment"], table["confirmations"]
        names = ("rpc_url", "chain_id", "poll_interval", "retry_for", "bump_after", "rate", "log_window", "quorum")
        return cls(
            **{name: table[name] for name in names},
            deployment=home / Path(deployment).expanduser() if deployment else None,
            confirmations=None if confirmations < 0 else confirmations,
            proxies=Proxies.of(table["proxy"], table["no_proxy"]),
        )


class Chain:
    """Reads and encodes; writing goes through an `Outbox`. Thread-safe."""

    def __init__(
        self,
        *,
        rpc: Rpc,
        deployment: Deployment,
        settings: NetworkSettings,
        signer: Signer | None = None,
        egress: EgressLog | None = None,
    ) -> None:
        self.rpc = rpc
        self.deployment = deployment
        self.settings = settings
        self.egress = egress
        """Where everything that is sent is written down first."""
        self._signer = signer

    @classmethod
    def connect(
        cls,
        settings: NetworkSettings,
        signer: Signer | None = None,
        *,
        deployment: Deployment | None = None,
        egress: EgressLog | None = None,
    ) -> Self:
        """Raises ChainUnreachableError, ChainIdMismatchError, DeploymentMissingError, ConfigError."""
        found = deployment or Deployment.find(settings.chain_id, settings.deployment)
        rpc = Rpc(
            settings.rpc_url, timeout=settings.timeout, retry_for=settings.retry_for, rate=settings.rate,
            log_window=settings.log_window, quorum=settings.quorum, egress=egress, proxies=settings.proxies,
        )  # fmt: skip
        rpc.check_chain(settings.chain_id)
        chain = cls(rpc=rpc, deployment=found, settings=settings, signer=signer, egress=egress)
        address = found.addresses.get("Collegium")
        if address and rpc.request("eth_getCode", address, "latest") in ("0x", None):
            raise DeploymentMissingError(
                f"There is no contract at {address} on the chain behind {rpc.name}.",
                hint="The deployment is of another chain of the same id, such as an earlier devnet; deploy again.",
                address=address,
            )
        return chain

    @property
    def chain_id(self) -> int:
        return self.settings.chain_id

    @property
    def signer(self) -> Signer:
        """Raises KeyMissingError when the chain was opened for reading."""
        if self._signer is None:
            raise KeyMissingError("This needs a key.", hint="Name one with --key, or make one: `collegium keys new`.")
        return self._signer

    def address_of(self, contract: str) -> str:
        """Address of a contract by name; an address is passed through."""
        if contract.startswith("0x"):
            return checksum_address(contract)
        try:
            return self.deployment.addresses[contract]
        except KeyError:
            raise DeploymentMissingError(
                f"The deployment has no {contract}.", hint="Finish it: run the deploy script again."
            ) from None

    def domain(self, contract: str = "Collegium") -> Domain:
        """EIP-712 domain of a contract."""
        return Domain(self.chain_id, self.address_of(contract))

    def call(
        self, contract: str, function: str, *arguments: Any, block: int | str = "latest", sender: str | None = None
    ) -> Any:
        """Result of a view: a value, or a dict by name when it returns several.

        block: `pending` sees the chain's time as of now, `latest` that of the last block.
        Raises RevertedError, ChainUnreachableError.
        """
        entry = interface(contract).function(function)
        call = {"to": self.address_of(contract), "data": "0x" + entry.encode(arguments).hex()}
        if sender is not None:
            call["from"] = sender
        data = self.eth_call(call, block)
        if not data and entry.outputs:
            raise DeploymentMissingError(
                f"{contract} at {call['to']} does not answer {function}.",
                hint="The deployment does not belong to this chain or is of another version.",
            )
        return entry.decode_output(data)

    def eth_call(self, call: dict[str, Any], block: int | str = "latest") -> bytes:
        """Return data. Raises the decoded error of a revert."""
        try:
            result = self.rpc.request("eth_call", call, block if isinstance(block, str) else hex(block))
        except RpcError as error:
            raise explain(error) from error
        return bytes.fromhex(result[2:])

    def head(self) -> Header | None:
        """The newest block that may be acted on, by the network's confirmations."""
        return self.rpc.head(self.settings.confirmations)

    def now(self) -> int:
        """Time that a transaction sent now would see, in unix seconds, as far as the node can tell."""
        block = None
        # Some providers know no pending block.
        with suppress(RpcError):
            block = self.rpc.request("eth_getBlockByNumber", "pending", False)
        if block is None:
            block = self.rpc.request("eth_getBlockByNumber", "latest", False)
        return to_int(block["timestamp"])

    def balance(self, address: str) -> int:
        """Wei of the chain's own coin."""
        return to_int(self.rpc.request("eth_getBalance", address, "latest"))
