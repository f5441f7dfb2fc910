"""study open, pause, resume, extend, close: what the sponsor of a study decides, and what opens its rounds."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import PreconditionError, RevertedError, UnauthorizedError, UsageError
from collegium.hours import format_utc, parse_duration

if TYPE_CHECKING:
    from collegium.chain import Chain, Intent, RoundView
    from collegium.chain.contracts import Governance
    from collegium.records import StudyStatus

__all__ = ["study_close", "study_extend", "study_open", "study_pause", "study_resume"]

RETRY_SECONDS = 15.0
_SPONSOR = click.option("--as", "role", default="institution", show_default=True, help="Key of the sponsor.")


@command(sends=True)
@click.argument("study", type=int)
@_SPONSOR
def study_pause(app: App, study: int, role: str) -> Shown:
    """Let no further round of STUDY open until it is resumed. A running round runs to its end."""
    from collegium.records import StudyStatus

    return _set_status(app, study, role, StudyStatus.PAUSED, "Pause")


@command(sends=True)
@click.argument("study", type=int)
@_SPONSOR
def study_resume(app: App, study: int, role: str) -> Shown:
    """Let rounds of STUDY open again."""
    from collegium.records import StudyStatus

    return _set_status(app, study, role, StudyStatus.OPEN, "Resume")


@command(sends=True)
@click.argument("study", type=int)
@_SPONSOR
def study_close(app: App, study: int, role: str) -> Shown:
    """Close STUDY for ever: no further round opens. A running round ends, stakes are released as members leave."""
    from collegium.records import StudyStatus

    return _set_status(app, study, role, StudyStatus.CLOSED, "Close", typed=f"close {study}")


@command(sends=True)
@click.argument("study", type=int)
@click.option("--until", help="Last day or moment on which rounds open, in UTC: 2027-06-30 or 2027-06-30T18:00.")
@click.option("--by", help="Instead: so much later than the end now, or than now when there is none: 90d, 12h.")
@_SPONSOR
def study_extend(app: App, study: int, until: str | None, by: str | None, role: str) -> Shown:
    """Set the term of STUDY, after which no round opens, or move its end further out. It is never cut short."""
    from collegium.chain import intents

    if (until is None) == (by is None):
        raise UsageError("Until when?", hint="Give --until 2027-06-30 or --by 90d.")
    home, chain, governance = _open(app, study, role)
    start = max(governance.open_until, chain.now())
    moment = _parse_moment(until) if until is not None else start + parse_duration(str(by))
    if moment <= start:
        raise PreconditionError(
            f"{format_utc(moment)} is not later than {format_utc(start)}.",
            hint="A term is never cut short; `collegium study close` ends a study at once.",
        )
    sent = _send(app, home, chain, intents.extend_study(study, moment), f"Let rounds open until {format_utc(moment)}?")
    done = f"Rounds of study {study} may open until {format_utc(moment)}." if sent["sent"] else "Nothing was sent."
    return Shown({"study": study, "open_until": moment, **sent}, done)


@command(sends=True)
@click.argument("study", type=int)
@click.option("--rounds", type=int, help="Go on opening until the study has this many final rounds.")
@click.option("--every", default=0.0, help="Seconds from one opening to the next at least.")
@click.option("--jsonl", is_flag=True, help="One JSON line per opened round on stdout.")
@click.option(
    "--as",
    "role",
    default="node",
    show_default=True,
    help="Key that opens: the sponsor's, a member's or an aggregator's.",
)
def study_open(app: App, study: int, rounds: int | None, every: float, jsonl: bool, role: str) -> Shown:
    """Open the next round of STUDY; with --rounds open one after the other. A coordinator does this by itself."""
    from collegium.chain import intents
    from collegium.chain.following import StudyFollower

    from .train import stop_on_term

    stop_on_term()
    home, chain, governance = _open(app, study, role, sponsor=False)
    if not governance.may_open(chain.now()):
        raise PreconditionError(_why_not(study, governance), hint=_remedy(study, governance))
    opened: list[int] = []
    with home.indexer(chain) as indexer, home.outbox(chain) as outbox:
        follower = StudyFollower(indexer, study)
        if not app.dry_run:
            app.ask(f"Open {'the next round' if rounds is None else f'rounds until {rounds} are final'}?")
        while True:
            view = follower.refresh()
            last, final, now = view.current, len(view.final_rounds), follower.time.now()
            if rounds is not None and final >= rounds:
                break
            due = last is None or (_has_ended(last, now) and now >= last.opened.time + every)
            if due and not app.dry_run:
                number = last.number + 1 if last else 1
                try:
                    outbox.submit(intents.open_round(study, number))
                except RevertedError as error:
                    if rounds is None:
                        raise
                    # Somebody was faster, or too few are there yet.
                    app.say(f"  round {number} does not open: {error.message}")
                    time.sleep(RETRY_SECONDS)
                    continue
                opened.append(number)
                app.say(f"  round {number} is open")
                if jsonl:
                    app.emit_line({"study": study, "opened": number})
            elif rounds is None and not due:
                raise PreconditionError(
                    f"Round {last.number if last else 0} of study {study} is still running.",
                    hint=f"`collegium round status {study}` shows until when.",
                )
            if rounds is None or app.dry_run:
                break
            time.sleep(home.settings.get("network", "poll_interval"))
    data = {"study": study, "opened": opened, "final_rounds": final}
    return Shown(data, f"Opened {', '.join(map(str, opened)) or 'nothing'}; {final} rounds are final.")


def _has_ended(last: RoundView, now: int) -> bool:
    from collegium.records import Phase

    return last.is_over or last.phase_at(now) is Phase.ABORTED


def _open(app: App, study: int, role: str, *, sponsor: bool = True) -> tuple[Any, Chain, Governance]:
    """Home, chain and what sponsor and term say. Raises UnauthorizedError for who is not the sponsor."""
    from collegium.chain import Contracts
    from collegium_client.home import Home

    from .sending import require_key

    home = Home(app.home, password_file=app.password_file).require()
    require_key(home, role)
    chain = home.chain(role)
    governance = Contracts(chain).governance(study)
    if sponsor and chain.signer.address != governance.sponsor:
        raise UnauthorizedError(
            f"The sponsor of study {study} is {governance.sponsor}, not {chain.signer.address}.",
            hint="Run this where the key that created the study is; name it with --as.",
        )
    return home, chain, governance


def _set_status(app: App, study: int, role: str, status: StudyStatus, verb: str, *, typed: str = "") -> Shown:
    from collegium.chain import intents
    from collegium.records import StudyStatus

    home, chain, governance = _open(app, study, role)
    if governance.status is StudyStatus.CLOSED or governance.status is status:
        raise PreconditionError(
            f"Study {study} is {governance.status.name.lower()} already.",
            hint="A closed study stays closed; create another one." if governance.status is StudyStatus.CLOSED else "",
        )
    sent = _send(app, home, chain, intents.set_study_status(study, status), f"{verb} study {study}?", typed=typed)
    word = status.name.lower()
    return Shown(
        {"study": study, "status": word, **sent}, f"Study {study} is {word}." if sent["sent"] else "Nothing was sent."
    )


def _send(app: App, home: Any, chain: Chain, intent: Intent, question: str, *, typed: str = "") -> dict[str, Any]:
    from .sending import send

    with home.outbox(chain) as outbox:
        return send(app, chain, outbox, [intent], question=question, typed=typed).to_json()


def _why_not(study: int, governance: Governance) -> str:
    from collegium.records import StudyStatus

    if governance.status is StudyStatus.OPEN:
        return f"The term of study {study} ended on {format_utc(governance.open_until)}."
    return f"Study {study} is {governance.status.name.lower()}."


def _remedy(study: int, governance: Governance) -> str:
    from collegium.records import StudyStatus

    if governance.status is StudyStatus.OPEN:
        return f"Its sponsor may extend it: `collegium study extend {study} --by 90d`."
    if governance.status is StudyStatus.PAUSED:
        return f"Its sponsor may resume it: `collegium study resume {study}`."
    return "It stays closed; create another one."


def _parse_moment(text: str) -> int:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no day.", hint="Write 2027-06-30 or 2027-06-30T18:00, in UTC.") from error
    if "T" not in text:
        found += timedelta(days=1)  # the whole day
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
