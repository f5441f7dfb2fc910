"""Packed evidence: what a contract is shown to prove one fault, and the pure twin of how the Referee judges it.

An opening is packed as chunk 256 | path 32 * depth. Judges raise ``EvidenceError`` with the contract's error name in
``error`` when no fault is shown, so a challenger knows the verdict before it pays for gas.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from eth_hash.auto import keccak

from collegium import commitment as hashes
from collegium import messages, tree
from collegium.aggregation import compute_mean
from collegium.errors import EvidenceError, SignatureError
from collegium.optimizer import compute_step
from collegium.records import (
    CHUNK_BYTES,
    CHUNK_ELEMENTS,
    Format,
    Plan,
    Proposal,
    Signed,
    Update,
    bits,
    checksum_address,
)
from collegium.tree import Opening

__all__ = [
    "TREE_MEAN",
    "TREE_MODEL",
    "ClientOpening",
    "Verdict",
    "build_contradiction_evidence",
    "build_equivocation_evidence",
    "build_mean_evidence",
    "build_range_evidence",
    "build_step_evidence",
    "build_tail_evidence",
    "compute_announcement",
    "judge_equivocation",
    "judge_mean",
    "judge_range",
    "judge_step",
    "judge_tail",
    "read_mean_evidence",
    "read_step_evidence",
]

TREE_MEAN = 0
TREE_MODEL = 1

_COORDINATE = struct.Struct(">IB")
_CLIENT = struct.Struct(">32sI32s")
_RANGE = struct.Struct(">32sIH32sI32s64sI")
_SIGNED = struct.Struct(">32sI32s64s")
_HEAD = struct.Struct(">32sIH")


@dataclass(frozen=True, slots=True)
class ClientOpening:
    """One included client in mean evidence: what its slot is made of, and its chunk."""

    seal: bytes
    weight: int
    ext: bytes
    opening: Opening


@dataclass(frozen=True, slots=True)
class Verdict:
    """A proven fault. ``coordinate`` is an element's position; ``signer``, ``ctx``, ``index`` name a client."""

    coordinate: int = 0
    claimed: int = 0
    right: int = 0
    signer: str = ""
    ctx: bytes = b""
    index: int = 0


# Building


def build_mean_evidence(leaf: int, k: int, clients: Sequence[ClientOpening], mean: Opening) -> bytes:
    """leaf 4 | k 1 | for i in U ascending: seal 32 | weight 4 | ext 32 | opening | mean opening."""
    parts = [_COORDINATE.pack(leaf, k)]
    for client in clients:
        parts += [_CLIENT.pack(client.seal, client.weight, client.ext), client.opening.pack()]
    return b"".join([*parts, mean.pack()])


def build_step_evidence(leaf: int, k: int, mean: Opening, model: Opening, new_model: Opening) -> bytes:
    """leaf 4 | k 1 | mean opening | base model opening | new model opening."""
    return _COORDINATE.pack(leaf, k) + mean.pack() + model.pack() + new_model.pack()


def build_tail_evidence(which: int, leaf: int, opening: Opening) -> bytes:
    """tree 1 (``TREE_MEAN`` or ``TREE_MODEL``) | leaf 4 | opening."""
    return struct.pack(">BI", which, leaf) + opening.pack()


def build_range_evidence(signed: Signed[Update], seal: bytes, leaf: int, opening: Opening) -> bytes:
    """ctx 32 | round 4 | index 2 | seal 32 | weight 4 | ext 32 | r 32 | vs 32 | leaf 4 | opening."""
    u = signed.message
    head = _RANGE.pack(u.ctx, u.round, u.index, seal, u.weight, u.ext, signed.signature, leaf)
    return head + opening.pack()


def build_equivocation_evidence(one: Signed[Update], other: Signed[Update]) -> bytes:
    """ctx 32 | round 4 | index 2 | (commitment 32 | weight 4 | ext 32 | r 32 | vs 32) twice."""
    a, b = one.message, other.message
    if (a.study_id, a.round, a.ctx, a.index) != (b.study_id, b.round, b.ctx, b.index):
        raise EvidenceError("Two updates of different rounds or seats do not contradict each other.")
    head = _HEAD.pack(a.ctx, a.round, a.index)
    first, second = (
        _SIGNED.pack(s.message.commitment, s.message.weight, s.message.ext, s.signature) for s in (one, other)
    )
    return head + first + second


def build_contradiction_evidence(failed: Proposal) -> bytes:
    """``abi.encode`` of the failed proposal."""
    return failed.words()


def compute_announcement(sender: str, evidence: bytes, salt: bytes) -> bytes:
    """What ``announce`` takes: ``keccak256(abi.encode(sender, keccak256(evidence), salt))``."""
    who = bytes(12) + bytes.fromhex(checksum_address(sender)[2:])
    return bytes(keccak(who + keccak(evidence) + salt))


# Judging


def _fail(error: str, message: str) -> EvidenceError:
    return EvidenceError(message, hint="Rebuild the evidence from checked blobs.", error=error)


def _require_length(evidence: bytes, expected: int) -> None:
    if len(evidence) != expected:
        raise _fail("EvidenceMalformed", f"Evidence has {len(evidence)} bytes, expected {expected}.")


def _require_match(expected: bytes, actual: bytes, what: str) -> None:
    if expected != actual:
        raise _fail("EvidenceMismatch", f"The {what} leads to 0x{actual.hex()}, not 0x{expected.hex()}.")


def _opening_bytes(fmt: Format) -> int:
    return CHUNK_BYTES + 32 * fmt.depth


def _element(chunk: bytes, k: int) -> int:
    return int(struct.unpack_from("<i", chunk, 4 * k)[0])


def _read_coordinate(evidence: bytes, fmt: Format) -> tuple[int, int, int]:
    leaf, k = _COORDINATE.unpack_from(evidence)
    coordinate = leaf * CHUNK_ELEMENTS + k
    if k >= CHUNK_ELEMENTS or coordinate >= fmt.sections[0].count:
        raise _fail("EvidenceOutOfRange", f"Leaf {leaf}, element {k} is not an element of the format.")
    return coordinate, leaf, k


def _require_leaf(leaf: int, fmt: Format) -> None:
    if leaf >> fmt.depth:
        raise _fail("EvidenceOutOfRange", f"Leaf {leaf} is outside a tree of depth {fmt.depth}.")


def read_mean_evidence(
    fmt: Format, proposal: Proposal, evidence: bytes
) -> tuple[int, dict[int, ClientOpening], Opening]:
    """Coordinate, what each included seat opened, and the claimed mean; nothing of it is checked against a hash."""
    size = _opening_bytes(fmt)
    included = bits(proposal.included)
    if not included:
        raise _fail("EvidenceMalformed", "The proposal includes nobody.")
    _require_length(evidence, _COORDINATE.size + len(included) * (_CLIENT.size + size) + size)
    coordinate, _, _ = _read_coordinate(evidence, fmt)
    clients, at = {}, _COORDINATE.size
    for index in included:
        seal, weight, ext = _CLIENT.unpack_from(evidence, at)
        at += _CLIENT.size
        clients[index] = ClientOpening(seal, weight, ext, Opening.unpack(evidence[at : at + size]))
        at += size
    return coordinate, clients, Opening.unpack(evidence[at:])


def judge_mean(fmt: Format, proposal: Proposal, evidence: bytes) -> Verdict:
    """R1: the coordinate of the mean root that is not the rule over U."""
    section = fmt.sections[0]
    coordinate, clients, mean = read_mean_evidence(fmt, proposal, evidence)
    leaf, k = divmod(coordinate, CHUNK_ELEMENTS)
    slots, elements, weights = [], [], []
    for index, client in clients.items():
        root = tree.root_from_opening(client.opening, leaf)
        bound = hashes.compute_commitment(proposal.ctx, index, root, client.seal)
        slots.append(hashes.compute_slot(hashes.compute_item(bound, client.weight, client.ext), client.weight))
        elements.append(_element(client.opening.chunk, k))
        weights.append(client.weight)
    _require_match(proposal.set_hash, hashes.compute_set_hash(slots), "opened set")
    _require_match(proposal.mean_root, tree.root_from_opening(mean, leaf), "mean opening")
    right = compute_mean(elements, weights, bound=section.bound, weighted=section.weighted)
    return _compare(coordinate, _element(mean.chunk, k), right)


def read_step_evidence(fmt: Format, evidence: bytes) -> tuple[int, tuple[Opening, Opening, Opening]]:
    """Coordinate, and the openings of mean, base model and new model; nothing is checked against a root."""
    size = _opening_bytes(fmt)
    _require_length(evidence, _COORDINATE.size + 3 * size)
    coordinate, _, _ = _read_coordinate(evidence, fmt)
    mean, model, new = (
        Opening.unpack(evidence[at : at + size]) for at in range(_COORDINATE.size, len(evidence), size)
    )
    return coordinate, (mean, model, new)


def judge_step(plan: Plan, fmt: Format, model_root: bytes, proposal: Proposal, evidence: bytes) -> Verdict:
    """R1s: the coordinate of the new model root that is not the step over model and mean."""
    coordinate, openings = read_step_evidence(fmt, evidence)
    leaf, k = divmod(coordinate, CHUNK_ELEMENTS)
    elements = []
    for which, root in enumerate((proposal.mean_root, model_root, proposal.new_model_root)):
        opening = openings[which]
        name = ("mean", "base model", "new model")[which]
        _require_match(root, tree.root_from_opening(opening, leaf), f"{name} opening")
        elements.append(_element(opening.chunk, k))
    mean, model, claimed = elements
    right = compute_step(model, mean, numerator=plan.rate_numerator, denominator=plan.rate_denominator)
    return _compare(coordinate, claimed, right)


def _compare(coordinate: int, claimed: int, right: int) -> Verdict:
    if claimed == right:
        raise _fail("EvidenceShowsNoFault", f"Coordinate {coordinate} is {claimed}, as it should be.")
    return Verdict(coordinate, claimed, right)


def judge_tail(fmt: Format, proposal: Proposal, evidence: bytes) -> Verdict:
    """R1z: bytes beyond the payload of a proposal's root that are not zero."""
    _require_length(evidence, 5 + _opening_bytes(fmt))
    which, leaf = struct.unpack_from(">BI", evidence)
    if which > TREE_MODEL:
        raise _fail("EvidenceMalformed", f"There is no tree {which}.")
    _require_leaf(leaf, fmt)
    opening = Opening.unpack(evidence[5:])
    root = proposal.mean_root if which == TREE_MEAN else proposal.new_model_root
    _require_match(root, tree.root_from_opening(opening, leaf), "opening")
    fault = _find_tail_fault(fmt, leaf, opening)
    if fault is None:
        raise _fail("EvidenceShowsNoFault", "Everything beyond the payload is zero here.")
    return Verdict(fault[0], fault[1])


def _elements_in(fmt: Format, leaf: int) -> int:
    return max(0, min(CHUNK_ELEMENTS, fmt.sections[0].count - leaf * CHUNK_ELEMENTS))


def _find_tail_fault(fmt: Format, leaf: int, opening: Opening) -> tuple[int, int] | None:
    """Coordinate and value of the first fault beyond the payload: in the chunk, then up the path."""
    for k in range(_elements_in(fmt, leaf), CHUNK_ELEMENTS):
        if value := _element(opening.chunk, k):
            return leaf * CHUNK_ELEMENTS + k, value
    for height, sibling in enumerate(opening.path):
        first = (leaf >> height ^ 1) << height
        if first >= fmt.leaves and sibling != tree.ZERO[height]:
            return first * CHUNK_ELEMENTS, 0
    return None


def judge_range(study_id: int, domain: messages.Domain, fmt: Format, evidence: bytes) -> Verdict:
    """R4: a signed update with an element out of range, or with non-zero padding or tail."""
    _require_length(evidence, _RANGE.size + _opening_bytes(fmt))
    ctx, round_, index, seal, weight, ext, signature, leaf = _RANGE.unpack_from(evidence)
    _require_leaf(leaf, fmt)
    opening = Opening.unpack(evidence[_RANGE.size :])
    bound = hashes.compute_commitment(ctx, index, tree.root_from_opening(opening, leaf), seal)
    signer = _signer(Update(study_id, round_, ctx, index, bound, weight, ext), signature, domain)
    elements = np.frombuffer(opening.chunk, dtype="<i4")
    limit = fmt.sections[0].bound
    for k in range(_elements_in(fmt, leaf)):
        if not -limit <= elements[k] <= limit:
            return Verdict(leaf * CHUNK_ELEMENTS + k, int(elements[k]), 0, signer, ctx, index)
    fault = _find_tail_fault(fmt, leaf, opening)
    if fault is None:
        raise _fail("EvidenceShowsNoFault", "Every element of this chunk is in range.")
    return Verdict(fault[0], fault[1], 0, signer, ctx, index)


def judge_equivocation(study_id: int, domain: messages.Domain, evidence: bytes) -> Verdict:
    """R8: two signed updates of one seat and round with different content."""
    _require_length(evidence, _HEAD.size + 2 * _SIGNED.size)
    ctx, round_, index = _HEAD.unpack_from(evidence)
    content, signers = [], []
    for which in range(2):
        bound, weight, ext, signature = _SIGNED.unpack_from(evidence, _HEAD.size + which * _SIGNED.size)
        content.append((bound, weight, ext))
        signers.append(_signer(Update(study_id, round_, ctx, index, bound, weight, ext), signature, domain))
    if content[0] == content[1]:
        raise _fail("EvidenceShowsNoFault", "Both signatures are over one message.")
    if signers[0] != signers[1]:
        raise _fail("EvidenceMismatch", f"The updates were signed by {signers[0]} and {signers[1]}.")
    return Verdict(signer=signers[0], ctx=ctx, index=index)


def _signer(update: Update, signature: bytes, domain: messages.Domain) -> str:
    try:
        return messages.recover(messages.digest(update, domain), signature)
    except SignatureError as error:
        raise _fail("EvidenceMismatch", f"The update's signature is invalid: {error}") from error
