"""explore, explore build."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Parent, Shown, command, rpc_option

if TYPE_CHECKING:
    from collegium.explorer.source import Source
    from collegium.explorer.web.render import Renderer

__all__ = ["explore", "explore_build"]

_WHERE = (
    rpc_option(),
    click.option(
        "--deployment", type=click.Path(exists=True, dir_okay=False), help="Deployment file instead of the home's."
    ),
    click.option("--store", "stores", multiple=True, help="Store to read from instead of the home's; repeat for more."),
    click.option("--study", "studies", type=int, multiple=True, help="Show only this study; repeat for more."),
    click.option("--explorer-url", default="", help="Block explorer to link to: …/tx/HASH and …/address/ADDRESS."),
    click.option(
        "--index", type=click.Path(path_type=Path, file_okay=False), help="Folder that keeps what was read."
    ),
)  # fmt: skip


def _where(function: Any) -> Any:
    for option in reversed(_WHERE):
        function = option(function)
    return function


@command()
@_where
@click.option("--port", type=click.IntRange(0, 65535), default=8799, show_default=True, help="0 takes a free one.")
@click.option("--open", "opens", is_flag=True, help="Open a browser.")
@click.option(
    "--refresh", type=click.FloatRange(min=0.2), default=5.0, show_default=True, help="Seconds between readings."
)
def _explore(app: App, port: int, opens: bool, refresh: float, **where: Any) -> Shown:
    """Serve the whole history as pages on this computer, from a node and stores alone; needs no key and no home.

    `collegium explore build DIR` writes the same pages as a static site.
    """
    from collegium.errors import PreconditionError
    from collegium.explorer.web.server import ExplorerServer

    with _open(app, where) as source:
        renderer = _renderer(source, where, is_live=True)
        _read(app, source)
        try:
            server = ExplorerServer(source, renderer, port=port, refresh_seconds=refresh)
        except OSError as error:
            raise PreconditionError(
                f"Port {port} of 127.0.0.1 cannot be used: {error.strerror}.", hint="Take another, or --port 0 for any."
            ) from error
        server.start()
        as_of = source.as_of
        app.say(f"{server.url}  block {as_of.block}; Ctrl-C ends it")
        if app.json:
            app.emit_line({"url": server.url, "port": server.port, "block": as_of.block, "studies": source.studies})
        if opens:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.wait()
        except KeyboardInterrupt:
            app.say("Ended.")
        finally:
            server.close()
    return Shown({"url": server.url})


@command(name="build")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@_where
@click.option("--blobs", is_flag=True, help="Also write the blobs, so that a browser can verify them.")
def explore_build(app: App, folder: Path, blobs: bool, **where: Any) -> Shown:
    """Write the pages to DIR as a static site; run it again to bring it up to date.

    Only pages that changed are written; an interrupted build goes on where it stopped.
    """
    from collegium.explorer.web.build import build_site

    with _open(app, where) as source:
        renderer = _renderer(source, where, is_live=False)
        _read(app, source)
        with app.progress("writing pages") as advance:
            built = build_site(source, renderer, folder, blobs=blobs, progress=advance)
        as_of = source.as_of
    if built.lacking:
        app.warn(f"{len(built.lacking)} blobs are in no store that answers; their pages cannot verify them.")
    data = {
        "folder": str(folder), "block": as_of.block, "block_hash": as_of.block_hash, "written": built.written,
        "unchanged": built.unchanged, "removed": built.removed, "blobs": built.blobs, "lacking": built.lacking,
    }  # fmt: skip
    lines = [
        f"{folder / 'index.html'}: everything up to block {as_of.block}",
        f"{built.written} files written, {built.unchanged} unchanged, {built.removed} removed",
    ]
    return Shown(data, lines)


explore = Parent(_explore, explore_build)


def _open(app: App, where: dict[str, Any]) -> Source:
    """Node and stores as the flags say, else as the home says."""
    from collegium.explorer.source import Source
    from collegium.storage import open_stores
    from collegium_client.settings import FILE

    from .network import open_home

    home = open_home(app, rpc_url=where["rpc_url"], deployment=where["deployment"])
    chain = home.chain()
    has_home = (home.folder / FILE).exists()
    stores = None
    if where["stores"]:
        stores = open_stores(where["stores"], chain_id=chain.chain_id, transport=home.transport)
    elif has_home:
        stores = home.stores_to_read(chain.chain_id)
    folder = where["index"] or _index_folder(home.state if has_home else None, chain.address_of("Collegium"))
    return Source(chain, folder, stores=stores, studies=frozenset(where["studies"]))


def _index_folder(state: Path | None, address: str) -> Path:
    """What was read is only a cache: with a home it lies there, else with the caches of this user."""
    if state is not None:
        return state / "explorer"
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return caches / "collegium" / "explorer" / address


def _renderer(source: Source, where: dict[str, Any], *, is_live: bool) -> Renderer:
    from collegium.explorer.web.render import Renderer
    from collegium.explorer.words import network_name

    chain_id = source.chain.chain_id
    return Renderer(
        network=network_name(chain_id), chain_id=chain_id, explorer_url=where["explorer_url"], is_live=is_live
    )


def _read(app: App, source: Source) -> None:
    """Catch up with the chain. Raises StudyUnknownError for a study that is asked for and is not there."""
    from collegium.errors import StudyUnknownError

    with app.progress("reading the chain") as advance:
        source.refresh(lambda _, done, total: advance(done, total))
    missing = source.lacking
    if missing:
        raise StudyUnknownError(
            f"There is no study {missing[0]} up to block {source.as_of.block}.",
            hint="Leave --study away to see those that exist.",
        )
