"""What each immutable of a deployed contract must hold: a rule per variable, from the creation's public data.

A variable without a rule is an error of this release, and a test asks that there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eth_hash.auto import keccak

from .children import CHILDREN, compute_created_address
from .targets import Target

__all__ = ["RULES", "compute_expected"]

Rule = Callable[[Target], int]


def compute_expected(target: Target, variable: str) -> int | None:
    """Value of `Contract.variable` as a word; None when there is no rule for it."""
    rule = RULES.get(variable)
    return None if rule is None else rule(target)


def _address(text: str) -> int:
    return int(text, 16)


def _argument(name: str) -> Rule:
    def rule(target: Target) -> int:
        value: Any = target.arguments[name]
        return int(value, 16) if isinstance(value, str) else int(value)

    return rule


def _creator(target: Target) -> int:
    return _address(target.creator)


def _child(name: str) -> Rule:
    return lambda target: _address(compute_created_address(target.address, CHILDREN[name].nonce))


def _domain_name(target: Target) -> str:
    """The stake token's EIP-712 domain, for permits, has the token's own name."""
    return str(target.arguments["name_"]) if target.name == "CollegiumToken" else "Collegium"


def _domain(target: Target) -> int:
    head = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
    words = keccak(_domain_name(target).encode()) + keccak(b"1") + target.chain_id.to_bytes(32, "big")
    return int.from_bytes(keccak(head + words + bytes(12) + bytes.fromhex(target.address[2:])), "big")


def _short(text: str) -> int:
    """OpenZeppelin's ShortString: the bytes from the left, the length last; 0xff for what lies in storage instead."""
    data = text.encode()
    return int.from_bytes(data.ljust(31, b"\0") + bytes([len(data)]), "big") if len(data) < 32 else 0xFF


def _hash(text: str) -> int:
    return int.from_bytes(keccak(text.encode()), "big")


def _windows(target: Target) -> int:
    """Six 32-bit windows, the first lowest. JSON keeps them as a list or as an object in the struct's order."""
    given: Sequence[int] | Mapping[str, int] = target.arguments["minimum"]
    values = list(given.values()) if isinstance(given, Mapping) else list(given)
    return sum(int(value) << (32 * at) for at, value in enumerate(values))


RULES: Mapping[str, Rule] = {
    "Collegium.DEPLOYER": _creator,
    "Collegium.STUDIES": _child("Studies"),
    "Collegium.DOMAIN_CHAIN": lambda target: target.chain_id,
    "Collegium.DOMAIN_SEPARATOR": _domain,
    "CollegiumState.MEMBERS": _argument("members_"),
    "CollegiumState.BONDS": _argument("bonds_"),
    "Studies.MINIMUM_WINDOWS": _windows,
    "Refutations.COLLEGIUM": _argument("collegium"),
    "Refutations.BONDS": _argument("bonds"),
    "Refutations.MEMBERS": _argument("members"),
    "Members._deployer": _creator,
    "Members._threshold": _argument("threshold"),
    "Bonds._token": _argument("token_"),
    "Bonds._deployer": _creator,
    "Bonds.UNBONDING_PERIOD": _argument("unbondingPeriod"),
    "Bonds.REWARD_HOLD": _argument("rewardHold"),
    "EIP712._cachedDomainSeparator": _domain,
    "EIP712._cachedChainId": lambda target: target.chain_id,
    "EIP712._cachedThis": lambda target: _address(target.address),
    "EIP712._hashedName": lambda target: _hash(_domain_name(target)),
    "EIP712._hashedVersion": lambda _: _hash("1"),
    "EIP712._name": lambda target: _short(_domain_name(target)),
    "EIP712._version": lambda _: _short("1"),
}
