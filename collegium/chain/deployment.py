"""Where the contracts of one chain are: `<chain id>.json`, packaged or in a file of the user's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Self

from collegium.errors import ConfigError, DeploymentMissingError, RecordError
from collegium.files import write_atomically
from collegium.records import checksum_address

__all__ = ["CONTRACTS", "DeployedContract", "Deployment"]

CONTRACTS = ("Collegium", "Refutations", "Referee", "Members", "Bonds", "CollegiumToken")
_SCHEMA = "collegium.deployment/1"


@dataclass(frozen=True, slots=True)
class DeployedContract:
    """transaction: hash of the creation, 0x hex. arguments: constructor arguments as JSON. block: of the creation."""

    address: str
    transaction: str = ""
    arguments: tuple[Any, ...] = ()
    block: int = 0


@dataclass(frozen=True, slots=True)
class Deployment:
    """start_block: no event of ours is older. compiler: version and settings, as the build tool names them."""

    chain_id: int
    start_block: int
    deployer: str
    contracts: Mapping[str, DeployedContract] = field(default_factory=dict)
    compiler: Mapping[str, Any] = field(default_factory=dict)

    @property
    def addresses(self) -> dict[str, str]:
        """Contract name to checksummed address."""
        return {name: contract.address for name, contract in self.contracts.items()}

    @property
    def is_complete(self) -> bool:
        """Whether every contract is there; a deployment in progress is saved after each one."""
        return set(CONTRACTS) <= set(self.contracts)

    def with_contract(
        self, name: str, address: str, *, transaction: str = "", arguments: tuple[Any, ...] = (), block: int = 0
    ) -> Self:
        """This deployment with one contract more."""
        contract = DeployedContract(checksum_address(address), transaction, arguments, block)
        return replace(self, contracts={**self.contracts, name: contract})

    def name_of(self, address: str) -> str | None:
        """The contract at an address."""
        wanted = address.lower()
        return next((name for name, each in self.contracts.items() if each.address.lower() == wanted), None)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "chainId": self.chain_id,
            "startBlock": self.start_block,
            "deployer": self.deployer,
            "compiler": dict(self.compiler),
            "contracts": {
                name: {
                    "address": each.address,
                    "transactionHash": each.transaction,
                    "args": list(each.arguments),
                    "block": each.block,
                }
                for name, each in self.contracts.items()
            },
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Raises ConfigError when a field is missing or no address."""
        try:
            return cls(
                chain_id=int(content["chainId"]),
                start_block=int(content["startBlock"]),
                deployer=checksum_address(content["deployer"]),
                compiler=dict(content.get("compiler", {})),
                contracts={
                    name: DeployedContract(
                        checksum_address(each["address"]),
                        str(each.get("transactionHash", "")),
                        tuple(each.get("args", ())),
                        int(each.get("block", 0)),
                    )
                    for name, each in content["contracts"].items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecordError) as error:
            raise ConfigError(
                f"Not a deployment file: {error!r}.", hint="It is written by the deploy script; copy it anew."
            ) from error

    def save(self, path: Path) -> None:
        """Write atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(self.to_json(), indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises DeploymentMissingError or ConfigError."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DeploymentMissingError(
                f"There is no deployment at {path}.",
                hint="Deploy first, or set network.deployment to the file that the operator gave you.",
                path=str(path),
            ) from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is not JSON: {error}.", hint="Copy the deployment file anew.") from error
        return cls.from_json(content)

    @classmethod
    def find(cls, chain_id: int, source: Path | str | None = None) -> Self:
        """The deployment of a chain: a file, a folder with `<chain id>.json`, or the packaged one.

        Raises DeploymentMissingError, and ConfigError when the file is of another chain.
        """
        if source:
            path = Path(source).expanduser()
            found = cls.load(path / f"{chain_id}.json" if path.is_dir() else path)
        else:
            packaged = resources.files("collegium") / "deployments" / f"{chain_id}.json"
            if not packaged.is_file():
                raise DeploymentMissingError(
                    f"No deployment for chain {chain_id} comes with this package.",
                    hint="Name the file that the operator gave you: `collegium config set network.deployment=FILE`, "
                    "or `collegium init --deployment FILE` for a new home.",
                    chain_id=chain_id,
                )
            found = cls.from_json(json.loads(packaged.read_text(encoding="utf-8")))
        if found.chain_id != chain_id:
            raise ConfigError(
                f"The deployment is of chain {found.chain_id}, not {chain_id}.",
                hint="Set network.deployment or network.chain_id so that they belong together.",
            )
        return found
