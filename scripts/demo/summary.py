"""`build/demo/summary.json`: what happened, how well and how fast, each claim with its transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from collegium.chain.views import StudyView

from . import facts
from .federation import STUDY, WINDOWS, Federation
from .judging import Judgment
from .observer import Observer

__all__ = ["SCHEMA", "build", "headline"]

SCHEMA = "collegium.demo/1"


def build(
    federation: Federation,
    observer: Observer,
    view: StudyView,
    judgment: Judgment,
    *,
    audit: Mapping[str, Any],
    audit_code: int,
    audit_command: str,
    liar_alive: bool,
    started: float,
) -> dict[str, Any]:
    """Everything in the report. What the chain can tell is read from the chain, nothing is taken from a plan."""
    names = federation.names()
    chain, indexer = observer.chain, observer.indexer
    finals = [each.number for each in view.final_rounds]
    last = judgment.of_global[finals[-1]]
    alone = [each[-1]["accuracy"] for each in judgment.alone]
    gas = facts.read_gas(chain, view)
    taken, _ = facts.slashed(indexer, STUDY)
    lie = facts.find_lie(chain, indexer, view, names)
    finished, _ = facts.takeover(view)
    if lie is not None:
        lie["liar_alive"] = liar_alive
    return {
        "schema": SCHEMA,
        "rounds_finalized": len(view.final_rounds),
        "hospitals": len(view.seats),
        "accuracy_global": last["accuracy"],
        "accuracy_pooled": judgment.pooled[-1]["accuracy"],
        "accuracy_local_mean": sum(alone) / len(alone),
        "lie_refuted": lie is not None,
        "aggregator_slashed_wei": taken,
        "takeover_round_finalized": finished,
        "audit_verdict": "ok" if audit_code == 0 else "mismatch",
        "gas": gas.to_json(hospitals=len(view.seats), rounds=len(view.final_rounds)),
        "storage_backend": federation.options.store,
        "seconds": _seconds(federation, observer, view, started),
        "transactions": federation.outcomes | _admissions(federation) | facts.transactions(view, indexer),
        "chain_id": chain.chain_id,
        "study": STUDY,
        "contracts": dict(chain.deployment.addresses),
        "seed": federation.options.seed,
        "storage_words": _storage_words(federation),
        "held_out": judgment.held_out,
        "sites": _sites(federation, view, judgment, names),
        "measures": {
            "global": [judgment.of_global[number] for number in (0, *finals)],
            "pooled": list(judgment.pooled),
            "alone": [list(each) for each in judgment.alone],
        },
        "rounds": [_round(each, names, observer, gas) for each in view.final_rounds],
        "lie": lie,
        "audit_checks": audit.get("checks", []),
        "audit_command": audit_command,
        "windows": dict(WINDOWS),
        "windows_words": ", ".join(f"{name.replace('_', ' ')} {value} s" for name, value in WINDOWS.items()),
        "windows_waited": facts.windows_waited(view),
    }


def headline(summary: Mapping[str, Any]) -> list[str]:
    """What a person reads at the end of a run."""
    seconds = summary["seconds"]
    lie = summary["lie"]
    lines = [
        f"{summary['rounds_finalized']} rounds final, {summary['hospitals']} hospitals, {seconds['total']:.0f} s",
        f"accuracy: federation {summary['accuracy_global']:.3f}, pooled {summary['accuracy_pooled']:.3f},"
        f" alone on average {summary['accuracy_local_mean']:.3f} ({summary['held_out']} held-out patients)",
    ]
    if lie:
        lines.append(
            f"round {lie['round']}: {lie['liar']} lied in coordinate {lie['coordinate']} of {lie['elements']},"
            f" {lie['challenger']} refuted it with {lie['evidence_bytes']} bytes,"
            f" {summary['aggregator_slashed_wei'] / 10**18:g} tokens slashed, {lie['successor']} finished the round;"
            f" the liar's process {'is alive' if lie['liar_alive'] else 'has ended'}"
        )
    else:
        lines.append("nobody lied, nobody was refuted")
    lines += [
        f"audit: {summary['audit_verdict']}, {len(summary['audit_checks'])} checks",
        f"windows: {summary['windows_words']}; {summary['windows_waited']} phases waited for their deadline",
        f"rounds took {seconds['rounds']:.1f} s, training in them {seconds['training']:.2f} s,"
        f" overhead {seconds['overhead_per_round']:.2f} s per round",
        "seconds: " + ", ".join(f"{name.replace('_', ' ')} {value:.1f}" for name, value in seconds["steps"].items()),
        f"gas: {summary['gas']['total']:,}, of it {summary['gas']['per_hospital_and_round']:,} per hospital and round",
    ]
    return lines


def _seconds(federation: Federation, observer: Observer, view: StudyView, started: float) -> dict[str, Any]:
    training = _training_seconds(federation, [each.number for each in view.rounds])
    rounds = [observer.times[each.number] for each in view.final_rounds]
    total = sum(each.total for each in rounds)
    phases: dict[str, float] = {}
    for each in rounds:
        for name, value in each.seconds.items():
            phases[name] = phases.get(name, 0.0) + value
    return {
        "total": round(time.monotonic() - started, 3),
        "steps": {name: round(value, 3) for name, value in federation.seconds.items()},
        "rounds": round(total, 3),
        "rounds_by_phase": {name: round(value, 3) for name, value in phases.items()},
        "training": round(training, 3),
        "overhead_per_round": round((total - training) / max(1, len(rounds)), 3),
    }


def _training_seconds(federation: Federation, rounds: Sequence[int]) -> float:
    """Per round the longest of the hospitals' own training times, which their logs tell; summed."""
    longest: dict[int, float] = {}
    for party in federation.hospitals:
        log = party.home / "logs" / "node.jsonl"
        for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
            entry = json.loads(line)
            if entry["event"] == "trained" and entry["round"] in rounds:
                number = int(entry["round"])
                longest[number] = max(longest.get(number, 0.0), float(entry["training"]["seconds"]))
    return sum(longest.values())


def _admissions(federation: Federation) -> dict[str, Any]:
    return {"institutions_admitted": [each.hash_of["admitted"] for each in federation.members]}


def _sites(
    federation: Federation, view: StudyView, judgment: Judgment, names: Mapping[str, str]
) -> list[dict[str, Any]]:
    found = []
    for party, site, alone in zip(federation.hospitals, judgment.sites, judgment.alone, strict=True):
        seat = view.seat_of(party.institution)
        found.append(
            {
                "name": names[party.institution.lower()],
                "institution": party.institution,
                "seat": seat.index if seat else None,
                "patients": site.patients,
                "malignant": site.malignant,
                "accuracy_alone": alone[-1]["accuracy"],
            }
        )
    return found


def _round(each: Any, names: Mapping[str, str], observer: Observer, gas: facts.GasBook) -> dict[str, Any]:
    final = each.proposals[-1]
    return {
        "round": each.number,
        "aggregator": names.get(final.proposal.aggregator.lower(), final.proposal.aggregator),
        "model_cid": final.model_cid,
        "record": "0x" + each.record.hex(),
        "opened": each.opened.transaction,
        "finalized": each.finalized.transaction,
        "seconds": round(observer.times[each.number].total, 3),
        "gas": gas.by_round[each.number],
    }


def _storage_words(federation: Federation) -> str:
    if federation.stores:
        return f"{len(federation.stores)} IPFS daemons (Kubo) and the hospitals' own folders"
    return f"the {len(federation.coordinators)} coordinators' embedded stores and the hospitals' own folders"
