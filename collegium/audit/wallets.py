"""Signatures of accounts and of wallet contracts, in every form the contracts accept."""

from __future__ import annotations

from collegium import messages
from collegium.chain import Chain
from collegium.errors import CollegiumError, RevertedError

__all__ = ["ask_wallet", "recover_any"]

_MAGIC = bytes.fromhex("1626ba7e")
"""What `isValidSignature(bytes32,bytes)` returns for a good signature; also its selector."""
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


def recover_any(digest: bytes, signature: bytes) -> str | None:
    """Signer of a compact signature or of r, s, v; None when it is neither."""
    if len(signature) == 65:
        r, s, v = signature[:32], int.from_bytes(signature[32:64], "big"), signature[64]
        if v not in (27, 28) or s > _HALF_ORDER:
            return None
        signature = r + (s | (v - 27) << 255).to_bytes(32, "big")
    try:
        return messages.recover(digest, signature)
    except CollegiumError:
        return None


def ask_wallet(chain: Chain, wallet: str, digest: bytes, signature: bytes, block: int) -> bool | None:
    """What a contract says of a signature as of `block`, or now where the node keeps no history; None for an EOA."""
    from eth_abi.abi import encode

    if chain.rpc.request("eth_getCode", wallet, "latest") in ("0x", None):
        return None
    data = "0x" + (_MAGIC + encode(["bytes32", "bytes"], [digest, signature])).hex()
    for at in (block, "latest"):
        try:
            return chain.eth_call({"to": wallet, "data": data}, at)[:4] == _MAGIC
        except RevertedError:
            return False
        except CollegiumError:
            continue
    return False
