"""institution register and status; join and leave."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import ConfirmationRequiredError, PreconditionError

__all__ = ["institution_register", "institution_status", "join", "leave"]

JOIN_SECONDS = 3600


@command(sends=True)
@click.option("--name", default="", help="Name of the institution, as the council admits it.")
@click.option("--profile", type=click.Path(path_type=Path, exists=True), help="File that describes the institution.")
@click.option("--wait", "wait_seconds", type=float, default=0.0, help="Wait so many seconds for admission.")
def institution_register(app: App, name: str, profile: Path | None, wait_seconds: float) -> Shown:
    """Print the admission request for the council; once admitted, register the node key."""
    from collegium.chain import Contracts
    from collegium_client.home import Home

    from .keys import register_key

    home = Home(app.home, password_file=app.password_file).require()
    institution = home.address("institution")
    node = home.address("node")
    if institution is None or node is None:
        raise PreconditionError("Keys are missing.", hint="collegium keys new institution; collegium keys new node")
    chain = home.chain()
    contracts = Contracts(chain)
    # Published with the request, so that the council signs what it read.
    text = profile.read_bytes() if profile else json.dumps({"name": name}, sort_keys=True).encode()
    request = {
        "institution": institution,
        "name": name,
        "profile": "0x" + hashlib.sha256(text).hexdigest(),
        "nonce": contracts.nonce(institution),
        "chain_id": chain.chain_id,
        "members": chain.address_of("Members"),
    }
    give_up = time.monotonic() + wait_seconds
    while not (active := contracts.is_active(institution)) and time.monotonic() < give_up:
        time.sleep(0.5)
    if not active:
        app.say("Send this to the council; run the command again once admitted.")
        return Shown({"admitted": False, "request": request}, json.dumps(request, indent=2))
    if contracts.node_key(institution) == node:
        return Shown(
            {"admitted": True, "request": request, "node_key": node, "sent": False},
            f"{institution} is admitted and {node} is its node key.",
        )
    sent = register_key(app, home, home.signer("node"))
    return Shown(
        {"admitted": True, "request": request, "node_key": node, **sent}, f"{node} now speaks for {institution}."
    )


@command()
def institution_status(app: App) -> Shown:
    """Show admission, node key and seats of this institution."""
    from collegium.chain import Contracts
    from collegium.records import ZERO_ADDRESS
    from collegium_client.home import Home

    home = Home(app.home).require()
    institution = home.address("institution")
    if institution is None:
        raise PreconditionError("There is no institution key here.", hint="collegium keys new institution")
    chain = home.chain()
    contracts = Contracts(chain)
    key = contracts.node_key(institution)
    seats = []
    for study in range(1, contracts.study_count() + 1):
        seat = contracts.seat(study, institution)
        if seat.seated:
            seats.append({"study": study, "index": seat.index, "max_fine": str(seat.max_fine)})
    data = {
        "institution": institution,
        "active": contracts.is_active(institution),
        "node_key": None if key == ZERO_ADDRESS else key,
        "node_key_here": home.address("node"),
        "seats": seats,
    }
    lines = [
        f"institution {institution}: {'admitted' if data['active'] else 'not admitted or suspended'}",
        f"node key    {data['node_key'] or 'none registered'}",
        *(f"study {seat['study']}: seat {seat['index']}" for seat in seats),
    ]
    return Shown(data, lines)


@command(sends=True)
@click.argument("study", type=int)
@click.option("--max-fine", help="Most tokens this study may ever cost [default: the largest fine of its plan].")
@click.option("--accept-open-updates", is_flag=True, help="Agree that your updates become public.")
@click.option("--agreement", type=click.Path(path_type=Path, exists=True), help="Your copy of the agreement, checked.")
def join(app: App, study: int, max_fine: str | None, accept_open_updates: bool, agreement: Path | None) -> Shown:
    """Join STUDY: sign its whole plan with the institution key and lock the stake it may cost."""
    from collegium.annex import NO_AGREEMENT
    from collegium.chain import Contracts, intents
    from collegium.errors import InsufficientStakeError, TaskNotApprovedError, VerificationError
    from collegium.messages import digest
    from collegium.records import ZERO32, ZERO_ADDRESS, Join
    from collegium_client.home import Home
    from collegium_client.plan import format_tokens, parse_tokens
    from collegium_client.session import open_study

    from .sending import send

    home = Home(app.home, password_file=app.password_file).require()
    chain = home.chain("institution")
    contracts = Contracts(chain)
    found = contracts.study(study)
    institution = chain.signer.address
    if contracts.seat(study, institution).seated:
        seat = contracts.seat(study, institution)
        if (held := open_study(home, chain, study).seat_of(institution)) and held.left is not None:
            raise PreconditionError(
                f"{institution} left study {study}; a seat is given once and never again.",
                hint="Join another study. `collegium stake claim` releases the lock once it may be released.",
            )
        home.salt_secret(study, create=True)
        return Shown({"study": study, "index": seat.index, "sent": False}, f"Seat {seat.index} is yours already.")
    plan = found.plan
    if agreement is not None and hashlib.sha256(agreement.read_bytes()).digest() != plan.agreement:
        raise VerificationError(
            f"{agreement} is not the agreement of study {study}.", hint="Ask the sponsor for the right version."
        )
    needed = max(plan.unrevealed_fine, plan.range_fine, plan.equivocation_fine)
    fine = parse_tokens(max_fine) if max_fine is not None else needed
    stake = contracts.stake(institution)
    if stake.free < fine:
        raise InsufficientStakeError(
            f"{format_tokens(stake.free)} tokens are free; joining locks {format_tokens(fine)}.",
            hint=f"collegium stake deposit {format_tokens(fine - stake.free)}",
        )
    node = contracts.node_key(institution)
    if node == ZERO_ADDRESS:
        raise PreconditionError("The institution has no node key.", hint="collegium institution register")
    if plan.agreement == ZERO32:
        app.warn(f"{NO_AGREEMENT}: you sign the plan and the waiver alone; no contract is bound to your signature.")
    if plan.task_digest.hex() not in home.approvals.entries():
        app.warn(str(TaskNotApprovedError(
            f"The task {plan.task_digest.hex()[:16]}… is not approved yet.",
            hint="collegium study approve-task PATH before training.")))  # fmt: skip
    app.say(f"Study {study}, plan {'0x' + found.plan_hash.hex()}")
    app.say(f"  what that means in plain words: collegium study annex {study}")
    app.say(f"  fines: unrevealed {format_tokens(plan.unrevealed_fine)}, out of range {format_tokens(plan.range_fine)},"
            f" two updates {format_tokens(plan.equivocation_fine)}; at most {format_tokens(fine)} in all")  # fmt: skip
    if not accept_open_updates:
        if app.yes:
            raise ConfirmationRequiredError(
                "Updates of this study are public to anyone, and --yes alone does not agree to that.",
                hint="Add --accept-open-updates once your institution agrees.",
            )
        app.ask("Updates of this study are public to anyone. Agree?")
    deadline = max(chain.now(), int(time.time())) + JOIN_SECONDS
    # Collegium counts joins by itself; Members has another counter for keys.
    nonce = int(chain.call("Collegium", "nonceOf", institution))
    message = Join(study, found.plan_hash, institution, node, fine, plan.agreement, True, nonce, deadline)
    signature = chain.signer.sign_digest(digest(message, chain.domain()))
    if not app.dry_run:
        home.salt_secret(study, create=True)
    with home.outbox(chain) as outbox:
        sent = send(app, chain, outbox, [intents.join(message, signature)], question=f"Join study {study}?")
    data: dict[str, Any] = {"study": study, "max_fine": str(fine), "plan_hash": found.plan_hash, **sent.to_json()}
    if sent.receipts:
        seat = contracts.seat(study, institution)
        data["index"] = seat.index
        return Shown(data, f"Joined study {study} with seat {seat.index}. Next: collegium train run {study}")
    return Shown(data)


@command(sends=True)
@click.argument("study", type=int)
def leave(app: App, study: int) -> Shown:
    """Leave STUDY from the next round on; the lock becomes releasable after the evidence period."""
    from collegium.chain import Contracts, intents
    from collegium.records import Role
    from collegium_client.home import Home

    from .sending import send

    home = Home(app.home, password_file=app.password_file).require()
    chain = home.chain("institution")
    with home.outbox(chain) as outbox:
        sent = send(app, chain, outbox, [intents.leave(study)], question=f"Leave study {study}?")
    lock = Contracts(chain).lock(study, chain.signer.address, Role.MEMBER)
    data = {"study": study, "locked": str(lock.amount), "releasable_at": lock.releasable_at, **sent.to_json()}
    return Shown(data, f"Left study {study}. Next: collegium stake claim, after {_time(lock.releasable_at)}")


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
