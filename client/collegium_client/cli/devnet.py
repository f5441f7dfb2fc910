"""`collegium devnet`: a chain on this machine."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from collegium.errors import PreconditionError

from .framework import App, Shown, command

__all__ = ["devnet_down", "devnet_status", "devnet_up"]


def _record(app: App) -> Path:
    return app.home / "state" / "devnet.json"


@command()
@click.option("--port", type=int, default=0, show_default=True, help="0 takes a free one.")
@click.option("--chain-id", type=int, default=31337, show_default=True)
@click.option("--accounts", type=int, default=10, show_default=True, help="Funded accounts.")
@click.option(
    "--block-time", type=float, default=None, help="Seconds between blocks; without it each transaction is one."
)
def devnet_up(app: App, port: int, chain_id: int, accounts: int, block_time: float | None) -> Shown:
    """Start a local chain in the background; `devnet down` ends it. Its state is lost then."""
    from collegium.chain.devnet import Devnet, DevnetRecord

    known = DevnetRecord.load(_record(app))
    if known is not None and known.is_running():
        raise PreconditionError(
            f"A devnet runs already at {known.url} (process {known.pid}).", hint="End it with `collegium devnet down`."
        )
    devnet = Devnet.start(
        port=port,
        chain_id=chain_id,
        accounts=accounts,
        block_time=block_time,
        log=app.home / "logs" / "devnet.log",
        own_session=True,
    )
    devnet.record.save(_record(app))
    data = {"url": devnet.url, "chain_id": chain_id, "pid": devnet.record.pid, "mnemonic": devnet.record.mnemonic}
    return Shown(
        data,
        [
            f"chain {chain_id} at {devnet.url}, process {devnet.record.pid}",
            f"mnemonic of {accounts} funded accounts: {devnet.record.mnemonic}",
        ],
    )


@command()
def devnet_down(app: App) -> Shown:
    """End the local chain of this home."""
    from collegium.chain.devnet import DevnetRecord

    known = DevnetRecord.load(_record(app))
    stopped = known is not None and known.stop()
    _record(app).unlink(missing_ok=True)
    return Shown({"stopped": stopped}, "The devnet has ended." if stopped else "No devnet of this home was running.")


@command()
def devnet_status(app: App) -> Shown:
    """Show whether the local chain of this home runs."""
    from collegium.chain.devnet import DevnetRecord
    from collegium.chain.rpc import Rpc

    known = DevnetRecord.load(_record(app))
    if known is None or not known.is_running():
        return Shown({"running": False}, "No devnet of this home is running.", exit_code=3)
    head = Rpc(known.url, retry_for=0.0).header("latest")
    data = {"running": True, "url": known.url, "chain_id": known.chain_id, "pid": known.pid,
            "block": head.number if head else 0}  # fmt: skip
    return Shown(data, f"chain {known.chain_id} at {known.url}, block {data['block']}, process {known.pid}")
