"""The audit of one study: everything replayed from public events, calldata and blobs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from collegium.chain import Chain
from collegium.chain.events import ChainEvent
from collegium.chain.views import ProposalStatus, StudyView
from collegium.commitment import compute_format_hash, compute_plan_hash
from collegium.encoding import HEADER_BYTES
from collegium.errors import CollegiumError, PlanRejectedError, StudyUnknownError, UnreachableError
from collegium.optimizer import check_plan
from collegium.records import Format, Plan, bits
from collegium.storage import MultiStore
from collegium.storage.cid import cid_from_digest

from .admissions import Admissions, Council, check_deployment
from .blobs import Blobs
from .faults import Faults
from .history import History, read_history
from .report import Agreement, Findings, Report, Tally, utc
from .rounds import Rounds
from .signatures import Signatures
from .standing import check_governance, check_model, check_money, check_records
from .world import Ledger, World

__all__ = ["Progress", "audit_study", "replay", "run_audit"]

Progress = Callable[[str, int, int], None]
"""Called with a stage (`logs`, `events`, `rounds`), how many of it are done, and how many there are."""

_STUDY_CHECKS = ("plan", "genesis", "admissions", "joins", "money", "model")


def audit_study(
    chain: Chain,
    stores: MultiStore,
    study_id: int,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    trusted_head: str | None = None,
    threads: int = 1,
) -> Report:
    """Replay a study from the deployment's first block and recompute every final round.

    stores: where blobs are read from; every one is verified. folder: keeps what was fetched, by default
    for as long as this takes. trusted_head: hash of
    the last block from another source, 0x hex; without it the report shows which head the node served.

    Raises:
        ChainUnreachableError: the node does not answer. StudyUnknownError: a proven history has no such study.
    """
    return run_audit(
        chain,
        stores,
        study_id,
        folder=folder,
        progress=progress,
        trusted_head=trusted_head,
        threads=threads,
    )[0]


def run_audit(
    chain: Chain,
    stores: MultiStore,
    study_id: int,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
    trusted_head: str | None = None,
    threads: int = 1,
) -> tuple[Report, World]:
    """As `audit_study`, with what the replay left: the study as it stands and everybody's money."""
    findings = Findings()
    logs = findings.of("logs")
    history = read_history(chain, logs, trusted_head=trusted_head, progress=progress)
    council = Council((), 0)
    with _guarded(findings.of("deployment")):
        council = check_deployment(history, findings.of("deployment"))
    world = World(study_id, Ledger(chain.address_of("Bonds")))
    replay(history, world, findings, council, progress)
    if world.study is None:
        if not logs.problems:
            raise StudyUnknownError(
                f"There is no study {study_id}.", hint="`collegium study list` shows those that exist.", study=study_id
            )
        findings.of("plan").fail(f"no proven event creates study {study_id}")
        return _report(history, world, findings), world
    for name in _STUDY_CHECKS:
        findings.of(name)
    with _guarded(findings.of("events"), "records: "):
        check_records(history, world.study, findings)
    with _guarded(findings.of("admissions"), "governance: "):
        check_governance(history, world.study, findings)
    with _guarded(findings.of("money")):
        check_money(history, world, findings)
    with _guarded(findings.of("model")):
        check_model(history, world.study, findings)
    with _guarded(findings.of("events"), "blobs: "), _kept(folder) as kept:
        blobs = Blobs(stores, kept, world.study, findings, now=history.head_time, threads=threads)
        blobs.check(world, progress)
        world.retention_days = blobs.retention_days
    return _report(history, world, findings), world


def replay(
    history: History, world: World, findings: Findings, council: Council, progress: Progress | None = None
) -> None:
    """Show every event to every check, then let it change the world."""
    faults = Faults(history, findings)
    checks = (
        Admissions(history, findings, council),
        Rounds(history, findings),
        Signatures(history, findings),
        faults,
    )
    told, money, total = findings.of("events"), findings.of("money"), len(history.events)
    told.passes(total)
    for done, event in enumerate(history.events):
        if event.name == "StudyCreated" and event.study_id == world.study_id:
            with _guarded(findings.of("plan")):
                _check_plan(findings.of("plan"), event, world)
                if history.call(event) is not None:
                    findings.of("plan").equal("the sponsor", event.args["sponsor"], history.transaction(event).sender)
        for check in checks:
            with _guarded(told, f"{event.name} in {event.transaction}: "):
                check.see(event, world)
        with _guarded(told, f"{event.name} in {event.transaction}: "):
            for problem in world.apply(event):
                money.fail(problem)
        if progress and (done % 64 == 63 or done + 1 == total):
            progress("events", done + 1, total)
    faults.finish()


def _check_plan(tally: Tally, event: ChainEvent, world: World) -> None:
    plan, fmt = Plan.from_abi(event.args["plan"]), Format.from_abi(event.args["format"])
    length = HEADER_BYTES + fmt.payload_bytes
    tally.equal("planHash", event.bytes32("planHash"), compute_plan_hash(plan))
    tally.equal("formatId", plan.format_id, compute_format_hash(fmt))
    genesis = cid_from_digest(plan.genesis_model_digest, length)
    tally.equal("the CID of the genesis model", event.args["genesisCid"], genesis.text)
    tally.equal("the CID of the plan", event.args["planCid"], cid_from_digest(plan.plan_digest, 0).text)
    tally.require(world.referees.get(plan.referee, False), f"the council never allowed the referee {plan.referee}")
    try:
        check_plan(plan, fmt)
        tally.passes()
    except PlanRejectedError as error:
        tally.fail(error.message)


@contextlib.contextmanager
def _guarded(tally: Tally, where: str = "") -> Iterator[None]:
    """What a check trips over is a finding; only a node or store that does not answer ends the audit."""
    try:
        yield
    except UnreachableError:
        raise
    except (CollegiumError, ArithmeticError, LookupError, ValueError, TypeError, AssertionError) as error:
        tally.fail(f"{where}{error.message if isinstance(error, CollegiumError) else repr(error)}")


@contextlib.contextmanager
def _kept(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="collegium-audit-") as temporary:
        yield Path(temporary)


def _report(history: History, world: World, findings: Findings) -> Report:
    head = {"number": history.head, "hash": history.head_hash, "time": history.head_time}
    facts = _facts(world.study, world) if world.study is not None else {}
    signed = tuple(_agreements(world.study, world)) if world.study is not None else ()
    return Report(world.study_id, history.chain.chain_id, head, findings.checks(), facts, signed)


def _agreements(study: StudyView, world: World) -> Iterator[Agreement]:
    for seat in sorted(study.seats.values(), key=lambda each: each.index):
        left = ""
        if seat.left is not None:
            left = f"{'removed by the council' if seat.removed else 'left'} {utc(seat.left.time)}"
        yield Agreement(
            seat.index,
            seat.institution,
            world.identities.institution(seat.institution).name,
            "0x" + seat.agreement.hex(),
            "0x" + study.plan_hash.hex(),
            seat.open_updates,
            seat.max_fine,
            seat.joined.time,
            seat.joined.block,
            seat.joined.transaction,
            world.signatures.get(seat.index, "not checkable: another contract carried it"),
            left,
        )


def _facts(study: StudyView, world: World) -> dict[str, Any]:
    proposals = [each for view in study.rounds for each in view.proposals]
    fined = [fine.event.args for fine in world.ledger.fines.values() if fine.study_id == study.study_id]
    root, cid, number = study.model
    return {
        "plan_hash": "0x" + study.plan_hash.hex(),
        "members": len(study.seats),
        "rounds_opened": len(study.rounds),
        "rounds_final": len(study.final_rounds),
        "rounds_aborted": sum(view.aborted is not None for view in study.rounds),
        "updates_included": sum(len(bits(view.certified)) for view in study.final_rounds),
        "proposals_refuted": sum(each.status is ProposalStatus.REFUTED for each in proposals),
        "proposals_lapsed": sum(each.status is ProposalStatus.LAPSED for each in proposals),
        "fines": len(fined),
        "fined_wei": sum(args["amount"] for args in fined),
        "retention_days": world.retention_days,
        "model_round": number,
        "model_root": "0x" + root.hex(),
        "model_cid": cid,
    }
