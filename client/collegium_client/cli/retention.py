"""store prune: what the retention term of a study lets go of."""

from __future__ import annotations

import time

import rich_click as click

from collegium.cli.framework import App, Shown, command

__all__ = ["store_prune"]


@command()
@click.option("--study", type=int, required=True, help="The study whose plan sets the term.")
@click.option("--store", "uris", multiple=True, help="Own store to prune; repeat [default: all of the home's own].")
@click.option("--dry-run", is_flag=True, help="Show what would go; remove nothing.")
def store_prune(app: App, study: int, uris: tuple[str, ...]) -> Shown:
    """Remove updates of rounds that ended longer ago than the plan's retention term.

    Models, means and the plan stay, and nothing goes within the evidence period. Running clients and coordinators
    do this by themselves, once a day.
    """
    from collegium.errors import UsageError
    from collegium.retention import prune, write_line
    from collegium.storage import open_store
    from collegium.storage.store import OwnStore
    from collegium_client.home import Home
    from collegium_client.session import open_study, own_stores, read_plan

    home = Home(app.home).require()
    chain = home.chain()
    view = open_study(home, chain, study)
    days = read_plan(home.blobs(view.format, chain.chain_id), view).retention_days
    if days is None:
        return Shown(
            {"study": study, "retention_days": None, "dry_run": app.dry_run, "removed": []},
            f"The plan of study {study} sets no retention term; nothing is removed.",
        )
    stores = [open_store(uri, transport=home.transport) for uri in uris] or own_stores(home)
    for store in stores:
        if not isinstance(store, OwnStore):
            raise UsageError(f"{store.name} is not yours to prune.", hint="Name a folder (file://) or Kubo (kubo://).")
    gone = []
    for each in prune([store for store in stores if isinstance(store, OwnStore)], view, days, chain.now(),
                      dry_run=app.dry_run):  # fmt: skip
        gone.append(each)
        if not app.dry_run:
            write_line(home.state / "pruned.jsonl", each)
    data = {
        "study": study, "retention_days": days, "dry_run": app.dry_run, "bytes": sum(each.bytes for each in gone),
        "removed": [
            {"cid": each.cid.text, "round": each.round, "seat": each.index, "passed_at": each.passed_at,
             "store": each.store, "bytes": each.bytes}
            for each in gone
        ],
    }  # fmt: skip
    lines = [
        f"round {each.round:>4}  seat {each.index:>3}  {each.cid}  since "
        f"{time.strftime('%Y-%m-%d', time.gmtime(each.passed_at))}  {each.store}"
        for each in gone
    ]
    what = "would be removed" if app.dry_run else "removed"
    return Shown(data, [*lines, f"{len(gone)} updates {what}; the term is {days} days after a round."])
