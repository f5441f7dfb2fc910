"""keys new, show, list, rotate, revoke."""

from __future__ import annotations

import time

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import PreconditionError

__all__ = ["keys_list", "keys_new", "keys_revoke", "keys_rotate", "keys_show", "register_key"]

REGISTRATION_SECONDS = 3600


@command(signs=True)
@click.argument("alias", default="node")
@click.option("--light", is_flag=True, help="Fast, weak password hashing: for devnets only.")
def keys_new(app: App, alias: str, light: bool) -> Shown:
    """Make a key under ALIAS: institution (cold), node (hot), or any other name. Existing keys are never replaced."""
    from collegium.chain import keystore
    from collegium_client.home import Home

    home = Home(app.home, password_file=app.password_file)
    path = home.keystore(alias)
    signer = keystore.create(path, home.password(confirm=True), light=light)
    return Shown(
        {"alias": alias, "address": signer.address, "path": str(path)},
        f"{alias}: {signer.address}\n  {path} (back it up: nobody can restore it)",
    )


@command()
@click.argument("alias", default="node")
def keys_show(app: App, alias: str) -> Shown:
    """Show the address of a key; needs no password."""
    from collegium.chain import keystore
    from collegium_client.home import Home

    path = Home(app.home).keystore(alias)
    address = keystore.address_of(path)
    return Shown({"alias": alias, "address": address, "path": str(path)}, str(address))


@command()
def keys_list(app: App) -> Shown:
    """List the keys of this home."""
    from collegium.chain import keystore

    files = sorted((app.home / "keystore").glob("*.json"))
    found = [{"alias": path.stem, "address": keystore.address_of(path), "path": str(path)} for path in files]
    return Shown({"keys": found}, [f"{key['alias']:<16} {key['address']}" for key in found] or "No keys.")


@command(sends=True)
def keys_rotate(app: App) -> Shown:
    """Make a new node key and register it with the institution key; the old one is revoked by this."""
    from collegium.chain import keystore
    from collegium.errors import KeyMissingError
    from collegium_client.home import Home

    home = Home(app.home, password_file=app.password_file).require()
    path = home.keystore("node")
    if not path.exists():
        raise KeyMissingError(f"There is no node key at {path}.", hint="collegium keys new node")
    fresh = path.with_name(f"{path.stem}.next.json")
    light = '"n": 4096' in path.read_text()
    if not fresh.exists():
        keystore.create(fresh, home.password(prompt="Password of the new key: "), light=light)
    signer = keystore.load(fresh, home.password())
    data = register_key(app, home, signer)
    if data["sent"]:
        old = path.with_name(f"{path.stem}.{int(time.time())}.old.json")
        path.rename(old)
        fresh.rename(path)
        data |= {"retired": str(old)}
    return Shown(data | {"address": signer.address}, f"Node key: {signer.address}. It counts from the next round on.")


def register_key(app: App, home: object, signer: object) -> dict[str, object]:
    """Register a node key, signed by itself and sent by the institution."""
    from collegium.chain import Contracts, LocalSigner, intents
    from collegium.messages import digest
    from collegium.records import NodeKey
    from collegium_client.home import Home

    from .sending import send

    assert isinstance(home, Home) and isinstance(signer, LocalSigner)
    chain = home.chain("institution")
    contracts = Contracts(chain)
    institution = chain.signer.address
    if not contracts.is_active(institution):
        raise PreconditionError(
            f"{institution} is not admitted (or suspended).", hint="Send the admission request to the council first."
        )
    deadline = max(chain.now(), int(time.time())) + REGISTRATION_SECONDS
    message = NodeKey(institution, signer.address, contracts.nonce(institution), deadline)
    proof = signer.sign_digest(digest(message, chain.domain("Members")))
    intent = intents.register_node_key(institution, signer.address, deadline, node_key_signature=proof)
    with home.outbox(chain) as outbox:
        return send(app, chain, outbox, [intent], question=f"Make {signer.address} the node key?").to_json()


@command(sends=True)
def keys_revoke(app: App) -> Shown:
    """Revoke the node key at once, signed by itself or, with an institution key here, by that."""
    from collegium.chain import intents
    from collegium_client.home import Home

    from .sending import send

    home = Home(app.home, password_file=app.password_file).require()
    address = home.address("node")
    if address is None:
        raise PreconditionError("There is no node key here.", hint="Nothing to revoke.")
    role = "institution" if home.keystore("institution").exists() else "node"
    chain = home.chain(role)
    with home.outbox(chain) as outbox:
        sent = send(
            app, chain, outbox, [intents.revoke_node_key(address)], question="Revoke it for ever?", typed=address
        )
    return Shown(sent.to_json() | {"address": address}, f"Revoked {address}. Next: collegium keys rotate")
