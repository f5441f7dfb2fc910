"""What a deployment fixes for ever: council, stake token, periods, shortest windows. Read from TOML."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from collegium.errors import ConfigError, RecordError
from collegium.records import checksum_address

__all__ = ["MinimumWindows", "Policy"]

_SECTIONS: Mapping[str, Mapping[str, str]] = {
    "council": {"members": "council", "threshold": "threshold"},
    "token": {
        "name": "token_name",
        "symbol": "token_symbol",
        "supply": "token_supply",
        "recipient": "token_recipient",
    },
    "bonds": {"unbonding_period": "unbonding_period", "reward_hold": "reward_hold"},
    "minimum_windows": {},
}


@dataclass(frozen=True, slots=True)
class MinimumWindows:
    """Shortest windows a study may have, in seconds; zero only on a devnet."""

    commit: int = 0
    reveal: int = 0
    certify: int = 0
    propose: int = 0
    challenge: int = 0
    evidence: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """council: founding council, `threshold` of which admit institutions and allow referees.

    token_supply: whole tokens of 10^18. token_recipient: None gives the supply to the deployer.
    unbonding_period, reward_hold: seconds.
    """

    council: tuple[str, ...]
    threshold: int
    token_name: str = "Collegium"
    token_symbol: str = "CLGM"
    token_supply: int = 100_000_000
    token_recipient: str | None = None
    unbonding_period: int = 21 * 24 * 3600
    reward_hold: int = 3600
    minimum_windows: MinimumWindows = MinimumWindows()

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.council):
            raise ConfigError(
                f"A council of {len(self.council)} cannot have the threshold {self.threshold}.",
                hint="Set council.threshold between 1 and the number of members.",
            )
        if len(set(self.council)) != len(self.council):
            raise ConfigError("The council names a member twice.", hint="Name each address once.")
        if self.unbonding_period <= self.minimum_windows.evidence:
            raise ConfigError(
                "Stake would leave before the evidence against it: the unbonding period is not above the minimum "
                "evidence period.",
                hint="Raise bonds.unbonding_period or lower minimum_windows.evidence.",
            )

    def digest(self) -> bytes:
        """What a resumed deployment must have in common with the one it continues."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).digest()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ConfigError, which names the wrong key."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"Cannot read the deployment policy {path}: {error}.", hint="See docs/deploy.md."
            ) from error
        return cls.from_mapping(content)

    @classmethod
    def from_mapping(cls, content: Mapping[str, Any]) -> Self:
        values: dict[str, Any] = {}
        windows = {each.name for each in fields(MinimumWindows)}
        for section, table in content.items():
            if section not in _SECTIONS or not isinstance(table, Mapping):
                raise ConfigError(f"Unknown section [{section}].", hint=f"Sections: {', '.join(_SECTIONS)}.")
            names = _SECTIONS[section] or {name: name for name in windows}
            unknown = sorted(set(table) - set(names))
            if unknown:
                raise ConfigError(f"Unknown key {section}.{unknown[0]}.", hint=f"Keys: {', '.join(sorted(names))}.")
            if section == "minimum_windows":
                values["minimum_windows"] = MinimumWindows(**table)
            else:
                values |= {names[key]: value for key, value in table.items()}
        try:
            values["council"] = tuple(checksum_address(each) for each in values.get("council", ()))
            if values.get("token_recipient"):
                values["token_recipient"] = checksum_address(values["token_recipient"])
            return cls(**values)
        except (TypeError, RecordError) as error:
            raise ConfigError(
                f"The deployment policy is incomplete or wrong: {error}", hint="See docs/deploy.md."
            ) from error
