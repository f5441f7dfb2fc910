"""A refutation explained: what was claimed for one coordinate, what it must be, from which numbers, and who paid."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from collegium import evidence as judging
from collegium.chain.abi import interface
from collegium.chain.events import ChainEvent
from collegium.chain.views import RoundView
from collegium.errors import CollegiumError
from collegium.records import CHUNK_ELEMENTS, Kind, Proposal, RecordProof

from .reader import Reader
from .records import Check, ClientTerm, Fact, RefutationPage
from .replay import StudyLog
from .words import KINDS
from .words import format_number as _n

__all__ = ["read_refutation"]

_RULES = {
    Kind.MEAN: "D = ⌊(2·S + W) / (2·W)⌋ with S = Σ weight · element and W = Σ weight, over the certified updates",
    Kind.STEP: "new = base + ⌊(2·mean·n + d) / (2·d)⌋, the server step with rate n/d, kept within ±(2³¹ − 1)",
    Kind.TAIL: "everything beyond the model's last element is 0",
    Kind.RANGE: "every element of an update lies within ±bound, and everything beyond the last one is 0",
    Kind.EQUIVOCATION: "a seat signs at most one update for a round",
    Kind.CONTRADICTION: "a proposal that failed has the roots of the final one",
}


@dataclass
class _Explained:
    """What the calldata gives. place: known only when a format table is."""

    story: str = ""
    coordinate: int | None = None
    claimed: int | None = None
    right: int | None = None
    clients: list[ClientTerm] = field(default_factory=list)
    working: list[Fact] = field(default_factory=list)
    checked: Check = field(default_factory=lambda: Check("evidence", None, ""))


def read_refutation(reader: Reader, study: int, ordinal: int) -> RefutationPage:
    """ordinal: of the study, in chain order, from 1. Raises LookupError."""
    log = reader.log(study)
    if not 1 <= ordinal <= len(log.refutations):
        raise LookupError(f"refutation {ordinal}")
    event = log.refutations[ordinal - 1]
    args, kind = event.args, Kind(event.args["kind"])
    view = log.view.round(args["round"])
    explained = _explain(reader, log, view, event, kind)
    published = reader.published(log.view)
    place = published.place_of(explained.coordinate) if published and explained.coordinate is not None else ""
    fine = next(
        (
            each
            for each in log.fines.get(args["ctx"], [])
            if each.fined.transaction == event.transaction and each.fined.args["institution"] == args["accused"]
        ),
        None,
    )
    return RefutationPage(
        study,
        reader.title(study),
        ordinal,
        args["round"],
        KINDS[kind],
        _RULES.get(kind, ""),
        reader.institution(args["accused"]),
        reader.party(args["challenger"]),
        event.time,
        event.transaction,
        bool(args["recorded"]),
        explained.story,
        explained.coordinate,
        place,
        explained.claimed,
        explained.right,
        log.view.format.sections[0].exponent,
        tuple(explained.clients),
        tuple(explained.working),
        explained.checked,
        reader.fine(log, fine) if fine else None,
        (f"collegium audit --study {study} --rpc URL --deployment FILE --store URL --verbose",),
    )


def _explain(reader: Reader, log: StudyLog, view: RoundView | None, event: ChainEvent, kind: Kind) -> _Explained:
    args = event.args
    found = _Explained()
    if kind in (Kind.MEAN, Kind.STEP, Kind.TAIL, Kind.RANGE):
        found.coordinate, found.claimed, found.right = (int(args[each]) for each in ("coordinate", "claimed", "right"))
    given = _arguments(reader, event)
    if given is None:
        found.checked = Check(
            "evidence", None, "The evidence is not in calldata known here; the values are those of the event."
        )
        found.story = "The referee accepted the evidence; this page shows what its event says."
        return found
    explain = {
        Kind.MEAN: _mean, Kind.STEP: _step, Kind.TAIL: _tail, Kind.RANGE: _range, Kind.EQUIVOCATION: _equivocation,
        Kind.CONTRADICTION: _contradiction,
    }.get(kind)  # fmt: skip
    if explain is None:
        return found
    try:
        explain(reader, log, view, given, found)
    except (CollegiumError, LookupError, ValueError, TypeError, struct.error) as error:
        what = error.message if isinstance(error, CollegiumError) else str(error)
        found.checked = Check("evidence", False, f"The evidence in calldata does not prove it again: {what}")
    return found


def _arguments(reader: Reader, event: ChainEvent) -> Mapping[str, Any] | None:
    """The call's arguments; None when the transaction calls something else."""
    data = reader.source.book.calldata(event.transaction, event.block_hash)
    function = interface("Refutations").by_selector.get(data[:4]) if data else None
    if data is None or function is None:
        return None
    try:
        return function.decode_input(data)
    except Exception:
        return None


_PROVEN = Check("evidence", True, "Judged again here from the calldata: the evidence proves the fault.")


def _same(verdict: judging.Verdict, found: _Explained) -> Check:
    """Whether the event tells what the evidence proves."""
    said = (found.coordinate, found.claimed, found.right)
    proven = (verdict.coordinate, verdict.claimed, verdict.right)
    if said == proven:
        return _PROVEN
    return Check("evidence", False, f"The event says {said}, the evidence proves {proven}: coordinate, claimed, right.")


def _mean(reader: Reader, log: StudyLog, view: RoundView | None, given: Mapping[str, Any], found: _Explained) -> None:
    fmt, proposal = log.view.format, Proposal.from_abi(given["proposal"])
    coordinate, clients, mean = judging.read_mean_evidence(fmt, proposal, bytes(given["evidence"]))
    section, k = fmt.sections[0], coordinate % CHUNK_ELEMENTS
    total = weights = 0
    for seat, client in clients.items():
        element = _element(client.opening.chunk, k)
        read = max(-section.bound, min(section.bound, element))
        weight = client.weight if section.weighted else 1
        total, weights = total + weight * read, weights + weight
        party = reader.party(log.view.seats[seat].institution)
        found.clients.append(ClientTerm(seat, party, client.weight, element, read, weight * read))
    right = (2 * total + weights) // (2 * weights)
    found.story = (
        "The aggregator proposed a mean that is not the rule over the certified updates. The challenger opened one"
        " chunk of each update and of the claimed mean; the referee recomputed this one coordinate."
    )
    found.working = [
        Fact("S", _n(total), "sum of weight · element"),
        Fact("W", _n(weights), "sum of weights" if section.weighted else "clients; this section is not weighted"),
        Fact("Recomputed", f"⌊(2·{_in(total)} + {_n(weights)}) / (2·{_n(weights)})⌋ = {_n(right)}", "the right mean"),
        Fact("Claimed", _n(_element(mean.chunk, k)), "what the proposed mean root holds"),
    ]
    found.checked = _same(judging.judge_mean(fmt, proposal, bytes(given["evidence"])), found)


def _step(reader: Reader, log: StudyLog, view: RoundView | None, given: Mapping[str, Any], found: _Explained) -> None:
    plan, fmt, proposal = log.view.plan, log.view.format, Proposal.from_abi(given["proposal"])
    coordinate, openings = judging.read_step_evidence(fmt, bytes(given["evidence"]))
    mean, base, new = (_element(each.chunk, coordinate % CHUNK_ELEMENTS) for each in openings)
    n, d = plan.rate_numerator, plan.rate_denominator
    move = (2 * mean * n + d) // (2 * d)
    limit = (1 << 31) - 1
    right = max(-limit, min(limit, base + move))
    found.story = (
        "The mean is not in question; the new model is not base model plus server step. The challenger opened one"
        " chunk each of the mean, the base model and the claimed new model."
    )
    found.working = [
        Fact("Base model", _n(base), "before the round"),
        Fact("Mean", _n(mean), "of the certified updates"),
        Fact("Step", f"⌊(2·{_in(mean)}·{n} + {d}) / (2·{d})⌋ = {_n(move)}", f"server rate {n}/{d}"),
        Fact("Recomputed", f"{_n(base)} + {_in(move)} = {_n(right)}", "what the new model must be"),
        Fact("Claimed", _n(new), "what the proposed model root holds"),
    ]
    root = view.model_root if view is not None else b""
    if "proof" in given:
        root = RecordProof.from_abi(given["proof"]).model_root
    verdict = judging.judge_step(plan, fmt, root, proposal, bytes(given["evidence"]))
    found.checked = _same(verdict, found)


def _tail(reader: Reader, log: StudyLog, view: RoundView | None, given: Mapping[str, Any], found: _Explained) -> None:
    fmt, proposal, evidence = log.view.format, Proposal.from_abi(given["proposal"]), bytes(given["evidence"])
    verdict = judging.judge_tail(fmt, proposal, evidence)
    tree = "mean" if evidence[0] == judging.TREE_MEAN else "new model"
    count = fmt.sections[0].count
    # Of a tail the event need only carry the place.
    found.claimed, found.right = verdict.claimed, 0
    found.story = (
        f"The model has {count:,} elements, numbered from 0. The proposed {tree} holds something beyond the last one,"
        " where everything must be 0."
    )
    found.working = [
        Fact("Tree", tree, "which of the proposed roots"),
        Fact("Last element", f"{count - 1:,}", "everything after it is padding"),
        Fact("Claimed", _n(verdict.claimed) if verdict.claimed else "a subtree that is not all zero", "beyond it"),
        Fact("Recomputed", "0", "what it must be"),
    ]
    found.checked = _PROVEN


def _range(reader: Reader, log: StudyLog, view: RoundView | None, given: Mapping[str, Any], found: _Explained) -> None:
    fmt = log.view.format
    verdict = judging.judge_range(log.view.study_id, reader.source.chain.domain(), fmt, bytes(given["evidence"]))
    bound, count = fmt.sections[0].bound, fmt.sections[0].count
    inside = verdict.coordinate < count
    found.story = (
        "The accused signed an update whose element is out of range. It changes no result: the rule reads every"
        " element clamped to the bound. It costs a fine."
    )
    found.working = [
        Fact("Seat", str(verdict.index), "that signed the update"),
        Fact("Signed by", reader.party(verdict.signer), "recovered from the signature in the evidence"),
        Fact("Bound", f"±{bound:,}" if inside else "0", "of the plan" if inside else "beyond the last element"),
        Fact("Claimed", _n(verdict.claimed), "what the update holds"),
        Fact("Read as", _n(found.right or 0), "what the mean takes instead"),
    ]
    verdict = replace(verdict, right=found.right or 0)
    found.checked = _same(verdict, found)


def _equivocation(
    reader: Reader, log: StudyLog, view: RoundView | None, given: Mapping[str, Any], found: _Explained
) -> None:
    evidence = bytes(given["evidence"])
    verdict = judging.judge_equivocation(log.view.study_id, reader.source.chain.domain(), evidence)
    found.story = "One seat signed two different updates for one round. Both signatures are in the evidence."
    found.working = [
        Fact("Seat", str(verdict.index)),
        Fact("Signed by", reader.party(verdict.signer), "both of them"),
    ]
    for which in range(2):
        at = 38 + which * 132
        (weight,) = struct.unpack_from(">I", evidence, at + 32)
        found.working.append(
            Fact(f"Update {which + 1}", "0x" + evidence[at : at + 32].hex(), f"commitment, weight {weight}")
        )
    found.checked = _PROVEN


def _contradiction(
    reader: Reader, log: StudyLog, view: RoundView | None, given: Mapping[str, Any], found: _Explained
) -> None:
    final, failed = Proposal.from_abi(given["finalProposal"]), Proposal.from_abi(given["failedProposal"])
    found.story = (
        "A proposal of this round failed, and its roots are not those that became final. Certified bytes allow one"
        " result only, so the failed one was wrong or withheld what it claimed."
    )
    for name, root in (("mean root", "mean_root"), ("model root", "new_model_root")):
        found.working.append(Fact(f"Final {name}", "0x" + getattr(final, root).hex()))
        found.working.append(Fact(f"Failed {name}", "0x" + getattr(failed, root).hex()))
    differ = (final.mean_root, final.new_model_root) != (failed.mean_root, failed.new_model_root)
    detail = "Compared here: the roots differ." if differ else "The roots are the same."
    found.checked = Check("evidence", differ, detail)


def _in(value: int) -> str:
    """A number inside a formula."""
    return f"({_n(value)})" if value < 0 else _n(value)


def _element(chunk: bytes, k: int) -> int:
    return int(struct.unpack_from("<i", chunk, 4 * k)[0])


