"""A coordinator's settings: `[network]`, `[keys]`, `[stores]` and `[coordinator]` of `collegium.toml` in its home."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from collegium.chain.client import NetworkSettings
from collegium.config import NETWORK, OBSERVABILITY, TLS, Layered
from collegium.errors import ConfigError, PreconditionError
from collegium.hours import Hours
from collegium.observability.serving import ObservabilitySettings
from collegium.transport.errors import InsecureListenError
from collegium.transport.settings import TlsSettings
from collegium.words import is_loopback

__all__ = ["CoordinatorSettings"]

FILE = "collegium.toml"


@dataclass(frozen=True)
class CoordinatorSettings:
    """What a coordinator serves and how.

    study: id served. listen: host:port, port 0 takes a free one.
    rounds: final rounds after which none is opened; 0 never stops. open_rounds: whether to open rounds at all.
    open_every: seconds from one opening to the next at least. open_hours: when rounds may open, such as
    "Mon-Fri 20:00-06:00" in time_zone; none is always.
    gather, stagger: see `RunnerSettings`. quota_bytes: per hospital, 0 for none.
    read: further stores to fetch blobs from.
    store: where blobs are kept besides the own folder, such as kubo://127.0.0.1:5001.
    insecure: serve other machines without TLS. tls: None for the defaults. coordinators, pins: as the client's.
    """

    home: Path
    network: NetworkSettings
    node_key: Path
    study: int = 0
    listen: str = "127.0.0.1:0"
    rounds: int = 0
    open_rounds: bool = True
    open_every: float = 0.0
    open_hours: tuple[str, ...] = ()
    time_zone: str = ""
    gather: float = 0.4
    stagger: float = 0.1
    quota_bytes: int = 0
    read: tuple[str, ...] = ()
    store: str = ""
    threads: int = 1
    insecure: bool = False
    tls: TlsSettings | None = field(default_factory=lambda: None)
    coordinators: tuple[str, ...] = field(default_factory=tuple)
    pins: Mapping[str, str] = field(default_factory=dict)
    observability: ObservabilitySettings = field(default_factory=ObservabilitySettings)

    @classmethod
    def load(cls, home: Path, **flags: Any) -> Self:
        """Flags that are not None over `COLLEGIUM_*` over the home's file over defaults.

        Raises PreconditionError: the home has no settings file. ConfigError: a setting is unknown or of the wrong type.
        """
        path = home / FILE
        if not path.exists():
            raise PreconditionError(
                f"{home} is no home: it has no {FILE}.", hint="Run `collegium init --home FOLDER` first."
            )
        layers = Layered.load(
            {"network": NETWORK, "tls": TLS, "keys": _KEYS, "coordinator": _OWN, "observability": OBSERVABILITY},
            path,
            flags={
                "observability.metrics": flags.pop("metrics", None),
                **{f"coordinator.{name}": value for name, value in flags.items()},
            },
            free=_FREE,
        )
        own = layers.table("coordinator")
        # What a hospital's home reads from, a coordinator's reads from too.
        own["read"] = own["read"] or tuple(layers.table("stores").get("read", ()))
        node_key = home / Path(layers.get("keys.node")).expanduser()
        others = layers.table("coordinators")
        own |= {"tls": TlsSettings.of(home, layers.table("tls")), "pins": dict(others.get("pins", {}))}
        own["coordinators"] = tuple(str(url).rstrip("/") for url in others.get("urls", ()))
        settings = cls(home, NetworkSettings.of(layers.table("network"), home), node_key, **own,
                       observability=ObservabilitySettings(**layers.table("observability")))  # fmt: skip
        _ = settings.address, settings.schedule
        return settings

    @property
    def schedule(self) -> Hours:
        """When rounds may open. Raises ConfigError."""
        return Hours.parse(self.open_hours, zone=self.time_zone)

    def speaks_tls(self) -> bool:
        """Whether the service speaks TLS. Raises InsecureListenError: it must, and the settings forbid it."""
        mode = self.tls.mode if self.tls else "auto"
        is_open = not is_loopback(self.address[0])
        if mode == "on" or (mode == "auto" and is_open and not self.insecure):
            return True
        if is_open and not self.insecure:
            raise InsecureListenError(
                f"{self.listen} can be reached by other machines, and tls.mode is \"off\".",
                hint='Set tls.mode = "auto", listen on 127.0.0.1 behind a TLS proxy, or say --insecure.',
            )
        return False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on. Raises ConfigError."""
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ConfigError(f"coordinator.listen is {self.listen!r}.", hint="Write it as 127.0.0.1:8470.")
        return host.strip("[]"), int(port)


_KEYS = {"institution": "keystore/institution.json", "node": "keystore/node.json", "password_file": ""}
_OWN = {each.name: each.default for each in fields(CoordinatorSettings) if each.default is not MISSING}
_FREE = ("stores", "coordinators", "training", "node", "watcher", "data")
"""Tables of the same file that `collegium` reads."""
