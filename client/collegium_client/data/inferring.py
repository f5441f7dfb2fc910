"""A first schema from one site's file: to be read, mended and agreed on by all sites.

What is written tells little about the patients it was made from: ranges are rounded outward to one digit, categories
that fewer than ten rows have are left out, columns that look like names, ids, dates or free text are not read at all.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from collegium_client.errors import DataUnreadable, SchemaInvalid

from .images import LABELS, SUFFIXES
from .schema import MISSING, Column, Schema
from .suppression import SMALLEST
from .tables import read_frame

__all__ = ["Inferred", "infer_images", "infer_table", "round_outward"]

SENTINELS = (-9, -99, -999, -9999, -1, 99, 999, 9999, 99999)
MAX_CATEGORIES = 20
_PATIENT = re.compile(
    r"(?i)^(mrn|pid|(patient|subject|participant)([ _-]?(id|nr|no|number|key))?"
    r"|(case|person)[ _-]?(id|nr|no|number|key))$"
)
_PRIVATE = re.compile(
    r"(?i)(^|[ _-])(id|name|surname|forename|address|street|zip|postcode|phone|email|ssn|birth|dob|date|datetime|"
    r"timestamp|comment|note|notes|text|uid|key)([ _-]|$)"
)
_UNIT = re.compile(r"[(\[]\s*([^()\[\]]{1,20})\s*[)\]]\s*$")
_SUFFIX_UNITS = ("mm", "cm", "kg", "g", "mg", "ml", "years", "days", "hours", "mmhg", "bpm", "celsius", "percent")


@dataclass(frozen=True)
class Inferred:
    """A schema and what a person should look at."""

    schema: Schema
    notes: tuple[str, ...]


def infer_table(path: Path, target: str = "") -> Inferred:
    """From a CSV or Parquet file. Without `target` the last column is it. Raises `DataUnreadable`, `SchemaInvalid`."""
    frame = read_frame(path)
    if not len(frame.columns) or not len(frame):
        raise DataUnreadable(f"{path.name} has no rows.", hint="Export at least a few dozen.")
    names = [str(name) for name in frame.columns]
    frame.columns = names
    if target and target not in names:
        raise SchemaInvalid(f"{path.name} has no column {target!r}.", hint=f"It has {', '.join(names[:30])}.")
    notes = [] if target else [f"No target was named, so the last column {names[-1]!r} is it."]
    target = target or names[-1]
    group = next((name for name in names if name != target and _PATIENT.match(name)), "")
    columns = []
    for name in names:
        column, said = _infer_column(frame[name], name, is_target=name == target)
        columns.append(Column(name, "ignored") if name == group else column)
        notes += [] if name == group else said
    if group:
        notes.append(f"All rows with the same {group!r} stay on one side of the split; it is no feature.")
    content = Schema("table", target=target, columns=tuple(columns), group=group)
    try:
        content._check()
    except ValueError as error:
        raise SchemaInvalid(f"No schema fits {path.name}: {error}.", hint="Name the target with --target.") from error
    return Inferred(content, tuple(notes))


def _infer_column(series: Any, name: str, *, is_target: bool) -> tuple[Column, list[str]]:
    import pandas

    text = series.astype(str).str.strip()
    empty = series.isna() | text.isin(MISSING)
    present = text[~empty]
    numbers = pandas.to_numeric(present, errors="coerce")
    distinct = int(present.nunique())
    if not is_target and _PRIVATE.search(name):
        return Column(name, "ignored"), [f"{name!r} looks personal and is not read."]
    if not len(present):
        return Column(name, "ignored"), [f"{name!r} is empty and is not read."]
    is_number = bool(numbers.notna().all())
    if is_target and (distinct <= 2 or not is_number or (distinct <= 10 and bool((numbers % 1 == 0).all()))):
        return _label(present, name, is_number)
    if is_number:
        return _number(numbers, name, bool(empty.any()))
    counts = present.value_counts()
    listed = sorted(str(value) for value in counts[counts >= SMALLEST].index)
    if distinct > MAX_CATEGORIES or not listed:
        return Column(name, "ignored"), [f"{name!r} looks like free text or a rare code and is not read."]
    rare = distinct > len(listed)
    said = [f"{name!r}: categories with fewer than {SMALLEST} rows are not listed and count as other."] if rare else []
    return Column(name, "category", values=tuple(listed), optional=bool(empty.any()), other=rare), said


def _label(present: Any, name: str, is_number: bool) -> tuple[Column, list[str]]:
    values = sorted({str(value) for value in present}, key=lambda text: (float(text), text) if is_number else (0, text))
    if is_number:
        values = list(dict.fromkeys(value[:-2] if value.endswith(".0") else value for value in values))
    if not 2 <= len(values) <= MAX_CATEGORIES:
        raise SchemaInvalid(
            f"The target {name!r} has {len(values)} labels; 2 to {MAX_CATEGORIES} can be learned.",
            hint="Name another column with --target.",
        )
    said = f"{name!r}: the last label, {values[-1]!r}, counts as positive." if len(values) == 2 else ""
    return Column(name, "category", values=tuple(values)), [said] if said else []


def _number(numbers: Any, name: str, optional: bool) -> tuple[Column, list[str]]:
    values = np.unique(numbers.to_numpy(dtype=np.float64))
    said, codes = [], []
    # A code such as 999 stands far off from everything else; a real value does not.
    while len(values) > 2 and (values[-1] in SENTINELS or values[0] in SENTINELS):
        end = values[-1] if values[-1] in SENTINELS else values[0]
        rest = values[values != end]
        gap = min(abs(rest - end))
        if gap <= max(rest[-1] - rest[0], 1.0):
            break
        codes += [str(int(end)), f"{int(end)}.0"]
        values = rest
    if codes:
        said.append(f"{name!r}: {', '.join(codes[::2])} is taken for a missing value.")
    low, high = round_outward(float(values[0]), float(values[-1]))
    column = Column(name, "number", unit=_unit_of(name), range=(low, high), optional=optional or bool(codes))
    if codes:
        column = Column(name, "number", column.unit, (low, high), missing=(*MISSING, *codes), optional=True)
    return column, said


def round_outward(low: float, high: float) -> tuple[float, float]:
    """The range widened to one significant digit of its length, to zero where it starts close to it."""
    length = max(high - low, abs(low) * 1e-9, abs(high) * 1e-9, 1e-9)
    step = 10.0 ** math.floor(math.log10(length))
    bottom, top = math.floor(low / step) * step, math.ceil(high / step) * step
    if low >= 0 and bottom <= 2 * length:
        bottom = 0.0
    if top <= high:
        top += step
    digits = max(0, -math.floor(math.log10(step)))
    bottom, top = round(bottom, digits), round(top if top > bottom else bottom + step, digits)
    # Rounding to decimal digits may pass the value itself by a hair.
    return (bottom if bottom <= low else bottom - step), (top if top >= high else top + step)


def _unit_of(name: str) -> str:
    if found := _UNIT.search(name):
        return found[1].strip()
    ending = name.lower().rsplit("_", 1)[-1]
    return ending if ending in _SUFFIX_UNITS and "_" in name else ""


def infer_images(folder: Path, kind: str) -> Inferred:
    """Classes, and for DICOM modalities and a window, from a folder. Raises `DataUnreadable`, `SchemaInvalid`."""
    if not folder.is_dir():
        raise DataUnreadable(f"There is no folder {folder}.", hint="Name the folder of images.")
    if (folder / LABELS).is_file():
        import csv

        with (folder / LABELS).open(newline="", encoding="utf-8-sig") as file:
            classes = sorted({str(row.get("label") or "").strip() for row in csv.DictReader(file)} - {""})
    else:
        classes = sorted(
            path.name for path in folder.iterdir()
            if path.is_dir() and any(each.suffix.lower() in SUFFIXES[kind] for each in path.rglob("*"))
        )  # fmt: skip
    if not 2 <= len(classes) <= MAX_CATEGORIES:
        raise SchemaInvalid(
            f"{folder} has {len(classes)} classes; 2 to {MAX_CATEGORIES} can be learned.",
            hint=f"Make one folder per class, or write {LABELS} with the columns file and label.",
        )
    notes = [f"The last class, {classes[-1]!r}, counts as positive."] if len(classes) == 2 else []
    schema = Schema(kind, classes=tuple(classes))
    if kind == "images":
        return Inferred(schema, tuple(notes))
    modalities = _modalities(folder, schema)
    window = (40.0, 400.0) if modalities == ("CT",) else None
    notes.append("CT: soft-tissue window, center 40 and width 400 HU." if window else "Each image is scaled by itself.")
    return Inferred(Schema(kind, classes=tuple(classes), modalities=modalities, window=window), tuple(notes))


def _modalities(folder: Path, schema: Schema) -> tuple[str, ...]:
    from .dicom import read_modality
    from .images import Refused, list_images

    found = set()
    for file in list_images(folder, schema):
        try:
            found.add(read_modality(file.path, schema))
        except Refused:
            continue
    return tuple(sorted(found - {""}))
