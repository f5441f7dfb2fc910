"""What the commands of `collegium-coordinator` do."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command

if TYPE_CHECKING:
    from collegium.transport.client import Transport

__all__ = ["announce", "enlist", "propose", "run", "status"]

_STUDY = click.option("--study", type=int, help="Study to serve; default: coordinator.study of the settings.")


@command(signs=True)
@_STUDY
@click.option("--listen", help="host:port of the HTTP service; port 0 takes a free one.")
@click.option("--rounds", type=int, help="Final rounds after which none is opened; 0 never stops.")
@click.option("--open/--no-open", "open_rounds", default=None, help="Open rounds when the last one ended.")
@click.option("--every", "open_every", type=float, help="Seconds from one opening to the next at least.")
@click.option("--read", multiple=True, help="A further store to fetch blobs from; may be repeated.")
@click.option("--store", help="Where blobs are published besides the own folder, such as kubo://127.0.0.1:5001.")
@click.option("--metrics", help="host:port of /metrics, /healthz and /readyz; off by default.")
@click.option("--insecure", is_flag=True, default=None, help="Serve other machines without TLS.")
@click.option("-v", "--verbose", is_flag=True, help="Tell more.")
def run(app: App, verbose: bool, read: tuple[str, ...], **flags: Any) -> Shown:
    """Run until interrupted. Stateless: restart it at any time, or let another coordinator take over."""
    return _show(run_coordinator(app.home, app.password_file, verbose=verbose, read=read or None, **flags))


@command(sends=True)
@_STUDY
def enlist(app: App, study: int | None) -> Shown:
    """Lock the plan's aggregator bond with the institution key and enter the order of aggregators."""
    return _show(enlist_aggregator(app, study))


@command(signs=True)
@_STUDY
def propose(app: App, study: int | None) -> Shown:
    """Look at the chain once, and propose, carry or conclude what is due now."""
    return _show(step_once(app.home, app.password_file, study))


@command()
@click.option("--url", help="Ask a running coordinator; default: the one of this home.")
def status(app: App, url: str | None) -> Shown:
    """Show what a running coordinator serves and where its round stands."""
    return _show(read_status(app.home, url))


def _show(data: Mapping[str, Any]) -> Shown:
    return Shown(data, [f"{name.replace('_', ' '):<16} {_word(value)}" for name, value in data.items()])


def _word(value: Any) -> str:
    """Words for people instead of Python's own."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_word(item)}" for name, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(_word(item) for item in value) or "-"
    return str(value)


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
    with Coordinator.open(home, password_file=password_file, **flags) as coordinator, coordinator.observed() as seen:
        if seen:
            click.echo(f"metrics and health at {seen}", err=True)
        announce(home, coordinator.url, coordinator.status())
        click.echo(f"coordinator {coordinator.chain.signer.address} serves {coordinator.url}", err=True)
        coordinator.run(stop)
        return dict(coordinator.status())


def announce(home: Path, url: str, status: Any) -> None:
    """Leave the address where `status` and other programs find it."""
    from collegium.files import write_atomically

    write_atomically(home / "state" / "coordinator.json", json.dumps({"url": url, **status}).encode())


def enlist_aggregator(app: App, study: int | None) -> dict[str, Any]:
    """Enlist, or fill up the bond of one that is enlisted and was fined.

    Raises CollegiumError: not confirmed, not admitted, no node key, too little free stake.
    """
    from collegium.chain import intents, keystore
    from collegium.chain.client import Chain
    from collegium.chain.contracts import Contracts
    from collegium.chain.outbox import Outbox
    from collegium.records import Role

    from .settings import CoordinatorSettings

    settings = CoordinatorSettings.load(app.home, study=study)
    password = keystore.read_password(app.password_file, prompt="Password of the institution key: ")
    signer = keystore.load(settings.node_key.with_name("institution.json"), password)
    chain = Chain.connect(settings.network, signer)
    contracts = Contracts(chain)
    plan = contracts.study(settings.study).plan
    held = contracts.lock(settings.study, signer.address, Role.AGGREGATOR)
    is_short = 0 < held.amount < plan.aggregator_bond and held.releasable_at == 0
    question = (
        f"Lock {plan.aggregator_bond / 10**18:g} tokens of {signer.address} as bond of study {settings.study}?"
        " All of it is lost if this coordinator ever proposes a wrong aggregate."
    )
    if app.dry_run:
        app.say(f"  dry run: nothing was sent. {question}")
        return {"study": settings.study, "bond": str(plan.aggregator_bond), "transaction": None}
    app.ask(question)
    with Outbox(app.home / "state" / f"outbox-{signer.address.lower()[2:10]}.sqlite", chain) as outbox:
        if is_short:
            # A fined coordinator is on the list and in no order: it enters again at the end of the list.
            outbox.submit(intents.delist(settings.study))
        receipt = outbox.submit(intents.enlist(settings.study))
    return {"study": settings.study, "bond": str(plan.aggregator_bond), "transaction": receipt.transaction}


def step_once(home: Path, password_file: Path | None, study: int | None) -> dict[str, Any]:
    from .running import Coordinator

    with Coordinator.open(home, password_file=password_file, study=study) as coordinator:
        return {"sent": coordinator.step(), **coordinator.status()}


def _transport_to(home: Path, url: str) -> Transport:
    """To a coordinator, as our own home knows it; without a home plain HTTP and public certificates."""
    from collegium.chain import keystore
    from collegium.chain.client import Chain
    from collegium.transport.client import Transport
    from collegium.transport.party import make_transport
    from collegium.transport.settings import TlsSettings

    from .settings import FILE, CoordinatorSettings

    if not url.startswith("https://") or not (home / FILE).exists():
        return Transport()
    settings = CoordinatorSettings.load(home)
    pins, own = dict(settings.pins), None
    if url == _own_url(home) and settings.node_key.exists():
        own = keystore.address_of(settings.node_key)
    if own:
        pins[url] = own
    return make_transport(
        settings.network, settings.tls or TlsSettings(home / "tls" / "node.pem"), signer=lambda: None,
        chain=lambda: Chain.connect(settings.network), pins=pins, coordinators=[*settings.coordinators, url],
    )  # fmt: skip


def _own_url(home: Path) -> str:
    try:
        return str(json.loads((home / "state" / "coordinator.json").read_text(encoding="utf-8"))["url"])
    except (OSError, ValueError, KeyError):
        return ""


def read_status(home: Path, url: str | None) -> dict[str, Any]:
    """Raises CoordinatorUnreachableError or PreconditionError."""
    import requests

    from collegium.errors import CoordinatorUnreachableError, PreconditionError
    from collegium.transport.failures import failure_of

    if url is None:
        url = _own_url(home)
        if not url:
            raise PreconditionError(
                f"No coordinator has run in {home}.", hint="Start one with `collegium-coordinator run`, or pass --url."
            )
    url = url.rstrip("/")
    try:
        with _transport_to(home, url).session(url) as session:
            answer = session.get(f"{url}/v1/info", timeout=5)
        answer.raise_for_status()
        return {"url": url, **answer.json()}
    except (requests.RequestException, ValueError) as error:
        if known := failure_of(error):
            raise known from error
        raise CoordinatorUnreachableError(
            f"The coordinator at {url} does not answer.", hint="Start it with `collegium-coordinator run`."
        ) from error
