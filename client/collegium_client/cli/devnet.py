"""devnet up, down, status."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from collegium.cli.framework import App, Shown, command

__all__ = ["devnet_down", "devnet_status", "devnet_up"]


def _record(app: App) -> Path:
    return app.home / "devnet.json"


@command()
@click.option("--port", type=int, default=0, help="Loopback port [default: a free one].")
@click.option("--chain-id", type=int, default=31337, show_default=True)
@click.option("--block-time", type=float, help="Seconds between blocks [default: a block per transaction].")
def devnet_up(app: App, port: int, chain_id: int, block_time: float | None) -> Shown:
    """Start Anvil on loopback in the background; its state is kept in this home."""
    from collegium.chain.devnet import Devnet, DevnetRecord

    known = DevnetRecord.load(_record(app))
    if known is not None and known.is_running():
        return Shown({"url": known.url, "chain_id": known.chain_id, "pid": known.pid}, f"It runs already: {known.url}")
    app.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    devnet = Devnet.start(
        port=port,
        chain_id=chain_id,
        block_time=block_time,
        log=app.home / "logs" / "anvil.log",
        own_session=True,
    )
    devnet.record.save(_record(app))
    return Shown(
        {"url": devnet.url, "chain_id": chain_id, "pid": devnet.record.pid, "record": str(_record(app))},
        [f"{devnet.url}  chain id {chain_id}", f"Mnemonic of its funded accounts: {_record(app)}",
         "Next: deploy the contracts, then collegium init --rpc-url ..."],
    )  # fmt: skip


@command()
def devnet_down(app: App) -> Shown:
    """Stop the chain that `devnet up` started."""
    from collegium.chain.devnet import DevnetRecord

    known = DevnetRecord.load(_record(app))
    stopped = known is not None and known.stop()
    _record(app).unlink(missing_ok=True)
    return Shown({"stopped": stopped}, "Stopped." if stopped else "It was not running.")


@command()
def devnet_status(app: App) -> Shown:
    """Show whether it runs."""
    from collegium.chain.devnet import DevnetRecord

    known = DevnetRecord.load(_record(app))
    if known is None or not known.is_running():
        return Shown({"running": False}, "Not running. Next: collegium devnet up")
    data = {"running": True, "url": known.url, "chain_id": known.chain_id, "pid": known.pid}
    return Shown(data, f"{known.url}  chain id {known.chain_id}  pid {known.pid}")
