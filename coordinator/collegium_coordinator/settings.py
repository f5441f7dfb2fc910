"""A coordinator's settings: `[network]`, `[keys]`, `[stores]` and `[coordinator]` of `collegium.toml` in its home."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from collegium.chain.client import NetworkSettings
from collegium.errors import ConfigError, PreconditionError

__all__ = ["CoordinatorSettings"]

FILE = "collegium.toml"


@dataclass(frozen=True)
class CoordinatorSettings:
    """What a coordinator serves and how.

    study: id served. listen: host:port, port 0 takes a free one.
    rounds: final rounds after which none is opened; 0 never stops. open_rounds: whether to open rounds at all.
    gather, stagger: see `RunnerSettings`. quota_bytes: per hospital, 0 for none.
    read: further stores to fetch blobs from.
    store: where blobs are kept besides the own folder, such as kubo://127.0.0.1:5001.
    """

    home: Path
    network: NetworkSettings
    node_key: Path
    study: int = 0
    listen: str = "127.0.0.1:0"
    rounds: int = 0
    open_rounds: bool = True
    gather: float = 0.4
    stagger: float = 0.1
    quota_bytes: int = 0
    read: tuple[str, ...] = ()
    store: str = ""
    threads: int = 1

    @classmethod
    def load(cls, home: Path, **flags: Any) -> Self:
        """Read the home's file; flags that are not None win.

        Raises PreconditionError: the home has no settings file. ConfigError: a setting is unknown or of the wrong type.
        """
        path = home / FILE
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PreconditionError(
                f"{home} is no home: it has no {FILE}.", hint="Run `collegium init --home FOLDER` first."
            ) from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}.", hint="Mend the file.") from error
        settings = cls(
            home,
            _network(home, content.get("network", {})),
            home / Path(str(content.get("keys", {}).get("node", "keystore/node.json"))).expanduser(),
            read=tuple(content.get("stores", {}).get("read", ())),
        )
        given = content.get("coordinator", {}) | {name: value for name, value in flags.items() if value is not None}
        return replace(settings, **{name: _fit(settings, name, value, path) for name, value in given.items()})

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on. Raises ConfigError."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ConfigError(f"coordinator.listen is {self.listen!r}.", hint="Write it as 127.0.0.1:8470.")
        return host.strip("[]"), int(port)


_OWN = ("home", "network", "node_key")


def _fit(settings: CoordinatorSettings, name: str, value: Any, path: Path) -> Any:
    known = [field.name for field in fields(settings) if field.name not in _OWN]
    if name not in known:
        raise ConfigError(f"{path}: [coordinator] has no setting {name!r}.", hint=f"Known are {', '.join(known)}.")
    default = getattr(settings, name)
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return tuple(str(each) for each in value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(default):
        raise ConfigError(
            f"{path}: coordinator.{name} is {value!r}.",
            hint=f"A {type(default).__name__} like {default!r} is expected.",
        )
    return value


def _network(home: Path, table: dict[str, Any]) -> NetworkSettings:
    defaults = NetworkSettings()
    deployment = str(table.get("deployment", ""))
    confirmations = int(table.get("confirmations", 0))
    return NetworkSettings(
        rpc_url=str(table.get("rpc_url", defaults.rpc_url)),
        chain_id=int(table.get("chain_id", defaults.chain_id)),
        deployment=home / Path(deployment).expanduser() if deployment else None,
        confirmations=None if confirmations < 0 else confirmations,
        poll_interval=float(table.get("poll_interval", defaults.poll_interval)),
        retry_for=float(table.get("retry_for", defaults.retry_for)),
    )
