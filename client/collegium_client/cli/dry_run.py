"""train dry-run."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import CollegiumError, UsageError

if TYPE_CHECKING:
    from collegium_client.home import Home
    from collegium_client.rehearsal import Situation
    from collegium_client.sandbox import Sandbox
    from collegium_client.task import TaskSource

__all__ = ["train_dry_run"]


@dataclass(frozen=True)
class _Base:
    """What is trained from: the model `state`, the task, and where the study stands."""

    task: TaskSource
    state: Mapping[str, Any]
    situation: Situation
    max_weight: int
    source: str


@command()
@click.argument("study", type=int, required=False)
@click.option("--plan", "plan_file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="A plan file instead of a study: needs no chain.")  # fmt: skip
@click.option("--plan-cid", help="A published plan by its CID, from the stores: needs no chain.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder to write [default: HOME/dry-run].")
def train_dry_run(
    app: App, study: int | None, plan_file: Path | None, plan_cid: str | None, output: Path | None
) -> Shown:
    """Train once and write, byte for byte, what a round would make leave; sign and send nothing.

    Works before joining and before admission, for STUDY on chain, for a plan file, or for a published plan.
    """
    from collegium.encoding import compute_delta, encode_update
    from collegium_client.home import Home
    from collegium_client.inventory import describe, refuse_foreign, write_rehearsal
    from collegium_client.progress import compute_weight
    from collegium_client.rehearsal import rehearse
    from collegium_client.session import open_sandbox

    if sum(each is not None for each in (study, plan_file, plan_cid)) != 1:
        raise UsageError("Of what?", hint="collegium train dry-run STUDY, or --plan plan.toml, or --plan-cid CID.")
    home = Home(app.home).require()
    folder = (output or home.folder / "dry-run").absolute()
    refuse_foreign(folder)
    with ExitStack() as stack:
        progress = stack.enter_context(app.progress("training"))
        if plan_file is not None:
            base, sandbox = _from_file(app, home, plan_file, stack)
        else:
            base = _from_chain(home, study) if study is not None else _from_cid(home, str(plan_cid))
            opened = open_sandbox(home, base.task, name="dry-run", table=base.situation.table, study=study)
            sandbox = stack.enter_context(opened)
        s, settings = base.situation, home.settings.node
        kept = home.state / f"buffers-{s.study_id}.safetensors"
        buffers = kept.read_bytes() if s.study_id and kept.exists() else b""
        app.say(sandbox.confinement.explain())
        before = sandbox.evaluate(base.state, buffers=buffers)
        trained = sandbox.train(base.state, seed=settings.seed, round=s.round, buffers=buffers, progress=progress)
        after = sandbox.evaluate(trained.state, buffers=trained.buffers)
        mechanisms = dict(sandbox.confinement.mechanisms)
    delta = compute_delta(trained.state, base.state)
    elements = encode_update(delta, s.table, clip_norm=settings.clip_norm or None)
    clamped = int((abs(elements.astype("int64")) == s.table.bound).sum())
    if clamped:
        app.warn(f"{clamped} elements reach the bound {s.table.bound} and were clamped.")
    weight = compute_weight(trained.num_examples, base.max_weight)
    done = rehearse(s, elements, weight=weight, steps=int(trained.report["steps"]), salt=secrets.token_bytes(32))
    listing = describe(done, s)
    write_rehearsal(folder, done, listing)
    data = {
        "study": study,
        "base": base.source,
        "round": s.round,
        "folder": str(folder),
        "update_root": done.root,
        "weight": weight,
        "clamped": clamped,
        "leaves": listing,
        "report": dict(trained.report),
        "metrics_before": before,
        "metrics_after": after,
        "confinement": mechanisms,
    }
    return Shown(data, _lines(data, listing, folder))


def _lines(data: Mapping[str, Any], listing: Mapping[str, Any], folder: Path) -> list[str]:
    report, before, after = data["report"], data["metrics_before"], data["metrics_after"]
    lines = [
        f"trained {report['steps']} steps in {report['seconds']:.2f} s on {report['device']} from {data['base']}",
        f"weight {data['weight']}, update root 0x{data['update_root'].hex()}",
        *(f"{name}: {before.get(name, 0):.4f} -> {value:.4f}" for name, value in after.items()),
        "What would leave in a round:",
    ]
    for act in listing["acts"]:
        for route in act["routes"]:
            lines.append(f"  {act['act']:<32} {route['bytes']:>8} B  {route['file']:<22} -> {route['to']}")
    return [*lines, f"Every byte is explained in {folder / 'README.md'}", "Nothing was signed or sent."]


def _situation(home: Home, table: Any) -> Situation:
    from collegium.records import ZERO_ADDRESS
    from collegium_client.rehearsal import Situation

    own, push = home.settings.get("stores", "own"), home.settings.push_stores
    return Situation(
        table,
        institution=home.address("institution") or ZERO_ADDRESS,
        node_key=home.address("node") or ZERO_ADDRESS,
        coordinators=tuple(home.settings.coordinators),
        stores=tuple(dict.fromkeys([*(str(uri) for uri in own), *push])),
        rpc_url=str(home.settings.get("network", "rpc_url")),
    )


def _from_file(app: App, home: Home, path: Path, stack: ExitStack) -> tuple[_Base, Sandbox]:
    """The draft of a study that does not exist yet: its own genesis model."""
    from collegium.commitment import compute_plan_hash
    from collegium.encoding import BlobKind, export_model, parse_blob
    from collegium.records import ZERO_ADDRESS
    from collegium_client.plan import PlanFile
    from collegium_client.session import open_sandbox
    from collegium_client.task import TaskSource

    file = PlanFile.load(path)
    # Only approved code ever runs on data, a draft's too.
    task = home.approvals.require(TaskSource.read(file.task_path).digest)
    sandbox = stack.enter_context(open_sandbox(home, task, name="dry-run"))
    genesis = sandbox.genesis(int(file.tables["model"]["seed"]))
    draft = file.draft(task, sandbox.describe().tensors, genesis, ZERO_ADDRESS)
    table, plan = draft.published.table, draft.plan
    state = export_model(parse_blob(draft.genesis, kind=BlobKind.MODEL).elements, table)
    situation = replace(
        _situation(home, table),
        plan_hash=compute_plan_hash(plan),
        agreement=plan.agreement,
        max_fine=max(plan.unrevealed_fine, plan.range_fine, plan.equivocation_fine),
    )
    app.say("The plan's hash changes with the chain's referee; everything else is as it would be.")
    return _Base(task, state, situation, plan.max_weight, f"the genesis model of {path}"), sandbox


def _from_cid(home: Home, text: str) -> _Base:
    """A published plan, its task by digest, and its genesis model; all by CID."""
    from collegium.encoding import BlobKind, export_model, parse_blob
    from collegium.errors import VerificationError
    from collegium.records import ZERO32
    from collegium.storage import parse_cid
    from collegium_client.plan import MAX_PLAN_BYTES, PublishedPlan

    stores = home.stores_to_read()
    plan = PublishedPlan.read(stores.get(parse_cid(text), max_bytes=MAX_PLAN_BYTES))
    task = home.approvals.require(plan.task_digest)
    try:
        cid, rounds = parse_cid(str(plan.details["genesis"]["cid"])), plan.details["rounds"]
        most, agreement = int(rounds["max_weight"]), bytes.fromhex(plan.details["terms"]["agreement"])
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError(f"The published plan names no genesis model or terms: {error}.") from error
    blob = stores.get(cid, max_bytes=plan.table.format.payload_bytes + 256)
    parsed = parse_blob(blob, kind=BlobKind.MODEL, format_id=plan.table.format_id, ctx=ZERO32)
    situation = replace(_situation(home, plan.table), agreement=agreement)
    return _Base(task, export_model(parsed.elements, plan.table), situation, most, f"the genesis model {cid}")


def _from_chain(home: Home, study: int) -> _Base:
    """The study's latest final model; seat and context when they are known already."""
    from collegium.commitment import compute_plan_hash
    from collegium.encoding import export_model
    from collegium.records import ZERO32
    from collegium.storage import parse_cid
    from collegium_client.session import open_study, read_plan

    chain = home.chain()
    view = open_study(home, chain, study)
    task = home.approvals.require(view.plan.task_digest)
    source = home.blobs(view.format, chain.chain_id)
    plan = read_plan(source, view)
    root, cid, number = view.model
    state = export_model(source.model(parse_cid(cid), root=root).elements, plan.table)
    situation = _situation(home, plan.table)
    seat = view.seat_of(situation.institution)
    current = view.current
    is_open = current is not None and not current.is_over
    try:
        domain = chain.domain()
    except CollegiumError:
        domain = None
    fines = (view.plan.unrevealed_fine, view.plan.range_fine, view.plan.equivocation_fine)
    situation = replace(
        situation,
        study_id=study,
        round=current.number if current is not None and is_open else len(view.rounds) + 1,
        ctx=current.ctx if current is not None and is_open else ZERO32,
        index=seat.index if seat is not None else 0,
        plan_hash=compute_plan_hash(view.plan),
        agreement=view.plan.agreement,
        max_fine=max(fines),
        domain=domain,
    )
    return _Base(task, state, situation, view.plan.max_weight, f"the model of round {number}")
