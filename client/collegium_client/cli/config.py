"""config show, set; and how settings are written on a command line."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import ConfigError
from collegium.files import write_atomically

__all__ = ["check_document", "config_set", "config_show", "parse_assignments", "stray_variables"]

_OTHER_VARIABLES = ("COLLEGIUM_HOME", "COLLEGIUM_PASSWORD_FILE", "COLLEGIUM_DEBUG", "COLLEGIUM_CRASH_AT",
                    "COLLEGIUM_ANVIL", "COLLEGIUM_SOLC")  # fmt: skip


def parse_assignments(items: Iterable[str], *, option: str = "--set") -> dict[str, dict[str, Any]]:
    """`table.name=value`, the value as in TOML or else a plain word. Raises ConfigError."""
    values: dict[str, dict[str, Any]] = {}
    for item in items:
        name, separator, text = item.partition("=")
        table, _, key = name.partition(".")
        if not separator or not key:
            raise ConfigError(
                f"{option} {item!r} is not TABLE.NAME=VALUE.".lstrip(), hint="For example training.threads=2."
            )
        *path, last = key.strip().split(".")
        inner = values.setdefault(table.strip(), {})
        for step in path:
            # Tables in tables are for `[data]`, which may hold anything.
            inner = inner.setdefault(step, {})
        inner[last] = _parse(text)
    return values


def check_document(text: str, *, source: str) -> None:
    """Load it as settings somewhere else first. Raises ConfigError that names the source instead of a draft."""
    from collegium_client.settings import FILE, Settings

    with tempfile.TemporaryDirectory() as fresh:
        draft = Path(fresh) / FILE
        draft.write_text(text)
        try:
            Settings.load(Path(fresh), {})
        except ConfigError as error:
            raise ConfigError(error.message.replace(str(draft), source), hint=error.hint) from None


def stray_variables(names: Iterable[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """A sentence for each variable `COLLEGIUM_…` that is no setting: a misspelt one would change nothing, silently."""
    known = {f"COLLEGIUM_{name.replace('.', '_').upper()}" for name in names} | set(_OTHER_VARIABLES)
    found = []
    for variable in sorted(environment):
        if not variable.startswith("COLLEGIUM_") or variable in known or "_COMPLETE" in variable:
            continue
        # Tables that hold anything may be overridden by any name.
        if variable.startswith(("COLLEGIUM_DATA_", "COLLEGIUM_COORDINATOR_")):
            continue
        close = difflib.get_close_matches(variable, known, n=1)
        found.append(f"{variable} is no setting and changes nothing." + (f" Did you mean {close[0]}?" if close else ""))
    return found


def _merge(table: Any, entries: Mapping[str, Any]) -> None:
    for name, value in entries.items():
        if isinstance(value, dict) and isinstance(table.get(name), dict):
            _merge(table[name], value)
        else:
            table[name] = value


def _parse(text: str) -> Any:
    import tomllib

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


@command()
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
def config_show(app: App, origin: bool) -> Shown:
    """Show the settings in force."""
    from collegium_client.settings import Settings

    settings = Settings.load(app.home)
    for line in stray_variables(settings.origins):
        app.warn(line)
    lines, data = [], {}
    for table, entries in settings.tables().items():
        for name, value in entries.items():
            source = settings.origins.get(f"{table}.{name}", str(app.home / "collegium.toml"))
            data[f"{table}.{name}"] = {"value": value, "origin": source} if origin else value
            lines.append(f"{table}.{name} = {_show(value)}" + (f"   # {source}" if origin else ""))
    return Shown(data, lines)


def _show(value: Any) -> str:
    """As it is written in the file."""
    import tomlkit

    return str(tomlkit.item(value).as_string())


@command()
@click.argument("assignments", nargs=-1, required=True, metavar="TABLE.NAME=VALUE...")
def config_set(app: App, assignments: tuple[str, ...]) -> Shown:
    """Change settings in collegium.toml; comments and everything else in it stay."""
    import tomlkit

    from collegium_client.home import Home
    from collegium_client.settings import FILE

    path = Home(app.home).require().folder / FILE
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    values = parse_assignments(assignments, option="")
    for table, entries in values.items():
        if table not in document:
            document.add(table, tomlkit.table())
        _merge(document[table], entries)
    text = tomlkit.dumps(document)
    check_document(text, source=str(path))
    write_atomically(path, text.encode())
    return Shown({"settings": str(path), "set": values}, f"Changed {path}.")
