"""`ape run deploy`: deploy the contracts, connect them, let the council allow the referee. See docs/deploy.md."""

from __future__ import annotations

from pathlib import Path

import click
from ape.cli import ConnectedProviderCommand

from scripts.operations import commands


@click.command(cls=ConnectedProviderCommand)
@commands.sender_options
@click.option("--policy", "policy_path", type=commands.FILE, required=True, help="TOML: council, token, periods.")
@click.option("--output", type=click.Path(path_type=Path), help="Deployment file; by default that of the chain.")
@commands.council_options
def cli(
    provider: object,
    account: str,
    password_file: Path | None,
    policy_path: Path,
    output: Path | None,
    council_key: tuple[Path, ...],
    council_password_file: Path | None,
) -> None:
    """Deploy, or go on with a deployment that was interrupted."""
    with commands.plain_errors():
        commands.run_deploy(provider, account, password_file, policy_path, output, council_key, council_password_file)
