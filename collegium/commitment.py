"""Every hash that ties a round together.

``keccak`` is keccak256 over ``abi.encode``; a list written ``items...`` in docs/protocol.md is its 32-byte words
concatenated, without offset or length. All results are 32 bytes unless a docstring says otherwise.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
from collections.abc import Sequence

from eth_hash.auto import keccak

from collegium.errors import RecordError
from collegium.records import (
    MAX_SEATS,
    ZERO32,
    ExtFields,
    Format,
    Member,
    Outcome,
    Plan,
    Proposal,
    RecordProof,
    Reveal,
    Section,
    bits,
    checksum_address,
)

__all__ = [
    "compute_cohort_hash",
    "compute_commitment",
    "compute_ctx",
    "compute_ext",
    "compute_first_record",
    "compute_format_hash",
    "compute_format_id",
    "compute_item",
    "compute_outcome_hash",
    "compute_plan_hash",
    "compute_proposal_hash",
    "compute_record",
    "compute_record_of",
    "compute_reveal_slot",
    "compute_seal",
    "compute_sections_hash",
    "compute_set_hash",
    "compute_slot",
    "compute_snapshot_hash",
    "derive_salt",
    "keccak",
    "select_slots",
    "tag",
]


@functools.cache
def tag(name: str) -> bytes:
    """``TAG_X``: keccak256 of "collegium/1/x"."""
    return bytes(keccak(f"collegium/1/{name}".encode()))


def _uint(value: int, width: int = 256) -> bytes:
    if not 0 <= value < 1 << width:
        raise RecordError(f"{value} does not fit uint{width}.", value=value)
    return value.to_bytes(32, "big")


def _digest(value: bytes) -> bytes:
    if len(value) != 32:
        raise RecordError(f"A digest has 32 bytes, not {len(value)}.")
    return bytes(value)


def _address(value: str) -> bytes:
    return bytes(12) + bytes.fromhex(checksum_address(value)[2:])


def _index(value: int) -> bytes:
    if not 0 <= value < MAX_SEATS:
        raise RecordError(f"Seat index {value} is not below {MAX_SEATS}.", index=value)
    return value.to_bytes(32, "big")


def _keccak(*words: bytes) -> bytes:
    return bytes(keccak(b"".join(words)))


def compute_plan_hash(plan: Plan) -> bytes:
    """``keccak(TAG_PLAN, words of the plan)``."""
    return _keccak(tag("plan"), plan.words())


def compute_sections_hash(sections: Sequence[Section]) -> bytes:
    """``keccak(sections...)``: six words per section."""
    return _keccak(*(section.words() for section in sections))


def compute_format_id(sections_hash: bytes, table_hash: bytes) -> bytes:
    """``keccak(TAG_FORMAT, sectionsHash, tableHash)``."""
    return _keccak(tag("format"), _digest(sections_hash), _digest(table_hash))


def compute_format_hash(fmt: Format) -> bytes:
    """``formatId`` of a whole format."""
    return compute_format_id(compute_sections_hash(fmt.sections), fmt.table_hash)


def compute_snapshot_hash(members: Sequence[Member]) -> bytes:
    """``keccak(TAG_ROSTER, members...)``: kind, institution, node key per seat; the key is 0 where unusable."""
    words = [tag("roster")]
    for member in members:
        words += [_uint(member.kind, 8), _address(member.institution), _address(member.node_key)]
    return _keccak(*words)


def compute_cohort_hash(snapshot_hash: bytes, invited: int, seed: bytes = ZERO32) -> bytes:
    """``keccak(TAG_COHORT, snapshotHash, invited, seed)``."""
    return _keccak(tag("cohort"), _digest(snapshot_hash), _uint(invited, 128), _digest(seed))


def compute_ctx(
    *,
    chain_id: int,
    collegium: str,
    study_id: int,
    plan_hash: bytes,
    round: int,
    parent_record: bytes,
    model_root: bytes,
    state_root: bytes,
    cohort_hash: bytes,
    keys_acc: bytes = ZERO32,
) -> bytes:
    """The round's context: everything an update depends on."""
    return _keccak(
        tag("ctx"),
        _uint(chain_id),
        _address(collegium),
        _uint(study_id, 64),
        _digest(plan_hash),
        _uint(round, 32),
        _digest(parent_record),
        _digest(model_root),
        _digest(state_root),
        _digest(cohort_hash),
        _digest(keys_acc),
    )


def compute_seal(salt: bytes, content_digest: bytes) -> bytes:
    """``keccak(TAG_SEAL, salt, contentDigest)``: hides and binds the stored blob."""
    return _keccak(tag("seal"), _digest(salt), _digest(content_digest))


def compute_commitment(ctx: bytes, index: int, root: bytes, seal: bytes) -> bytes:
    """``keccak(TAG_UPDATE, ctx, index, root, seal)``."""
    return _keccak(tag("update"), _digest(ctx), _index(index), _digest(root), _digest(seal))


def compute_ext(ext_fields: ExtFields) -> bytes:
    """``keccak(TAG_EXT, dpProfile, baseRound, localSteps, extras)``."""
    return _keccak(tag("ext"), ext_fields.words())


def compute_item(commitment: bytes, weight: int, ext: bytes) -> bytes:
    """``keccak(TAG_ITEM, commitment, weight, ext)``."""
    return _keccak(tag("item"), _digest(commitment), _uint(weight, 32), _digest(ext))


def compute_slot(item: bytes, weight: int) -> bytes:
    """First 28 bytes of the item, then the weight as uint32."""
    if not 0 <= weight < 1 << 32:
        raise RecordError(f"Weight {weight} does not fit uint32.", value=weight)
    return _digest(item)[:28] + weight.to_bytes(4, "big")


def compute_reveal_slot(ctx: bytes, reveal: Reveal) -> bytes:
    """The slot that a reveal must match."""
    seal = compute_seal(reveal.salt, reveal.content_digest)
    commitment = compute_commitment(ctx, reveal.index, reveal.root, seal)
    return compute_slot(compute_item(commitment, reveal.weight, compute_ext(reveal.ext_fields)), reveal.weight)


def select_slots(slots: dict[int, bytes], bitmap: int) -> list[bytes]:
    """Slots of a set in index order."""
    return [slots[index] for index in bits(bitmap)]


def compute_set_hash(slots: Sequence[bytes]) -> bytes:
    """``keccak(TAG_SET, slots...)``, slots in index order."""
    return _keccak(tag("set"), *(_digest(slot) for slot in slots))


def compute_proposal_hash(proposal: Proposal) -> bytes:
    """``keccak(TAG_PROPOSAL, words of the proposal)``."""
    return _keccak(tag("proposal"), proposal.words())


def compute_outcome_hash(outcome: Outcome) -> bytes:
    """``keccak(TAG_OUTCOME, committed, revealed, included, failedProposals..., failedDuties, finalizedAt)``."""
    return _keccak(
        tag("outcome"),
        _uint(outcome.committed),
        _uint(outcome.revealed),
        _uint(outcome.included),
        *outcome.failed_proposals,
        _uint(outcome.failed_duties),
        _uint(outcome.finalized_at),
    )


def compute_record(parent_record: bytes, proposal_hash: bytes, outcome_hash: bytes) -> bytes:
    """``keccak(TAG_RECORD, record of the previous final round, proposal, outcome)``."""
    return _keccak(tag("record"), _digest(parent_record), _digest(proposal_hash), _digest(outcome_hash))


def compute_first_record(plan_hash: bytes) -> bytes:
    """The parent record of a study's first round: ``keccak(TAG_RECORD, 0, planHash, 0)``."""
    return compute_record(ZERO32, plan_hash, ZERO32)


def compute_record_of(proof: RecordProof, proposal: Proposal) -> bytes:
    """The permanent record that a proof claims for a proposal."""
    return compute_record(proof.parent_record, compute_proposal_hash(proposal), compute_outcome_hash(proof.outcome))


def derive_salt(secret: bytes, ctx: bytes) -> bytes:
    """HMAC-SHA256 of the member's joining secret over ctx: the same salt after a restart, unknown to others."""
    if len(secret) < 16:
        raise RecordError(f"A salt secret has at least 16 bytes, not {len(secret)}.")
    return hmac.new(secret, _digest(ctx), hashlib.sha256).digest()
