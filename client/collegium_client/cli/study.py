"""study list, show, create, validate, approve-task, settle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import CollegiumError, DeploymentMissingError, UsageError
from collegium.hours import format_utc

if TYPE_CHECKING:
    from collegium.chain import StudyView
    from collegium_client.home import Home
    from collegium_client.plan import Draft

__all__ = [
    "draft_plan",
    "study_approve_task",
    "study_create",
    "study_list",
    "study_settle",
    "study_show",
    "study_validate",
]


@command()
def study_list(app: App) -> Shown:
    """List the studies of this deployment."""
    from collegium.chain import StudyView
    from collegium_client.home import Home

    home = Home(app.home).require()
    chain = home.chain()
    with home.indexer(chain) as indexer:
        indexer.sync()
        created = indexer.events(name="StudyCreated")
        now = chain.now()
        views = [StudyView.build(indexer.events(event.study_id), event.args["studyId"]) for event in created]
    rows = [
        {
            "study": view.study_id,
            "status": describe_status(view, now),
            "sponsor": view.sponsor,
            "members": sum(seat.left is None for seat in view.seats.values()),
            "aggregators": len(view.aggregators),
            "rounds": len(view.rounds),
            "final_rounds": len(view.final_rounds),
        }
        for view in views
    ]
    lines = [
        f"{row['study']:>4}  {row['status']:<7} members {row['members']:>3}  aggregators {row['aggregators']:>2}"
        f"  final rounds {row['final_rounds']:>4}  sponsor {row['sponsor']}"
        for row in rows
    ]
    return Shown({"studies": rows}, lines or "No studies yet. Next: collegium study create plan.toml")


def describe_status(view: StudyView, now: int) -> str:
    """open, paused, closed, or over when its term has ended."""
    from collegium.records import StudyStatus

    if view.status is StudyStatus.OPEN:
        return "open" if view.may_open(now) else "over"
    return view.status.name.lower()


@command()
@click.argument("study", type=int)
def study_show(app: App, study: int) -> Shown:
    """Show STUDY: plan, roster, rounds and model, from events."""
    from collegium_client.home import Home
    from collegium_client.session import open_study, read_plan

    home = Home(app.home).require()
    chain = home.chain()
    view = open_study(home, chain, study)
    title, published = "", None
    try:
        plan = read_plan(home.blobs(view.format, chain.chain_id), view)
        title, published = plan.title, plan.to_json().decode()
    except CollegiumError as error:
        app.warn(f"The published plan cannot be read now: {error.message}")
    root, cid, round_number = view.model
    now = chain.now()
    term = f", rounds may open until {format_utc(view.open_until)}" if view.open_until else ""
    data = {
        "study": study,
        "title": title,
        "plan_hash": view.plan_hash,
        "plan": _plan_json(view),
        "published_plan": published,
        "plan_cid": view.plan_cid,
        "sponsor": view.sponsor,
        "status": describe_status(view, now),
        "open_until": view.open_until,
        "members": [
            {"index": seat.index, "institution": seat.institution, "node_key": seat.node_key,
             "max_fine": str(seat.max_fine), "left": seat.left is not None}
            for seat in view.seats.values()
        ],
        "aggregators": view.aggregators,
        "model": {"root": root, "cid": cid, "round": round_number},
        "rounds": [
            {"round": each.number, "final": each.record is not None, "aborted": each.aborted is not None,
             "record": each.record, "disputed": each.disputed is not None,
             "refuted": sum(proposal.status == "refuted" for proposal in each.proposals)}
            for each in view.rounds
        ],
    }  # fmt: skip
    lines = [
        f"study {study}: {title or ('(the plan could not be fetched)' if published is None else 'untitled')}",
        f"status   {describe_status(view, now)}{term}",
        f"sponsor  {view.sponsor}",
        f"plan     {view.plan_cid}  hash 0x{view.plan_hash.hex()}",
        f"task     {view.plan.task_digest.hex()}"
        + ("  approved here" if view.plan.task_digest.hex() in home.approvals.entries() else "  not approved here"),
        f"members  {len(view.seats)}, aggregators {len(view.aggregators)}",
        f"rounds   {len(view.rounds)} opened, {len(view.final_rounds)} final",
        f"model    round {round_number}  {cid}",
    ]
    return Shown(data, lines)


def _plan_json(view: StudyView) -> dict[str, Any]:
    from dataclasses import fields

    plan = view.plan
    return {field.name: getattr(plan, field.name) for field in fields(plan)}


def draft_plan(app: App, home: Home, plan: Path, referee: str) -> Draft:
    """Run the task, confined, to learn its tensors and its seeded initial weights."""
    from collegium.chain.profiles import profile_of_chain
    from collegium_client.plan import PlanFile
    from collegium_client.session import open_sandbox
    from collegium_client.task import TaskSource

    file = PlanFile.load(plan)
    network = profile_of_chain(home.settings.get("network", "chain_id"))
    for line in file.hasty_windows(network) if network else ():
        app.warn(line)
    source = TaskSource.read(file.task_path)
    if source.digest.hex() not in home.approvals.entries():
        # Writing a plan around a task is approving it; it runs confined all the same.
        app.say(f"Running {file.task_path} ({source.digest.hex()[:16]}…) confined to learn its model.")
    with open_sandbox(home, source, name="draft") as sandbox:
        app.say(f"  {sandbox.confinement.explain()}")
        tensors = sandbox.describe().tensors
        genesis = sandbox.genesis(int(file.tables["model"]["seed"]))
    return file.draft(source, tensors, genesis, referee)


def _warn_of_gaps(app: App, draft: Draft) -> None:
    """What a valid plan may lack, and those who sign it will miss."""
    from collegium.annex import NO_AGREEMENT
    from collegium.records import ZERO32

    if draft.plan.agreement == ZERO32:
        app.warn(
            f"{NO_AGREEMENT}: members sign the plan alone, and creation fixes that. Set [study] agreement to the"
            " agreement's file or text; collegium study annex --plan PLAN writes one to begin with."
        )
    if not draft.published.description.strip():
        app.warn("The plan has no description: set [study] description, so that those who join know what it is for.")


def _summary(draft: Draft) -> dict[str, Any]:
    from collegium.commitment import compute_plan_hash
    from collegium.storage import cid_of

    return {
        "title": draft.published.title,
        "plan_hash": compute_plan_hash(draft.plan),
        "plan_cid": cid_of(draft.content).text,
        "genesis_cid": cid_of(draft.genesis).text,
        "genesis_root": draft.plan.genesis_model_root,
        "format_id": draft.plan.format_id,
        "task_digest": draft.plan.task_digest.hex(),
        "parameters": draft.published.table.count,
        "tensors": [[name, list(shape)] for name, shape in draft.published.table.tensors],
    }


def _lines(summary: dict[str, Any]) -> list[str]:
    return [
        f"title      {summary['title']}",
        f"plan       {summary['plan_cid']}  hash 0x{summary['plan_hash'].hex()}",
        f"genesis    {summary['genesis_cid']}",
        f"task       {summary['task_digest']}",
        f"parameters {summary['parameters']} in {len(summary['tensors'])} tensors",
    ]


@command()
@click.argument("plan", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def study_validate(app: App, plan: Path) -> Shown:
    """Check PLAN (a TOML file) as the referee would, without sending anything."""
    from collegium.records import ZERO_ADDRESS
    from collegium_client.home import Home

    home = Home(app.home)
    try:
        referee = home.chain().address_of("Referee")
    except CollegiumError as error:
        app.warn(f"Checked without a chain: {error.message}")
        referee = ZERO_ADDRESS
    draft = draft_plan(app, home, plan, referee)
    _warn_of_gaps(app, draft)
    summary = _summary(draft)
    return Shown(summary, ["The plan is valid.", *_lines(summary)])


@command(sends=True)
@click.argument("plan", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=False)
@click.option("--plan", "plan_option", type=click.Path(path_type=Path, exists=True, dir_okay=False), hidden=True)
@click.option("--as", "role", default="institution", show_default=True, help="Key that creates the study.")
def study_create(app: App, plan: Path | None, plan_option: Path | None, role: str) -> Shown:
    """Create a study from PLAN: build its format table and genesis model, store them, put the plan on chain.

    Plan, genesis model and task file are kept in this home's store; serve it (a coordinator does) or push it.
    """
    from collegium.chain import intents
    from collegium.records import ZERO_ADDRESS
    from collegium_client.home import Home

    from .sending import send

    path = plan or plan_option
    if path is None:
        raise UsageError("Which plan?", hint="collegium study create plan.toml")
    home = Home(app.home, password_file=app.password_file).require()
    chain = home.chain(role)
    referee = chain.address_of("Referee")
    if referee == ZERO_ADDRESS:
        raise DeploymentMissingError("The deployment has no referee.", hint="Finish the deployment first.")
    draft = draft_plan(app, home, path, referee)
    _warn_of_gaps(app, draft)
    summary = _summary(draft)
    for line in _lines(summary):
        app.say("  " + line)
    for blob in draft.blobs():
        home.store.put(blob)
    for uri in home.settings.get("stores", "own"):
        from collegium.storage import open_store
        from collegium.storage.recorded import RecordedStore

        for blob in draft.blobs():
            RecordedStore(open_store(str(uri), transport=home.transport), home.egress).put(blob)
    with home.outbox(chain) as outbox:
        intent = intents.create_study(draft.plan, draft.format)
        sent = send(app, chain, outbox, [intent], question="Create this study?")
    data: dict[str, Any] = {**summary, **sent.to_json(), "study": None}
    if not sent.receipts:
        return Shown(data)
    event = sent.receipts[-1].event("StudyCreated")
    data["study"] = event.study_id if event is not None else None
    home.approvals.approve(draft.source, str(path))
    return Shown(data, f"Study {data['study']} is created. Next: collegium join {data['study']}")


@command(sends=True)
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--study", type=int, help="Fetch the task of this study from the stores instead.")
@click.option("--withdraw", is_flag=True, help="Withdraw the approval.")
def study_approve_task(app: App, path: Path | None, study: int | None, withdraw: bool) -> Shown:
    """Show the code at PATH (a file or a folder) and approve its digest. Only approved code ever runs."""
    from collegium_client.errors import TaskInvalid
    from collegium_client.home import Home
    from collegium_client.session import open_study
    from collegium_client.task import TaskSource

    home = Home(app.home).require()
    expected = None
    if study is not None:
        chain = home.chain()
        view = open_study(home, chain, study)
        expected = view.plan.task_digest
        if path is None:
            from collegium_client.bundle import fetch_task

            source, name = fetch_task(home.stores_to_read(chain.chain_id), expected), f"study {study}"
    if path is not None:
        source, name = TaskSource.read(path), str(path)
    elif study is None:
        raise UsageError("Which task?", hint="collegium study approve-task PATH, or --study N.")
    if expected is not None and source.digest != expected:
        raise TaskInvalid(
            f"{name} has digest {source.digest.hex()}, study {study} names {expected.hex()}.",
            hint="Get the task that the study names.",
        )
    digest = source.digest.hex()
    if withdraw:
        done = home.approvals.withdraw(source.digest)
        return Shown({"digest": digest, "approved": False, "was_approved": done}, f"{digest} is not approved any more.")
    for file, content in source.files:
        app.say(f"--- {file}")
        app.say(content.decode("utf-8", "replace"))
    app.say(f"--- sha256 {digest}")
    if app.dry_run:
        return Shown({"digest": digest, "approved": False}, digest)
    app.ask("Let this code run on your data?")
    entry = home.approvals.approve(source, name)
    data = {"digest": digest, "approved": True, "name": entry.name, "approved_at": entry.approved_at}
    return Shown(data, f"Approved {digest}")


@command(sends=True)
@click.argument("study", type=int)
@click.option("--as", "role", default="node", show_default=True, help="Key that pays.")
def study_settle(app: App, study: int, role: str) -> Shown:
    """Write down what time already decided in STUDY: missed duties, lapses, aborts, fines. Anybody may."""
    from collegium.chain import Contracts, intents
    from collegium_client.home import Home

    from .sending import send

    home = Home(app.home, password_file=app.password_file).require()
    chain = home.chain(role)
    current = Contracts(chain).study(study).round
    with home.outbox(chain) as outbox:
        sent = send(app, chain, outbox, [intents.settle(study, current)], question=f"Settle study {study}?")
    return Shown(sent.to_json(), "Settled.")
