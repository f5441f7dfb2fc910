"""What every site's data look like: agreed on before anybody trains, part of the task that all approve.

Normalization rests on the ranges written here and never on local statistics, so it tells nothing about anybody's
patients and is the same everywhere.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium_client.errors import SchemaInvalid

__all__ = ["FORMAT", "KINDS", "Column", "Schema"]

FORMAT = "collegium.data/1"
KINDS = ("table", "images", "dicom")
TYPES = ("number", "category", "ignored")
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", ".")
"""Codes for a missing value when a column names none."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    type: `number`, `category` or `ignored` (read by nobody). range: least and greatest plausible number; values
    outside break the schema. values: the categories in order. other: further categories may occur and count as none
    of the listed. optional: may be missing; a number then brings a second feature that says so.
    """

    name: str
    type: str
    unit: str = ""
    range: tuple[float, float] | None = None
    values: tuple[str, ...] = ()
    missing: tuple[str, ...] = MISSING
    optional: bool = False
    other: bool = False

    @property
    def width(self) -> int:
        """How many features it becomes."""
        if self.type == "number":
            return 2 if self.optional else 1
        return len(self.values) if self.type == "category" else 0

    def features(self) -> list[str]:
        """Their names."""
        if self.type == "number":
            return [self.name, f"{self.name} is missing"] if self.optional else [self.name]
        return [f"{self.name} = {value}" for value in self.values] if self.type == "category" else []


@dataclass(frozen=True)
class Schema:
    """Tables: `columns` and `target`. Images and DICOM: `classes`, `size` and how gray values are scaled."""

    kind: str
    target: str = ""
    columns: tuple[Column, ...] = ()
    group: str = ""
    """Column that names the patient: all rows of one patient fall on the same side of the split."""
    classes: tuple[str, ...] = ()
    size: tuple[int, int] = (64, 64)
    """Height and width that every image is brought to."""
    modalities: tuple[str, ...] = ()
    """DICOM: accepted modalities; empty accepts all."""
    window: tuple[float, float] | None = None
    """DICOM: center and width after rescaling (Hounsfield units for CT); None scales each image by itself."""
    allow_burned_in: bool = False
    """DICOM: accept images that may show names in their pixels, such as secondary captures."""

    @classmethod
    def read(cls, path: Path) -> Schema:
        """Read `schema.toml`. Raises `SchemaInvalid`."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SchemaInvalid(f"The schema {path} cannot be read: {error}.") from error
        try:
            return cls.parse(content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SchemaInvalid(
                f"The schema {path} is not valid: {error}.", hint="See docs/data-scientist.md for its form."
            ) from error

    @classmethod
    def parse(cls, content: dict[str, Any]) -> Schema:
        """From the content of the file. Raises ValueError, TypeError or KeyError."""
        rest = dict(content)
        if rest.pop("format", None) != FORMAT:
            raise ValueError(f'format must be "{FORMAT}"')
        columns = tuple(_parse_column(dict(each)) for each in rest.pop("columns", []))
        names = ("classes", "size", "modalities", "window")
        lists: dict[str, Any] = {name: tuple(rest.pop(name)) for name in names if name in rest}
        unknown = set(rest) - {"kind", "target", "group", "allow_burned_in"}
        if unknown:
            raise ValueError(f"unknown names: {', '.join(sorted(unknown))}")
        schema = cls(columns=columns, **lists, **rest)
        schema._check()
        return schema

    def _check(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(KINDS)}")
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("two columns have the same name")
        if self.kind != "table":
            if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
                raise ValueError("classes names at least two different labels")
            if len(self.size) != 2 or not all(type(side) is int and 8 <= side <= 4096 for side in self.size):
                raise ValueError("size is [height, width], each from 8 to 4096")
            if self.window is not None and (len(self.window) != 2 or self.window[1] <= 0):
                raise ValueError("window is [center, width] with a positive width")
            return
        if self.target not in names or self.column(self.target).type == "ignored":
            raise ValueError("target must name a column of type number or category")
        if self.group and self.group not in names:
            raise ValueError("group must name a column")
        if not self.width:
            raise ValueError("no column is a feature")

    def column(self, name: str) -> Column:
        """By name. Raises KeyError."""
        return next(column for column in self.columns if column.name == name)

    @property
    def features(self) -> tuple[Column, ...]:
        """Columns that become features, in order."""
        hidden = (self.target, self.group)
        return tuple(column for column in self.columns if column.name not in hidden and column.type != "ignored")

    @property
    def width(self) -> int:
        """How many features a row has."""
        return sum(column.width for column in self.features)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers; empty when the target is a number."""
        return self.classes if self.kind != "table" else self.column(self.target).values

    @property
    def problem(self) -> str:
        """`binary`, `classes` or `number`: what is learned."""
        return {0: "number", 2: "binary"}.get(len(self.labels), "classes")

    def to_toml(self, comment: str = "") -> str:
        """The file's text."""
        import tomlkit

        document = tomlkit.document()
        for line in comment.splitlines():
            document.add(tomlkit.comment(line))
        document["format"] = FORMAT
        document["kind"] = self.kind
        names = ("target", "group") if self.kind == "table" else ("classes", "size", "modalities", "window")
        names = (*names, "allow_burned_in") if self.kind == "dicom" else names
        for name in names:
            value = getattr(self, name)
            if value or name == "allow_burned_in":
                document[name] = list(value) if isinstance(value, tuple) else value
        if self.columns:
            tables = tomlkit.aot()
            for column in self.columns:
                tables.append(_column_table(column))
            document["columns"] = tables
        return tomlkit.dumps(document)


def _parse_column(row: dict[str, Any]) -> Column:
    for name in ("range", "values", "missing"):
        if name in row:
            row[name] = tuple(row[name])
    column = Column(**row)
    if not isinstance(column.name, str) or not column.name:
        raise ValueError("a column has no name")
    where = f"column {column.name!r}"
    if column.type not in TYPES:
        raise ValueError(f"{where}: type is one of {', '.join(TYPES)}")
    if not all(isinstance(text, str) for text in (*column.values, *column.missing)):
        raise ValueError(f"{where}: values and missing are lists of text")
    if column.type == "category" and (not column.values or len(set(column.values)) != len(column.values)):
        raise ValueError(f"{where}: values names every category once")
    if column.type == "number":
        ends = column.range
        if ends is None or len(ends) != 2 or not all(math.isfinite(end) for end in ends) or ends[0] >= ends[1]:
            raise ValueError(f"{where}: range is [least, greatest]")
    return column


def _column_table(column: Column) -> Any:
    import tomlkit

    table = tomlkit.table()
    table["name"], table["type"] = column.name, column.type
    if column.unit:
        table["unit"] = column.unit
    if column.range is not None:
        table["range"] = [_tidy(end) for end in column.range]
    if column.values:
        table["values"] = list(column.values)
    if column.missing != MISSING:
        table["missing"] = list(column.missing)
    for name in ("optional", "other"):
        if getattr(column, name):
            table[name] = True
    return table


def _tidy(number: float) -> int | float:
    return int(number) if float(number).is_integer() and abs(number) < 1e15 else float(number)
