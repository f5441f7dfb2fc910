"""Settings in layers, each value with its origin: flags over `COLLEGIUM_*` over the file over defaults.

A schema is a table of tables of defaults; a default's type is the setting's type. Unknown names are errors that
propose the nearest known one.

    settings = Layered.load(SCHEMA, home / "collegium.toml", flags={"network.rpc_url": url})
    settings.get("network.rpc_url"), settings.origins["network.rpc_url"]
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from collegium.errors import ConfigError

__all__ = ["NETWORK", "OBSERVABILITY", "TLS", "Layered", "Schema"]

Schema = Mapping[str, Mapping[str, Any]]

NETWORK: Mapping[str, Any] = {
    "rpc_url": "http://127.0.0.1:8545",
    "chain_id": 31337,
    "deployment": "",
    "confirmations": 0,
    "poll_interval": 0.25,
    "retry_for": 30.0,
    "bump_after": 45.0,
    "rate": 0.0,
    "log_window": 2000,
    "quorum": 1,
    "profile": "",
    "proxy": "",
    "no_proxy": [],
}
"""The `[network]` table that every role has. confirmations: -1 waits for the network's finalized block.

rpc_url: one endpoint or a list, asked in this order. rate: calls per second to each, 0 for no limit. log_window: blocks
per question for logs, at most. quorum: how many endpoints must agree on the block to act on. profile: of
`collegium.chain.profiles`, for every setting of this table that is not given.

proxy: of a corporate network, `direct` for none whatever the environment says; no_proxy: hosts reached directly.
"""

TLS: Mapping[str, Any] = {
    "mode": "auto",
    "certificate": "tls/node.pem",
    "key": "",
    "ca": "",
    "readers": "roster",
    "valid_days": 90,
    "renew_days": 30,
}
"""The `[tls]` table that every role has; see docs/network.md."""

OBSERVABILITY: Mapping[str, Any] = {"metrics": "", "otlp_endpoint": "", "max_head_age": 600.0}
"""The `[observability]` table that every role has: `collegium.observability.serving.ObservabilitySettings`."""


_LISTED = ("network.rpc_url",)
"""Texts that may be given as a list, and are one text with commas between from then on."""

_DURATIONS = ("network.poll_interval", "network.retry_for")
"""Seconds: never negative, not a number neither."""


@dataclass(frozen=True)
class Layered:
    """values, origins: by `table.name`. An origin is `default`, a path, a variable's name or `flag`."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]

    @classmethod
    def load(
        cls,
        schema: Schema,
        path: Path | None = None,
        *,
        flags: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        free: Collection[str] = (),
    ) -> Self:
        """path: a file that need not exist. flags: by `table.name`; None is no flag.

        free: tables that may hold anything.
        Raises ConfigError: unknown name, wrong type, or a file that is not TOML.
        """
        environment = os.environ if environment is None else environment
        values = {f"{table}.{name}": value for table, names in schema.items() for name, value in names.items()}
        origins = dict.fromkeys(values, "default")
        for key, value, origin in _layers(schema, path, flags or {}, environment, free):
            values[key] = value if key.partition(".")[0] in free else _fit(schema, key, value, origin)
            origins[key] = origin
        if name := values.get("network.profile"):
            _fill_in(name, values, origins)
        return cls(values, origins)

    def get(self, key: str) -> Any:
        """One value by `table.name`."""
        return self.values[key]

    def table(self, name: str) -> dict[str, Any]:
        """The settings of one table by their own names."""
        return {key.partition(".")[2]: value for key, value in self.values.items() if key.startswith(f"{name}.")}


def _layers(
    schema: Schema, path: Path | None, flags: Mapping[str, Any], environment: Mapping[str, str], free: Collection[str]
) -> Iterator[tuple[str, Any, str]]:
    """Every value given, the strongest layer last."""
    if path is not None and path.exists():
        for table, content in _read(path).items():
            if table not in schema and table not in free:
                raise ConfigError(
                    f"{path} has an unknown table [{table}]. {_similar(table, [*schema, *free])}", path=str(path)
                )
            if not isinstance(content, dict):
                raise ConfigError(f"{path}: {table} must be a table.", hint=f"Write [{table}].", path=str(path))
            for name, value in content.items():
                yield f"{table}.{name}", value, str(path)
    for table, names in schema.items():
        for name in names:
            variable = f"COLLEGIUM_{table}_{name}".upper()
            if variable in environment:
                yield f"{table}.{name}", _parse(environment[variable]), variable
    for key, value in flags.items():
        if value is not None:
            yield key, value, "flag"


def _fill_in(name: str, values: dict[str, Any], origins: dict[str, str]) -> None:
    """What a network profile says, where nothing stronger does."""
    from collegium.chain.profiles import profile

    for setting, value in profile(name).settings().items():
        key = f"network.{setting}"
        if origins.get(key) == "default":
            values[key], origins[key] = value, f"profile {name}"


def _read(path: Path) -> dict[str, Any]:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return dict(tomlkit.parse(path.read_text(encoding="utf-8")).unwrap())
    except (OSError, UnicodeDecodeError, RecursionError, TOMLKitError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.", hint="Mend the file.", path=str(path)) from error


def _fit(schema: Schema, key: str, value: Any, origin: str) -> Any:
    table, _, name = key.partition(".")
    if name not in schema.get(table, {}):
        known = schema.get(table, {})
        raise ConfigError(f"{origin}: [{table}] has no setting {name!r}. {_similar(name, known)}", setting=key)
    default = schema[table][name]
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise ConfigError(f"{origin}: {key} is too large a number.", setting=key) from None
    if key in _LISTED and isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ", ".join(value)
    if isinstance(default, (list, tuple)) and isinstance(value, (list, tuple)):
        value = type(default)(value)
    if isinstance(default, (list, tuple)) and isinstance(value, str):
        value = type(default)(part.strip() for part in value.split(",") if part.strip())
    if isinstance(default, str) and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if type(value) is not type(default):
        raise ConfigError(
            f"{origin}: {key} is {value!r}.",
            hint=f"A {type(default).__name__} like {default!r} is expected.",
            setting=key,
        )
    if key in _DURATIONS and not value >= 0:
        raise ConfigError(f"{origin}: {key} is {value!r}.", hint="Seconds, 0 or more, are expected.", setting=key)
    return value


def _parse(text: str) -> Any:
    """A variable's text as a TOML value, or as plain text."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return tomlkit.parse(f"value = {text}").unwrap()["value"]
    except TOMLKitError:
        return text


def _similar(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else f"Known are {', '.join(sorted(known))}."
