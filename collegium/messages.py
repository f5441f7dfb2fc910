"""Signed messages: EIP-712 digests, compact signatures, and the packed items that relays carry.

A compact signature is r (32) then vs (32): s with the parity of y in its highest bit (EIP-2098). Only low s is
accepted, so one message has one signature per key.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from collegium.errors import HighSError, RecordError, SignatureError, SignerMismatchError, WireError
from collegium.fields import abi_word, camel_case, checksum_address
from collegium.records import (
    MAX_SEATS,
    Attestation,
    Endorsement,
    ExtFields,
    Message,
    Reveal,
    Signed,
    Update,
)

__all__ = [
    "ATTEST_BYTES",
    "COMMIT_BYTES",
    "ENDORSE_BYTES",
    "REVEAL_BYTES",
    "Domain",
    "address_of",
    "compute_domain_separator",
    "compute_struct_hash",
    "digest",
    "pack_approvals",
    "pack_attestations",
    "pack_commits",
    "pack_endorsements",
    "pack_reveals",
    "recover",
    "sign",
    "sign_message",
    "type_string",
    "unpack_attestations",
    "unpack_commits",
    "unpack_endorsements",
    "unpack_reveals",
    "verify_signed",
]

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_S_MASK = (1 << 255) - 1
_DOMAIN_TYPE = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_NAME_AND_VERSION = keccak(b"Collegium") + keccak(b"1")

COMMIT_BYTES = 134
REVEAL_BYTES = 144
ATTEST_BYTES = 81
ENDORSE_BYTES = 65


@dataclass(frozen=True, slots=True)
class Domain:
    """EIP-712 domain ("Collegium", "1", chain_id, contract)."""

    chain_id: int
    contract: str


@functools.lru_cache(maxsize=256)
def _domain_separator(chain_id: int, contract: str) -> bytes:
    words = _DOMAIN_TYPE + _NAME_AND_VERSION + chain_id.to_bytes(32, "big")
    return bytes(keccak(words + bytes(12) + bytes.fromhex(checksum_address(contract)[2:])))


def compute_domain_separator(domain: Domain) -> bytes:
    """What a contract's ``domainSeparator()`` returns."""
    return _domain_separator(domain.chain_id, domain.contract)


@functools.cache
def _typed_fields(kind: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(abi)) for name, abi in kind.field_types().items() if name not in kind.unsigned_fields)


@functools.cache
def type_string(kind: Any) -> str:
    """The EIP-712 ``encodeType`` of a message class."""
    members = ",".join(f"{abi} {camel_case(name)}" for name, abi in _typed_fields(kind))
    return f"{kind.primary_type}({members})"


@functools.cache
def _type_hash(kind: Any) -> bytes:
    return bytes(keccak(type_string(kind).encode()))


def compute_struct_hash(message: Message) -> bytes:
    """EIP-712 ``hashStruct``."""
    kind: Any = type(message)
    words = [_type_hash(kind)]
    for name, abi in _typed_fields(kind):
        value = getattr(message, name)
        words.append(keccak(value.encode()) if abi == "string" else abi_word(abi, value))
    return bytes(keccak(b"".join(words)))


def digest(message: Message, domain: Domain) -> bytes:
    """The 32 bytes that are signed."""
    return bytes(keccak(b"\x19\x01" + compute_domain_separator(domain) + compute_struct_hash(message)))


def sign(digest: bytes, private_key: bytes) -> bytes:
    """Deterministic compact signature (RFC 6979), 64 bytes, low s."""
    from coincurve import PrivateKey

    signature: bytes = PrivateKey(private_key).sign_recoverable(digest, hasher=None)
    r, s = signature[:32], int.from_bytes(signature[32:64], "big")
    parity = signature[64]
    if parity > 1:
        # r beyond the group order: probability 2^-128, and the compact form cannot carry it.
        raise SignatureError("The signature does not fit the compact form.", hint="Sign another message.")
    if s > _ORDER // 2:
        s, parity = _ORDER - s, parity ^ 1
    return r + (s | parity << 255).to_bytes(32, "big")


def sign_message(message: Message, domain: Domain, private_key: bytes) -> Signed[Message]:
    """The message with its signature in ``domain``."""
    return Signed(message, sign(digest(message, domain), private_key))


def recover(digest: bytes, signature: bytes) -> str:
    """Checksummed signer address. Raises ``HighSError`` or ``SignatureError``."""
    from coincurve import PublicKey

    if len(signature) != 64:
        raise SignatureError(f"A compact signature has 64 bytes, not {len(signature)}.")
    if len(digest) != 32:
        raise SignatureError(f"A digest has 32 bytes, not {len(digest)}.")
    vs = int.from_bytes(signature[32:], "big")
    s = vs & _S_MASK
    if s > _ORDER // 2:
        raise HighSError("The signature has a high s and could be a mirrored copy of another one.")
    recoverable = bytes(signature[:32]) + s.to_bytes(32, "big") + bytes([vs >> 255])
    try:
        key = PublicKey.from_signature_and_message(recoverable, digest, hasher=None)
    except Exception as error:
        raise SignatureError("No key gives this signature.", hint="The bytes were damaged or invented.") from error
    return _address(key.format(compressed=False))


def address_of(private_key: bytes) -> str:
    """Checksummed address of a private key."""
    from coincurve import PrivateKey

    return _address(PrivateKey(private_key).public_key.format(compressed=False))


def _address(public_key: bytes) -> str:
    return checksum_address(keccak(public_key[1:])[12:])


def verify_signed(signed: Signed[Message], domain: Domain, expected: str) -> None:
    """Raises ``SignerMismatchError`` unless ``expected`` signed the message in ``domain``."""
    actual = recover(digest(signed.message, domain), signed.signature)
    if actual != checksum_address(expected):
        raise SignerMismatchError(
            f"{signed.message.primary_type} was signed by {actual}, not by {expected}.",
            hint="The message may belong to another chain, contract or key.",
            actual=actual,
            expected=expected,
        )


def pack_approvals(digest: bytes, signatures: Sequence[bytes]) -> bytes:
    """Council signatures in ascending order of signer, as Members wants them."""
    by_signer = {int(recover(digest, signature), 16): signature for signature in signatures}
    return b"".join(by_signer[signer] for signer in sorted(by_signer))


# Wire items. The round, its ctx and what else is common to a batch are not repeated in the items.


def _split(data: bytes, size: int, name: str) -> list[bytes]:
    if not data or len(data) % size:
        raise WireError(
            f"{name} items have {size} bytes each; {len(data)} bytes are not a whole number of them.",
            length=len(data),
            item_length=size,
        )
    return [bytes(data[at : at + size]) for at in range(0, len(data), size)]


def _seat(index: int) -> int:
    if index >= MAX_SEATS:
        raise RecordError(f"Seat index {index} is not below {MAX_SEATS}.", index=index)
    return index


def pack_commits(updates: Sequence[Signed[Update]]) -> bytes:
    """index 2 | commitment 32 | weight 4 | ext 32 | r 32 | vs 32, per update."""
    return b"".join(
        struct.pack(">H32sI32s64s", _seat(u.index), u.commitment, u.weight, u.ext, signed.signature)
        for signed in updates
        for u in (signed.message,)
    )


def unpack_commits(data: bytes, *, study_id: int, round: int, ctx: bytes) -> list[Signed[Update]]:
    """The reverse of ``pack_commits``. Raises ``WireError`` on a wrong length."""

    def one(item: bytes) -> Signed[Update]:
        index, commitment, weight, ext, signature = struct.unpack(">H32sI32s64s", item)
        return Signed(Update(study_id, round, ctx, _seat(index), commitment, weight, ext), signature)

    return [one(item) for item in _split(data, COMMIT_BYTES, "Commit")]


def pack_reveals(reveals: Sequence[Reveal]) -> bytes:
    """index 2 | salt | root | contentDigest | weight 4 | dpProfile 2 | baseRound 4 | localSteps 4 | extras 32."""
    return b"".join(
        struct.pack(
            ">H32s32s32sIHII32s",
            _seat(r.index),
            r.salt,
            r.root,
            r.content_digest,
            r.weight,
            r.ext_fields.dp_profile,
            r.ext_fields.base_round,
            r.ext_fields.local_steps,
            r.ext_fields.extras,
        )
        for r in reveals
    )


def unpack_reveals(data: bytes) -> list[Reveal]:
    """The reverse of ``pack_reveals``. Raises ``WireError`` on a wrong length."""

    def one(item: bytes) -> Reveal:
        index, salt, root, content, weight, *ext = struct.unpack(">H32s32s32sIHII32s", item)
        return Reveal(_seat(index), salt, root, content, weight, ExtFields(*ext))

    return [one(item) for item in _split(data, REVEAL_BYTES, "Reveal")]


def pack_attestations(attestations: Sequence[Signed[Attestation]]) -> bytes:
    """index 1 | bitmap 16 | r 32 | vs 32, per attestation, sorted by index as ``certify`` demands."""
    ordered = sorted(attestations, key=lambda signed: signed.message.index)
    return b"".join(
        struct.pack(">B16s64s", _seat(a.index), a.bitmap.to_bytes(16, "big"), signed.signature)
        for signed in ordered
        for a in (signed.message,)
    )


def unpack_attestations(
    data: bytes, *, study_id: int, round: int, ctx: bytes, set_hash: bytes
) -> list[Signed[Attestation]]:
    """The reverse of ``pack_attestations``. Raises ``WireError`` on a wrong length."""

    def one(item: bytes) -> Signed[Attestation]:
        index, bitmap, signature = struct.unpack(">B16s64s", item)
        number = int.from_bytes(bitmap, "big")
        return Signed(Attestation(study_id, round, ctx, _seat(index), number, set_hash), signature)

    return [one(item) for item in _split(data, ATTEST_BYTES, "Attest")]


def pack_endorsements(endorsements: Sequence[Signed[Endorsement]]) -> bytes:
    """index 1 | r 32 | vs 32, per endorsement, sorted by index."""
    ordered = sorted(endorsements, key=lambda signed: signed.message.index)
    return b"".join(struct.pack(">B64s", _seat(signed.message.index), signed.signature) for signed in ordered)


def unpack_endorsements(
    data: bytes, *, study_id: int, round: int, ctx: bytes, proposal: bytes
) -> list[Signed[Endorsement]]:
    """The reverse of ``pack_endorsements``. Raises ``WireError`` on a wrong length."""

    def one(item: bytes) -> Signed[Endorsement]:
        return Signed(Endorsement(study_id, round, ctx, _seat(item[0]), proposal), item[1:])

    return [one(item) for item in _split(data, ENDORSE_BYTES, "Endorse")]
