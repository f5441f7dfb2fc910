"""Sending a transaction from the command line: show it, try it, ask, send it, tell what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collegium.chain import Chain, Intent, Outbox, Receipt
from collegium.chain.abi import interface, to_jsonable
from collegium.cli.framework import App
from collegium.errors import KeyMissingError

if TYPE_CHECKING:
    from collegium_client.home import Home

__all__ = ["Sent", "require_key", "send"]


def require_key(home: Home, role: str) -> None:
    """For commands that any key may send. Raises KeyMissingError that names the keys of this home."""
    path = home.keystore(role)
    if path.exists():
        return
    known = [found.stem for found in sorted((home.folder / "keystore").glob("*.json"))]
    hint = "This home has no key. Make one with `collegium keys new NAME`, then name it with --as NAME."
    if known:
        hint = f"This home has {', '.join(known)}: name one with --as KEY."
    raise KeyMissingError(f"There is no {role} key at {path}.", hint=hint)


@dataclass(frozen=True)
class Sent:
    """Receipts in order; empty after a dry run."""

    receipts: tuple[Receipt, ...]
    preview: tuple[dict[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """For the envelope."""
        return {
            "sent": bool(self.receipts),
            "transaction": self.receipts[-1].transaction if self.receipts else None,
            "transactions": [
                {
                    "hash": receipt.transaction,
                    "block": receipt.block,
                    "gas_used": receipt.gas_used,
                    "fee_wei": str(receipt.gas_used * receipt.gas_price),
                }
                for receipt in self.receipts
            ],
            "preview": list(self.preview),
        }


def send(app: App, chain: Chain, outbox: Outbox, intents: Sequence[Intent], *, question: str, typed: str = "") -> Sent:
    """Show and confirm, then send one after the other. With `--dry-run` nothing is sent.

    The first call is simulated before anybody is asked, so a refusal costs nothing. Raises what sending raises.
    """
    previews = tuple(_preview(chain, intent) for intent in intents)
    for preview in previews:
        app.say(f"  {preview['contract']}.{preview['function']}  to {preview['to']}")
        for line in _lines(preview["arguments"], "      "):
            app.say(line)
    head = chain.rpc.header("latest")
    base = head.base_fee if head is not None and head.base_fee is not None else 0
    app.say(f"  from {chain.signer.address} on chain {chain.chain_id}, base fee {base / 1e9:.3f} gwei")
    _simulate(chain, intents[0])
    if app.dry_run:
        app.say("  dry run: nothing was sent")
        return Sent((), previews)
    app.ask(question, typed=typed)
    receipts = []
    for intent in intents:
        receipt = outbox.submit(intent)
        app.say(f"  mined in block {receipt.block}: {receipt.transaction} ({receipt.gas_used} gas)")
        receipts.append(receipt)
    return Sent(tuple(receipts), previews)


def _simulate(chain: Chain, intent: Intent) -> None:
    if intent.function:
        data = interface(intent.to).function(intent.function).encode(intent.args)
        call = {"from": chain.signer.address, "to": chain.address_of(intent.to), "data": "0x" + data.hex()}
        chain.eth_call(call, "pending")


def _preview(chain: Chain, intent: Intent) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if intent.function:
        function = interface(intent.to).function(intent.function)
        arguments = to_jsonable(function.describe_input(function.encode(intent.args)))
    return {
        "contract": intent.to,
        "function": intent.function or "transfer",
        "to": chain.address_of(intent.to),
        "arguments": arguments,
        "value_wei": str(intent.value),
    }


def _lines(arguments: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in arguments.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}:", *_lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for at, each in enumerate(value):
                lines += [f"{indent}{name}[{at}]:", *_lines(each, indent + "  ")]
        else:
            lines.append(f"{indent}{name}: {_shorten(value)}")
    return lines


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
