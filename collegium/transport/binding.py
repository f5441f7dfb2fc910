"""A binding: a node key's signature that a TLS key speaks for it, carried in an X.509 extension.

The extension's value is a DER OCTET STRING of 121 bytes, big-endian:

    version u8 = 1 || node address (20) || chain id u64 || Collegium address (20) || expiry u64 || signature (64)

and the signature, compact with low s, is over

    keccak("collegium/1/tls" || chain id u64 || Collegium address || node address || expiry u64 || SHA-256(SPKI))

where SPKI is the DER of the certificate's SubjectPublicKeyInfo. The prefix is longer than and different from the
0x1901 of EIP-712 and from every other tag, so no signature for another purpose is one for this, or the other way.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Protocol, Self

from eth_hash.auto import keccak

from collegium.errors import CollegiumError

from .errors import CertificateError

__all__ = ["OID", "Binding", "DigestSigner", "Domain"]

OID = f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, 'collegium/1/tls').int}"
"""Under 2.25, the arc where a UUID is its own registration (ITU-T X.667)."""
TAG = b"collegium/1/tls"
VERSION = 1
BYTES = 1 + 20 + 8 + 20 + 8 + 64


class DigestSigner(Protocol):
    """The node key: `collegium.chain.Signer` is one."""

    @property
    def address(self) -> str: ...

    def sign_digest(self, digest: bytes, /) -> bytes: ...


@dataclass(frozen=True)
class Domain:
    """Where a binding counts. contract: checksummed address of Collegium."""

    chain_id: int
    contract: str


@dataclass(frozen=True)
class Binding:
    """node: checksummed address that signed. expiry: unix seconds from which on it counts no more."""

    node: str
    domain: Domain
    expiry: int
    signature: bytes

    @classmethod
    def sign(cls, signer: DigestSigner, domain: Domain, *, public_key: bytes, expiry: int) -> Self:
        """public_key: DER of the SubjectPublicKeyInfo."""
        digest = _digest(signer.address, domain, public_key, expiry)
        return cls(signer.address, domain, expiry, bytes(signer.sign_digest(digest)))

    def verify(self, public_key: bytes) -> None:
        """Raises CertificateError: the node key did not sign this key."""
        from collegium.messages import recover

        try:
            signer = recover(_digest(self.node, self.domain, public_key, self.expiry), self.signature)
        except CollegiumError as error:
            raise CertificateError(
                f"The binding in the certificate has no valid signature: {error.message}", hint=_ANEW
            ) from error
        if signer != self.node:
            raise CertificateError(
                f"The certificate claims node key {self.node}, which did not sign its public key.",
                hint=_ANEW, node=self.node,
            )  # fmt: skip

    def to_der(self) -> bytes:
        """Value of the extension."""
        words = (
            VERSION.to_bytes(1, "big"), _address(self.node), self.domain.chain_id.to_bytes(8, "big"),
            _address(self.domain.contract), self.expiry.to_bytes(8, "big"), self.signature,
        )  # fmt: skip
        return bytes((0x04, BYTES)) + b"".join(words)

    @classmethod
    def from_der(cls, value: bytes) -> Self:
        """Raises CertificateError: not of this form. Nothing is verified."""
        from collegium.records import checksum_address

        if len(value) != BYTES + 2 or value[:2] != bytes((0x04, BYTES)) or value[2] != VERSION:
            raise CertificateError("The certificate's binding to a node key is malformed.", hint=_ANEW)
        body = value[3:]
        node, chain, contract, expiry, signature = body[:20], body[20:28], body[28:48], body[48:56], body[56:]
        domain = Domain(int.from_bytes(chain, "big"), checksum_address("0x" + contract.hex()))
        return cls(checksum_address("0x" + node.hex()), domain, int.from_bytes(expiry, "big"), signature)


_ANEW = "Its owner makes a new one with `collegium tls new`."


def _address(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _digest(node: str, domain: Domain, public_key: bytes, expiry: int) -> bytes:
    return bytes(
        keccak(
            TAG + domain.chain_id.to_bytes(8, "big") + _address(domain.contract) + _address(node)
            + expiry.to_bytes(8, "big") + hashlib.sha256(public_key).digest()
        )
    )  # fmt: skip
