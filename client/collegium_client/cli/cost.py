"""cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import UsageError

if TYPE_CHECKING:
    from collegium.chain import Rpc
    from collegium.costs import Estimate

__all__ = ["cost"]

GWEI, ETHER = 10**9, 10**18
HISTORY = 20
"""Blocks that the present price is read from."""


@command()
@click.option("--hospitals", type=int, required=True, help="How many take part in every round.")
@click.option("--rounds", type=int, default=10, show_default=True, help="How many rounds.")
@click.option("--aggregators", type=int, default=2, show_default=True, help="How many coordinators enlist.")
@click.option("--parameters", type=int, default=1_000_000, show_default=True, help="Size of the model.")
@click.option("--batch", type=int, default=128, show_default=True,
              help="Messages that a coordinator carries at once; 1: each hospital sends its own.")  # fmt: skip
@click.option("--refutations", type=int, default=1, show_default=True, help="How many wrong aggregates to reckon with.")
@click.option("--gas-price", help="Gwei per gas, instead of asking the node.")
@click.option("--rpc", "--rpc-url", "rpc_url", help="JSON-RPC address of the network [default: the home's].")
@click.option("--rate", help="What one coin of the network costs, in your currency.")
@click.option("--currency", default="", help="Its name, such as EUR.")
def cost(
    app: App,
    hospitals: int,
    rounds: int,
    aggregators: int,
    parameters: int,
    batch: int,
    refutations: int,
    gas_price: str | None,
    rpc_url: str | None,
    rate: str | None,
    currency: str,
) -> Shown:
    """Estimate what a federation costs before it is deployed: gas by act and payer, at the network's present price.

    Needs no deployment and no key; with --gas-price not even a network.
    """
    from collegium.costs import TOLERANCE, Federation, GasTable, estimate

    found = estimate(
        GasTable.load(),
        Federation(hospitals, rounds=rounds, aggregators=aggregators, parameters=parameters, batch=batch,
                   refutations=refutations),
    )  # fmt: skip
    exchange = None if rate is None else _decimal(rate, "--rate")
    prices = _given(gas_price) if gas_price is not None else _ask(_rpc(app, rpc_url))
    for warning in found.warnings:
        app.warn(warning)
    data = {
        "hospitals": hospitals,
        "rounds": rounds,
        "items": [item.to_json() for item in found.items],
        "gas": {group: found.gas(group) for group in _GROUPS} | {"total": found.gas()},
        "per_round_gas": found.round_gas,
        "per_round_and_hospital_gas": found.round_gas // hospitals,
        "by_payer_gas": {payer: found.gas(payer=payer) for payer in _PAYERS},
        "gas_price_wei": prices,
        "cost_wei": {level: found.gas() * price for level, price in prices.items() if isinstance(price, int)},
        "tolerance": TOLERANCE,
    }
    if exchange is not None:
        data["rate"] = {"per_coin": str(exchange), "currency": currency}
    return Shown(data, _lines(found, prices, exchange, currency))


_GROUPS = ("deployment", "founding", "joining", "rounds", "refutations")
_PAYERS = ("operator", "hospital", "coordinator", "watcher")


def _decimal(text: str, option: str) -> Any:
    from decimal import Decimal, InvalidOperation

    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value < 10**12:
        raise UsageError(f"{option} {text!r} is no amount.", hint="For example 12.5.")
    return value


def _given(text: str) -> dict[str, Any]:
    return {"typical": int(_decimal(text, "--gas-price") * GWEI), "source": "given"}


def _rpc(app: App, url: str | None) -> Rpc:
    from collegium.chain import Rpc
    from collegium_client.home import Home

    settings = Home(app.home).settings
    return Rpc(
        url or settings.get("network", "rpc_url"),
        retry_for=settings.get("network", "retry_for"),
        proxies=settings.proxies,
    )


def _ask(rpc: Rpc) -> dict[str, Any]:
    """Wei per gas: low, typical and high of the last blocks, by eth_feeHistory."""
    from statistics import median

    from collegium.chain.rpc import to_int

    history = rpc.request("eth_feeHistory", hex(HISTORY), "latest", [10, 50, 90])
    bases = [to_int(each) for each in history["baseFeePerGas"]]
    tips = [[to_int(each) for each in block] for block in history.get("reward") or []] or [[0, 0, 0]]
    low, middle, high = (median(column) for column in zip(*tips, strict=True))
    return {
        "low": int(min(bases) + low),
        "typical": int(bases[-1] + middle),
        "high": int(max(bases) + high),
        "source": f"eth_feeHistory of {len(bases) - 1} blocks",
    }


def _lines(found: Estimate, prices: dict[str, Any], rate: Any, currency: str) -> list[str]:
    price = prices["typical"]

    def worth(gas: int) -> str:
        coins = gas * price / ETHER
        return f"{coins:>12.6f} ETH" + ("" if rate is None else f" {float(rate) * coins:>12,.2f} {currency}".rstrip())

    n, rounds = found.federation.hospitals, found.federation.rounds
    lines = [f"{n} hospitals, {rounds} rounds, at {price / GWEI:g} gwei ({prices['source']})"]
    for group in _GROUPS:
        items = [item for item in found.items if item.group == group]
        if items:
            lines.append(f"{group}: {found.gas(group):,} gas {worth(found.gas(group)).strip()}")
        for item in items:
            times = f"{item.times:>6} x" if item.times > 1 else " " * 8
            lines.append(f"  {item.payer:<12}{times} {item.what:<40} {item.gas:>12,} gas {worth(item.total)}")
    lines.append(f"total: {found.gas():,} gas {worth(found.gas()).strip()}")
    if rounds:
        each = found.round_gas // n
        lines.append(f"a round: {found.round_gas:,} gas, {each:,} per hospital {worth(each).strip()}")
    if "low" in prices:
        spread = (f"{found.gas() * prices[level] / ETHER:.6f}" for level in ("low", "high"))
        lines.append(f"at the prices of the last blocks the total lies between {' and '.join(spread)} ETH")
    from collegium.costs import TOLERANCE

    lines.append(f"Measured on a local chain; a real round may differ by {TOLERANCE:.0%}. A rollup adds its data fee.")
    return lines
