"""An evaluation report: what one institution chooses to publish about a model on its own patients, signed.

Canonical JSON with a compact signature of the node key over keccak("collegium/1/evaluation" || sha256(the rest)). It
names chain, study, round and model root, so it speaks of one model only, and holds cells of cases, none of them small.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from collegium.chain import StudyView
from collegium.errors import SignatureError, VerificationError
from collegium.fields import checksum_address
from collegium.messages import recover
from collegium.metrics import Disclosed, Measure, heterogeneity, wilson
from collegium.metrics.binary import logit_interval
from collegium.metrics.pooling import MIN_SITES, Heterogeneity, Pooled, pool

__all__ = ["SCHEMA", "Comparison", "FinalModel", "Report", "SiteRow", "compare"]

SCHEMA = "collegium.evaluation/1"
MAX_REPORT_BYTES = 1 << 20
_TAG = b"collegium/1/evaluation"


@dataclass(frozen=True)
class FinalModel:
    """The model that was evaluated, as the chain knows it. record: None for the genesis model."""

    chain_id: int
    contract: str
    study: int
    round: int
    root: bytes
    cid: str
    record: bytes | None

    def to_json(self) -> dict[str, Any]:
        """As reports and files name it."""
        return {
            "chain_id": self.chain_id,
            "collegium": self.contract,
            "study": self.study,
            "round": self.round,
            "root": self.root.hex(),
            "cid": self.cid,
            "record": self.record.hex() if self.record is not None else None,
        }


@dataclass(frozen=True)
class Report:
    """One site's report. date: day of the evaluation, YYYY-MM-DD."""

    model: Mapping[str, Any]
    institution: str
    node_key: str
    date: str
    disclosed: Disclosed
    signature: bytes = b""

    def _content(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "model": dict(self.model),
            "institution": self.institution,
            "node_key": self.node_key,
            "date": self.date,
            "disclosed": self.disclosed.to_json(),
        }

    @property
    def digest(self) -> bytes:
        """What the node key signs, 32 bytes."""
        return _digest(self._content())

    def to_json(self) -> bytes:
        """The file: canonical JSON and a line end."""
        return _canonical({**self._content(), "signature": self.signature.hex()}) + b"\n"

    @classmethod
    def parse(cls, data: bytes, name: str = "the report") -> Report:
        """Read a report and check its form and signature. Raises `VerificationError`, `SignatureError`."""
        try:
            if len(data) > MAX_REPORT_BYTES:
                raise ValueError("it is too long")
            content = json.loads(data)
            if content.get("schema") != SCHEMA:
                raise ValueError(f"its schema is not {SCHEMA}")
            signature = bytes.fromhex(content["signature"])
            found = cls(
                dict(content["model"]),
                checksum_address(content["institution"]),
                checksum_address(content["node_key"]),
                str(content["date"])[:10],
                Disclosed.from_json(content["disclosed"]),
                signature,
            )
            if found.to_json().strip() != data.strip():
                raise ValueError("it is not canonical")
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise VerificationError(f"{name} is no evaluation report: {error}.", hint="Ask the site again.") from error
        if recover(found.digest, signature) != found.node_key:
            raise SignatureError(f"{name} is not signed by the node key it names.", hint="It was changed: ask again.")
        return found

    def check(self, view: StudyView, model: FinalModel, *, registered: str, name: str = "the report") -> None:
        """Raise `VerificationError` unless a member of the study speaks of exactly this model.

        registered: the institution's present node key on chain.
        """
        if dict(self.model) != model.to_json():
            raise VerificationError(
                f"{name} speaks of another model than round {model.round} of study {model.study} on this chain.",
                hint="Compare reports of one model only.",
            )
        seat = view.seat_of(self.institution)
        if seat is None:
            raise VerificationError(f"{name} is by {self.institution}, which is no member of study {model.study}.")
        keys = {seat.node_key, registered}
        keys |= {each.node_keys[seat.index] for each in view.snapshots if seat.index < len(each.node_keys)}
        if self.node_key not in keys:
            raise VerificationError(f"{name} is signed by {self.node_key}, which never spoke for {self.institution}.")


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _digest(content: Mapping[str, Any]) -> bytes:
    return bytes(keccak(_TAG + hashlib.sha256(_canonical(content)).digest()))


@dataclass(frozen=True)
class SiteRow:
    """What one report tells, with intervals computed from its cells."""

    institution: str
    cases: int | None
    measures: Mapping[str, Measure | None]

    def to_json(self) -> dict[str, Any]:
        """As commands show it."""
        shown = {name: None if value is None else value.to_json() for name, value in self.measures.items()}
        return {"institution": self.institution, "cases": self.cases, **shown}


@dataclass(frozen=True)
class Comparison:
    """All sites beside one another and together."""

    rows: tuple[SiteRow, ...]
    pooled: Pooled
    differ: Heterogeneity | None

    def to_json(self) -> dict[str, Any]:
        """As commands show it."""
        differ = None if self.differ is None else self.differ.to_json()
        return {"sites": [row.to_json() for row in self.rows], "pooled": self.pooled.to_json(), "heterogeneity": differ}


def compare(reports: Sequence[Report], *, min_sites: int = MIN_SITES) -> Comparison:
    """Pool verified reports of one model. Raises `VerificationError` for two of one site or unlike thresholds."""
    sites = [report.institution for report in reports]
    if len(set(sites)) != len(sites):
        raise VerificationError("Two reports are by the same institution.", hint="Keep the later one.")
    try:
        pooled = pool([report.disclosed for report in reports], min_sites=min_sites)
    except ValueError as error:
        raise VerificationError(f"The reports cannot be pooled: {error}.", hint="Agree on one threshold.") from error
    areas = [(area[0], area[1]) for each in reports if (area := each.disclosed.auroc) and area[1] is not None]
    differ = heterogeneity([(value, float(error or 0)) for value, error in areas]) if len(areas) >= min_sites else None
    return Comparison(tuple(_row(report) for report in reports), pooled, differ)


def _row(report: Report) -> SiteRow:
    found = report.disclosed
    measures: dict[str, Measure | None] = dict.fromkeys(("auroc", "sensitivity", "specificity"))
    if found.auroc is not None:
        value, error = found.auroc
        measures["auroc"] = Measure(value, reason="no standard error was published")
        if error is not None and 0 < value < 1:
            measures["auroc"] = Measure(value, *logit_interval(value, error**2))
    for name, cells, is_upper in (
        ("sensitivity", found.positive, True),
        ("specificity", found.negative, False),
    ):
        split = cells.split(found.threshold) if cells is not None else None
        if split is not None:
            measures[name] = wilson(split[1] if is_upper else split[0], sum(split))
    return SiteRow(report.institution, found.cases, measures)
