"""task new."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from collegium.cli.framework import App, Shown, command

__all__ = ["task_new"]


@command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--from", "kind", type=click.Choice(["csv", "parquet", "images", "dicom"]), required=True,
              help="What the data are.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path, exists=True), help="A file or folder to infer the schema from.")
@click.option("--target", default="", help="Column to predict [default: the last one].")
@click.option("--name", "title", default="", help="Title of the study [default: the folder's name].")
@click.option("--network", type=click.Choice(["mlp", "logistic"]), default="mlp", show_default=True,
              help="Model of a table.")  # fmt: skip
def task_new(
    app: App, folder: Path, kind: str, data: Path | None, target: str, title: str, network: str
) -> Shown:
    """Write a working task into FOLDER: model, loss, metrics, schema, tests and a draft of the plan.

    Nothing of --data is written but column names, agreed-looking ranges rounded outward and frequent categories.
    """
    from collegium_client.scaffold import write_task

    made = write_task(folder, kind, data=data, target=target, title=title, network=network)
    for note in made.notes:
        app.say(f"  look: {note}")
    shown = {
        "folder": str(folder),
        "files": list(made.files),
        "kind": made.schema.kind,
        "problem": made.schema.problem,
        "labels": list(made.schema.labels),
        "notes": list(made.notes),
    }
    lines = [*(f"wrote {folder / name}" for name in made.files), f"Next: read {folder / 'README.md'}"]
    return Shown(shown, lines)
