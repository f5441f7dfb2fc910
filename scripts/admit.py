"""`ape run admit`: carry the council's signatures over an institution to the chain. See docs/deploy.md."""

from __future__ import annotations

from pathlib import Path

import click
from ape.cli import ConnectedProviderCommand

from scripts.operations import commands


@click.command(cls=ConnectedProviderCommand)
@commands.sender_options
@commands.deployment_option
@commands.council_options
@click.argument("institutions", nargs=-1, required=True, metavar="INSTITUTION...")
def cli(
    provider: object,
    account: str,
    password_file: Path | None,
    deployment: Path | None,
    council_key: tuple[Path, ...],
    council_password_file: Path | None,
    institutions: tuple[str, ...],
) -> None:
    """Admit each INSTITUTION: 0xADDRESS=NAME, or the file of `collegium institution register`."""
    with commands.plain_errors():
        commands.run_admit(
            provider, account, password_file, deployment, council_key, council_password_file, institutions
        )
