"""log show, log verify: what left this home."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rich_click as click

from collegium.cli.framework import App, Shown, command, neutralize
from collegium.errors import ConfigError, EgressLogError, PreconditionError

__all__ = ["log_show", "log_verify"]

_UNITS = {"m": 60, "h": 3600, "d": 86400}


@command()
@click.option("--study", type=int, help="Only what belongs to this study.")
@click.option("--round", "round_number", type=int, help="Only what belongs to this round.")
@click.option("--kind", help="Only blob, served, message, transaction, simulation, contact or repair.")
@click.option("--since", help="Only since then: 2026-11-21, 2026-11-21T08:00, or 90m, 24h, 7d ago.")
@click.option("--jsonl", is_flag=True, help="The records as they are, one per line, without holding all of them.")
def log_show(
    app: App, study: int | None, round_number: int | None, kind: str | None, since: str | None, jsonl: bool
) -> Shown:
    """Show what left this home, and where it went, oldest first."""
    from collegium import egress

    start = _parse_time(since) if since else ""
    wanted = {"study": study, "round": round_number, "kind": kind}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    shown = []
    for record in egress.read(_require(app)):
        if str(record.get("time", "")) < start or any(record.get(name) != value for name, value in wanted.items()):
            continue
        if jsonl:
            app.emit_line(record)
        else:
            shown.append(record)
    if jsonl:
        return Shown(None)
    lines = [_line(record) for record in shown] or ["Nothing."]
    return Shown({"records": shown}, lines)


@command()
@click.option("--head", help="A hash noted earlier that must still be in the log.")
def log_verify(app: App, head: str | None) -> Shown:
    """Check the chain of the egress log; exit 4 at the first broken line, which is named."""
    from collegium import egress

    path = _require(app)
    found = egress.verify(path, head=head)
    data = {"records": found.records, "head": found.head, "torn_bytes": found.torn_bytes, "repairs": found.repairs}
    if found.torn_bytes:
        app.warn(
            f"The last line is unfinished ({found.torn_bytes} bytes): the process was killed while it wrote, "
            "before anything was sent. The next record drops it and says so."
        )
    error = None
    if found.broken_line is not None:
        error = EgressLogError(
            f"Line {found.broken_line} of {path} is broken: {found.reason}.",
            hint=f"The {found.records} lines before it are right. Compare with a backup; "
            "the chain and the coordinators hold what was sent in any case.",
            line=found.broken_line,
        )
    elif not found.has_head:
        error = EgressLogError(
            f"{head} is not in {path}: lines were cut off or the log was written anew.",
            hint="Compare with a backup.",
        )
    return Shown({**data, "broken_line": found.broken_line},
                 [f"{found.records} records, head {found.head}"], error=error)  # fmt: skip


def _require(app: App) -> Path:
    from collegium.egress import FILE
    from collegium_client.home import Home

    path = Home(app.home).require().folder / "state" / FILE
    if not path.exists():
        raise PreconditionError(f"Nothing has left {app.home} yet: there is no {path}.", hint="Take part in a round.")
    return path


def _line(record: dict[str, Any]) -> str:
    study, number = record.get("study"), record.get("round")
    where = "" if study is None else f" study {study}" + ("" if number is None else f" round {number}")
    name = next((str(record[name]) for name in ("cid", "transaction", "sha256") if record.get(name)), "")
    about = next((f" {record[name]}" for name in ("act", "topic") if record.get(name)), "")
    size = f" {record.get('bytes', 0)} B" if record.get("bytes") else ""
    what = f"{record.get('time')} {record.get('kind', '?'):<11} -> {record.get('destination')}"
    return neutralize(f"{what}{where}{about}{size} {name}".rstrip())


def _parse_time(text: str) -> str:
    """As the log writes times."""
    if text[-1:] in _UNITS and text[:-1].isdigit():
        moment = datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * _UNITS[text[-1]])
    else:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ConfigError(f"--since {text!r} is no time.", hint="Write 2026-11-21, or 24h for a day ago.") from None
        moment = (moment if moment.tzinfo else moment.astimezone()).astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
