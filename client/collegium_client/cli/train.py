"""train run, dry-run, resume."""

from __future__ import annotations

import signal
from typing import Any

import rich_click as click

from collegium.cli.framework import App, Shown, command

from .health import METRICS, show_vitals

__all__ = ["train_dry_run", "train_resume", "train_run"]

_WORDS = {
    "ready": "ready: {title} ({sandbox})",
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


@command()
@click.argument("study", type=int)
def train_dry_run(app: App, study: int) -> Shown:
    """Train and encode one update from the current model of STUDY; sign and send nothing."""
    from collegium.encoding import compute_delta, encode_update, export_model
    from collegium.storage import parse_cid
    from collegium.tree import root_of
    from collegium_client.home import Home
    from collegium_client.progress import compute_weight
    from collegium_client.session import open_sandbox, open_study, read_plan

    home = Home(app.home).require()
    chain = home.chain()
    view = open_study(home, chain, study)
    task = home.approvals.require(view.plan.task_digest)
    source = home.blobs(view.format, chain.chain_id)
    plan = read_plan(source, view)
    root, cid, number = view.model
    state = export_model(source.model(parse_cid(cid), root=root).elements, plan.table)
    settings = home.settings.node
    with app.progress("training") as progress, open_sandbox(home, task, name="dry-run", table=plan.table) as sandbox:
        app.say(sandbox.confinement.explain())
        before = sandbox.evaluate(state)
        trained = sandbox.train(state, seed=settings.seed, round=number + 1, progress=progress)
        after = sandbox.evaluate(trained.state)
        mechanisms = dict(sandbox.confinement.mechanisms)
    elements = encode_update(compute_delta(trained.state, state), plan.table, clip_norm=settings.clip_norm or None)
    clamped = int((abs(elements.astype("int64")) == plan.table.bound).sum())
    if clamped:
        app.warn(f"{clamped} elements reach the bound {plan.table.bound} and were clamped.")
    data = {
        "study": study,
        "base_round": number,
        "update_root": root_of(elements),
        "weight": compute_weight(trained.num_examples, view.plan.max_weight),
        "clamped": clamped,
        "report": dict(trained.report),
        "metrics_before": before,
        "metrics_after": after,
        "confinement": mechanisms,
    }
    lines = [
        f"trained {trained.report['steps']} steps in {trained.report['seconds']:.2f} s on {trained.report['device']}",
        f"weight {data['weight']}, update root 0x{root_of(elements).hex()}",
        *(f"{name}: {before.get(name, 0):.4f} -> {value:.4f}" for name, value in after.items()),
        "Nothing was sent.",
    ]
    return Shown(data, lines)
