"""What the chain says happened: every claim with the transaction behind it, and the gas of everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collegium.chain.abi import interface
from collegium.chain.client import Chain
from collegium.chain.indexer import Indexer
from collegium.chain.rpc import to_int
from collegium.chain.views import ProposalStatus, RoundView, StudyView
from collegium.records import Role

__all__ = ["GasBook", "find_lie", "read_gas", "slashed", "takeover", "transactions", "windows_waited"]

_ROUND_CALLS = (
    "openRound", "commitUpdates", "revealUpdates", "certify", "propose", "endorse", "finalize", "conclude", "settle",
)  # fmt: skip
_REFUTATION_CALLS = ("announce", "refute", "dispute", "refuteRange", "refuteEquivocation", "refuteContradiction")


@dataclass
class GasBook:
    """by_call: `Contract.function` to gas. by_transaction: hash to gas. by_round: of the calls that move a round on."""

    by_call: Counter[str] = field(default_factory=Counter)
    by_transaction: dict[str, int] = field(default_factory=dict)
    by_round: Counter[int] = field(default_factory=Counter)
    other: int = 0

    def to_json(self, *, hospitals: int, rounds: int) -> dict[str, int]:
        """Sums of what a reader asks for first, then every call."""
        deployment = sum(gas for call, gas in self.by_call.items() if call.startswith("create "))
        of_rounds = sum(self.by_call[f"Collegium.{name}"] for name in _ROUND_CALLS)
        refuting = sum(self.by_call[f"Refutations.{name}"] for name in _REFUTATION_CALLS)
        total = sum(self.by_call.values()) + self.other
        sums = {
            "total": total,
            "contract_creation": deployment,
            "rounds": of_rounds,
            "refutation": refuting,
            "everything_else": total - deployment - of_rounds - refuting,
            "per_hospital_and_round": of_rounds // max(1, hospitals * rounds),
        }
        return sums | {name: gas for name, gas in sorted(self.by_call.items()) if not name.startswith("create ")}


def read_gas(chain: Chain, view: StudyView) -> GasBook:
    """Gas of every transaction since the first block; the demo has the chain for itself."""
    book = GasBook()
    head = chain.rpc.header("latest")
    numbers = [[hex(number)] for number in range(1, (head.number if head else 0) + 1)]
    round_of = {event.transaction: each.number for each in view.rounds for event in _events(each)}
    for receipts, block in zip(
        chain.rpc.batch("eth_getBlockReceipts", numbers),
        chain.rpc.batch("eth_getBlockByNumber", [[*number, True] for number in numbers]),
        strict=True,
    ):
        inputs = {each["hash"]: each["input"] for each in block["transactions"]}
        for receipt in receipts:
            gas, digest = to_int(receipt["gasUsed"]), receipt["transactionHash"]
            book.by_transaction[digest] = gas
            name = _name(chain, receipt, inputs[digest])
            if name is None:
                book.other += gas
            else:
                book.by_call[name] += gas
            if digest in round_of:
                book.by_round[round_of[digest]] += gas
    return book


def _name(chain: Chain, receipt: Mapping[str, Any], data: str) -> str | None:
    if receipt.get("contractAddress"):
        return f"create {chain.deployment.name_of(receipt['contractAddress']) or 'unknown'}"
    contract = chain.deployment.name_of(receipt["to"] or "")
    function = interface(contract).by_selector.get(bytes.fromhex(data[2:10])) if contract else None
    return f"{contract}.{function.name}" if function else None


def _events(each: RoundView) -> list[Any]:
    found = [each.opened, *each.attestations, *each.certificates, *each.missed, *each.skipped, *each.refutations]
    found += [item.event for item in each.commits.values()] + [item.event for item in each.reveals.values()]
    for proposal in each.proposals:
        found += [proposal.event, *([proposal.ended] if proposal.ended else [])]
    return [*found, *([each.finalized] if each.finalized else []), *([each.aborted] if each.aborted else [])]


def slashed(indexer: Indexer, study_id: int) -> tuple[int, list[str]]:
    """Wei taken from aggregators' bonds, and the transactions that took it."""
    fines = [each for each in indexer.events(study_id, name="Fined") if int(each.args["role"]) == Role.AGGREGATOR]
    return sum(int(each.args["amount"]) for each in fines), [each.transaction for each in fines]


def find_lie(chain: Chain, indexer: Indexer, view: StudyView, names: Mapping[str, str]) -> dict[str, Any] | None:
    """The first proposal that was refuted, who said so, what it cost and who finished the round."""
    for each in view.rounds:
        for proposal in each.proposals:
            if proposal.status is ProposalStatus.REFUTED and proposal.ended is not None:
                return _tell_lie(chain, indexer, view, names, each, proposal)
    return None


def _tell_lie(
    chain: Chain, indexer: Indexer, view: StudyView, names: Mapping[str, str], each: RoundView, proposal: Any
) -> dict[str, Any]:
    transaction = proposal.ended.transaction
    refuted = next(event for event in each.refutations if event.transaction == transaction)
    fines = [event for event in indexer.events(view.study_id, name="Fined") if event.transaction == transaction]
    fine = fines[0].args
    call = chain.rpc.request("eth_getTransactionByHash", transaction)
    arguments = interface("Refutations").function("refute").decode_input(bytes.fromhex(call["input"][2:]))
    eligible = int(fine["eligible"]).bit_count()
    final = each.proposals[-1] if each.record is not None else None
    return {
        "round": each.number,
        "liar": _name_of(names, proposal.proposal.aggregator),
        "challenger": _name_of(names, refuted.args["challenger"]),
        "successor": _name_of(names, final.proposal.aggregator) if final else None,
        "kind": int(refuted.args["kind"]),
        "coordinate": int(refuted.args["coordinate"]),
        "claimed": int(refuted.args["claimed"]),
        "right": int(refuted.args["right"]),
        "elements": sum(section.count for section in view.format.sections),
        "evidence_bytes": len(arguments["evidence"]),
        "burned_wei": int(fine["burned"]),
        "challenger_wei": int(fine["challengerReward"]),
        "clients_wei": int(fine["sharePerClient"]) * eligible,
        "proposed": proposal.event.transaction,
        "refuted": transaction,
        "finalized": each.finalized.transaction if each.finalized else None,
    }


def takeover(view: StudyView) -> tuple[bool, str | None]:
    """Whether a round with a refuted proposal was finished by another aggregator, and the transaction that did."""
    for each in view.rounds:
        refuted = {one.proposal.aggregator for one in each.proposals if one.status is ProposalStatus.REFUTED}
        if refuted and each.finalized is not None and each.proposals[-1].proposal.aggregator not in refuted:
            return True, each.finalized.transaction
    return False, None


def transactions(view: StudyView, indexer: Indexer) -> dict[str, Any]:
    """The transaction behind each outcome that the summary claims."""
    proposals = [(each, one) for each in view.rounds for one in each.proposals if one.status is ProposalStatus.REFUTED]
    found: dict[str, Any] = {
        "study_created": view.created.transaction,
        "hospitals_joined": [view.seats[index].joined.transaction for index in sorted(view.seats)],
        "rounds_opened": [each.opened.transaction for each in view.rounds],
        "rounds_finalized": [each.finalized.transaction for each in view.final_rounds if each.finalized],
    }
    if proposals:
        _, one = proposals[0]
        found["lie_proposed"] = one.event.transaction
        found["lie_refuted"] = one.ended.transaction if one.ended else None
        found["aggregator_slashed"] = slashed(indexer, view.study_id)[1]
        found["takeover_round_finalized"] = takeover(view)[1]
    return found


def windows_waited(view: StudyView) -> int:
    """Phases that ended by their deadline, because somebody did not act."""
    count = 0
    for each in view.rounds:
        count += each.committed != each.invited
        count += each.revealed != each.committed
        count += each.certified != each.revealed
        count += len(each.missed)
        live = each.live
        count += live is None or live.endorsed != each.snapshot.active
    return count


def _name_of(names: Mapping[str, str], address: str) -> str:
    return names.get(address.lower(), address)
