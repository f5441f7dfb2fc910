"""store: blobs by hand: their names, what a store keeps, archives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import BlobNotFoundError, PreconditionError, UsageError, VerificationError

if TYPE_CHECKING:
    from collegium.storage import Cid, MultiStore, Store
    from collegium.storage.store import OwnStore
    from collegium.transport.client import Transport
    from collegium_client.home import Home

__all__ = [
    "store_cid",
    "store_export",
    "store_get",
    "store_import",
    "store_list",
    "store_put",
    "store_remove",
    "store_swarm_init",
    "store_verify",
]

MAX_BYTES = 4 << 30
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_STORE = "Address of a store, such as file:///folder or kubo://127.0.0.1:5001"


def _one_store(text: str) -> Callable[[Any], Any]:
    return click.option("--store", "uri", help=f"{_STORE} [default: {text}].")


_LIMIT = click.option(
    "--max-bytes", type=click.IntRange(min=0), default=MAX_BYTES, show_default=True, help="Longest blob to accept."
)


@command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
def store_cid(app: App, files: tuple[Path, ...]) -> Shown:
    """Compute the CID of each of FILES; needs no home, store or network."""
    from collegium.storage import cid_of

    found = [{"file": str(path), "cid": cid_of(path).text, "bytes": path.stat().st_size} for path in files]
    return Shown(found, [f"{each['cid']}  {each['file']}" for each in found])


@command()
@click.argument("files", type=_FILE, nargs=-1, required=True)
@_one_store("the home's own folder")
def store_put(app: App, files: tuple[Path, ...], uri: str | None) -> Shown:
    """Keep FILES as blobs. A store elsewhere makes them readable for whoever may read there."""
    store = _to_write(app, uri)
    found = [{"file": str(path), "cid": store.put(path).text, "bytes": path.stat().st_size} for path in files]
    return Shown({"store": store.name, "blobs": found}, [f"{each['cid']}  {each['file']}" for each in found])


@command()
@click.argument("cid")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write.")
@click.option("--store", "uris", multiple=True, help=f"{_STORE}; repeat for more [default: all of the home's].")
@_LIMIT
def store_get(app: App, cid: str, output: Path, uris: tuple[str, ...], max_bytes: int) -> Shown:
    """Fetch blob CID from the first store that has it, verify every byte, write it to a file."""
    import tempfile

    from collegium.storage import BlobFolder, parse_cid

    wanted, stores = parse_cid(cid), _to_read(app, uris)
    output = output.expanduser().absolute()
    if not output.parent.is_dir():
        raise UsageError(f"There is no folder {output.parent}.", hint="Make it first.")
    with tempfile.TemporaryDirectory(prefix=".collegium-", dir=output.parent) as scratch:
        path = stores.fetch(wanted, BlobFolder(scratch), max_bytes=max_bytes)
        size = path.stat().st_size
        path.replace(output)
    return Shown({"cid": wanted.text, "file": str(output), "bytes": size}, f"{size} bytes, verified: {output}")


@command()
@_one_store("the home's own folder")
def store_list(app: App, uri: str | None) -> Shown:
    """List the blobs that a folder, or a Kubo daemon's pins, keep."""
    from collegium.storage import BlobFolder

    store = _own(app, uri)
    if isinstance(store, BlobFolder):
        sizes = sorted(store.sizes())
        found = [{"cid": cid.text, "bytes": size} for cid, size in sizes]
        total = sum(size for _, size in sizes)
        lines = [f"{cid}  {size:>12}" for cid, size in sizes] + [f"{len(sizes)} blobs, {total} bytes in {store.name}"]
        return Shown({"store": store.name, "blobs": found}, lines)
    cids = sorted(store.list())
    lines = [*(cid.text for cid in cids), f"{len(cids)} blobs in {store.name}"]
    return Shown({"store": store.name, "blobs": [{"cid": cid.text} for cid in cids]}, lines)


@command()
@click.argument("cids", nargs=-1)
@_one_store("the home's own folder")
@_LIMIT
def store_verify(app: App, cids: tuple[str, ...], uri: str | None, max_bytes: int) -> Shown:
    """Read blobs and hash them, CIDS or all that the store keeps; exit 4 when one is damaged or missing."""
    from collegium.storage import open_store

    store: Store = open_store(uri, transport=_transport(app)) if uri else _home(app).store
    wanted = _parse(cids) if cids else sorted(_owned(store).list())
    wrong: dict[str, str] = {}
    with app.progress("verifying") as advance:
        for done, cid in enumerate(wanted):
            advance(done, len(wanted))
            try:
                for _ in store.stream(cid, max_bytes=max_bytes):
                    pass
            except (BlobNotFoundError, VerificationError) as error:
                wrong[cid.text] = error.message
    data = {"store": store.name, "verified": len(wanted) - len(wrong), "wrong": wrong}
    lines = [f"{len(wanted) - len(wrong)} of {len(wanted)} blobs are whole in {store.name}"]
    failure = None
    if wrong:
        failure = VerificationError(
            f"{len(wrong)} blobs are damaged or missing: {'; '.join(wrong.values())}",
            hint="Fetch them from another store: `collegium store get CID -o FILE`, then `collegium store put FILE`.",
            wrong=wrong,
        )
    return Shown(data, lines, error=failure)


@command(sends=True)
@click.argument("cids", nargs=-1, required=True)
@_one_store("the home's own folder")
def store_remove(app: App, cids: tuple[str, ...], uri: str | None) -> Shown:
    """Let go of blobs: delete them from a folder, unpin them in a Kubo daemon."""
    store, wanted = _own(app, uri), _parse(cids)
    if app.dry_run:
        return Shown({"store": store.name, "would_remove": [cid.text for cid in wanted]}, "Nothing was removed.")
    app.ask(f"Remove {len(wanted)} blobs from {store.name}? Members may still need them for evidence.")
    removed = [cid.text for cid in wanted if store.remove(cid)]
    absent = [cid.text for cid in wanted if cid.text not in removed]
    lines = [*(f"removed {cid}" for cid in removed), *(f"was not there: {cid}" for cid in absent)]
    return Shown({"store": store.name, "removed": removed, "absent": absent}, lines)


@command()
@click.argument("cids", nargs=-1, required=True)
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), required=True, help="CAR to write.")
@click.option("--store", "uris", multiple=True, help=f"{_STORE}; repeat for more [default: all of the home's].")
@_LIMIT
def store_export(app: App, cids: tuple[str, ...], output: Path, uris: tuple[str, ...], max_bytes: int) -> Shown:
    """Write blobs CIDS to a CAR archive, which `store import`, `ipfs dag import` and a car:// address read."""
    from collegium.storage.archive import export_car

    wanted = _parse(cids)
    output = output.expanduser().absolute()
    if not output.parent.is_dir():
        raise UsageError(f"There is no folder {output.parent}.", hint="Make it first.")
    stores = _to_read(app, uris)
    source: Store = stores.stores[0] if len(stores.stores) == 1 else stores
    with app.progress("exporting") as advance:
        done = export_car(output, wanted, source, max_bytes=max_bytes, progress=advance)
    data = {"file": str(output), "roots": [cid.text for cid in done.roots], "blocks": done.blocks, "bytes": done.bytes}
    return Shown(data, f"{len(done.roots)} blobs in {done.blocks} blocks, {done.bytes} bytes: {output}")


@command()
@click.argument("file", type=_FILE)
@click.option("--root", "roots", multiple=True, help="CID the archive must hold; repeat for more. Others are refused.")
@click.option("--store", "uri", help="Folder to write to, as file:///folder [default: the home's own].")
@_LIMIT
def store_import(app: App, file: Path, roots: tuple[str, ...], uri: str | None, max_bytes: int) -> Shown:
    """Check a CAR archive block by block, then keep the blobs it holds; nothing is kept of a damaged one."""
    from collegium.storage import BlobFolder, open_store
    from collegium.storage.archive import import_car

    folder = open_store(uri, transport=_transport(app)) if uri else _home(app).store
    if not isinstance(folder, BlobFolder):
        raise UsageError("An archive is imported into a folder.", hint="Name one as file:///folder.")
    with app.progress("importing") as advance:
        done = import_car(file, folder, expected=_parse(roots) or None, max_bytes=max_bytes, progress=advance)
    data = {"store": folder.name, "cids": [cid.text for cid in done.roots], "blocks": done.blocks}
    return Shown(data, [*(cid.text for cid in done.roots), f"{len(done.roots)} blobs, verified, in {folder.name}"])


@command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--key", type=_FILE, help="swarm.key of the swarm to join [default: make a new swarm].")
@click.option("--listen", default="/ip4/0.0.0.0/tcp/4001", show_default=True, help="Address for members to dial.")
@click.option("--outbound-only", is_flag=True, help="Listen nowhere; dial the peers only, as a hospital does.")
@click.option("--peer", "peers", multiple=True, help="Address of a member that listens, with /p2p/; repeat for more.")
@click.option("--api-port", type=click.IntRange(1, 65535), default=5001, show_default=True, help="RPC, on loopback.")
@click.option("--gateway-port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="On loopback.")
def store_swarm_init(
    app: App,
    folder: Path,
    key: Path | None,
    listen: str,
    outbound_only: bool,
    peers: tuple[str, ...],
    api_port: int,
    gateway_port: int,
) -> Shown:
    """Write FOLDER, the repository of a Kubo daemon in a private swarm. You start the daemon yourself."""
    from collegium.storage.swarm import init_swarm

    node = init_swarm(
        folder, key=key, listen=None if outbound_only else listen, peers=peers, api_port=api_port,
        gateway_port=gateway_port,
    )  # fmt: skip
    data = {
        "repository": str(node.repository), "peer_id": node.peer_id, "key": str(node.key), "new_key": node.is_new_key,
        "addresses": list(node.addresses), "peers": list(node.peers), "store": node.uri, "command": node.command,
    }  # fmt: skip
    lines = [f"start it:  {node.command}", f"store:     {node.uri}"]
    lines += [f"peer:      {address}  (with an address others reach)" for address in node.addresses]
    if node.is_new_key:
        lines.append(f"new key:   {node.key}  (copy it to the other members over a secret way, to nobody else)")
    return Shown(data, lines)


def _parse(texts: Iterable[str]) -> list[Cid]:
    from collegium.storage import parse_cid

    return [parse_cid(text) for text in dict.fromkeys(texts)]


def _home(app: App) -> Home:
    from collegium_client.home import Home

    return Home(app.home).require()


def _transport(app: App) -> Transport:
    """How stores are reached, as the home says; without one by the environment."""
    from collegium_client.home import Home

    return Home(app.home).transport


def _to_read(app: App, uris: tuple[str, ...]) -> MultiStore:
    from collegium.storage import open_stores

    return open_stores(uris, transport=_transport(app)) if uris else _home(app).stores_to_read()


def _to_write(app: App, uri: str | None) -> Store:
    """The own folder, or another store behind the log of everything that leaves this home."""
    from collegium.storage import BlobFolder, RemoteStore, open_store
    from collegium.storage.recorded import RecordedStore

    if uri is None:
        found: Store = _home(app).store
        return found
    store = open_store(uri, transport=_transport(app))
    if isinstance(store, RemoteStore):
        raise PreconditionError(
            f"{store.name} takes blobs from members in a round only.",
            hint="Put it into the own folder; the client pushes what a round needs.",
        )
    return store if isinstance(store, BlobFolder) else RecordedStore(store, _home(app).egress)


def _own(app: App, uri: str | None) -> OwnStore:
    from collegium.storage import open_store

    return _owned(open_store(uri, transport=_transport(app)) if uri else _home(app).store)


def _owned(store: Store) -> OwnStore:
    from collegium.storage.store import OwnStore

    if not isinstance(store, OwnStore):
        raise UsageError(
            f"{store.name} does not say what it keeps.", hint="Name a folder (file:///folder) or a Kubo (kubo://…)."
        )
    return store
