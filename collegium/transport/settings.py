"""The `[tls]` table, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from collegium.errors import ConfigError

__all__ = ["TlsSettings"]

MODES = ("auto", "on", "off")
READERS = ("roster", "anyone")


@dataclass(frozen=True)
class TlsSettings:
    """How this home authenticates.

    mode: of a coordinator's service: `auto` is TLS unless it listens on loopback. certificate: PEM with the
    certificate, and the key unless `key` names another file; a node-bound one is made there when it is missing.
    ca: certificates of a private authority that is accepted besides, None for none. readers: who may read from a
    coordinator, the `roster` or `anyone`. valid_days, renew_days: of a node-bound certificate.
    """

    certificate: Path
    key: Path | None = None
    mode: str = "auto"
    ca: Path | None = None
    readers: str = "roster"
    valid_days: int = 90
    renew_days: int = 30

    @classmethod
    def of(cls, home: Path, table: Mapping[str, Any]) -> Self:
        """From a `[tls]` table; paths are relative to the home. Raises ConfigError."""
        for name, known in (("mode", MODES), ("readers", READERS)):
            if table[name] not in known:
                raise ConfigError(f"tls.{name} is {table[name]!r}.", hint=f"Known are {', '.join(known)}.")
        if not 0 < table["renew_days"] < table["valid_days"] <= 825:
            raise ConfigError(
                f"tls.renew_days is {table['renew_days']} and tls.valid_days {table['valid_days']}.",
                hint="A certificate is renewed before it ends and counts for at most 825 days.",
            )

        def path(name: str) -> Path | None:
            return home / Path(table[name]).expanduser() if table[name] else None

        plain = {name: table[name] for name in ("mode", "readers", "valid_days", "renew_days")}
        return cls(home / Path(table["certificate"]).expanduser(), key=path("key"), ca=path("ca"), **plain)

    @property
    def key_file(self) -> Path:
        """Where the private key is."""
        return self.key or self.certificate
