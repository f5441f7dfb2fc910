"""The command `collegium-coordinator`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rich_click as click

from collegium.errors import CollegiumError, InterruptedByUserError

__all__ = ["main"]

_HOME = click.option(
    "--home", type=click.Path(path_type=Path), envvar="COLLEGIUM_HOME", default=".", show_default=True,
    help="Folder of this party [env COLLEGIUM_HOME].",
)  # fmt: skip
_PASSWORD = click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help="File with the keystore password [env COLLEGIUM_PASSWORD_FILE].",
)
_STUDY = click.option("--study", type=int, help="Study to serve; default: coordinator.study of the settings.")
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
def cli() -> None:
    """Collect signed messages, carry them in batches, propose on duty, serve the store."""


@cli.command()
@_HOME
@_PASSWORD
@_STUDY
@_JSON
@click.option("--listen", help="host:port of the HTTP service; port 0 takes a free one.")
@click.option("--rounds", type=int, help="Final rounds after which none is opened; 0 never stops.")
@click.option("--open/--no-open", "open_rounds", default=None, help="Open rounds when the last one ended.")
@click.option("--read", multiple=True, help="A further store to fetch blobs from; may be repeated.")
@click.option("--store", help="Where blobs are published besides the own folder, such as kubo://127.0.0.1:5001.")
@click.option("-v", "--verbose", is_flag=True, help="Tell more.")
def run(
    home: Path, password_file: Path | None, as_json: bool, verbose: bool, read: tuple[str, ...], **flags: Any
) -> None:
    """Run until interrupted. Stateless: restart it at any time, or let another coordinator take over."""
    _run(as_json, lambda: run_coordinator(home, password_file, verbose=verbose, read=read or None, **flags))


@cli.command()
@_HOME
@_PASSWORD
@_STUDY
@_JSON
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def enlist(home: Path, password_file: Path | None, study: int | None, as_json: bool, yes: bool) -> None:
    """Lock the plan's aggregator bond with the institution key and enter the order of aggregators."""
    _run(as_json, lambda: enlist_aggregator(home, password_file, study, yes=yes))


@cli.command()
@_HOME
@_PASSWORD
@_STUDY
@_JSON
def propose(home: Path, password_file: Path | None, study: int | None, as_json: bool) -> None:
    """Look at the chain once, and propose, carry or conclude what is due now."""
    _run(as_json, lambda: step_once(home, password_file, study))


@cli.command()
@_HOME
@_JSON
@click.option("--url", help="Ask a running coordinator; default: the one of this home.")
def status(home: Path, url: str | None, as_json: bool) -> None:
    """Show what a running coordinator serves and where its round stands."""
    _run(as_json, lambda: read_status(home, url))


def run_coordinator(home: Path, password_file: Path | None, *, verbose: bool, **flags: Any) -> dict[str, Any]:
    """Serve until SIGINT or SIGTERM; announces its address on stderr and in `state/coordinator.json`."""
    import logging
    import signal
    import threading

    from .running import Coordinator

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
    )
    for noisy in ("urllib3", "web3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Coordinator.open(home, password_file=password_file, **flags) as coordinator:
        announce(home, coordinator.url, coordinator.status())
        click.echo(f"coordinator {coordinator.chain.signer.address} serves {coordinator.url}", err=True)
        coordinator.run(stop)
        return dict(coordinator.status())


def announce(home: Path, url: str, status: Any) -> None:
    """Leave the address where `status` and other programs find it."""
    from collegium.files import write_atomically

    write_atomically(home / "state" / "coordinator.json", json.dumps({"url": url, **status}).encode())


def enlist_aggregator(home: Path, password_file: Path | None, study: int | None, *, yes: bool) -> dict[str, Any]:
    """Enlist, or fill up the bond of one that is enlisted and was fined.

    Raises CollegiumError: not admitted, no node key, too little free stake.
    """
    from collegium.chain import intents, keystore
    from collegium.chain.client import Chain
    from collegium.chain.contracts import Contracts
    from collegium.chain.outbox import Outbox
    from collegium.records import Role

    from .settings import CoordinatorSettings

    settings = CoordinatorSettings.load(home, study=study)
    password = keystore.read_password(password_file, prompt="Password of the institution key: ")
    signer = keystore.load(settings.node_key.with_name("institution.json"), password)
    chain = Chain.connect(settings.network, signer)
    contracts = Contracts(chain)
    plan = contracts.study(settings.study).plan
    held = contracts.lock(settings.study, signer.address, Role.AGGREGATOR)
    is_short = 0 < held.amount < plan.aggregator_bond and held.releasable_at == 0
    if not yes:
        click.confirm(
            f"Lock {plan.aggregator_bond / 10**18:g} tokens of {signer.address} as bond of study {settings.study}?"
            " All of it is lost if this coordinator ever proposes a wrong aggregate.",
            abort=True, err=True,
        )  # fmt: skip
    with Outbox(home / "state" / f"outbox-{signer.address.lower()[2:10]}.sqlite", chain) as outbox:
        if is_short:
            # A fined coordinator is on the list and in no order: it enters again at the end of the list.
            outbox.submit(intents.delist(settings.study))
        receipt = outbox.submit(intents.enlist(settings.study))
    return {"study": settings.study, "bond": str(plan.aggregator_bond), "transaction": receipt.transaction}


def step_once(home: Path, password_file: Path | None, study: int | None) -> dict[str, Any]:
    from .running import Coordinator

    with Coordinator.open(home, password_file=password_file, study=study) as coordinator:
        return {"sent": coordinator.step(), **coordinator.status()}


def read_status(home: Path, url: str | None) -> dict[str, Any]:
    """Raises CoordinatorUnreachableError or PreconditionError."""
    import requests

    from collegium.errors import CoordinatorUnreachableError, PreconditionError

    if url is None:
        try:
            url = str(json.loads((home / "state" / "coordinator.json").read_text(encoding="utf-8"))["url"])
        except (OSError, ValueError, KeyError):
            raise PreconditionError(
                f"No coordinator has run in {home}.", hint="Start one with `collegium-coordinator run`, or pass --url."
            ) from None
    try:
        answer = requests.get(f"{url.rstrip('/')}/v1/info", timeout=5)
        answer.raise_for_status()
        return {"url": url, **answer.json()}
    except (requests.RequestException, ValueError) as error:
        raise CoordinatorUnreachableError(
            f"The coordinator at {url} does not answer.", hint="Start it with `collegium-coordinator run`."
        ) from error


def _run(as_json: bool, work: Callable[[], dict[str, Any]]) -> None:
    """Print the result, or the error with its exit code."""
    context: Any = click.get_current_context()
    error: CollegiumError | None = None
    data: dict[str, Any] | None = None
    try:
        data = work()
    except CollegiumError as caught:
        error = caught
    except KeyboardInterrupt:
        error = InterruptedByUserError("Interrupted.", hint="Nothing is lost: start it again to go on.")
    if as_json:
        envelope = {
            "schema": "collegium.cli/1",
            "command": f"coordinator {context.info_name}",
            "ok": error is None,
            "data": data,
            "warnings": [],
            "error": error.to_json() if error else None,
        }
        click.echo(json.dumps(envelope, indent=2))
    elif error:
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"  next: {error.hint}", err=True)
    else:
        for name, value in (data or {}).items():
            click.echo(f"{name.replace('_', ' '):<16} {value}")
    if error:
        sys.exit(error.exit_code)


def main() -> None:
    """Entry point."""
    cli()


if __name__ == "__main__":
    main()
