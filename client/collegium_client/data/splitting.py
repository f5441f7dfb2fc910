"""Which cases are held out: decided by what a case is, so that it never changes side and duplicates stay together."""

from __future__ import annotations

import hashlib

__all__ = ["is_held_out"]


def is_held_out(key: bytes, share: float = 0.25) -> bool:
    """True for about `share` of all keys. `key`: the patient where known, else the case's content."""
    number = int.from_bytes(hashlib.sha256(b"collegium.holdout\0" + key).digest()[:8], "big")
    return number < share * 2**64
