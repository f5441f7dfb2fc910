"""What signs: one protocol, so that a hardware or remote signer fits beside a local key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from collegium.messages import address_of, sign

__all__ = ["LocalSigner", "Signer"]


@runtime_checkable
class Signer(Protocol):
    """An account that signs transactions and EIP-712 digests."""

    @property
    def address(self) -> str:
        """Checksummed address."""

    def sign_transaction(self, transaction: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Raw transaction and its 32-byte hash. `transaction` has eth_account's field names and ints."""

    def sign_digest(self, digest: bytes) -> bytes:
        """Compact signature (r, vs) of 32 bytes: 64 bytes, low s."""


class LocalSigner:
    """A private key in this process. Its repr never shows the key."""

    def __init__(self, private_key: bytes) -> None:
        if len(private_key) != 32:
            raise ValueError("a private key has 32 bytes")
        self._key = bytes(private_key)
        self._address = address_of(self._key)

    @property
    def address(self) -> str:
        return self._address

    @property
    def private_key(self) -> bytes:
        """The key itself, for writing a keystore and for deriving the salt secret."""
        return self._key

    def sign_transaction(self, transaction: Mapping[str, Any]) -> tuple[bytes, bytes]:
        from eth_account import Account

        signed = Account.sign_transaction(dict(transaction), self._key)
        return bytes(signed.raw_transaction), bytes(signed.hash)

    def sign_digest(self, digest: bytes) -> bytes:
        return sign(digest, self._key)

    def __repr__(self) -> str:
        return f"LocalSigner({self._address})"
