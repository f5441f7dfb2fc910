"""`collegium round`: where a study stands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.errors import PreconditionError
from collegium_client.home import Home

from .framework import App, Shown, command
from .sending import send

if TYPE_CHECKING:
    from collegium.chain import StudyView

__all__ = ["round_open", "round_status", "round_watch"]


@command()
@click.argument("study", type=int)
@click.option("--round", "number", type=int, default=None, help="A past round; default: the current one.")
def round_status(app: App, study: int, number: int | None) -> Shown:
    """Show a round of STUDY: phase, deadline, who did what."""
    from collegium.chain.following import StudyFollower

    home = Home(app.home).require()
    chain = home.chain()
    with home.indexer(chain) as indexer:
        follower = StudyFollower(indexer, study)
        view = follower.refresh()
        data = describe(view, number, follower.time.now())
    return Shown(data, _lines(data))


@command()
@click.argument("study", type=int)
@click.option("--rounds", type=int, default=0, help="Stop after so many final rounds; 0 never stops.")
@click.option("--interval", type=float, default=0.5, show_default=True, help="Seconds between looks.")
def round_watch(app: App, study: int, rounds: int, interval: float) -> Shown:
    """Follow the rounds of STUDY as they happen; with --json one object per change and line."""
    from collegium.chain.following import StudyFollower

    home = Home(app.home).require()
    chain = home.chain()
    shown: tuple[Any, ...] = ()
    with home.indexer(chain) as indexer:
        follower = StudyFollower(indexer, study)
        while True:
            view = follower.refresh()
            data = describe(view, None, follower.time.now())
            state = tuple(
                data.get(name)
                for name in ("round", "phase", "attempt", "committed", "revealed", "certified", "endorsed")
            )
            if state != shown:
                shown = state
                if app.json:
                    app.emit_line(data)
                else:
                    click.echo(_line(data))
            if rounds and len(view.final_rounds) >= rounds:
                return Shown({"final_rounds": len(view.final_rounds)}, f"{len(view.final_rounds)} rounds are final.")
            time.sleep(interval)


@command(sends=True)
@click.argument("study", type=int)
def round_open(app: App, study: int) -> Shown:
    """Open the next round of STUDY with the node key of a member or an aggregator."""
    from collegium.chain import intents
    from collegium.chain.following import StudyFollower

    home = Home(app.home, password_file=app.password_file).require()
    chain = home.chain("node")
    with home.indexer(chain) as indexer:
        follower = StudyFollower(indexer, study)
        view = follower.refresh()
        current = view.current
        if current is not None and not current.is_over and current.phase_at(follower.time.now()).name != "ABORTED":
            raise PreconditionError(
                f"Round {current.number} is still in {current.phase_at(follower.time.now()).name.lower()}.",
                hint=f"`collegium round status {study}` shows its deadline.",
            )
        number = current.number + 1 if current else 1
    receipts = send(
        app, home, chain, [intents.open_round(study, number)], question=f"Open round {number} of study {study}?"
    )
    data = {"study": study, "round": number, "transactions": [receipt.transaction for receipt in receipts]}
    return Shown(data, f"Round {number} is open." if receipts else "")


def describe(view: StudyView, number: int | None, now: int) -> dict[str, Any]:
    """A round for people and machines; `round` 0 when none was opened."""
    from collegium.records import bits

    found = view.current if number is None else view.round(number)
    if found is None:
        if number is not None:
            raise PreconditionError(
                f"Study {view.study_id} has no round {number}.", hint="`collegium round status STUDY`."
            )
        return {"study": view.study_id, "round": 0, "phase": "none", "final_rounds": len(view.final_rounds)}
    clock = found.clock_at(now)
    live = found.live
    return {
        "study": view.study_id,
        "round": found.number,
        "phase": "final" if found.record else clock.phase.name.lower(),
        "attempt": clock.attempt,
        "deadline": found.deadline_at(now),
        "seconds_left": max(0, found.deadline_at(now) - now),
        "on_duty": found.on_duty(now),
        "quorum": found.quorum,
        "invited": bits(found.invited),
        "committed": bits(found.committed),
        "revealed": bits(found.revealed),
        "certified": bits(found.certified),
        "endorsed": bits(live.endorsed) if live else [],
        "proposals": [
            {
                "hash": each.hash,
                "aggregator": each.proposal.aggregator,
                "status": each.status.value,
                "model_cid": each.model_cid,
            }
            for each in found.proposals
        ],
        "record": found.record,
        "model_cid": found.model_cid,
        "final_rounds": len(view.final_rounds),
        "members": [
            {"index": seat.index, "institution": seat.institution, "node_key": seat.node_key}
            for seat in view.seats.values()
        ],
    }


_ACTS = ("committed", "revealed", "certified", "endorsed")


def _line(data: dict[str, Any]) -> str:
    if not data["round"]:
        return f"study {data['study']}: no round yet"
    invited = len(data["invited"])
    acts = "  ".join(f"{act} {len(data[act])}/{invited}" for act in _ACTS)
    left = f"  {data['seconds_left']} s left" if data["seconds_left"] else ""
    return f"round {data['round']:>3}  {data['phase']:<9}  {acts}{left}"


def _lines(data: dict[str, Any]) -> list[str]:
    lines = [_line(data)]
    if not data["round"]:
        return lines
    lines.append("")
    lines.append(f"{'seat':<5} {'institution':<44} " + " ".join(f"{act:<9}" for act in _ACTS))
    for member in data["members"]:
        if member["index"] in data["invited"]:
            marks = " ".join(f"{'yes' if member['index'] in data[act] else '-':<9}" for act in _ACTS)
            lines.append(f"{member['index']:<5} {member['institution']:<44} {marks}")
    if data["on_duty"]:
        lines += ["", f"on duty   {data['on_duty']}"]
    lines += [f"proposal  {each['status']:<8} {each['aggregator']}  {each['model_cid']}" for each in data["proposals"]]
    return lines
