"""`ape run fund`: give accounts gas and stake tokens. See docs/deploy.md."""

from __future__ import annotations

from pathlib import Path

import click
from ape.cli import ConnectedProviderCommand

from scripts.operations import commands


@click.command(cls=ConnectedProviderCommand)
@commands.sender_options
@commands.deployment_option
@click.argument("grants", nargs=-1, required=True, metavar="ADDRESS,COIN,TOKENS...")
def cli(
    provider: object, account: str, password_file: Path | None, deployment: Path | None, grants: tuple[str, ...]
) -> None:
    """Bring each account up to COIN of the chain's coin and TOKENS stake tokens, in whole units."""
    with commands.plain_errors():
        commands.run_fund(provider, account, password_file, deployment, grants)
