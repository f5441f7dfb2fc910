"""council admit, suspend, allow-referee, show, sign, submit, and study remove-member: k of n signatures, also offline.

What draws a decision up writes a file; `sign` needs no network; `submit` carries the signatures with any funded key.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from collegium.cli.framework import App, Shown, command
from collegium.errors import DeadlinePassedError, PreconditionError, UnauthorizedError, UsageError
from collegium.hours import format_deadline, format_utc, parse_duration

if TYPE_CHECKING:
    from collegium.chain import Chain, Intent
    from collegium.council import Council, Decision
    from collegium.records import Message

__all__ = [
    "council_admit",
    "council_allow_referee",
    "council_show",
    "council_sign",
    "council_submit",
    "council_suspend",
    "study_remove_member",
]

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_OUTPUT = click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.")
_VALID = click.option("--valid", default="7d", show_default=True, help="How long the signatures are good: 12h, 7d.")


def _draw_up(app: App, make: Any, output: Path | None, default: str) -> Shown:
    """Write a decision without signatures. make: takes chain and contracts, gives the message."""
    from collegium.chain import Contracts
    from collegium.council import Council, Decision
    from collegium_client.home import Home

    chain = Home(app.home).chain()
    message: Message = make(chain, Contracts(chain))
    path = output or Path(default)
    if path.exists():
        raise PreconditionError(f"{path} exists.", hint="Name another file with -o: signatures may be in this one.")
    council = Council(*Contracts(chain).council())
    decision = Decision(message, chain.domain("Members"), council=council)
    decision.save(path)
    lines = [
        *_lines(decision, chain.now()),
        f"Next: `collegium council sign {path}` where the keys are, then `collegium council submit {path}`.",
    ]
    return Shown({**decision.to_json(), "file": str(path), "threshold": council.threshold}, lines)


def _lines(decision: Decision, now: float | None = None) -> list[str]:
    lines = [*(f"{name.replace('_', ' '):<17} {value}" for name, value in decision.words(now)),
             f"{'digest':<17} 0x{decision.digest.hex()}",
             f"{'signed by':<17} {', '.join(sorted(decision.signatures)) or 'nobody yet'}"]  # fmt: skip
    return [*lines, *_progress(decision)]


def _progress(decision: Decision) -> list[str]:
    """How far the signatures go, and who may add one, as the file says."""
    council = decision.council
    if council is None:
        return []
    count = len(decision.of_members(council.members).signatures)
    missing = [member for member in council.members if member not in decision.signatures]
    return [f"{'signatures':<17} {count} of {council.threshold} needed",
            f"{'may still sign':<17} {', '.join(missing) or 'nobody: all have'}"]  # fmt: skip


@command()
@click.argument("applicant")
@_VALID
@_OUTPUT
def council_admit(app: App, applicant: str, valid: str, output: Path | None) -> Shown:
    """Draw up the admission of APPLICANT: the file of `collegium institution register`, or 0xADDRESS=NAME."""
    from collegium.council import read_applicant
    from collegium.records import Admit

    who = read_applicant(applicant)
    lifetime = parse_duration(valid)

    def make(chain: Chain, contracts: Any) -> Message:
        nonce = contracts.nonce(who.institution)
        return Admit(who.institution, who.profile, who.name, nonce, chain.now() + lifetime)

    return _draw_up(app, make, output, f"admit-{who.institution[2:10].lower()}.json")


@command()
@click.argument("institution")
@click.option("--lift", is_flag=True, help="End the suspension instead.")
@_VALID
@_OUTPUT
def council_suspend(app: App, institution: str, lift: bool, valid: str, output: Path | None) -> Shown:
    """Draw up the suspension of INSTITUTION from all studies, or with --lift the end of it."""
    from collegium.records import Suspend, checksum_address

    address = checksum_address(institution)
    lifetime = parse_duration(valid)

    def make(chain: Chain, contracts: Any) -> Message:
        return Suspend(address, not lift, contracts.nonce(address), chain.now() + lifetime)

    return _draw_up(app, make, output, f"{'lift' if lift else 'suspend'}-{address[2:10].lower()}.json")


@command()
@click.argument("referee", required=False)
@click.option("--withdraw", is_flag=True, help="Allow it no longer; studies that named it keep it.")
@_VALID
@_OUTPUT
def council_allow_referee(app: App, referee: str | None, withdraw: bool, valid: str, output: Path | None) -> Shown:
    """Draw up that new studies may name REFEREE, a contract that judges evidence [default: the deployment's]."""
    from collegium.records import AllowReferee, checksum_address

    lifetime = parse_duration(valid)

    def make(chain: Chain, contracts: Any) -> Message:
        address = checksum_address(referee or chain.address_of("Referee"))
        nonce = chain.call("Collegium", "nonceOf", address)
        return AllowReferee(address, not withdraw, nonce, chain.now() + lifetime)

    return _draw_up(app, make, output, "referee.json")


@command()
@click.argument("study", type=int)
@click.argument("institution")
@_VALID
@_OUTPUT
def study_remove_member(app: App, study: int, institution: str, valid: str, output: Path | None) -> Shown:
    """Draw up that INSTITUTION has no seat in STUDY from the next round on. Its stake is released, not fined."""
    from collegium.records import RemoveMember, checksum_address

    address = checksum_address(institution)
    lifetime = parse_duration(valid)

    def make(chain: Chain, contracts: Any) -> Message:
        return RemoveMember(study, address, chain.now() + lifetime)

    return _draw_up(app, make, output, f"remove-{study}-{address[2:10].lower()}.json")


@command()
@click.argument("file", type=_FILE)
@click.option("--typed-data", is_flag=True, help="Print EIP-712 JSON for a hardware wallet or `cast wallet sign`.")
def council_show(app: App, file: Path, typed_data: bool) -> Shown:
    """Show what FILE decides and who has signed. Needs no network."""
    import json

    from collegium.council import Decision

    decision = Decision.load(file)
    if typed_data:
        data = decision.typed_data()
        return Shown(data, json.dumps(data, indent=2))
    return Shown(decision.to_json(), _lines(decision))


@command(signs=True)
@click.argument("file", type=_FILE)
@click.option("--key", default="council", show_default=True, help="Alias of this home, or path of a V3 keystore.")
@click.option("--signature", help="Attach this signature (hex) of another wallet instead of signing here.")
@click.option("--yes", "-y", "agreed", is_flag=True, help="Do not ask.")
def council_sign(app: App, file: Path, key: str, signature: str | None, agreed: bool) -> Shown:
    """Sign FILE as a council member, after showing every field. Needs no network."""
    from collegium.chain import keystore
    from collegium.council import Decision, to_compact
    from collegium_client.home import Home

    decision = Decision.load(file)
    _check_deadline(decision, time.time(), "this machine's time")
    if signature is not None:
        try:
            raw = bytes.fromhex(signature.removeprefix("0x"))
        except ValueError as error:
            raise UsageError("The signature is no hex.", hint="Paste it as 0x….") from error
        signed = decision.signed(to_compact(raw))
        _check_listed(decision.council, *(set(signed.signatures) - set(decision.signatures)))
    else:
        home = Home(app.home, password_file=app.password_file)
        path = Path(key) if Path(key).is_file() else home.keystore(key)
        if path.is_file():
            _check_listed(decision.council, keystore.address_of(path))
        for line in _lines(decision):
            app.say("  " + line)
        app.yes = app.yes or agreed
        app.ask("Sign this as a member of the council? Compare chain and contract with what you were told.")
        signer = keystore.load(path, home.password(prompt=f"Password of {path.name}: "))
        # The address that the file names may be missing or wrong; what counts is whose key it holds.
        _check_listed(decision.council, signer.address)
        signed = decision.signed(signer.sign_digest(decision.digest))
    new = sorted(set(signed.signatures) - set(decision.signatures))
    signed.save(file)
    return Shown(
        {**signed.to_json(), "file": str(file), "signed_now": new},
        [f"Signed by {', '.join(sorted(signed.signatures))}.", *_progress(signed),
         f"Next: hand {file} on, or `collegium council submit {file}`."],
    )  # fmt: skip


@command(sends=True)
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
@click.option("--as", "role", default="institution", show_default=True, help="Key that pays.")
def council_submit(app: App, files: tuple[Path, ...], role: str) -> Shown:
    """Carry a decision to the chain; several FILEs are copies of it with different signatures."""
    from collegium.chain import Contracts
    from collegium.council import Decision
    from collegium_client.home import Home

    from .sending import require_key, send

    first, *others = [Decision.load(file) for file in files]
    decision = first.merged(others)
    home = Home(app.home, password_file=app.password_file).require()
    require_key(home, role)
    chain = home.chain(role)
    if decision.domain != chain.domain("Members"):
        raise PreconditionError(
            f"The decision is for chain {decision.domain.chain_id} and Members {decision.domain.contract};"
            f" this home uses chain {chain.chain_id} and {chain.address_of('Members')}.",
            hint="Submit it from a home of that deployment.",
        )
    _check_deadline(decision, chain.now(), "chain time")
    decision = _keep_members(app, decision, *Contracts(chain).council())
    with home.outbox(chain) as outbox:
        sent = send(app, chain, outbox, [_intent(decision)], question="Carry this decision to the chain?")
    done = "The council's decision is on chain." if sent.receipts else "Nothing was sent."
    return Shown(decision.to_json() | sent.to_json(), done)


def _keep_members(app: App, decision: Decision, council: tuple[str, ...], threshold: int) -> Decision:
    """Only what counts, in words before the contract says it with a custom error. Raises PreconditionError."""
    kept = decision.of_members(council)
    strangers = sorted(set(decision.signatures) - set(council))
    if strangers:
        app.warn(f"Left out: {', '.join(strangers)} signed and is not in the council.")
    if len(kept.signatures) < threshold:
        missing = ", ".join(sorted(set(council) - set(kept.signatures)))
        raise PreconditionError(
            f"{len(kept.signatures)} of {threshold} needed council members signed.",
            hint=f"Ask one of {missing} to run `collegium council sign`.",
        )
    return kept


def _check_listed(council: Council | None, *signers: str | None) -> None:
    """Raises UnauthorizedError: a signature that the contract would not count."""
    for signer in signers:
        if council is not None and signer is not None and signer not in council.members:
            raise UnauthorizedError(
                f"{signer} is not in the council that the file lists, so its signature would not count.",
                hint=f"Sign with the key of {' or '.join(council.members)} (--key). If the list is wrong, "
                "have the decision drawn up anew.",
            )


def _check_deadline(decision: Decision, now: float, clock: str) -> None:
    """Raises DeadlinePassedError."""
    if decision.deadline < now:
        raise DeadlinePassedError(
            f"Signatures were good until {format_deadline(decision.deadline, now)}; {clock} is {format_utc(int(now))}.",
            hint="Draw the decision up anew and collect the signatures again.",
        )


def _intent(decision: Decision) -> Intent:
    from collegium.chain import intents
    from collegium.records import Admit, AllowReferee, RemoveMember, Suspend

    approvals, message = decision.approvals, decision.message
    match message:
        case Admit():
            return intents.admit(message.institution, message.profile, message.name, message.deadline, approvals)
        case Suspend():
            return intents.suspend(message.institution, message.suspended, message.deadline, approvals)
        case AllowReferee():
            return intents.allow_referee(message.referee, message.allowed, message.deadline, approvals)
        case RemoveMember():
            return intents.remove_member(message.study_id, message.institution, message.deadline, approvals)
        case _:
            raise UsageError(f"{type(message).__name__} is no decision of a council.")
