"""The settings of one party: `collegium.toml` in its home, overridden by `COLLEGIUM_*`, each value with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collegium.config import NETWORK, OBSERVABILITY, TLS, Layered
from collegium.hours import Hours
from collegium.transport.proxies import Proxies
from collegium.transport.settings import TlsSettings

__all__ = ["DEFAULTS", "FILE", "NodeSettings", "SandboxSettings", "Settings"]

FILE = "collegium.toml"

DEFAULTS: dict[str, dict[str, Any]] = {
    "network": dict(NETWORK),
    "tls": dict(TLS),
    "keys": {
        "institution": "keystore/institution.json",
        "node": "keystore/node.json",
        "password_file": "",
    },
    "stores": {"own": [], "read": [], "push": []},
    "coordinators": {"urls": [], "pins": {}},
    "training": {
        "device": "auto",
        "threads": 1,
        "timeout_seconds": 900.0,
        "memory_bytes": 0,
        "read": [],
        "require_confinement": False,
        "seed": 0,
        "clip_norm": 0.0,
    },
    "node": {
        "carry_after": 0.6,
        "attest_after": 0.3,
        "finalize_after": 15.0,
        "refute": False,
        "threads": 1,
        "quiet_hours": [],
        "time_zone": "",
    },
    "watcher": {"announce": True},
    "observability": dict(OBSERVABILITY),
}
"""Every known setting. `[data]` is handed to the task, `[coordinator]` belongs to `collegium-coordinator`."""

_FREE = ("data", "coordinator")


@dataclass(frozen=True)
class SandboxSettings:
    """How task code runs: the `[training]` and `[data]` tables."""

    device: str = "auto"
    threads: int = 1
    """CPU threads of torch; 0 leaves it to torch."""
    timeout_seconds: float = 900.0
    """Longest time for one training or evaluation."""
    memory_bytes: int = 0
    """Address space limit; 0 is none. Leave it 0 with CUDA."""
    read: tuple[str, ...] = ()
    """Folders with the institution's data."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Handed to `Task.data`."""
    require_confinement: bool = False
    """Refuse to run where the system cannot take away network and files."""


@dataclass(frozen=True)
class NodeSettings:
    """How the client behaves in a round.

    carry_after: share of a phase's window after which it carries its own message itself.
    attest_after: share of the certify window it waits for blobs before it attests without them.
    finalize_after: seconds it lets others finalize before it does. refute: refute wrong proposals itself.
    quiet: hours in which no training begins. seed: of local training. clip_norm: largest L2 norm of an update, 0 for
    none. threads: for trees and sums.
    """

    carry_after: float
    attest_after: float
    finalize_after: float
    refute: bool
    threads: int
    seed: int
    clip_norm: float
    poll_interval: float
    quiet: Hours = field(default_factory=Hours)


class Settings:
    """Values with their origins. Raises `ConfigError` for unknown names and wrong types."""

    def __init__(self, home: Path, values: Mapping[str, Mapping[str, Any]], origins: Mapping[str, str]) -> None:
        self.home = home
        self._values = values
        self.origins = origins
        """`section.name` to where its value comes from."""

    @classmethod
    def load(
        cls,
        home: Path,
        environment: Mapping[str, str] | None = None,
        *,
        flags: Mapping[str, Any] | None = None,
    ) -> Settings:
        """Flags (by `table.name`) over the environment over the home's file over the defaults."""
        layers = Layered.load(DEFAULTS, home / FILE, environment=environment, flags=flags, free=_FREE)
        return cls(home, {section: layers.table(section) for section in (*DEFAULTS, *_FREE)}, layers.origins)

    def get(self, section: str, name: str) -> Any:
        """One value."""
        return self._values[section][name]

    def path(self, section: str, name: str) -> Path:
        """A value that is a path; relative ones are relative to the home."""
        return self.home / Path(str(self.get(section, name))).expanduser()

    def tables(self) -> dict[str, dict[str, Any]]:
        """All values."""
        return {section: dict(table) for section, table in self._values.items()}

    @property
    def data(self) -> dict[str, Any]:
        """The `[data]` table."""
        return dict(self._values["data"])

    def data_of(self, study_id: int | None) -> dict[str, Any]:
        """What a study's task is handed: `[data]`, and over it `[data.study-N]`."""
        own = self.data.get(f"study-{study_id}", {})
        shared = {name: value for name, value in self.data.items() if not name.startswith("study-")}
        return {**shared, **(own if isinstance(own, dict) else {})}

    def sandbox(self, study_id: int | None = None) -> SandboxSettings:
        """How task code runs, of a study or of none yet."""
        table = self._values["training"]
        names = ("device", "threads", "timeout_seconds", "memory_bytes", "require_confinement")
        return SandboxSettings(
            **{name: table[name] for name in names},
            read=tuple(str((self.home / Path(path).expanduser()).resolve()) for path in table["read"]),
            data=self.data_of(study_id),
        )

    @property
    def node(self) -> NodeSettings:
        """How the client behaves in a round."""
        training = self._values["training"]
        node = dict(self._values["node"])
        quiet = Hours.parse(node.pop("quiet_hours"), zone=node.pop("time_zone"))
        return NodeSettings(
            **node,
            quiet=quiet,
            seed=training["seed"],
            clip_norm=training["clip_norm"],
            poll_interval=self.get("network", "poll_interval"),
        )

    @property
    def proxies(self) -> Proxies:
        """The corporate proxy, if any. Raises ConfigError."""
        return Proxies.of(self.get("network", "proxy"), self.get("network", "no_proxy"))

    @property
    def tls(self) -> TlsSettings:
        """The `[tls]` table. Raises ConfigError."""
        return TlsSettings.of(self.home, self._values["tls"])

    @property
    def coordinators(self) -> list[str]:
        """Addresses of the coordinators."""
        return [str(url).rstrip("/") for url in self.get("coordinators", "urls")]

    @property
    def push_stores(self) -> list[str]:
        """Where revealed blobs are pushed: `stores.push`, or else the coordinators."""
        return [str(uri) for uri in self.get("stores", "push")] or self.coordinators

    @property
    def read_stores(self) -> list[str]:
        """Where blobs are read from after the own folder: `stores.own`, `stores.read`, where is pushed to."""
        listed = [*self.get("stores", "own"), *self.get("stores", "read"), *self.push_stores]
        return list(dict.fromkeys(str(uri) for uri in listed))
