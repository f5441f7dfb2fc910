"""The audit of an export, on a machine without a network: the same checks, from the file alone.

The file is checked first: its seal, every part against the manifest, every blob against its CID. Then the audit runs
as if the file were a node and a store; headers up to the head, receipts, transactions and blobs prove themselves or
fail a check. What stays to be believed is the hash of the last block and the addresses of the contracts.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium.chain import Chain, Deployment, NetworkSettings
from collegium.chain.deployment import CONTRACTS
from collegium.chain.rpc import Header
from collegium.errors import CollegiumError, ConfigError, StudyUnknownError, UsageError
from collegium.storage import MultiStore, parse_cid
from collegium.storage.archive import CarStore
from collegium.storage.folder import BlobFolder
from collegium.storage.store import Store

from .answers import PARTS, Answers, ReplayRpc
from .bundle import Bundle, open_bundle
from .errors import ExportDamagedError
from .export import abi_parts
from .report import Report
from .study import Progress, run_audit

__all__ = ["OfflineAudit", "audit_export"]

_UNEXPECTED = (ArithmeticError, LookupError, ValueError, TypeError, AttributeError, AssertionError, RecursionError)
"""What reading answers of no sense raises; the seal is good, so somebody made them so."""


@dataclass(frozen=True)
class OfflineAudit:
    """warnings: what of the file is not proven or differs from what this version has."""

    report: Report
    warnings: tuple[str, ...]
    missing: tuple[str, ...]


def audit_export(
    path: Path,
    *,
    study_id: int | None = None,
    deployment: Deployment | None = None,
    trusted_head: str | None = None,
    progress: Progress | None = None,
    threads: int = 1,
) -> OfflineAudit:
    """Audit the study of an export.

    study_id: what the file must be of. deployment: addresses from a source that the auditor trusts.
    trusted_head: hash of the last block from such a source, 0x hex.

    Raises:
        NotAnExportError: no such file, or another kind of file. UsageError: it is of another study.
        ExportDamagedError: cut short, altered, or of another chain.
    """
    tell = progress or (lambda stage, done, total: None)
    with tempfile.TemporaryDirectory(prefix="collegium-offline-") as folder, contextlib.ExitStack() as stack:
        bundle = open_bundle(path, Path(folder) / "parts", tell)
        _check_study(bundle, study_id)
        found, warnings = _read_deployment(bundle, deployment)
        answers = stack.enter_context(Answers(Path(folder) / "answers.sqlite"))
        _load(bundle, answers, tell)
        head = bundle.manifest["head"]
        chain = Chain(
            rpc=ReplayRpc(answers, Header(head["number"], _hash_of(head), b"", head["time"], None)),
            deployment=found,
            settings=NetworkSettings(rpc_url="", chain_id=found.chain_id),
        )
        stores = MultiStore([_open_store(bundle, Path(folder) / "none")])
        try:
            report, _ = run_audit(
                chain, stores, bundle.manifest["study"], folder=Path(folder) / "store", progress=tell,
                trusted_head=trusted_head, threads=threads,
            )  # fmt: skip
        except StudyUnknownError as error:
            raise ExportDamagedError(
                f"{path.name} proves no study {bundle.manifest['study']}.", hint="Ask for the export again."
            ) from error
        except _UNEXPECTED as error:
            raise ExportDamagedError(
                f"{path.name} holds answers that no node gives: {error!r}.", hint="Ask for the export again."
            ) from error
        _check_head(bundle, report)
        return OfflineAudit(report, (*warnings, *_compare(bundle, report)), tuple(bundle.manifest["missing"]))


def _check_study(bundle: Bundle, study_id: int | None) -> None:
    actual = bundle.manifest["study"]
    if study_id is not None and study_id != actual:
        raise UsageError(
            f"{bundle.path.name} is of study {actual}, not {study_id}.", hint=f"collegium audit --offline {bundle.path}"
        )


def _read_deployment(bundle: Bundle, trusted: Deployment | None) -> tuple[Deployment, list[str]]:
    """The contracts, of the auditor's own file where there is one."""
    try:
        found = Deployment.from_json(bundle.json("deployment.json"))
    except (ConfigError, RecursionError, OverflowError) as error:
        raise ExportDamagedError(f"deployment.json: {error}", hint="Ask for the export again.") from error
    if found.chain_id != bundle.manifest["chain_id"] or not set(CONTRACTS) <= set(found.contracts):
        raise ExportDamagedError(
            f"{bundle.path.name} is of chain {bundle.manifest['chain_id']}, and its deployment of chain "
            f"{found.chain_id} with {len(found.contracts)} contracts.",
            hint="Ask for the export again.",
        )
    if trusted is None:
        with contextlib.suppress(CollegiumError):
            trusted = Deployment.find(found.chain_id)
    if trusted is None:
        return found, ["the addresses of the contracts are the export's word: compare deployment.json, or --deployment"]
    if (trusted.chain_id, trusted.addresses) != (found.chain_id, found.addresses):
        raise ExportDamagedError(
            f"{bundle.path.name} is of other contracts: chain {found.chain_id}, Collegium at "
            f"{found.addresses.get('Collegium')}; yours are chain {trusted.chain_id}, "
            f"{trusted.addresses.get('Collegium')}.",
            hint="It is an export of another chain or deployment; ask for one of yours.",
        )
    return trusted, []


def _load(bundle: Bundle, answers: Answers, progress: Progress) -> None:
    parts = [name for name in sorted(set(PARTS.values())) if bundle.part(name)]
    for done, name in enumerate(parts):
        progress("answers", done, len(parts))
        path = bundle.part(name)
        assert path is not None
        with path.open("rb") as file:
            answers.load(name, file)
    progress("answers", len(parts), len(parts))


def _open_store(bundle: Bundle, empty: Path) -> Store:
    """The blobs of the file, each verified, exactly those that the manifest names."""
    expected = [parse_cid(text) for text in bundle.manifest["blobs"]]
    path = bundle.part("blobs.car")
    if path is None:
        if expected:
            raise ExportDamagedError(
                f"{bundle.path.name} names {len(expected)} blobs and holds none.", hint="Ask for the export again."
            )
        return BlobFolder(empty)
    store = CarStore(path)
    store.check(expected)
    return store


def _hash_of(head: Mapping[str, Any]) -> bytes:
    try:
        return bytes.fromhex(head["hash"].removeprefix("0x"))
    except ValueError as error:
        raise ExportDamagedError(f"The head of the export has no hash: {head['hash']!r}.") from error


def _check_head(bundle: Bundle, report: Report) -> None:
    claimed, actual = bundle.manifest["head"], dict(report.head)
    if dict(claimed) != actual and report.verdict != "mismatch":
        raise ExportDamagedError(
            f"{bundle.path.name} says it speaks of block {claimed['number']} {claimed['hash']}, its headers lead to "
            f"{actual['hash']}.",
            hint="Ask for the export again.",
        )


def _compare(bundle: Bundle, report: Report) -> list[str]:
    """Parts that are there for people, held against what this version knows or found."""
    warnings = [
        f"{name} is not that of this version of collegium ({bundle.manifest.get('version')} made the export)"
        for name, data in abi_parts()
        if bundle.part(name) is None or bundle.read(name) != data
    ]
    if bundle.json("report.json") != report.to_json() and bundle.json("report.json").get("verdict") != report.verdict:
        warnings.append("report.json in the export has another verdict than this audit")
    return warnings
