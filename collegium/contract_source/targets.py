"""What is to be compared or published: each contract of a deployment with its creation and its arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import EncodingError

from collegium.chain.deployment import Deployment
from collegium.errors import ConfigError, PreconditionError, UsageError

from .children import CHILDREN, compute_created_address
from .release import Release, ReleasedContract

__all__ = ["Target", "find_targets"]


@dataclass(frozen=True, slots=True)
class Target:
    """One contract on a chain.

    creator: who creates it, an account or the parent contract. transaction: hash of the creation, 0x hex; for a
    child that of its parent. arguments: of the constructor, by parameter name. encoded: the same as bytes.
    """

    released: ReleasedContract
    chain_id: int
    address: str
    creator: str
    transaction: str
    block: int
    arguments: Mapping[str, Any]
    encoded: bytes

    @property
    def name(self) -> str:
        return self.released.name


def find_targets(deployment: Deployment, release: Release, names: Sequence[str] = ()) -> list[Target]:
    """Contracts of the deployment that this release knows, children after their parents; `names` narrows it.

    Raises UsageError for an unknown name, PreconditionError for one that is not deployed yet, ConfigError when the
    deployment's constructor arguments do not fit this release.
    """
    unknown = sorted(set(names) - set(release.contracts))
    if unknown:
        raise UsageError(
            f"This release has no contract {', '.join(unknown)}.", hint=f"One of {', '.join(release.contracts)}."
        )
    wanted = list(names) or [name for name in release.contracts if _root(name) in deployment.contracts]
    absent = sorted({_root(name) for name in wanted} - set(deployment.contracts))
    if absent or not wanted:
        raise PreconditionError(
            f"The deployment has no {', '.join(absent) or 'contract of this release'}.",
            hint="Finish it: run the deploy script again.",
        )
    return [_target(deployment, release.contracts[name]) for name in wanted]


def _root(name: str) -> str:
    return _root(CHILDREN[name].parent) if name in CHILDREN else name


def _target(deployment: Deployment, released: ReleasedContract) -> Target:
    name = released.name
    if name in CHILDREN:
        child = CHILDREN[name]
        parent = deployment.contracts[child.parent]
        address, creator = compute_created_address(parent.address, child.nonce), parent.address
        transaction, block = parent.transaction, parent.block
        given: Sequence[Any] = [parent.arguments[at] for at in child.arguments if at < len(parent.arguments)]
    else:
        entry = deployment.contracts[name]
        address, creator, transaction, block = entry.address, deployment.deployer, entry.transaction, entry.block
        given = entry.arguments
    return Target(
        released=released,
        chain_id=deployment.chain_id,
        address=address,
        creator=creator,
        transaction=transaction,
        block=block,
        arguments=_by_name(released, given),
        encoded=_encode(released, given),
    )


def _by_name(released: ReleasedContract, given: Sequence[Any]) -> dict[str, Any]:
    if len(given) != len(released.constructor):
        raise ConfigError(
            f"{released.name} was deployed with {len(given)} constructor arguments; this release has "
            f"{len(released.constructor)}.",
            hint="The deployment is of another release: install that one.",
        )
    return {str(each["name"]): value for each, value in zip(released.constructor, given, strict=True)}


def _encode(released: ReleasedContract, given: Sequence[Any]) -> bytes:
    _by_name(released, given)
    try:
        return encode([_type(each) for each in released.constructor], list(given))
    except (EncodingError, TypeError, ValueError) as error:
        raise ConfigError(
            f"The constructor arguments of {released.name} in the deployment file do not fit: {error}",
            hint="Copy the deployment file anew, or install the release that it is of.",
        ) from error


def _type(entry: Mapping[str, Any]) -> str:
    kind = str(entry["type"])
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(each) for each in entry['components'])}){kind[5:]}"
