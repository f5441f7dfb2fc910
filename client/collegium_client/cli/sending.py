"""Sending transactions from a command: shown first, checked by a call, confirmed, then sent once."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from collegium.errors import UsageError

from .framework import App

if TYPE_CHECKING:
    from collegium.chain import Chain, Intent, Receipt

    from collegium_client.home import Home

__all__ = ["parse_tokens", "send", "tokens"]

DECIMALS = 18


def tokens(amount: int) -> str:
    """Token wei as a decimal number of tokens."""
    text = f"{Decimal(amount).scaleb(-DECIMALS):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_tokens(text: str) -> int:
    """A decimal number of tokens as token wei. Raises UsageError."""
    try:
        amount = Decimal(text).scaleb(DECIMALS)
    except InvalidOperation:
        raise UsageError(f"{text!r} is not a number of tokens.", hint="Write it as 1500 or 0.25.") from None
    if not amount.is_finite() or amount <= 0 or amount != amount.to_integral_value():
        raise UsageError(
            f"{text} tokens cannot be sent.", hint=f"Use a positive number with at most {DECIMALS} decimals."
        )
    return int(amount)


def send(
    app: App, home: Home, chain: Chain, intents: Sequence[Intent], *, question: str, typed: str = ""
) -> list[Receipt]:
    """Show, confirm and send in order; an empty list after `--dry-run`.

    question: what a person agrees to. typed: what must be typed to agree, for what cannot be undone.
    Raises what the contracts refuse, in plain words; nothing was sent then.
    """
    for intent in intents:
        arguments = ", ".join(_short(argument) for argument in intent.args)
        app.say(f"{intent.to}.{intent.function or 'transfer'}({arguments})")
    app.say(f"  from {chain.signer.address} on chain {chain.chain_id} ({home.settings.get('network', 'rpc_url')})")
    if app.dry_run:
        app.say("Nothing was sent: --dry-run.")
        return []
    app.ask(question, typed=typed)
    receipts = []
    with home.outbox(chain) as outbox:
        for intent in intents:
            receipt = outbox.submit(intent)
            app.say(f"  {intent.function}: {receipt.gas_used:,} gas, transaction {receipt.transaction}")
            receipts.append(receipt)
    return receipts


def _short(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        text = bytes(value).hex()
        return f"0x{text[:8]}…({len(value)} bytes)" if len(text) > 16 else f"0x{text}"
    return str(value)
