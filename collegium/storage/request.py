"""A signed request to write a blob: who wants to, for which study, and when.

The headers carry the node key, the time, the study and a compact signature over
keccak("collegium/1/put" || cid (36 bytes) || time u64 || study u64 || chain id u64), big-endian.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from eth_hash.auto import keccak

from collegium.errors import CollegiumError, UnauthorizedError
from collegium.storage.cid import Cid
from collegium.storage.errors import StoreRequestError
from collegium.storage.store import DigestSigner

__all__ = ["WINDOW_SECONDS", "PutRequest", "compute_put_digest", "read_put_request", "sign_put"]

WINDOW_SECONDS = 120
"""How far the time of a request may be from the store's clock, in both directions."""

KEY = "x-collegium-key"
TIME = "x-collegium-time"
STUDY = "x-collegium-study"
SIGNATURE = "x-collegium-signature"
LENGTH = "x-collegium-length"
"""Bytes of the blob announced by a HEAD that asks whether a PUT would be accepted."""

_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)
_COMPACT = re.compile(r"0x[0-9a-fA-F]{128}|[0-9a-fA-F]{128}", re.ASCII)


@dataclass(frozen=True)
class PutRequest:
    """A verified request.

    key: checksummed address of the node key that signed. time: unix seconds.
    """

    key: str
    study_id: int
    time: int


def compute_put_digest(cid: Cid, *, time: int, study_id: int, chain_id: int) -> bytes:
    """What the writer signs, 32 bytes."""
    words = b"".join(number.to_bytes(8, "big") for number in (time, study_id, chain_id))
    return keccak(b"collegium/1/put" + cid.to_bytes() + words)


def sign_put(signer: DigestSigner, cid: Cid, *, time: int, study_id: int, chain_id: int) -> dict[str, str]:
    """The headers of a signed request."""
    digest = compute_put_digest(cid, time=time, study_id=study_id, chain_id=chain_id)
    return {
        "X-Collegium-Key": signer.address,
        "X-Collegium-Time": str(time),
        "X-Collegium-Study": str(study_id),
        "X-Collegium-Signature": bytes(signer.sign_digest(digest)).hex(),
    }


def read_put_request(headers: Mapping[str, str], cid: Cid, *, chain_id: int, now: float) -> PutRequest:
    """Verify the headers (names in lower case) of a request that arrived at `now`, unix seconds.

    Raises:
        UnauthorizedError: a header is missing, the time is outside the window, or another key signed.
        StoreRequestError: a header has the wrong form.
    """
    from collegium.messages import recover

    key = _header(headers, KEY, _ADDRESS, "an address")
    time = _number(headers, TIME)
    study_id = _number(headers, STUDY)
    signature = bytes.fromhex(_header(headers, SIGNATURE, _COMPACT, "64 bytes in hex").removeprefix("0x"))
    if abs(now - time) > WINDOW_SECONDS:
        raise UnauthorizedError(
            f"The request is {abs(now - time):.0f} s {'old' if now > time else 'ahead'}; "
            f"at most {WINDOW_SECONDS} s are accepted.",
            hint="Set the clocks of both machines (NTP) and try again.",
            time=time, now=int(now),
        )  # fmt: skip
    digest = compute_put_digest(cid, time=time, study_id=study_id, chain_id=chain_id)
    try:
        signer = recover(digest, signature)
    except CollegiumError as error:
        raise UnauthorizedError(f"The signature of the request is invalid: {error.message}", key=key) from error
    if signer.lower() != key.lower():
        raise UnauthorizedError(
            f"The request names key {key}, but another one signed it or signed something else.",
            hint=f"Check the blob, the study ({study_id}) and the chain id ({chain_id}) that were signed.",
            key=key, signer=signer,
        )  # fmt: skip
    return PutRequest(signer, study_id, time)


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str], what: str) -> str:
    value = headers.get(name)
    if value is None:
        raise UnauthorizedError(
            f"The request has no header {name}; writing needs the signature of a member.",
            hint="Sign the request with the node key of a member of the study.",
            header=name,
        )
    if not form.fullmatch(value):
        raise StoreRequestError(f"Header {name} is not {what}.", header=name)
    return value


def _number(headers: Mapping[str, str], name: str) -> int:
    value = int(_header(headers, name, _NUMBER, "a number"))
    if value >= 1 << 64:
        raise StoreRequestError(f"Header {name} is larger than 64 bits.", header=name)
    return value
