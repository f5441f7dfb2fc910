"""`ape run create_study`: found a study from a plan file. See docs/deploy.md."""

from __future__ import annotations

from pathlib import Path

import click
from ape.cli import ConnectedProviderCommand

from scripts.operations import commands


@click.command(cls=ConnectedProviderCommand)
@commands.sender_options
@commands.deployment_option
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder whose store keeps plan, model and task; a coordinator's home serves them.",
)
@click.option(
    "--store", "stores", multiple=True, help="Further store to publish them in, such as kubo://127.0.0.1:5001."
)
@click.argument("plan", type=commands.FILE)
def cli(
    provider: object,
    account: str,
    password_file: Path | None,
    deployment: Path | None,
    home: Path,
    stores: tuple[str, ...],
    plan: Path,
) -> None:
    """Create the study of PLAN, the same TOML that `collegium study create` reads."""
    with commands.plain_errors():
        commands.run_create_study(provider, account, password_file, deployment, home, stores, plan)
