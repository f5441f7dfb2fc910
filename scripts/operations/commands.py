"""What the Ape commands share: options, and one function per command that joins Ape with the plain operations."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from collegium.chain.client import Chain, NetworkSettings
from collegium.chain.deployment import Deployment
from collegium.chain.rpc import DEVNET_CHAIN_ID
from collegium.errors import CollegiumError
from scripts.setup.paths import BUILD, ROOT

__all__ = [
    "FILE",
    "council_options",
    "deployment_option",
    "plain_errors",
    "run_admit",
    "run_create_study",
    "run_deploy",
    "run_fund",
    "sender_options",
]

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def sender_options(command: Command) -> Command:
    """Which account pays."""
    password = click.option("--password-file", type=FILE, help="Password of the account's keystore.")
    account = click.option(
        "--account", default="TEST::0", show_default=True, help="Alias of `ape accounts`, or path of a V3 keystore."
    )
    return account(password(command))


def council_options(command: Command) -> Command:
    """Which council members sign here."""
    keys = click.option("--council-key", type=FILE, multiple=True, help="V3 keystore of a council member; repeatable.")
    password = click.option("--council-password-file", type=FILE, help="Password of the council's keystores.")
    return keys(password(command))


def deployment_option(command: Command) -> Command:
    """Which contracts."""
    return click.option(
        "--deployment", type=FILE, help="File written by `ape run deploy`; by default the one of the chain."
    )(command)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Errors as two sentences and an exit code, not as a traceback."""
    try:
        yield
    except CollegiumError as error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"       {error.hint}", err=True)
        sys.exit(error.exit_code)


def default_output(chain_id: int) -> Path:
    """Live networks are packaged with the software; devnets are forgotten with the build folder."""
    folder = BUILD / "deployments" if chain_id == DEVNET_CHAIN_ID else ROOT / "collegium" / "deployments"
    return folder / f"{chain_id}.json"


def open_sender(provider: Any, account: str, password_file: Path | None) -> Any:
    from .through_ape import ApeSender, open_account

    return ApeSender(open_account(account, password_file), provider)


def open_chain(sender: Any, deployment: Path | None) -> Chain:
    found = Deployment.load(deployment or default_output(sender.chain_id))
    settings = NetworkSettings(rpc_url=sender.rpc.url, chain_id=sender.chain_id)
    return Chain.connect(settings, deployment=found)


def run_deploy(
    provider: Any,
    account: str,
    password_file: Path | None,
    policy_path: Path,
    output: Path | None,
    council_keys: Sequence[Path],
    council_password_file: Path | None,
) -> None:
    """Prints the deployment as JSON on standard output; talk goes to standard error."""
    from .council import allow_referee
    from .deployment import deploy
    from .policy import Policy
    from .through_ape import load_signers

    # Every key is opened before the first transaction.
    signers = load_signers(council_keys, council_password_file)
    sender = open_sender(provider, account, password_file)
    output = output or default_output(sender.chain_id)
    _say(f"chain {sender.chain_id}, deployer {sender.address}")
    done = deploy(sender, Policy.load(policy_path), output, say=_say)
    transactions = dict(done.transactions)
    referee = done.deployment.addresses["Referee"]
    if council_keys:
        chain = open_chain(sender, output)
        mined = allow_referee(chain, sender, referee, signers)
        if mined is not None:
            transactions["Collegium.allowReferee"] = "0x" + mined.hash.hex()
            _say(f"{'Collegium.allowReferee':<24} {referee}  0x{mined.hash.hex()}  {mined.gas_used:>9,} gas")
    else:
        _say(f"the council has not allowed the referee {referee}; run this again with --council-key to finish")
    _say(f"written to {output}")
    click.echo(json.dumps({"deployment": str(output), "gas": done.gas, "transactions": transactions}))


def run_admit(
    provider: Any,
    account: str,
    password_file: Path | None,
    deployment: Path | None,
    council_keys: Sequence[Path],
    council_password_file: Path | None,
    institutions: Sequence[str],
) -> None:
    """Prints the transactions as JSON on standard output."""
    from .council import admit, read_applicant
    from .through_ape import load_signers

    sender = open_sender(provider, account, password_file)
    chain = open_chain(sender, deployment)
    signers = load_signers(council_keys, council_password_file)
    mined = admit(chain, sender, [read_applicant(each) for each in institutions], signers, say=_say)
    click.echo(json.dumps({"transactions": ["0x" + each.hash.hex() for each in mined]}))


def run_fund(
    provider: Any, account: str, password_file: Path | None, deployment: Path | None, grants: Sequence[str]
) -> None:
    """Prints the transactions as JSON on standard output."""
    from .funding import fund, read_grant

    sender = open_sender(provider, account, password_file)
    chain = open_chain(sender, deployment)
    mined = fund(chain, sender, [read_grant(each) for each in grants], say=_say)
    click.echo(json.dumps({"transactions": ["0x" + each.hash.hex() for each in mined]}))


def run_create_study(
    provider: Any,
    account: str,
    password_file: Path | None,
    deployment: Path | None,
    home: Path,
    stores: Sequence[str],
    plan: Path,
) -> None:
    """Prints study and transaction as JSON on standard output."""
    from collegium_client.home import Home

    from .studies import create_study

    sender = open_sender(provider, account, password_file)
    chain = open_chain(sender, deployment)
    done = create_study(chain, sender, plan, Home(home), stores=tuple(stores), say=_say)
    click.echo(json.dumps({"study": done.study_id, "transactions": ["0x" + done.mined.hash.hex()]}))


def _say(line: str) -> None:
    click.echo(line, err=True)
