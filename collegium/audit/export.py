"""An audit as one file: everything that it looked at, for a machine without a network.

The export is the audit itself, with a node whose answers are kept and stores whose blobs are kept. What it could not
get is listed in the manifest, so the audit of the file misses the same.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import collegium
from collegium.annex import Terms, build_annex, render
from collegium.chain import Chain
from collegium.chain.rpc import Header
from collegium.chain.views import StudyView
from collegium.encoding import HEADER_BYTES
from collegium.errors import ChainUnreachableError, CollegiumError, PreconditionError, StudyUnknownError, UsageError
from collegium.files import write_atomically
from collegium.records import ZERO32
from collegium.storage import MultiStore
from collegium.storage.archive import export_car
from collegium.storage.cid import CHUNK_BYTES, Cid, cid_from_digest, parse_cid
from collegium.storage.folder import BlobFolder

from .answers import Answers, RecordingRpc
from .bundle import SCHEMA, write_bundle
from .report import Report
from .study import Progress, run_audit

__all__ = ["Exported", "abi_parts", "export_audit"]

DOCUMENTS = ("agreement", "reward_terms", "privacy_profiles_hash", "task_digest")
"""Fields of a plan that are the SHA-256 of a text."""

README = """An export of an audit of a federated learning study.

Study {study} of chain {chain_id}, up to block {number} with hash
{hash}

Repeat the audit on any machine, without a network:

    collegium audit --offline FILE --trusted-head {hash}

Compare that hash, and the addresses in deployment.json, with a source that you trust: everything else is proven
from them. `unzip FILE` shows the parts; manifest.json names each with its SHA-256.

  deployment.json   addresses of the contracts and how they were created
  abi/              interfaces of the contracts
  chain/            what the chain's node answered: block headers, transactions, receipts, logs and views of contracts
  blobs.car         the plan, every model, mean and update (a CAR archive; `ipfs dag import` reads it)
  plan.json         the plan as it was published; annex.md what it means in plain words
  documents/        the agreement and other texts that the plan names by digest, where they could be had
  report.json       the report of the audit from which this file was made
"""


@dataclass(frozen=True)
class Exported:
    """missing: what could not be had, in words. resumed: whether an interrupted export was gone on with."""

    path: Path
    bytes: int
    sha256: str
    head: Mapping[str, Any]
    blobs: int
    missing: tuple[str, ...]
    report: Report
    resumed: bool


def export_audit(
    chain: Chain,
    stores: MultiStore,
    study_id: int,
    path: Path,
    *,
    documents: Sequence[Path] = (),
    progress: Progress | None = None,
    threads: int = 1,
) -> Exported:
    """Audit a study and write everything that the audit needed to one file.

    What was fetched is kept in `<path>.partial` until the file is whole, so that an interrupted export goes on.
    documents: texts that the plan names by digest, such as the agreement.

    Raises:
        ChainUnreachableError: the node does not answer. StudyUnknownError: a proven history has no such study.
        UsageError: a document is none of the plan's. PreconditionError: `<path>.partial` is in use or damaged.
    """
    tell = progress or (lambda stage, done, total: None)
    path = path.absolute()
    with _working(path) as work:
        head, resumed = _pin(chain, study_id, work)
        with Answers(work / "answers.sqlite") as answers:
            answers.forget_errors()
            recorded = Chain(
                rpc=RecordingRpc(chain.rpc, answers, head), deployment=chain.deployment, settings=chain.settings
            )
            folder = BlobFolder(work / "store")
            report, world = run_audit(recorded, stores, study_id, folder=folder.path, progress=tell, threads=threads)
            collected = _Collected(work / "parts", stores, folder, tell)
            if world.study is not None:
                collected.fetch(world.study)
                collected.take_documents(world.study, documents)
            collected.write_chain(answers)
            collected.write_texts(chain, study_id, report, world.study)
            roots = collected.write_car()
            manifest = {
                "schema": SCHEMA,
                "version": collegium.__version__,
                "study": study_id,
                "chain_id": chain.chain_id,
                "head": dict(report.head),
                "blobs": roots,
                "missing": list(collected.missing),
            }
            write_bundle(path, collected.parts, manifest, tell)
    return Exported(
        path, path.stat().st_size, _digest_of(path), report.head, len(roots), tuple(collected.missing), report, resumed
    )  # fmt: skip


@contextlib.contextmanager
def _working(path: Path) -> Iterator[Path]:
    """`<path>.partial`, held alone; gone afterwards, unless there is something to go on with.

    Raises PreconditionError: another process works there, or a loss of power damaged what is there.
    """
    work = path.with_name(path.name + ".partial")
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise PreconditionError(
                f"Another export to {path} is running.", hint="Wait for it, or write to another file."
            ) from error
        try:
            yield work
        except StudyUnknownError:
            shutil.rmtree(work, ignore_errors=True)
            raise
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            raise PreconditionError(
                f"What an interrupted export left in {work} is damaged: {error}.",
                hint="Remove that folder and export again.",
            ) from error
        shutil.rmtree(work)


def abi_parts() -> Iterator[tuple[str, bytes]]:
    """Name of the part and bytes of every interface of this version."""
    for entry in sorted((resources.files("collegium") / "abi").iterdir(), key=lambda each: each.name):
        if entry.name.endswith(".json"):
            yield f"abi/{entry.name}", entry.read_bytes()


def _pin(chain: Chain, study_id: int, work: Path) -> tuple[Header, bool]:
    """The block that the export speaks of: of the interrupted one, if the chain still has it."""
    state = work / "state.json"
    expected = {"study": study_id, "chain_id": chain.chain_id, "collegium": chain.address_of("Collegium")}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        kept = json.loads(state.read_text())
        if {name: kept[name] for name in expected} == expected:
            header = chain.rpc.header(int(kept["head"]))
            if header is not None and header.hash.hex() == kept["hash"]:
                return header, True
    head = chain.head()
    if head is None:
        raise ChainUnreachableError(
            "The node has no block yet that may be audited.", hint="Wait until it has synchronized, then export again."
        )
    # Blobs stay good on any chain; answers do not.
    for name in ("answers.sqlite", "answers.sqlite-wal", "answers.sqlite-shm"):
        (work / name).unlink(missing_ok=True)
    write_atomically(state, json.dumps({**expected, "head": head.number, "hash": head.hash.hex()}).encode())
    return head, False


class _Collected:
    """The parts of one export as they are gathered. parts: name to file."""

    def __init__(self, folder: Path, stores: MultiStore, blobs: BlobFolder, progress: Progress) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.parts: dict[str, Path] = {}
        self.missing: list[str] = []
        self._folder = folder
        self._stores = stores
        self._blobs = blobs
        self._progress = progress
        self._wanted: dict[Cid, str] = {}
        self._largest = CHUNK_BYTES

    def fetch(self, study: StudyView) -> None:
        """Every blob that an event names, also those that no check needs."""
        self._largest = max(CHUNK_BYTES, HEADER_BYTES + study.format.payload_bytes)
        named = [(study.plan_cid, "the plan"), (study.genesis_cid, "the genesis model")]
        for view in study.rounds:
            where = f"of round {view.number}"
            named += [(each.cid, f"the update of seat {index} {where}") for index, each in sorted(view.reveals.items())]
            for each in view.proposals:
                named += [(each.model_cid, f"a proposed model {where}"), (each.mean_cid, f"a proposed mean {where}")]
        for done, (text, what) in enumerate(named):
            self._progress("blobs", done, len(named))
            try:
                self._fetch(parse_cid(text), what)
            except CollegiumError as error:
                self.missing.append(f"{what}: {text} ({error.code})")
        self._progress("blobs", len(named), len(named))

    def _fetch(self, cid: Cid, what: str) -> None:
        self._stores.fetch(cid, self._blobs, max_bytes=self._largest)
        self._wanted.setdefault(cid, what)

    def take_documents(self, study: StudyView, given: Sequence[Path]) -> None:
        """Texts that the plan names by digest: of the user, else of a store that has them."""
        digests = {name: getattr(study.plan, name) for name in DOCUMENTS}
        by_digest = {digest: name for name, digest in digests.items() if digest != ZERO32}
        found: set[bytes] = set()
        for path in given:
            data = path.read_bytes()
            digest = hashlib.sha256(data).digest()
            if digest not in by_digest:
                raise UsageError(
                    f"{path} is no document of study {study.study_id}: its SHA-256 is not in the plan.",
                    hint="Name the very file that was given to `collegium study create`.",
                )
            self._document(by_digest[digest], data)
            found.add(digest)
        for digest, name in sorted(by_digest.items(), key=lambda item: item[1]):
            if digest in found:
                continue
            try:
                self._document(name, self._stores.get(cid_from_digest(digest, 0), max_bytes=CHUNK_BYTES))
            except CollegiumError:
                self.missing.append(f"the text behind the plan's {name} (SHA-256 {digest.hex()})")

    def _document(self, name: str, data: bytes) -> None:
        self.write(f"documents/{name.removesuffix('_hash').removesuffix('_digest').replace('_', '-')}", data)
        if len(data) <= CHUNK_BYTES:
            self._wanted.setdefault(self._blobs.put(data), name)

    def write_chain(self, answers: Answers) -> None:
        for name in answers.parts():
            path = self._path(name)
            with path.open("wb") as file:
                file.writelines(answers.lines(name))

    def write_texts(self, chain: Chain, study_id: int, report: Report, study: StudyView | None) -> None:
        # In the order of the deployment, which the report follows.
        self.write("deployment.json", (json.dumps(chain.deployment.to_json(), indent=1) + "\n").encode())
        self.write("report.json", _pretty(report.to_json()))
        head = report.head
        text = README.format(study=study_id, chain_id=chain.chain_id, number=head["number"], hash=head["hash"])
        self.write("readme.txt", text.encode())
        for name, data in abi_parts():
            self.write(name, data)
        if study is not None:
            with contextlib.suppress(CollegiumError):
                published = self._blobs.get(parse_cid(study.plan_cid), max_bytes=CHUNK_BYTES)
                self.write("plan.json", published)
                self.write("annex.md", render(build_annex(Terms.read(study.plan, published)), "md"))

    def write_car(self) -> list[str]:
        """The blobs in one archive; their CIDs."""
        roots = sorted(self._wanted)
        if roots:
            export_car(
                self._path("blobs.car"),
                roots,
                self._blobs,
                max_bytes=self._largest,
                progress=lambda done, total: self._progress("archive", done, total),
            )
        return [cid.text for cid in roots]

    def write(self, name: str, data: bytes) -> None:
        self._path(name).write_bytes(data)

    def _path(self, name: str) -> Path:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.parts[name] = path
        return path


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
