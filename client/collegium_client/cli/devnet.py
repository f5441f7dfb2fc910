"""devnet up, down, status."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from collegium.cli.framework import App, Shown, command

__all__ = ["devnet_down", "devnet_status", "devnet_up"]


def _record(app: App) -> Path:
    return app.home / "devnet.json"


@command()
@click.option("--port", type=int, help="Loopback port [default: 8545, or a free one when that is taken].")
@click.option("--chain-id", type=int, default=31337, show_default=True)
@click.option("--block-time", type=float, help="Seconds between blocks [default: a block per transaction].")
def devnet_up(app: App, port: int | None, chain_id: int, block_time: float | None) -> Shown:
    """Start Anvil on loopback in the background; its state is kept in this home."""
    from collegium.chain.devnet import Devnet, DevnetRecord

    known = DevnetRecord.load(_record(app))
    if known is not None and known.is_running():
        return Shown({"url": known.url, "chain_id": known.chain_id, "pid": known.pid}, f"It runs already: {known.url}")
    app.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    devnet = Devnet.start(
        port=_choose_port() if port is None else port,
        chain_id=chain_id,
        block_time=block_time,
        log=app.home / "logs" / "anvil.log",
        own_session=True,
    )
    devnet.record.save(_record(app))
    return Shown(
        {"url": devnet.url, "chain_id": chain_id, "pid": devnet.record.pid, "record": str(_record(app))},
        [f"{devnet.url}  chain id {chain_id}", f"Mnemonic of its funded accounts: {_record(app)}",
         f"Next: ape run deploy --network ethereum:local:{devnet.url} --policy policy.toml --output deployment.json",
         f"then: collegium init --rpc {devnet.url} --deployment deployment.json"],
    )  # fmt: skip


def _choose_port() -> int:
    """The one that settings expect, else 0 for any."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8545))
        except OSError:
            return 0
        return 8545


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
