"""round status, watch, open."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command

if TYPE_CHECKING:
    from collegium.chain import StudyView

__all__ = ["round_open", "round_status", "round_watch"]


def describe(view: StudyView, now: int) -> dict[str, Any]:
    """The current round at `now`, for people and machines."""
    from collegium.records import bits

    round = view.current
    if round is None:
        return {"study": view.study_id, "round": 0, "phase": "none"}
    live = round.live
    return {
        "study": view.study_id,
        "round": round.number,
        "phase": round.phase_at(now).name.lower(),
        "deadline": round.deadline_at(now),
        "seconds_left": max(0, round.deadline_at(now) - now),
        "ctx": round.ctx,
        "invited": bits(round.invited),
        "committed": bits(round.committed),
        "revealed": bits(round.revealed),
        "certified": bits(round.certified),
        "endorsed": bits(live.endorsed) if live else [],
        "quorum": round.quorum,
        "on_duty": round.on_duty(now),
        "attempt": round.clock_at(now).attempt,
        "proposal": live.hash if live else None,
        "model_cid": round.model_cid,
        "record": round.record,
        "disputed": round.disputed is not None,
    }


def _lines(found: dict[str, Any]) -> list[str]:
    if not found["round"]:
        return [f"study {found['study']}: no round was opened yet"]
    left = f", {found['seconds_left']} s left" if found["deadline"] else ""
    return [
        f"study {found['study']} round {found['round']}: {found['phase']}{left}",
        f"  invited {found['invited']}  committed {found['committed']}  revealed {found['revealed']}",
        f"  certified {found['certified']}  endorsed {found['endorsed']}  quorum {found['quorum']}",
        f"  on duty {found['on_duty']}, attempt {found['attempt']}",
    ]


@command()
@click.argument("study", type=int)
def round_status(app: App, study: int) -> Shown:
    """Show the current round of STUDY: phase, deadline, who did what."""
    from collegium.chain.following import StudyFollower
    from collegium_client.home import Home

    home = Home(app.home).require()
    with home.indexer(home.chain()) as indexer:
        follower = StudyFollower(indexer, study)
        found = describe(follower.refresh(), follower.time.now())
    return Shown(found, _lines(found))


@command()
@click.argument("study", type=int)
@click.option("--jsonl", is_flag=True, help="One JSON line per change on stdout.")
@click.option("--rounds", type=int, help="Stop when the study has this many final rounds [default: never].")
def round_watch(app: App, study: int, jsonl: bool, rounds: int | None) -> Shown:
    """Follow the rounds of STUDY; a line for every change."""
    from collegium.chain.following import StudyFollower
    from collegium_client.home import Home

    from .train import stop_on_term

    stop_on_term()
    home = Home(app.home).require()
    last: dict[str, Any] = {}
    with home.indexer(home.chain()) as indexer:
        follower = StudyFollower(indexer, study)
        while True:
            view = follower.refresh()
            found = describe(view, follower.time.now())
            changed = {key: value for key, value in found.items() if key != "seconds_left"}
            if changed != last:
                last = changed
                if jsonl:
                    app.emit_line(found)
                elif not app.json:
                    for line in _lines(found):
                        click.echo(line)
            if rounds is not None and len(view.final_rounds) >= rounds:
                return Shown(found)
            time.sleep(home.settings.get("network", "poll_interval"))


@command(sends=True)
@click.argument("study", type=int)
@click.option("--as", "role", default="node", show_default=True, help="Key that opens: a member's or an aggregator's.")
def round_open(app: App, study: int, role: str) -> Shown:
    """Open the next round of STUDY, when no coordinator does."""
    from collegium.chain import Contracts, intents
    from collegium_client.home import Home

    from .sending import send

    home = Home(app.home, password_file=app.password_file).require()
    chain = home.chain(role)
    number = Contracts(chain).study(study).round + 1
    with home.outbox(chain) as outbox:
        sent = send(app, chain, outbox, [intents.open_round(study, number)], question=f"Open round {number}?")
    done = f"Round {number} of study {study} is open." if sent.receipts else "Nothing was sent."
    return Shown({"study": study, "round": number, **sent.to_json()}, done)
