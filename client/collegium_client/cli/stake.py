"""`collegium stake`: money of the institution key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import rich_click as click

from collegium.errors import InsufficientStakeError, PreconditionError

from collegium_client.home import Home

from .framework import App, Shown, command
from .sending import parse_tokens, send, tokens

__all__ = ["stake_claim", "stake_deposit", "stake_status", "stake_unlock", "stake_withdraw"]


@command(sends=True)
@click.argument("amount")
def stake_deposit(app: App, amount: str) -> Shown:
    """Deposit AMOUNT tokens as free stake of the institution key. Joining locks from it."""
    from collegium.chain import Contracts, intents

    home = Home(app.home, password_file=app.password_file).require()
    chain = home.chain("institution")
    wei = parse_tokens(amount)
    held = Contracts(chain).token_balance(chain.signer.address)
    if held < wei:
        raise InsufficientStakeError(
            f"{chain.signer.address} holds {tokens(held)} tokens, fewer than {tokens(wei)}.",
            hint="Ask the operator of the study for stake tokens, then repeat.",
            held=held,
            needed=wei,
        )
    # One request name per balance: repeating an interrupted command goes on instead of paying twice.
    request = f"{held}-{wei}-{_deposited(chain)}"
    receipts = send(
        app, home, chain, intents.deposit(chain.address_of("Bonds"), wei, request=request),
        question=f"Deposit {tokens(wei)} tokens?",
    )  # fmt: skip
    return _done(app, home, chain, receipts, f"{tokens(wei)} tokens are deposited.")


@command()
def stake_status(app: App) -> Shown:
    """Show free, unbonding and locked stake, credits and claimable rewards of the institution."""
    home = Home(app.home).require()
    data = _status(home, home.chain(), _institution(home))
    rows = [
        f"institution   {data['institution']}",
        f"wallet        {tokens(data['wallet'])} tokens",
        f"free          {tokens(data['free'])} tokens",
        f"unbonding     {tokens(data['unbonding'])} tokens{_until(data['withdrawable_at'], data['unbonding'])}",
        f"credit        {tokens(data['credit'])} tokens",
    ]
    rows += [
        f"locked        {tokens(lock['amount'])} tokens as {lock['role']} of study {lock['study']}"
        f"{_until(lock['releasable_at'], lock['releasable_at'])}"
        for lock in data["locks"]
    ]
    rows += [
        f"fine          {tokens(fine['amount'])} tokens, {fine['kind']}, study {fine['study']}"
        for fine in data["fines"]
    ]
    rows += [f"claimable     {tokens(share['amount'])} tokens of fine {share['key'][:18]}…" for share in data["shares"]]
    return Shown(data, rows)


@command(sends=True)
@click.argument("amount")
def stake_unlock(app: App, amount: str) -> Shown:
    """Start unbonding AMOUNT tokens of free stake."""
    from collegium.chain import intents

    home = Home(app.home, password_file=app.password_file).require()
    chain = home.chain("institution")
    wei = parse_tokens(amount)
    receipts = send(
        app, home, chain, [intents.unlock(wei)],
        question=f"Start unbonding {tokens(wei)} tokens? A further unlock before withdrawal restarts the clock.",
    )  # fmt: skip
    return _done(app, home, chain, receipts, f"{tokens(wei)} tokens are unbonding.")


@command(sends=True)
def stake_withdraw(app: App) -> Shown:
    """Withdraw what is unbonded, and credits earned, to the institution key."""
    from collegium.chain import Contracts, intents

    home = Home(app.home, password_file=app.password_file).require()
    chain = home.chain("institution")
    contracts = Contracts(chain)
    address = chain.signer.address
    stake, credit = contracts.stake(address), contracts.credit(address)
    planned = []
    if stake.unbonding and stake.withdrawable_at <= max(chain.now(), int(time.time())):
        planned.append(intents.withdraw())
    if credit:
        planned.append(intents.withdraw_credit())
    if not planned:
        waiting = _until(stake.withdrawable_at, stake.unbonding)
        raise PreconditionError(
            f"Nothing can be withdrawn now: {tokens(stake.unbonding)} tokens are unbonding{waiting}.",
            hint="Unlock free stake first: `collegium stake unlock AMOUNT`.",
        )
    receipts = send(app, home, chain, planned, question="Withdraw?")
    return _done(app, home, chain, receipts, "Withdrawn.")


@command(sends=True)
def stake_claim(app: App) -> Shown:
    """Collect shares of fines, held rewards and released locks."""
    from collegium.chain import intents
    from collegium.records import Role

    home = Home(app.home, password_file=app.password_file).require()
    chain = home.chain("institution")
    data = _status(home, chain, chain.signer.address)
    now = max(chain.now(), int(time.time()))
    planned = [intents.claim_share(bytes.fromhex(share["key"][2:])) for share in data["shares"]]
    planned += [intents.claim_reward(bytes.fromhex(key[2:])) for key in data["rewards"]]
    planned += [
        intents.release(lock["study"], chain.signer.address, Role[lock["role"].upper()])
        for lock in data["locks"]
        if 0 < lock["releasable_at"] <= now
    ]
    if not planned:
        return Shown(data, "There is nothing to collect now.")
    receipts = send(app, home, chain, planned, question=f"Collect {len(planned)} amounts?")
    return _done(app, home, chain, receipts, f"{len(receipts)} amounts collected.")


def _institution(home: Home) -> str:
    address = home.address("institution")
    if address is None:
        raise PreconditionError("This home has no institution key.", hint="Make one: `collegium keys new institution`.")
    return address


def _deposited(chain: Any) -> int:
    """Free and locked stake move with every deposit, so they name the next one."""
    from collegium.chain import Contracts

    stake = Contracts(chain).stake(chain.signer.address)
    return stake.free + stake.unbonding


def _status(home: Home, chain: Any, institution: str) -> dict[str, Any]:
    from collegium.chain import Contracts
    from collegium.records import Kind, Role

    contracts = Contracts(chain)
    stake = contracts.stake(institution)
    with home.indexer(chain) as indexer:
        indexer.sync()
        locked = {(each.args["studyId"], each.args["role"]) for each in indexer.events(name="StakeLocked")
                  if each.args["institution"] == institution}  # fmt: skip
        fines = indexer.events(name="Fined")
        claimed = {
            each.args["key"] for each in indexer.events(name="ShareClaimed") if each.args["institution"] == institution
        }
        paid = {each.args["key"] for each in indexer.events(name=("RewardClaimed", "RewardRedirected"))}
        held = [each for each in indexer.events(name="RewardHeld") if each.args["challenger"] == institution]
        seats = {each.args["studyId"]: each.args["index"] for each in indexer.events(name="MemberJoined")
                 if each.args["institution"] == institution}  # fmt: skip
    locks = []
    for study, role in sorted(locked):
        lock = contracts.lock(study, institution, Role(role))
        if lock.amount:
            locks.append({"study": study, "role": Role(role).name.lower(), "amount": lock.amount,
                          "releasable_at": lock.releasable_at})  # fmt: skip
    shares = [
        {"key": fine.args["key"], "study": fine.args["studyId"], "amount": fine.args["sharePerClient"]}
        for fine in fines
        if fine.args["key"] not in claimed
        and fine.args["sharePerClient"]
        and fine.args["studyId"] in seats
        and fine.args["eligible"] >> seats[fine.args["studyId"]] & 1
    ]
    now = chain.now()
    return {
        "institution": institution,
        "wallet": contracts.token_balance(institution),
        "free": stake.free,
        "unbonding": stake.unbonding,
        "withdrawable_at": stake.withdrawable_at,
        "credit": contracts.credit(institution),
        "locks": locks,
        "fines": [
            {"study": fine.args["studyId"], "kind": Kind(fine.args["kind"]).name.lower(), "amount": fine.args["amount"],
             "transaction": fine.transaction}
            for fine in fines if fine.args["institution"] == institution
        ],
        "shares": shares,
        "rewards": [each.args["key"] for each in held if each.args["key"] not in paid and each.args["claimableAt"] <= now],
    }  # fmt: skip


def _until(moment: int, amount: int) -> str:
    if not amount or not moment:
        return ""
    return f", free from {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _done(app: App, home: Home, chain: Any, receipts: list[Any], text: str) -> Shown:
    if app.dry_run:
        return Shown({"sent": False})
    data = _status(home, chain, chain.signer.address)
    return Shown(data | {"sent": True, "transactions": [receipt.transaction for receipt in receipts]}, text)
