"""A study's plan: the TOML that people write, the canonical JSON that is published, the struct that is hashed.

The published plan names every tensor of the model, so whoever has its CID can rebuild the format table, and it
carries the digests of task, agreement and terms.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collegium.amounts import format_tokens, parse_tokens
from collegium.chain.profiles import NetworkProfile, profile
from collegium.encoding import BlobKind, FormatTable, encode_model, pack_blob
from collegium.errors import ConfigError, VerificationError
from collegium.optimizer import check_plan
from collegium.records import ZERO32, Format, Mode, Optimizer, Plan, Rule
from collegium.retention import DAY, MAX_DAYS, read_days
from collegium.storage import Cid, cid_of
from collegium.tree import root_of

from .bundle import task_blobs
from .task import TaskSource

__all__ = ["SCHEMA", "Draft", "PlanFile", "PublishedPlan", "format_tokens", "parse_tokens"]

SCHEMA = "collegium.plan/1"
MAX_PLAN_BYTES = 1 << 20
_TERMS = ("agreement", "reward_terms", "privacy_profiles")

_DEFAULTS: dict[str, dict[str, Any]] = {
    "study": {
        "title": "",
        "description": "",
        "agreement": "",
        "reward_terms": "",
        "privacy_profiles": "",
        "retention_days": 0,
    },
    "task": {"path": "task.py"},
    "model": {"seed": 0, "exponent": 20, "bound": 1 << 24, "weighted": True},
    "rounds": {
        "min_clients": 2,
        "max_members": 16,
        "quorum_min": 2,
        "max_weight": 100_000,
        "rate": [1, 1],
        "commit_window": 600,
        "reveal_window": 600,
        "certify_window": 600,
        "propose_window": 600,
        "challenge_window": 600,
        "evidence_period": 86_400,
    },
    "money": {
        "aggregator_bond": "1000",
        "unrevealed_fine": "10",
        "range_fine": "100",
        "equivocation_fine": "100",
        "duty_fine": "50",
        "contradiction_fine": "500",
    },
    "chain": {"referee": "", "profile": ""},
}


@dataclass(frozen=True)
class PlanFile:
    """What `plan.toml` says, with the defaults filled in. Paths are relative to the file."""

    path: Path
    tables: Mapping[str, Mapping[str, Any]]

    @classmethod
    def load(cls, path: Path) -> PlanFile:
        """Read a plan file. Raises `ConfigError` for unknown names and wrong types."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"The plan {path} cannot be read: {error}.", hint="See docs/client.md.") from error
        tables = {name: dict(table) for name, table in _DEFAULTS.items()}
        for section, table in content.items():
            if section not in tables or not isinstance(table, dict):
                raise ConfigError(f"{path}: unknown table [{section}].", hint=f"Known are {', '.join(tables)}.")
            for name, value in table.items():
                if name not in tables[section]:
                    known = ", ".join(tables[section])
                    raise ConfigError(f"{path}: [{section}] has no {name!r}.", hint=f"Known are {known}.")
                default = tables[section][name]
                if section != "money" and type(value) is not type(default):
                    raise ConfigError(f"{path}: {section}.{name} is {value!r}; write it like {default!r}.")
                tables[section][name] = value
        if name := tables["chain"]["profile"]:
            said = content.get("rounds", {})
            windows = profile(name).windows.to_plan()
            tables["rounds"] |= {key: value for key, value in windows.items() if key not in said}
        return cls(path, tables)

    def hasty_windows(self, network: NetworkProfile) -> list[str]:
        """Windows that end before what happens in them can be acted on there, with what that chain should have."""
        return [
            f"rounds.{name} is {self.tables['rounds'][name]} s; on {network.name} {wanted} s are advised and"
            f" {network.finality_seconds} s pass before anybody acts on a block."
            for name, wanted in network.windows.to_plan().items()
            if int(self.tables["rounds"][name]) < 2 * network.finality_seconds
        ]

    @property
    def task_path(self) -> Path:
        """The task's file or folder."""
        return self.path.parent / str(self.tables["task"]["path"])

    def table_of(self, tensors: Any) -> FormatTable:
        """The format table over a model's tensors."""
        model = self.tables["model"]
        return FormatTable(tensors, model["exponent"], model["bound"], model["weighted"])

    def _digest_of(self, name: str) -> bytes:
        """sha256 of the text, or of the file that the text names; zeros when empty."""
        text = str(self.tables["study"][name])
        if not text:
            return ZERO32
        file = self.path.parent / text
        return hashlib.sha256(file.read_bytes() if file.is_file() else text.encode()).digest()

    def _retention(self) -> dict[str, Any]:
        """The term for the stores; absent when the plan sets none, as in plans before it existed."""
        days, evidence = self.tables["study"]["retention_days"], int(self.tables["rounds"]["evidence_period"])
        if not 0 <= days <= MAX_DAYS:
            raise ConfigError(f"{self.path}: study.retention_days is {days}.", hint=f"Write 0 (none) to {MAX_DAYS}.")
        if days and days * DAY < evidence:
            raise ConfigError(
                f"{self.path}: updates would go after {days} days, within the evidence period of {evidence} s.",
                hint="Set study.retention_days higher or rounds.evidence_period lower.",
            )
        return {"retention": {"days": days}} if days else {}

    def draft(
        self, source: TaskSource, tensors: Any, genesis: Mapping[str, NDArray[np.float32]], referee: str
    ) -> Draft:
        """Everything that creating the study needs. `genesis` are the initial weights by name.

        Raises `PlanRejectedError` when the referee would refuse the plan.
        """
        rounds, money, study = self.tables["rounds"], self.tables["money"], self.tables["study"]
        table = self.table_of(tensors)
        elements = encode_model(genesis, table)
        blob = pack_blob(BlobKind.MODEL, elements, format_id=table.format_id)
        numerator, denominator = (int(part) for part in rounds["rate"])
        windows = ("commit_window", "reveal_window", "certify_window", "propose_window", "challenge_window")
        counts = ("min_clients", "max_members", "quorum_min", "max_weight", "evidence_period")
        published = PublishedPlan(
            title=study["title"] or self.path.stem,
            description=study["description"],
            table=table,
            task_digest=source.digest,
            details={
                "rounds": dict(rounds),
                "money": {name: str(parse_tokens(value)) for name, value in money.items()},
                "terms": {name: self._digest_of(name).hex() for name in _TERMS},
                "genesis": {"cid": cid_of(blob).text, "seed": self.tables["model"]["seed"]},
                **self._retention(),
            },
        )
        content = published.to_json()
        plan = Plan(
            mode=Mode.OPEN,
            rule=Rule.WEIGHTED_MEAN,
            optimizer=Optimizer.FEDAVG,
            rate_numerator=numerator,
            rate_denominator=denominator,
            format_id=table.format_id,
            genesis_model_root=root_of(elements),
            genesis_model_digest=cid_of(blob).digest,
            task_digest=source.digest,
            referee=str(self.tables["chain"]["referee"]) or referee,
            **{name: int(rounds[name]) for name in (*windows, *counts)},
            **{name: parse_tokens(value) for name, value in money.items()},
            reward_terms=self._digest_of("reward_terms"),
            privacy_profiles_hash=self._digest_of("privacy_profiles"),
            agreement=self._digest_of("agreement"),
            plan_digest=cid_of(content).digest,
        )
        check_plan(plan, table.format)
        return Draft(plan, table.format, published, content, blob, source)


@dataclass(frozen=True)
class PublishedPlan:
    """The plan that people read, stored by its CID. Canonical JSON."""

    title: str
    description: str
    table: FormatTable
    task_digest: bytes
    details: Mapping[str, Any]

    def to_json(self) -> bytes:
        """Sorted keys, no blanks: the bytes that the plan's digest covers."""
        content = {
            "schema": SCHEMA,
            "title": self.title,
            "description": self.description,
            "task": {"digest": self.task_digest.hex()},
            "format": {
                "exponent": self.table.exponent,
                "bound": self.table.bound,
                "weighted": self.table.weighted,
                "tensors": json.loads(self.table.canonical_json()),
            },
            **self.details,
        }
        return json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def read(cls, data: bytes) -> PublishedPlan:
        """Read a published plan by itself. Raises `VerificationError` when it is not readable."""
        try:
            content = json.loads(data)
            if content["schema"] != SCHEMA:
                raise ValueError(f"schema {content['schema']!r}")
            numbers = content["format"]
            rows = [(row["name"], row["shape"]) for row in numbers["tensors"]]
            table = FormatTable(rows, numbers["exponent"], numbers["bound"], numbers["weighted"])
            known = ("schema", "title", "description", "task", "format")
            details = {key: value for key, value in content.items() if key not in known}
            task = bytes.fromhex(content["task"]["digest"])
            return cls(content["title"], content["description"], table, task, details)
        except (ValueError, TypeError, KeyError) as error:
            raise VerificationError(f"The published plan is not readable: {error}.") from error

    @classmethod
    def parse(cls, data: bytes, *, plan: Plan, format: Format) -> PublishedPlan:
        """Read a published plan and check it against the chain's.

        Raises `VerificationError` when its format or its task is not that of the chain.
        """
        found = cls.read(data)
        if found.table.format != format or found.task_digest != plan.task_digest:
            raise VerificationError(
                "The published plan has another format or task than the study on chain.",
                hint="Do not join: ask the study's sponsor.",
            )
        return found

    @property
    def retention_days(self) -> int | None:
        """For how long stores keep updates after a round; None for no term."""
        return read_days(self.to_json())

    @property
    def cid(self) -> Cid:
        """Where it is stored."""
        return cid_of(self.to_json())


@dataclass(frozen=True)
class Draft:
    """A checked study that is not created yet."""

    plan: Plan
    format: Format
    published: PublishedPlan
    content: bytes
    """The published plan's bytes."""
    genesis: bytes
    """The genesis model's blob."""
    source: TaskSource

    def blobs(self) -> list[bytes]:
        """What must be in a store: the plan, the genesis model and, for review, the task."""
        return [self.content, self.genesis, *task_blobs(self.source)]
