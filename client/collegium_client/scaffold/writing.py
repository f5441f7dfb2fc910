"""Writes the folder of a new task: `task/` is what a study names and hospitals review, the rest is around it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from collegium.errors import PreconditionError
from collegium_client.data.inferring import Inferred, infer_images, infer_table
from collegium_client.data.schema import Column, Schema
from collegium_client.errors import DataUnreadable

from . import around, networks

__all__ = ["KINDS", "NewTask", "write_task"]

KINDS = ("csv", "parquet", "images", "dicom")
_ADVICE = """What every site's data look like. Agree on it before anybody trains: all approve it with the task.
Replace ranges by published or physiological ones: numbers are scaled by them, the same way at every site.
"""


@dataclass(frozen=True)
class NewTask:
    """What was written. notes: what a person should look at."""

    folder: Path
    schema: Schema
    files: tuple[str, ...]
    notes: tuple[str, ...]


def write_task(
    folder: Path, kind: str, *, data: Path | None = None, target: str = "", title: str = "", network: str = "mlp"
) -> NewTask:
    """Write a task for `kind` of data into a new folder. `network` of a table is `mlp` or `logistic`.

    Raises `PreconditionError` when the folder is not empty, and what inferring a schema raises.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PreconditionError(f"{folder} exists and is not empty.", hint="Name a new folder.")
    inferred = _infer(kind, data, target)
    schema = inferred.schema
    title = title or folder.resolve().name.replace("_", " ").replace("-", " ").capitalize()
    parts = networks.parts_of(schema, network)
    words = {
        "title": "".join(c if c.isprintable() and c not in '\\"' else " " for c in title),
        "kind": kind,
        "guessed": "guessed from one site's data" if data else "an example",
        "path": {"csv": "/data/cohort.csv", "parquet": "/data/cohort.parquet"}.get(kind, "/data/images"),
        **parts,
    }
    is_table = schema.kind == "table"
    files = {
        "task/task.py": _fill(networks.TABLE if is_table else networks.IMAGES, words),
        "task/schema.toml": schema.to_toml(_ADVICE),
        "tests/test_task.py": _fill(around.TESTS, words),
        "plan.toml": _fill(around.PLAN, words),
        "README.md": _fill(around.README, words),
        ".gitignore": "__pycache__/\n.pytest_cache/\ndry-run/\n",
    }
    _write(folder, files)
    return NewTask(folder, schema, tuple(files), inferred.notes)


def _infer(kind: str, data: Path | None, target: str) -> Inferred:
    if data is None:
        return _starter(kind, target)
    makers: dict[str, Callable[[], Inferred]] = {
        "images": lambda: infer_images(data, "images"),
        "dicom": lambda: infer_images(data, "dicom"),
    }
    if kind in makers:
        return makers[kind]()
    fits = data.suffix.lower() in ({".csv", ".tsv"} if kind == "csv" else {".parquet", ".pq"})
    if not fits:
        raise DataUnreadable(f"{data.name} is no {kind} file.", hint="Give --from the form that the file has.")
    return infer_table(data, target)


def _starter(kind: str, target: str) -> Inferred:
    note = ("No --data was given: schema.toml is an example to be rewritten.",)
    if kind in ("csv", "parquet"):
        columns = (
            Column("patient_id", "ignored"),
            Column("age", "number", unit="years", range=(0, 120)),
            Column("creatinine", "number", unit="mg/dL", range=(0, 20), optional=True),
            Column("sex", "category", values=("F", "M"), optional=True),
            Column(target or "outcome", "category", values=("0", "1")),
        )
        return Inferred(Schema("table", target=target or "outcome", columns=columns, group="patient_id"), note)
    classes = ("negative", "positive")
    if kind == "images":
        return Inferred(Schema("images", classes=classes), note)
    return Inferred(Schema("dicom", classes=classes, modalities=("CT",), window=(40.0, 400.0)), note)


def _fill(text: str, words: dict[str, str]) -> str:
    return Template(text).substitute(words)


def _write(folder: Path, files: dict[str, str]) -> None:
    """All files or none: a half-written task would be approved by nobody and found by everybody."""
    whole = folder.resolve()
    fresh = whole.with_name(f".{whole.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name, text in files.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if not whole.exists():
        fresh.rename(whole)
        return
    # Somebody may stand in the empty folder: it stays the same one.
    for path in fresh.iterdir():
        path.rename(whole / path.name)
    fresh.rmdir()
