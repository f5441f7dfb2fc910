"""train run, resume."""

from __future__ import annotations

import signal
from typing import Any

import rich_click as click

from collegium.cli.framework import App, Shown, command

from .health import METRICS, show_vitals

__all__ = ["train_resume", "train_run"]

_WORDS = {
    "ready": "ready: {title} ({sandbox})",
    "waiting": "round {round}: waiting for {why}",
    "round_opened": "round {round}: opened, seats {invited}",
    "trained": "round {round}: trained in {seconds:.2f} s",
    "handed": "round {round}: {topic} handed to {to}",
    "carried": "round {round}: carried {topic} ourselves",
    "attested": "round {round}: attested seats {seats}",
    "endorsed": "round {round}: endorsed {proposal}",
    "wrong_proposal": "round {round}: WRONG PROPOSAL by {aggregator}: {fields}",
    "round_final": "round {round}: final, record {record}",
    "evaluated": "round {round}: {metrics}",
}


def tell(app: App, entry: dict[str, Any], stream: bool) -> None:
    """One event of a running node or watcher: a line on stderr, and NDJSON on stdout when asked for."""
    if stream:
        app.emit_line(entry)
    name = entry["event"]
    if name == "not_taken":
        return
    if name in _WORDS:
        app.say(_WORDS[name].format(**entry))
        return
    rest = " ".join(f"{key}={value}" for key, value in entry.items() if key not in ("time", "event"))
    app.say(f"{name}: {rest}")


def stop_on_term() -> None:
    """End as on Ctrl-C when a service manager asks."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _run(app: App, study: int, rounds: int | None, jsonl: bool, metrics: str | None) -> Shown:
    from collegium_client.home import Home
    from collegium_client.session import open_node

    stop_on_term()
    home = Home(app.home, password_file=app.password_file).require()
    with (
        app.progress("training") as progress,
        open_node(home, study, listen=lambda entry: tell(app, entry, jsonl), progress=progress) as node,
        show_vitals(app, home, "node", node.follower, metrics),
    ):
        done = node.run(until=rounds)
    return Shown({"study": study, "final_rounds": done}, "" if jsonl else f"Study {study} has {done} final rounds.")


@command(signs=True)
@click.argument("study", type=int)
@click.option("--rounds", type=int, help="Stop when the study has this many final rounds [default: never].")
@click.option("--jsonl", is_flag=True, help="Events as newline-delimited JSON on stdout.")
@METRICS
def train_run(app: App, study: int, rounds: int | None, jsonl: bool, metrics: str | None) -> Shown:
    """Take part in the rounds of STUDY: train, commit, reveal, certify, recompute, endorse."""
    return _run(app, study, rounds, jsonl, metrics)


@command(signs=True)
@click.argument("study", type=int)
@click.option("--rounds", type=int, help="Stop when the study has this many final rounds [default: never].")
@click.option("--jsonl", is_flag=True, help="Events as newline-delimited JSON on stdout.")
@METRICS
def train_resume(app: App, study: int, rounds: int | None, jsonl: bool, metrics: str | None) -> Shown:
    """Go on where an interrupted run stopped: what was promised is on disk, nothing is signed twice."""
    return _run(app, study, rounds, jsonl, metrics)
