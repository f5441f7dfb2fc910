"""data check."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import CollegiumError

__all__ = ["data_check"]


@command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--schema", "schema_path", type=click.Path(path_type=Path, exists=True, dir_okay=False),
              help="The task's schema.toml [default: one inferred from the data].")  # fmt: skip
@click.option("--target", default="", help="Without --schema: the column to predict.")
@click.option("--smallest-cell", type=click.IntRange(min=3), default=10, show_default=True,
              help="Counts below this are hidden, and with them what would give them away.")  # fmt: skip
def data_check(app: App, path: Path, schema_path: Path | None, target: str, smallest_cell: int) -> Shown:
    """Check the data at PATH, a table or a folder of images, against a schema; exit 4 when they break it.

    Shows counts only, never rows, values or file names; small counts are hidden.
    """
    from collegium_client.data.checking import check_data
    from collegium_client.data.inferring import infer_images, infer_table
    from collegium_client.data.schema import Schema
    from collegium_client.errors import DataMismatch

    if schema_path is not None:
        schema = Schema.read(schema_path)
    else:
        app.warn("No --schema: checked against one inferred from these same data.")
        inferred = infer_table(path, target) if path.is_file() else infer_images(path, _guess_kind(path))
        schema = inferred.schema
    found = check_data(path, schema, smallest=smallest_cell)
    for note in found.notes:
        app.warn(note)
    data = {"path": str(path), **found.data, "problems": list(found.problems), "notes": list(found.notes)}
    error: CollegiumError | None = None
    if found.problems:
        error = DataMismatch(
            f"The data break the schema: {'; '.join(found.problems)}.",
            hint="Mend the export. Change the schema only together with all other sites.",
        )
    return Shown(data, _lines(found.data, smallest_cell), error=error)


def _guess_kind(folder: Path) -> str:
    pictures = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
    return "images" if any(each.suffix.lower() in pictures for each in folder.rglob("*")) else "dicom"


def _lines(data: Mapping[str, Any], smallest: int) -> list[str]:
    def show(count: int | None) -> str:
        return f"<{smallest}?" if count is None else str(count)

    def table(title: str, cells: Mapping[str, int | None]) -> str:
        return f"{title}: " + ", ".join(f"{name} {show(count)}" for name, count in cells.items())

    lines = [f"{name}: {show(data[name])}" for name in ("rows", "used", "patients") if name in data]
    for row in data.get("columns", ()):
        where = f" in {row['range']} {row['unit']}".rstrip() if "range" in row else ""
        cells = {word: row[word] for word in ("good", "missing", "malformed", "outside") if word in row}
        lines.append(table(f"  {row['name']} ({row['type']}{where})", cells))
        if "labels" in row:
            lines.append(table("    labels", row["labels"]))
    for name in ("labels", "modalities", "refused", "rows_by_repetition", "images_by_repetition"):
        if data.get(name):
            lines.append(table(name.replace("_", " "), data[name]))
    return [*lines, f"<{smallest}? is hidden: below {smallest}, or it would give such a count away."]
