"""What the contracts answer today, held against what the events add up to. The node's word on one side only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from collegium.amounts import format_tokens as tokens
from collegium.chain.abi import interface
from collegium.chain.views import StudyView
from collegium.records import Role, bits

from .history import History
from .report import Findings, utc
from .world import World

__all__ = ["check_governance", "check_model", "check_money", "check_records"]

Read = tuple[str, str, tuple[Any, ...]]


def read_many(history: History, reads: Sequence[Read]) -> list[Any]:
    """Results of views as of the last replayed block: contract, function, arguments."""
    chain = history.chain
    calls = []
    for contract, function, arguments in reads:
        data = "0x" + interface(contract).function(function).encode(arguments).hex()
        calls.append([{"to": chain.address_of(contract), "data": data}, hex(history.head)])
    answers = chain.rpc.batch("eth_call", calls)
    return [
        interface(contract).function(function).decode_output(bytes.fromhex(answer[2:]))
        for (contract, function, _), answer in zip(reads, answers, strict=True)
    ]


def check_records(history: History, study: StudyView, findings: Findings) -> None:
    """`recordOf` of every round is the record of its event, zero where there is none."""
    reads: list[Read] = [("Collegium", "recordOf", (study.study_id, view.number)) for view in study.rounds]
    for view, got in zip(study.rounds, read_many(history, reads), strict=True):
        tally = findings.of("record", view.number)
        if bytes(got["record"]) != (view.record or bytes(32)):
            tally.equal("recordOf", bytes(got["record"]), view.record or bytes(32))
        if got["disputed"] != (view.disputed is not None):
            tally.equal("recordOf: disputed", got["disputed"], view.disputed is not None)
        if view.aborted is not None:
            tally.note("the round was aborted")
        elif view.record is None:
            tally.note("the round is not over")


def check_governance(history: History, study: StudyView, findings: Findings) -> None:
    """`governanceOf` is what sponsor and council said last."""
    (got,) = read_many(history, [("Collegium", "governanceOf", (study.study_id,))])
    expected = {"sponsor": study.sponsor, "status": int(study.status), "openUntil": study.open_until}
    if got != expected:
        findings.of("admissions").equal("governanceOf", got, expected)


def check_model(history: History, study: StudyView, findings: Findings) -> None:
    """`modelOf` is the model of the last final round."""
    tally = findings.of("model")
    root, cid, number = study.model
    (got,) = read_many(history, [("Collegium", "modelOf", (study.study_id,))])
    expected = {"modelRoot": root, "stateRoot": bytes(32), "cid": cid, "round": number}
    actual = {**got, "modelRoot": bytes(got["modelRoot"]), "stateRoot": bytes(got["stateRoot"])}
    wrong = [name for name, value in expected.items() if actual[name] != value]
    for name in wrong:
        tally.equal(f"modelOf: {name}", actual[name], expected[name])
    if not wrong:
        tally.passes()


def check_money(history: History, world: World, findings: Findings) -> None:
    """Every balance that Bonds shows is what its events add up to, and the tokens are there."""
    tally, ledger = findings.of("money"), world.ledger
    bonds = history.chain.address_of("Bonds")
    left = ledger.paid_in - ledger.paid_out
    held = f"Bonds holds {tokens(ledger.balance)} tokens, its events account for {tokens(left)}"
    tally.require(ledger.donated >= 0, held)
    tally.equal_tokens("what Bonds owes", ledger.obligations, left)
    created = history.chain.deployment.contracts["CollegiumToken"].arguments
    if len(created) == 4:
        tally.equal_tokens("the supply of the token", ledger.minted, int(created[3]))
    for sender, recipient, amount in ledger.due:
        tally.fail(f"{tokens(amount)} tokens of {sender} to {recipient} were told by Bonds and never moved")
    if ledger.donated > 0:
        tally.note(f"{tokens(ledger.donated)} tokens were donated to Bonds and belong to nobody")
    expected: list[tuple[str, Read, Any]] = [
        ("balanceOf(Bonds)", ("CollegiumToken", "balanceOf", (bonds,)), ledger.balance)
    ]
    for institution, stake in ledger.stakes.items():
        read: Read = ("Bonds", "stakeOf", (institution,))
        expected.append((f"the stake of {institution}", read, (stake.free, stake.unbonding)))
    for (study_id, institution, role), amount in ledger.locks.items():
        read = ("Bonds", "lockOf", (study_id, institution, int(role)))
        releasable = ledger.releases.get((study_id, institution, role), 0)
        expected.append((f"the {Role(role).name.lower()} lock of {institution}", read, (amount, releasable)))
    for account, credit in ledger.credits.items():
        expected.append((f"the credit of {account}", ("Bonds", "creditOf", (account,)), credit))
    for study_id, amount in ledger.burnable.items():
        expected.append((f"what study {study_id} may burn", ("Bonds", "burnable", (study_id,)), amount))
    for key, fine in ledger.fines.items():
        digest = bytes.fromhex(key[2:])
        expected.append((f"the shares of fine {key}", ("Bonds", "sharesOf", (digest,)), (fine.share, fine.unclaimed)))
        expected.append((f"the reward of fine {key}", ("Bonds", "heldRewardOf", (digest,)), fine.held))
    for (what, (_, function, _), value), got in zip(
        expected, read_many(history, [read for _, read, _ in expected]), strict=True
    ):
        told = _told(function, got)
        tally.require(told == value, f"{what} is {_in_words(function, told)}, not {_in_words(function, value)}")


def _told(function: str, got: Any) -> Any:
    """The part of a view's answer that events add up to."""
    parts = {
        "stakeOf": ("free", "unbonding"),
        "lockOf": ("amount", "releasableAt"),
        "sharesOf": ("share", "unclaimed"),
    }
    if function in parts:
        return tuple(got[name] for name in parts[function])
    return got["amount"] if function == "heldRewardOf" else got


def _in_words(function: str, value: Any) -> str:
    if function == "stakeOf":
        return f"{tokens(value[0])} tokens free and {tokens(value[1])} unbonding"
    if function == "lockOf":
        return f"{tokens(value[0])} tokens, " + (f"releasable at {utc(value[1])}" if value[1] else "not being released")
    if function == "sharesOf":
        return f"{tokens(value[0])} tokens each, open for seats {', '.join(map(str, bits(value[1]))) or 'none'}"
    return f"{tokens(value)} tokens"
