"""ERC-2612 permits of the stake token: an approval signed instead of sent, so that a deposit is one transaction."""

from __future__ import annotations

from eth_hash.auto import keccak

from collegium.fields import abi_word, checksum_address

from .client import Chain

__all__ = ["permit_digest"]

_DOMAIN = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_PERMIT = keccak(b"Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")
_VERSION = keccak(b"1")


def permit_digest(chain: Chain, payer: str, amount: int, deadline: int) -> bytes:
    """The 32 bytes that `payer` signs to let Bonds take `amount` token wei until `deadline`, unix seconds.

    Token, chain and Bonds are those of the deployment, never the node's word: a node that lies about name or nonce
    gets a signature that is good for nothing.
    """
    token, spender = chain.address_of("CollegiumToken"), chain.address_of("Bonds")
    name, nonce = chain.call("CollegiumToken", "name"), chain.call("CollegiumToken", "nonces", payer)
    chain_id = chain.chain_id.to_bytes(32, "big")
    domain = keccak(_DOMAIN + keccak(str(name).encode()) + _VERSION + chain_id + abi_word("address", token))
    words = [abi_word("address", checksum_address(each)) for each in (payer, spender)]
    words += [abi_word("uint256", number) for number in (amount, nonce, deadline)]
    return bytes(keccak(b"\x19\x01" + domain + keccak(_PERMIT + b"".join(words))))
