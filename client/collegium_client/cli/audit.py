"""audit, audit export."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Parent, Shown, command, rpc_option
from collegium.errors import CollegiumError, UsageError

if TYPE_CHECKING:
    from collegium.audit import OfflineAudit, Report
    from collegium.chain import Chain, Deployment
    from collegium.storage import MultiStore
    from collegium_client.home import Home

__all__ = ["audit", "audit_export"]

_STAGES = {
    "logs": "proving blocks",
    "events": "replaying events",
    "rounds": "recomputing rounds",
    "blobs": "fetching blobs",
    "archive": "packing blobs",
    "seal": "checking the seal",
    "answers": "reading answers",
    "file": "parts of the file",
}
_HASH = re.compile(r"0x[0-9a-fA-F]{64}\Z")


@command()
@click.argument("study", type=int, required=False)
@click.option("--study", "study_option", type=int, help="The study.")
@rpc_option()
@click.option(
    "--deployment", type=click.Path(exists=True, dir_okay=False), help="Deployment file instead of the home's."
)
@click.option("--store", "stores", multiple=True, help="Store to read from instead of the home's; repeat for more.")
@click.option("--verbose", "-v", is_flag=True, help="A line per check and round.")
@click.option("--trusted-head", help="Hash of the last block, from another source than the RPC address or the file.")
@click.option("--offline", type=click.Path(path_type=Path), help="Audit an export instead; needs no network.")
def _audit(
    app: App,
    study: int | None,
    study_option: int | None,
    rpc_url: str | None,
    deployment: str | None,
    stores: tuple[str, ...],
    verbose: bool,
    trusted_head: str | None,
    offline: Path | None,
) -> Shown:
    """Replay a study from public events and blobs: a verdict per check, exit 4 on any mismatch. Needs no key.

    `collegium audit export` writes everything that an audit needs to one file, `--offline FILE` audits it.
    """
    number = study if study is not None else study_option
    if trusted_head is not None and not _HASH.match(trusted_head):
        raise UsageError(
            f"--trusted-head {trusted_head!r} is no block hash.", hint="A hash is 0x and 64 hexadecimal digits."
        )
    if offline is not None:
        if rpc_url or stores:
            raise UsageError("An offline audit reads the file alone.", hint="Leave --rpc and --store away.")
        return _show_offline(app, offline, number, _load_deployment(deployment), trusted_head, verbose)
    from collegium.audit import audit_study

    home, chain, source = _open(app, rpc_url, deployment, stores)
    with _progress(app) as tell:
        report = audit_study(
            chain, source, _require_study(number), trusted_head=trusted_head, progress=tell,
            threads=home.settings.get("node", "threads"),
        )  # fmt: skip
    return _show(report, verbose)


@command(name="export")
@click.argument("study", type=int, required=False)
@click.option("--study", "study_option", type=int, help="The study.")
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write.")
@rpc_option()
@click.option(
    "--deployment", type=click.Path(exists=True, dir_okay=False), help="Deployment file instead of the home's."
)
@click.option("--store", "stores", multiple=True, help="Store to read from instead of the home's; repeat for more.")
@click.option(
    "--document", "documents", type=click.Path(exists=True, dir_okay=False, path_type=Path), multiple=True,
    help="A text that the plan names by digest, such as the agreement; repeat for more.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the file when it is there.")
def audit_export(
    app: App,
    study: int | None,
    study_option: int | None,
    output: Path,
    rpc_url: str | None,
    deployment: str | None,
    stores: tuple[str, ...],
    documents: tuple[Path, ...],
    force: bool,
) -> Shown:
    """Write everything that the audit of a study needs to one file, for a machine without a network.

    Goes on after an interruption; the same state of the chain gives the same bytes.
    """
    from collegium.audit import export_audit

    number = _require_study(study if study is not None else study_option)
    if output.exists() and not force:
        raise UsageError(f"{output} is there already.", hint="Name another file, or replace it with --force.")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output.absolute().parent} is no folder.", hint="Make it, or name another file.")
    home, chain, source = _open(app, rpc_url, deployment, stores)
    with _progress(app) as tell:
        made = export_audit(
            chain, source, number, output, documents=documents, progress=tell,
            threads=home.settings.get("node", "threads"),
        )  # fmt: skip
    for each in made.missing:
        app.warn(f"not in the export: {each}")
    if made.report.verdict != "ok":
        app.warn(f"the audit of this history has the verdict {made.report.verdict}; the export holds what it saw")
    data = {
        "file": str(made.path), "bytes": made.bytes, "sha256": made.sha256, "study": number, "head": dict(made.head),
        "blobs": made.blobs, "missing": list(made.missing), "verdict": made.report.verdict, "resumed": made.resumed,
    }  # fmt: skip
    lines = [
        f"{made.path}: {made.bytes} bytes, {made.blobs} blobs, SHA-256 {made.sha256}",
        f"Study {number} up to block {made.head['number']} {made.head['hash']}; verdict {made.report.verdict}",
        f"Next, on any machine: collegium audit --offline {output.name} --trusted-head {made.head['hash']}",
    ]
    return Shown(data, lines)


audit = Parent(_audit, audit_export)


def _require_study(number: int | None) -> int:
    if number is None:
        raise UsageError("Which study?", hint="collegium audit --study N")
    return number


def _open(
    app: App, rpc_url: str | None, deployment: str | None, stores: tuple[str, ...]
) -> tuple[Home, Chain, MultiStore]:
    """Node and stores as the flags say, else as the home says."""
    from collegium.storage import open_stores

    from .network import open_home

    home = open_home(app, rpc_url=rpc_url, deployment=deployment)
    chain = home.chain()
    given = open_stores(stores, chain_id=chain.chain_id, transport=home.transport) if stores else None
    source = given or home.stores_to_read(chain.chain_id)
    return home, chain, source


def _load_deployment(path: str | None) -> Deployment | None:
    from collegium.chain import Deployment

    return Deployment.load(Path(path)) if path else None


def _show_offline(
    app: App, path: Path, study: int | None, deployment: Deployment | None, trusted_head: str | None, verbose: bool
) -> Shown:
    from collegium.audit import audit_export as audit_file

    with _progress(app) as tell:
        found: OfflineAudit = audit_file(
            path, study_id=study, deployment=deployment, trusted_head=trusted_head, progress=tell
        )
    for each in (*found.warnings, *(f"not in the export: {what}" for what in found.missing)):
        app.warn(each)
    return _show(found.report, verbose)


def _show(report: Report, verbose: bool) -> Shown:
    error: CollegiumError | None = None
    try:
        report.require()
    except CollegiumError as found:
        error = found
    return Shown(report.to_json(), list(report.lines(verbose=verbose)), error=error)


class _progress:
    """A bar per stage on a terminal, nothing elsewhere. Yields the audit's progress function."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._stage = ""
        self._bar: Any = None

    def __enter__(self) -> Callable[[str, int, int], None]:
        return self._tell

    def __exit__(self, *caught: Any) -> None:
        if self._bar is not None:
            self._bar.__exit__(*caught)

    def _tell(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self.__exit__(None, None, None)
            self._stage, self._bar = stage, self._app.progress(_STAGES.get(stage, stage))
            self._advance = self._bar.__enter__()
        self._advance(done, total)
