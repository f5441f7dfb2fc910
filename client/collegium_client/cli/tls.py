"""tls new, show, install, ca."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import UsageError

if TYPE_CHECKING:
    from collegium.transport.identity import Identity

__all__ = ["tls_ca", "tls_install", "tls_new", "tls_show"]


@command(signs=True)
@click.option("--name", "names", multiple=True, help="Host name or address to write into it; repeat for more.")
def tls_new(app: App, names: tuple[str, ...]) -> Shown:
    """Make a TLS key and a certificate bound to the node key, in place of the present ones."""
    from collegium_client.home import Home

    home = Home(app.home, password_file=app.password_file).require()
    home.signer("node")
    identity = _identity(home)
    identity.make(names=names)
    return _show(identity, "Made")


@command()
@click.option("--pem", is_flag=True, help="Print the certificate itself, to hand to a private authority.")
def tls_show(app: App, pem: bool) -> Shown:
    """Show this home's certificate: node key, fingerprint, expiry. The key is never shown."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from collegium_client.home import Home

    identity = _identity(Home(app.home).require())
    shown = _show(identity, "Certificate")
    if not pem:
        return shown
    text = identity.read().public_bytes(Encoding.PEM).decode()
    return Shown({**shown.data, "pem": text}, text.rstrip())


@command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def tls_install(app: App, file: Path) -> Shown:
    """Put a certificate that an authority issued for this home's key in place of the present one."""
    from collegium.transport.identity import install
    from collegium_client.home import Home

    identity = _identity(Home(app.home).require())
    install(identity, file)
    return _show(identity, "Installed")


@command(signs=True)
@click.argument("action", type=click.Choice(["init", "issue"]))
@click.argument("request", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--folder", type=click.Path(path_type=Path), default="ca", show_default=True, help="The authority's.")
@click.option("--name", "names", multiple=True, help="init: its name. issue: host name or address; repeat for more.")
@click.option("--days", type=click.IntRange(1, 7300), help="How long it counts [default: init 3650, issue 365].")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="issue: where to write the certificate.")
def tls_ca(
    app: App,
    action: str,
    request: Path | None,
    folder: Path,
    names: tuple[str, ...],
    days: int | None,
    output: Path | None,
) -> Shown:
    """Keep a private authority: `init` makes one, `issue REQUEST` signs what `collegium tls show --pem` printed.

    Its key is encrypted with the password. The binding to the node key stays in what is issued.
    """
    from collegium.chain import keystore
    from collegium.files import write_atomically
    from collegium.transport import authority

    if action == "init":
        password = keystore.read_password(app.password_file, prompt="Password of the authority: ", confirm=True)
        made = authority.create(folder, names[0] if names else "Collegium authority", password, days=days or 3650)
        return Shown(
            {"certificate": str(made), "key": str(folder / authority.KEY)},
            f"Made {made}.\nEverybody sets it as tls.ca; {authority.KEY} stays here.",
        )
    if request is None or output is None:
        raise UsageError("Which certificate, and where to?", hint="collegium tls ca issue REQUEST.pem -o ISSUED.pem")
    password = keystore.read_password(app.password_file, prompt="Password of the authority: ")
    pem = authority.issue(folder, request, password, names=names, days=days or 365)
    write_atomically(output, pem)
    return Shown({"certificate": str(output)}, f"Wrote {output}.\nNext, at its home: collegium tls install {output}")


def _identity(home: Any) -> Identity:
    from collegium.transport.identity import Identity
    from collegium.transport.party import find_domain

    return Identity(home.settings.tls, find_domain(home.network), home.unlocked("node"))


def _show(identity: Identity, word: str) -> Shown:
    from collegium.transport import certificates

    certificate = identity.read()
    binding = certificates.find_binding(certificate)
    ends = identity.ends(certificate)
    days = (ends - time.time()) / 86400
    names = certificates.names_of(certificate)
    data: dict[str, Any] = {
        "path": str(identity.settings.certificate),
        "node": binding.node if binding else None,
        "chain_id": binding.domain.chain_id if binding else None,
        "collegium": binding.domain.contract if binding else None,
        "issuer": "itself" if certificates.is_of_anchor(certificate) else certificates.shown_issuer(certificate),
        "names": names,
        "fingerprint": certificates.fingerprint_of(certificate),
        "not_before": _iso(certificate.not_valid_before_utc.timestamp()),
        "not_after": _iso(ends),
        "renewal_due": identity.why_renew(certificate) or None,
    }
    lines = [
        f"{word}: {data['path']}",
        f"  node key     {data['node'] or 'none: an ordinary certificate'}",
        f"  issued by    {data['issuer']}" + (f" for {', '.join(names)}" if names else ""),
        f"  SHA-256      {data['fingerprint']}",
        f"  expires      {certificates.moment(ends)} ({days:.0f} days)",
    ]
    if data["renewal_due"]:
        lines.append(f"  renew it     {data['renewal_due']}: collegium tls new")
    return Shown(data, lines)


def _iso(at: float) -> str:
    return dt.datetime.fromtimestamp(int(at), dt.UTC).isoformat()
