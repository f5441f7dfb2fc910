"""Gives accounts what they need to begin: the chain's own coin for gas, and stake tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from collegium.chain.abi import interface
from collegium.chain.client import Chain
from collegium.chain.rpc import to_int
from collegium.errors import UsageError
from collegium.records import checksum_address

from .sender import Mined, Sender, Transaction, drain, send

__all__ = ["Grant", "fund", "read_grant", "to_wei"]


@dataclass(frozen=True, slots=True)
class Grant:
    """What an account should have at least. coin, tokens: wei."""

    account: str
    coin: int
    tokens: int


def to_wei(amount: str) -> int:
    """Whole units with up to 18 decimals to wei. Raises UsageError."""
    try:
        value = Decimal(amount) * 10**18
    except InvalidOperation:
        value = Decimal(-1)
    if not value.is_finite() or value < 0 or value != value.to_integral_value():
        raise UsageError(f"{amount} is no amount.", hint="Write a number with at most 18 decimals, such as 2.5.")
    return int(value)


def read_grant(text: str) -> Grant:
    """`0xaddress,coin,tokens` in whole units. Raises UsageError."""
    parts = text.split(",")
    if len(parts) != 3:
        raise UsageError(f"{text} is no grant.", hint="Write 0xADDRESS,COIN,TOKENS, such as 0xabc…,1,500.")
    return Grant(checksum_address(parts[0]), to_wei(parts[1]), to_wei(parts[2]))


def fund(
    chain: Chain, sender: Sender, grants: Sequence[Grant], *, say: Callable[[str], None] = lambda line: None
) -> list[Mined]:
    """Bring every account up to its grant; what it has counts, so a rerun sends nothing twice.

    Raises InsufficientGasError or RevertedError when the sender has too little.
    """
    # After a crash what is still on its way counts as well: nothing is computed before it is in a block.
    drain(sender)
    token = interface("CollegiumToken")
    mined: list[Mined] = []
    for grant in grants:
        coin = grant.coin - to_int(sender.rpc.request("eth_getBalance", grant.account, "latest"))
        tokens = grant.tokens - chain.call("CollegiumToken", "balanceOf", grant.account)
        if coin > 0:
            mined.append(send(sender, Transaction(grant.account, b"", coin)))
        if tokens > 0:
            data = token.function("transfer").encode((grant.account, tokens))
            mined.append(send(sender, Transaction(chain.address_of("CollegiumToken"), data)))
        say(f"{grant.account}  {max(coin, 0) / 10**18:g} coin  {max(tokens, 0) / 10**18:g} tokens sent")
    if mined:
        sender.confirm(mined[-1])
    return mined
