"""What a federation costs in gas, from figures that `make bench` measured: `collegium/release/gas.json`.

Every figure is of a whole transaction on a chain with Prague rules. Between measured sizes the estimate is linear, as
the contracts are; `TOLERANCE` is how far a real round may be off, and a test plays rounds to hold it to that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Self

from collegium.errors import ConfigError, UsageError

__all__ = ["SCHEMA", "TOLERANCE", "Estimate", "Federation", "GasTable", "Item", "estimate"]

SCHEMA = "collegium.gas/1"
TOLERANCE = 0.1
MAX_HOSPITALS = 128
GAS_LIMIT = 1 << 24
"""What one transaction may spend (EIP-7825)."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class GasTable:
    """once: gas by act. round: act to (hospitals, gas of the transaction). mean: (hospitals, parameters, gas)."""

    once: Mapping[str, int]
    round: Mapping[str, Points]
    mean: Sequence[tuple[int, int, int]]

    @classmethod
    def load(cls) -> Self:
        """The packaged figures. Raises ConfigError."""
        file = resources.files("collegium") / "release" / "gas.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r}")
            return cls.from_json(content)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"The table of gas is missing or damaged: {error!r}.", hint="Install the package anew."
            ) from error

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        return cls(
            once={name: int(gas) for name, gas in content["once"].items()},
            round={name: [(n, gas) for n, gas in points] for name, points in content["round"].items()},
            mean=[(n, parameters, gas) for n, parameters, gas in content["mean"]],
        )

    def act(self, name: str, hospitals: int) -> int:
        """Gas of one transaction of a round with `hospitals` items in it."""
        return round(interpolate(self.round[name], hospitals))

    def refute_mean(self, hospitals: int, parameters: int) -> int:
        """Gas of R1. Paths grow with the logarithm of the model, evidence with the number of hospitals."""
        by_size: list[tuple[float, float]] = []
        for size in sorted({n for n, _, _ in self.mean}):
            points = [(math.log2(count), float(gas)) for n, count, gas in self.mean if n == size]
            by_size.append((size, interpolate(points, math.log2(parameters))))
        return round(interpolate(by_size, hospitals))


def interpolate(points: Points, at: float) -> float:
    """Linear between neighbours, on along the outermost pair beyond them; a single point is a constant."""
    known = sorted(points)
    if len(known) == 1:
        return known[0][1]
    right = next((i for i in range(1, len(known)) if at <= known[i][0]), len(known) - 1)
    (x0, y0), (x1, y1) = known[right - 1], known[right]
    return y0 + (y1 - y0) * (at - x0) / (x1 - x0)


@dataclass(frozen=True, slots=True)
class Federation:
    """What is to be estimated. batch: items that a relay carries in one transaction; 1: everybody for itself."""

    hospitals: int
    rounds: int = 1
    aggregators: int = 2
    parameters: int = 1_000_000
    batch: int = MAX_HOSPITALS
    refutations: int = 0

    def __post_init__(self) -> None:
        limits = (
            ("hospitals", self.hospitals, 2, MAX_HOSPITALS),
            ("rounds", self.rounds, 0, 10**9),
            ("aggregators", self.aggregators, 1, 16),
            ("parameters", self.parameters, 1, 10**12),
            ("batch", self.batch, 1, MAX_HOSPITALS),
            ("refutations", self.refutations, 0, 10**9),
        )
        for name, value, least, most in limits:
            if not least <= value <= most:
                raise UsageError(
                    f"{name}: {value} is not between {least} and {most}.", hint="See `collegium cost --help`."
                )


@dataclass(frozen=True, slots=True)
class Item:
    """payer: operator, hospital, coordinator or watcher. gas: of one time."""

    group: str
    payer: str
    what: str
    gas: int
    times: int = 1

    @property
    def total(self) -> int:
        return self.gas * self.times

    def to_json(self) -> dict[str, Any]:
        return {
            "group": self.group, "payer": self.payer, "what": self.what, "gas": self.gas, "times": self.times,
            "total_gas": self.total,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Estimate:
    federation: Federation
    items: tuple[Item, ...]
    warnings: tuple[str, ...] = field(default=())

    def gas(self, group: str | None = None, payer: str | None = None) -> int:
        """Sum of a group, of a payer, or of everything."""
        return sum(
            item.total
            for item in self.items
            if group in (None, item.group) and payer in (None, item.payer)
        )

    @property
    def round_gas(self) -> int:
        """One round of all, the opening of the next one included."""
        return self.gas("rounds") // max(1, self.federation.rounds)


def estimate(table: GasTable, federation: Federation) -> Estimate:
    """Gas of deployment, founding, joining, rounds and refutations."""
    warnings = []
    biggest = max(n for n, _ in table.round["commit"])
    if federation.hospitals > biggest:
        warnings.append(f"rounds were measured with up to {biggest:.0f} hospitals; beyond, the line is drawn on")
    items = [*_once(table, federation), *_rounds(table, federation), *_refutations(table, federation)]
    for item in items:
        if item.gas > GAS_LIMIT:
            warnings.append(f"{item.what}: {item.gas:,} gas do not fit a transaction")
    return Estimate(federation, tuple(items), tuple(warnings))


def _once(table: GasTable, federation: Federation) -> list[Item]:
    n, once = federation.hospitals, table.once
    creations = [name for name in once if name.startswith("create ") and name != "create a study"]
    items = [Item("deployment", "operator", name, once[name]) for name in creations]
    items.append(Item("deployment", "operator", "connect the contracts", once["connect the contracts"]))
    items.append(Item("deployment", "operator", "allow the referee", once["allow a referee"]))
    everybody = n + federation.aggregators
    return [
        *items,
        Item("founding", "operator", "admit an institution", once["admit an institution"], everybody),
        Item("founding", "hospital", "create the study", once["create a study"]),
        Item("joining", "hospital", "register a node key", once["register a node key"], n),
        Item("joining", "hospital", "approve and deposit stake", once["approve"] + once["deposit stake"], n),
        Item("joining", "hospital", "join the study", once["join a study"], n),
        Item("joining", "coordinator", "register, deposit, enlist",
             once["register a node key"] + once["approve"] + once["deposit stake"] + once["enlist"],
             federation.aggregators),
    ]  # fmt: skip


def _rounds(table: GasTable, federation: Federation) -> list[Item]:
    n, rounds = federation.hospitals, federation.rounds
    if not rounds:
        return []
    items = [Item("founding", "coordinator", "open the first round", table.act("open", n))]
    for name in ("commit", "reveal"):
        items += _batches(table, federation, name)
    acts = {"certify": "certify", "propose": "propose", "conclude": "endorse, finalize, open the next"}
    return items + [Item("rounds", "coordinator", words, table.act(name, n), rounds) for name, words in acts.items()]


def _batches(table: GasTable, federation: Federation, name: str) -> list[Item]:
    """Full batches, then the rest of the round in a smaller one."""
    n, size = federation.hospitals, min(federation.batch, federation.hospitals)
    if size == 1:
        gas = table.once.get(f"{name} alone") or table.act(name, 1)
        return [Item("rounds", "hospital", f"{name}, each for itself", gas, n * federation.rounds)]
    whole, rest = divmod(n, size)
    batches = [(size, whole), (rest, 1)] if rest else [(size, whole)]
    return [
        Item("rounds", "coordinator", f"{name} in a batch of {each}", table.act(name, each), times * federation.rounds)
        for each, times in batches
    ]


def _refutations(table: GasTable, federation: Federation) -> list[Item]:
    if not federation.refutations:
        return []
    gas = table.refute_mean(federation.hospitals, federation.parameters)
    words = f"refute a mean of {federation.parameters:,} parameters"
    return [Item("refutations", "watcher", words, gas, federation.refutations)]
