"""audit."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from collegium.cli.framework import App, Shown, command

__all__ = ["audit"]


@command()
@click.argument("study", type=int, required=False)
@click.option("--study", "study_option", type=int, help="The study.")
@click.option("--rpc", "--rpc-url", "rpc_url", help="JSON-RPC address instead of the home's.")
@click.option(
    "--deployment", type=click.Path(exists=True, dir_okay=False), help="Deployment file instead of the home's."
)
@click.option("--store", "stores", multiple=True, help="Store to read from instead of the home's; repeat for more.")
@click.option("--verbose", "-v", is_flag=True, help="A line per check and round.")
@click.option("--trusted-head", help="Hash of the last block, from another source than the RPC address.")
def audit(
    app: App,
    study: int | None,
    study_option: int | None,
    rpc_url: str | None,
    deployment: str | None,
    stores: tuple[str, ...],
    verbose: bool,
    trusted_head: str | None,
) -> Shown:
    """Replay a study from public events and blobs: a verdict per check, exit 4 on any mismatch. Needs no key."""
    import os

    from collegium.audit import audit_study
    from collegium.chain import Deployment
    from collegium.errors import CollegiumError, UsageError
    from collegium.storage import open_stores
    from collegium_client.home import Home

    number = study if study is not None else study_option
    if number is None:
        raise UsageError("Which study?", hint="collegium audit --study N")
    if rpc_url:
        os.environ["COLLEGIUM_NETWORK_RPC_URL"] = rpc_url
    if deployment:
        # An auditor without a home knows the chain from this file alone; the node must serve that chain.
        path = Path(deployment).resolve()
        os.environ["COLLEGIUM_NETWORK_DEPLOYMENT"] = str(path)
        os.environ["COLLEGIUM_NETWORK_CHAIN_ID"] = str(Deployment.load(path).chain_id)
    home = Home(app.home)
    chain = home.chain()
    source = open_stores(stores, chain_id=chain.chain_id) if stores else home.stores_to_read(chain.chain_id)
    report = audit_study(chain, source, number, trusted_head=trusted_head, threads=home.settings.get("node", "threads"))
    error: CollegiumError | None = None
    try:
        report.require()
    except CollegiumError as found:
        error = found
    return Shown(report.to_json(), list(report.lines(verbose=verbose)), error=error)
