"""CSV and Parquet files as arrays, by a schema. What breaks the schema is counted and refused, never guessed."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collegium.extras import require
from collegium_client.errors import DataMismatch, DataUnreadable

from .schema import Column, Schema

__all__ = ["ColumnState", "TableCases", "encode_cases", "judge_column", "named_path", "read_frame", "read_table"]

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")
_TRUTH = {"true": "1", "false": "0"}
_SEPARATORS = ",;\t|"
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TableCases:
    """Rows that have a label. features float32 [n, width]; targets float32 [n] numbers or int64 [n] classes."""

    features: Floats
    targets: NDArray[Any]
    keys: tuple[bytes, ...]
    """What `is_held_out` decides by: the patient, or the row's content."""


@dataclass(frozen=True)
class ColumnState:
    """One column judged by the schema; masks and values [n]. Exactly one of the four holds for a row."""

    values: NDArray[np.float64]
    """Numbers, or positions in `Column.values`; -1 for an unlisted category that is allowed; NaN elsewhere."""
    missing: Mask
    malformed: Mask
    outside: Mask

    @property
    def good(self) -> Mask:
        """Present and as the schema says."""
        return ~(self.missing | self.malformed | self.outside)


def read_frame(path: Path) -> Any:
    """A pandas frame: CSV cells as text exactly as written, Parquet columns as stored. Raises `DataUnreadable`."""
    require("data", "pandas")
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise DataUnreadable(
            f"There is no table at {path}." if not path.is_file() else f"{path.name} is neither CSV nor Parquet.",
            hint="Give a .csv, .tsv or .parquet file; the task's process reads only folders in training.read.",
        )
    import pandas

    try:
        if path.suffix.lower() in (".csv", ".tsv"):
            separator = _find_separator(path)
            return pandas.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        require("data", "pyarrow")
        return pandas.read_parquet(path)
    except (ValueError, OSError, UnicodeError) as error:
        # The parser's words may quote a row: only its kind is told.
        raise DataUnreadable(
            f"{path.name} cannot be read as a table ({type(error).__name__}).",
            hint="Save it as UTF-8 CSV with one header line, or as Parquet.",
        ) from None


def _find_separator(path: Path) -> str:
    """The one that gives the header most fields; programs of half the world write semicolons."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline(1 << 20)
    return max(_SEPARATORS, key=lambda separator: len(next(csv.reader([header], delimiter=separator), [])))


def named_path(path: str | Path) -> Path:
    """The path that `[data]` names. Raises `DataUnreadable` when it names none."""
    if not str(path):
        raise DataUnreadable(
            "No data are named.", hint='Set [data] path = "/…" and its folder in training.read, in collegium.toml.'
        )
    return Path(path).expanduser()


def judge_column(series: Any, column: Column) -> ColumnState:
    """Sort the cells of a column into good, missing, malformed and outside."""
    import pandas

    text = series.astype(str).str.strip()
    missing = (series.isna() | text.isin(column.missing)).to_numpy(dtype=bool)
    if column.type == "number":
        values = pandas.to_numeric(text.mask(missing), errors="coerce").to_numpy(dtype=np.float64, copy=True)
        malformed = ~missing & ~np.isfinite(values)
        low, high = column.range or (-np.inf, np.inf)
        with np.errstate(invalid="ignore"):
            outside = ~missing & ~malformed & ((values < low) | (values > high))
        values[missing | malformed] = np.nan
        return ColumnState(values, missing, malformed, outside)
    known = {value: position for position, value in enumerate(column.values)}
    values = text.map(lambda cell: _position_of(str(cell), known)).to_numpy(dtype=np.float64, copy=True)
    unlisted = ~missing & np.isnan(values)
    values[missing] = np.nan
    if column.other:
        values[unlisted] = -1
        unlisted = np.zeros_like(unlisted)
    return ColumnState(values, missing, np.zeros_like(missing), unlisted)


def _position_of(cell: str, known: Mapping[str, int]) -> float:
    """A code as it is written, or as other programs write it: 1.0 and True for 1, false for 0."""
    for text in (cell, cell.removesuffix(".0"), _TRUTH.get(cell.lower(), cell)):
        if text in known:
            return known[text]
    return np.nan


def read_table(path: str | Path, schema: Schema) -> TableCases:
    """Read a table by its schema. Raises `DataUnreadable`, and `DataMismatch` when anything breaks the schema."""
    frame = read_frame(named_path(path))
    states = {column.name: judge_column(frame[column.name], column)
              for column in schema.columns if column.type != "ignored" and column.name in frame}  # fmt: skip
    problems = find_problems(schema, list(frame.columns), states)
    if problems:
        raise DataMismatch(
            f"The data break the schema: {'; '.join(problems[:5])}.",
            hint="Run `collegium data check` with the task's schema.toml; fix the export, never the schema alone.",
        )
    return encode_cases(frame, schema, states)


def find_problems(schema: Schema, present: Sequence[str], states: Mapping[str, ColumnState]) -> list[str]:
    """What breaks the schema, in words without values or counts."""
    named = {column.name for column in schema.columns}
    needed = {column.name for column in schema.columns if column.type != "ignored"} | {schema.group} - {""}
    problems = [f"column {name!r} is absent" for name in sorted(needed - set(present))]
    unknown = [name for name in present if name not in named]
    if unknown:
        problems.append(f"{len(unknown)} columns are not in the schema")
    for column in schema.columns:
        state = states.get(column.name)
        if state is None:
            continue
        if state.malformed.any():
            problems.append(f"{column.name!r} holds something that is no number")
        if state.outside.any():
            what = f"outside {list(column.range or ())} {column.unit}".rstrip() if column.range else "not listed"
            problems.append(f"{column.name!r} holds values {what}")
        if state.missing.any() and not column.optional and column.name != schema.target:
            problems.append(f"{column.name!r} lacks values and is not optional")
    return problems


def encode_cases(frame: Any, schema: Schema, states: Mapping[str, ColumnState]) -> TableCases:
    """Arrays of all rows with a label; numbers scaled from their range to [-1, 1], categories one-hot."""
    target = states[schema.target]
    rows = target.good & (target.values >= 0 if schema.labels else True)
    columns = [_encode(states[column.name], column) for column in schema.features]
    features = np.concatenate(columns, axis=1)[rows]
    chosen = target.values[rows]
    if schema.labels:
        targets: NDArray[Any] = chosen.astype(np.int64)
    else:
        targets = _scale(chosen, schema.column(schema.target)).astype(np.float32)
    if schema.group:
        keys = tuple(str(patient).encode() for patient in frame[schema.group][rows])
    else:
        keys = tuple(row.tobytes() + one.tobytes() for row, one in zip(features, targets, strict=True))
    return TableCases(features, targets, keys)


def _scale(values: NDArray[np.float64], column: Column) -> NDArray[np.float64]:
    low, high = column.range or (0.0, 1.0)
    scaled: NDArray[np.float64] = (values - (low + high) / 2) / ((high - low) / 2)
    return scaled


def _encode(state: ColumnState, column: Column) -> Floats:
    if column.type == "number":
        scaled = np.where(state.missing, 0.0, _scale(state.values, column))
        columns = [scaled, state.missing] if column.optional else [scaled]
        numbers: Floats = np.stack(columns, axis=1).astype(np.float32)
        return numbers
    chosen: Floats = (state.values[:, None] == np.arange(len(column.values))[None, :]).astype(np.float32)
    return chosen
