"""watch."""

from __future__ import annotations

import rich_click as click

from collegium.cli.framework import App, Shown, command

from .health import METRICS, show_vitals

__all__ = ["watch"]


@command(signs=True)
@click.argument("study", type=int)
@click.option("--rounds", type=int, help="Stop when the study has this many final rounds [default: never].")
@click.option(
    "--as", "role", default="node", show_default=True, help="Funded key that refutes; it needs no membership."
)
@click.option("--jsonl", is_flag=True, help="Events as newline-delimited JSON on stdout.")
@METRICS
def watch(app: App, study: int, rounds: int | None, role: str, jsonl: bool, metrics: str | None) -> Shown:
    """Recompute every proposal of STUDY and refute a wrong one on chain."""
    from collegium.chain.following import StudyFollower
    from collegium_client.home import Home
    from collegium_client.session import Log
    from collegium_client.watching import Watcher, WatcherParts

    from .train import stop_on_term, tell

    stop_on_term()
    home = Home(app.home, password_file=app.password_file).require()
    with home.alone(f"watcher-{study}"):
        chain = home.chain(role)
        log = Log(home, "watcher", lambda entry: tell(app, entry, jsonl))
        with home.indexer(chain) as indexer, home.outbox(chain) as outbox:
            view = StudyFollower(indexer, study).refresh()
            parts = WatcherParts(
                chain=chain,
                indexer=indexer,
                outbox=outbox,
                source=home.blobs(view.format, chain.chain_id),
                cases=home.state / "cases",
                report=log,
                announce=home.settings.get("watcher", "announce"),
                poll_interval=home.settings.get("network", "poll_interval"),
            )
            log("watching", study=study, address=chain.signer.address)
            watcher = Watcher(parts, study)
            with show_vitals(app, home, "watcher", watcher.follower, metrics):
                cases = watcher.run(until=rounds)
    data = {"study": study, "cases": [{**case.explain(), "stage": case.stage, "transaction": case.transaction}
                                      for case in cases]}  # fmt: skip
    return Shown(data, f"{len(cases)} cases.")
