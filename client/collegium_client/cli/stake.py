"""stake deposit, status, unlock, withdraw, claim."""

from __future__ import annotations

from typing import Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import InsufficientStakeError, PreconditionError

__all__ = ["stake_claim", "stake_deposit", "stake_status", "stake_unlock", "stake_withdraw"]


PERMIT_SECONDS = 3600


def _open(app: App, role: str = "institution") -> tuple[Any, Any]:
    from collegium_client.home import Home

    home = Home(app.home, password_file=app.password_file).require()
    return home, home.chain(role)


@command(sends=True)
@click.argument("amount")
@click.option("--for", "institution", help="Deposit for another institution.")
@click.option("--permit", is_flag=True, help="One transaction: sign an ERC-2612 permit instead of sending an approval.")
def stake_deposit(app: App, amount: str, institution: str | None, permit: bool) -> Shown:
    """Deposit AMOUNT tokens (a decimal number) as free stake."""
    from collegium.chain import Contracts, intents
    from collegium.chain.permit import permit_digest
    from collegium_client.plan import format_tokens, parse_tokens

    from .sending import send

    home, chain = _open(app)
    units = parse_tokens(amount)
    contracts = Contracts(chain)
    balance = contracts.token_balance(chain.signer.address)
    if balance < units:
        raise InsufficientStakeError(
            f"{chain.signer.address} has {format_tokens(balance)} tokens, not {amount}.",
            hint="Get stake tokens from the operator of the federation.",
        )
    bonds = chain.address_of("Bonds")
    if permit:
        deadline = chain.now() + PERMIT_SECONDS
        signature = chain.signer.sign_digest(permit_digest(chain, chain.signer.address, units, deadline))
        steps = [intents.deposit_with_permit(institution or chain.signer.address, units, deadline, signature)]
    else:
        steps = intents.deposit_for(bonds, institution, units) if institution else intents.deposit(bonds, units)
    with home.outbox(chain) as outbox:
        sent = send(app, chain, outbox, steps, question=f"Deposit {amount} tokens?")
    free = contracts.stake(institution or chain.signer.address).free
    return Shown(
        {"amount": str(units), "free": str(free), **sent.to_json()}, f"Free stake: {format_tokens(free)} tokens."
    )


@command()
@click.option("--address", help="Another institution.")
def stake_status(app: App, address: str | None) -> Shown:
    """Show free, unbonding and locked stake, credits, and fines paid."""
    from collegium.chain import Contracts
    from collegium.records import Role
    from collegium_client.home import Home
    from collegium_client.plan import format_tokens

    home = Home(app.home).require()
    chain = home.chain()
    institution = address or home.address("institution")
    if institution is None:
        raise PreconditionError("Whose stake?", hint="Name it with --address, or make an institution key.")
    contracts = Contracts(chain)
    stake = contracts.stake(institution)
    locks: list[dict[str, Any]] = []
    for study in range(1, contracts.study_count() + 1):
        for role in Role:
            lock = contracts.lock(study, institution, role)
            if lock.amount:
                locks.append({"study": study, "role": role.name.lower(), "amount": str(lock.amount),
                              "releasable_at": lock.releasable_at})  # fmt: skip
    with home.indexer(chain) as indexer:
        indexer.sync()
        fines = [dict(event.args) for event in indexer.events(name="Fined") if event.args["institution"] == institution]
    data: dict[str, Any] = {
        "institution": institution,
        "balance": str(contracts.token_balance(institution)),
        "free": str(stake.free),
        "unbonding": str(stake.unbonding),
        "withdrawable_at": stake.withdrawable_at,
        "credit": str(contracts.credit(institution)),
        "locks": locks,
        "fines": fines,
    }
    lines = [
        f"wallet     {format_tokens(int(data['balance']))}",
        f"free       {format_tokens(stake.free)}",
        f"unbonding  {format_tokens(stake.unbonding)}",
        f"credit     {format_tokens(contracts.credit(institution))}",
        *(
            f"locked     {format_tokens(int(lock['amount']))} as {lock['role']} of study {lock['study']}"
            for lock in locks
        ),
        *(f"fined      {format_tokens(int(fine['amount']))} in study {fine['studyId']}" for fine in fines),
    ]
    return Shown(data, lines)


@command(sends=True)
@click.argument("amount")
def stake_unlock(app: App, amount: str) -> Shown:
    """Start unbonding AMOUNT tokens of free stake; they can still be fined meanwhile."""
    from collegium.chain import Contracts, intents
    from collegium_client.plan import parse_tokens

    from .sending import send

    home, chain = _open(app)
    with home.outbox(chain) as outbox:
        sent = send(app, chain, outbox, [intents.unlock(parse_tokens(amount))], question=f"Unlock {amount} tokens?")
    stake = Contracts(chain).stake(chain.signer.address)
    data = {"unbonding": str(stake.unbonding), "withdrawable_at": stake.withdrawable_at, **sent.to_json()}
    return Shown(data, f"Withdrawable at {stake.withdrawable_at} (unix time). Next: collegium stake withdraw")


@command(sends=True)
def stake_withdraw(app: App) -> Shown:
    """Withdraw what is unbonded to the institution's own account."""
    from collegium.chain import intents

    from .sending import send

    home, chain = _open(app)
    with home.outbox(chain) as outbox:
        sent = send(app, chain, outbox, [intents.withdraw()], question="Withdraw?")
    return Shown(sent.to_json(), "Withdrawn.")


@command(sends=True)
@click.option(
    "--as",
    "role",
    default="institution",
    show_default=True,
    help="Key that collects: institution, node or another alias.",
)
def stake_claim(app: App, role: str) -> Shown:
    """Collect what waits: releasable locks, shares of fines, held rewards, credit."""
    from collegium.chain import Contracts, intents
    from collegium.errors import RevertedError
    from collegium.records import Role

    from .sending import send

    home, chain = _open(app, role)
    contracts = Contracts(chain)
    account, now = chain.signer.address, chain.now()
    with home.indexer(chain) as indexer:
        indexer.sync()
        fines = indexer.events(name="Fined")
        held = indexer.events(name="RewardHeld")
        taken = {(e.args["key"], e.args.get("institution") or e.args.get("challenger"))
                 for e in indexer.events(name=["ShareClaimed", "RewardClaimed"])}  # fmt: skip
    steps = []
    for study in range(1, contracts.study_count() + 1):
        for each in Role:
            lock = contracts.lock(study, account, each)
            if lock.amount and 0 < lock.releasable_at <= now:
                steps.append(intents.release(study, account, each))
        seat = contracts.seat(study, account)
        for fine in fines:
            is_ours = fine.study_id == study and seat.seated and int(fine.args["eligible"]) >> seat.index & 1
            if is_ours and (fine.args["key"], account) not in taken:
                steps.append(intents.claim_share(fine.bytes32("key")))
    for reward in held:
        is_due = reward.args["challenger"] == account and int(reward.args["claimableAt"]) <= now
        if is_due and (reward.args["key"], account) not in taken:
            steps.append(intents.claim_reward(reward.bytes32("key")))
    done: list[dict[str, Any]] = []
    with home.outbox(chain) as outbox:
        for step in steps:
            try:
                done += send(app, chain, outbox, [step], question=f"Send {step.function}?").to_json()["transactions"]
            except RevertedError as error:
                app.warn(error.message)
        if contracts.credit(account):
            intent = intents.withdraw_credit()
            done += send(app, chain, outbox, [intent], question="Withdraw the credit?").to_json()["transactions"]
    return Shown({"transactions": done}, f"{len(done)} transactions sent." if done else "Nothing to collect.")
