"""What a file or folder holds, against a schema: counts only, none of them small, no row and no value."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .images import Refused, list_images, read_gray
from .schema import Schema
from .suppression import SMALLEST, suppress
from .tables import ColumnState, find_problems, judge_column, read_frame

__all__ = ["Checkup", "check_data"]


@dataclass(frozen=True)
class Checkup:
    """The finding. `data` holds counts with None for hidden ones; `problems` break the schema, `notes` do not."""

    data: Mapping[str, Any]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def check_data(path: Path, schema: Schema, *, smallest: int = SMALLEST) -> Checkup:
    """Check a table or a folder of images. Raises `DataUnreadable`, and `DataMismatch` for unknown labels."""
    return _check_table(path, schema, smallest) if schema.kind == "table" else _check_images(path, schema, smallest)


def _check_table(path: Path, schema: Schema, smallest: int) -> Checkup:
    frame = read_frame(path)
    present = [str(name) for name in frame.columns]
    states = {column.name: judge_column(frame[column.name], column)
              for column in schema.columns if column.type != "ignored" and column.name in present}  # fmt: skip
    problems = find_problems(schema, present, states)
    rows = len(frame)
    duplicates = int(frame.duplicated().sum()) if rows else 0
    data: dict[str, Any] = {
        "kind": "table",
        "smallest_cell": smallest,
        "rows": rows if rows >= smallest else None,
        "rows_by_repetition": suppress({"first": rows - duplicates, "repeated": duplicates}, smallest),
        "columns": [_column_row(schema, name, states[name], smallest) for name in states],
        "unknown_columns": len(set(present) - {column.name for column in schema.columns}),
    }
    notes = _balance_notes(_labels(states[schema.target], schema), smallest) if schema.target in states else []
    if duplicates:
        notes.append("some rows are exact repetitions of others")
    return Checkup(data, tuple(problems), tuple(notes))


def _column_row(schema: Schema, name: str, state: ColumnState, smallest: int) -> dict[str, Any]:
    """One partition of all rows. The labels are part of it: shown apart, what one hides the other would tell."""
    column = schema.column(name)
    cells = {word: int(getattr(state, word).sum()) for word in ("good", "missing", "malformed", "outside")}
    row: dict[str, Any] = {"name": name, "type": column.type, "unit": column.unit}
    if column.range:
        row["range"] = list(column.range)
    if name != schema.target or not schema.labels:
        return {**row, **suppress(cells, smallest)}
    labels = {f"label {label}": count for label, count in _labels(state, schema).items()}
    bad = {word: cells[word] for word in ("missing", "malformed", "outside")}
    shown = suppress({**labels, **bad}, smallest)
    return {**row, "labels": {label[6:]: shown.pop(label) for label in labels}, **shown}


def _labels(state: ColumnState, schema: Schema) -> dict[str, int]:
    found = state.values[state.good]
    return {value: int((found == at).sum()) for at, value in enumerate(schema.labels)}


def _balance_notes(balance: Mapping[str, int], smallest: int) -> list[str]:
    empty = [label for label, count in balance.items() if not count]
    small = [label for label, count in balance.items() if 0 < count < smallest]
    notes = [f"no case has label {label!r}" for label in empty]
    if small:
        notes.append(f"a label has fewer than {smallest} cases: its measures will not be publishable")
    return notes


def _check_images(folder: Path, schema: Schema, smallest: int) -> Checkup:
    files = list_images(folder, schema)
    refused: Counter[str] = Counter()
    labels: Counter[str] = Counter(dict.fromkeys(schema.classes, 0))
    modalities: Counter[str] = Counter()
    digests: Counter[bytes] = Counter()
    patients = set()
    for file in files:
        try:
            pixels, key = read_gray(file, schema)
            if schema.kind == "dicom":
                from .dicom import read_modality

                modalities[read_modality(file.path, schema)] += 1
        except Refused as error:
            refused[error.reason] += 1
            continue
        labels[file.label] += 1
        digests[hashlib.sha256(pixels.tobytes()).digest()] += 1
        patients.add(key)
    used = sum(labels.values())
    repeated = used - len(digests)
    data: dict[str, Any] = {
        "kind": schema.kind,
        "smallest_cell": smallest,
        # Never beside a total of all files: what is refused must not follow from what is used.
        "used": used if used >= smallest else None,
        "refused": {reason: count if count >= smallest else None for reason, count in sorted(refused.items())},
        "labels": suppress(labels, smallest),
        "images_by_repetition": suppress({"first": used - repeated, "repeated": repeated}, smallest),
        "patients": len(patients) if len(patients) >= smallest else None,
        "size": list(schema.size),
    }
    if schema.kind == "dicom":
        data["modalities"] = suppress(modalities, smallest)
    said = [f"some files are refused: {reason}" for reason in sorted(refused)]
    notes = _balance_notes(labels, smallest)
    if len(patients) == 1 < used:
        notes.append("all images have the same patient id and cannot be held out apart; name patients in labels.csv")
    if repeated:
        notes.append("some images show exactly the same as others")
    return Checkup(data, () if used else tuple(said), (*notes, *(said if used else ())))
