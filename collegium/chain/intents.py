"""Every transaction the roles send, as an `Intent`: what to call, with what, under which idempotent key.

A key names the effect, not the attempt. The outbox sends one transaction per key; a key whose transaction failed
may be submitted again. Acts that may rightly happen twice (a deposit) carry a `request` that the caller chooses,
random by default.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from collegium.messages import pack_attestations, pack_commits, pack_endorsements, pack_reveals
from collegium.records import (
    Attestation,
    Endorsement,
    Format,
    Join,
    Kind,
    Plan,
    Proposal,
    RecordProof,
    Reveal,
    Role,
    Signed,
    StudyStatus,
    Update,
)

__all__ = [
    "Intent",
    "admit",
    "allow_referee",
    "announce",
    "burn_fines",
    "certify",
    "claim_announced",
    "claim_reward",
    "claim_share",
    "commit_updates",
    "conclude",
    "create_study",
    "delist",
    "deposit",
    "deposit_for",
    "deposit_with_permit",
    "dispute",
    "endorse",
    "enlist",
    "extend_study",
    "finalize",
    "join",
    "leave",
    "open_round",
    "propose",
    "refute",
    "refute_contradiction",
    "refute_equivocation",
    "refute_range",
    "register_node_key",
    "release",
    "remove_member",
    "reveal_updates",
    "revoke_node_key",
    "set_study_status",
    "settle",
    "suspend",
    "top_up",
    "transfer_coin",
    "transfer_tokens",
    "unlock",
    "withdraw",
    "withdraw_credit",
]

ZERO32 = bytes(32)


@dataclass(frozen=True, slots=True)
class Intent:
    """to: contract name or address. function: empty for a plain payment. args: ABI values or records. value: wei."""

    key: str
    to: str
    function: str = ""
    args: tuple[Any, ...] = ()
    value: int = 0


def _short(*parts: bytes) -> str:
    return bytes(keccak(b"".join(parts))).hex()[:16]


def _request(request: str | None) -> str:
    return request or secrets.token_hex(8)


# Studies


def create_study(plan: Plan, format: Format, *, request: str | None = None) -> Intent:
    """The same plan may be created twice; without `request` the plan's own hash is the key."""
    name = request or _short(plan.words())
    return Intent(f"study/create/{name}", "Collegium", "createStudy", (plan, format))


def set_study_status(study_id: int, status: StudyStatus, *, request: str | None = None) -> Intent:
    """By the sponsor: whether rounds may open. Closed is for ever."""
    key = f"study/{study_id}/status/{status.name.lower()}/{_request(request)}"
    return Intent(key, "Collegium", "setStudyStatus", (study_id, int(status)))


def extend_study(study_id: int, open_until: int) -> Intent:
    """By the sponsor. open_until: unix seconds, from which on no round opens; later than it is now."""
    return Intent(f"study/{study_id}/extend/{open_until}", "Collegium", "extendStudy", (study_id, open_until))


def remove_member(study_id: int, institution: str, deadline: int, approvals: bytes) -> Intent:
    """approvals: `messages.pack_approvals` of the council's signatures over RemoveMember. Anyone may send it."""
    key = f"study/{study_id}/remove/{institution}/{_short(approvals)}"
    return Intent(key, "Collegium", "removeMember", (study_id, institution, deadline, approvals))


def join(message: Join, signature: bytes) -> Intent:
    """signature: by the institution, 65 bytes, 64 compact, or ERC-1271 bytes."""
    key = f"study/{message.study_id}/join/{message.institution}/{message.nonce}"
    return Intent(key, "Collegium", "join", (message, signature))


def leave(study_id: int, *, request: str | None = None) -> Intent:
    return Intent(f"study/{study_id}/leave/{_request(request)}", "Collegium", "leave", (study_id,))


def enlist(study_id: int, *, request: str | None = None) -> Intent:
    return Intent(f"study/{study_id}/enlist/{_request(request)}", "Collegium", "enlist", (study_id,))


def delist(study_id: int, *, request: str | None = None) -> Intent:
    return Intent(f"study/{study_id}/delist/{_request(request)}", "Collegium", "delist", (study_id,))


def allow_referee(referee: str, allowed: bool, deadline: int, approvals: bytes) -> Intent:
    key = f"referee/{referee}/{allowed}/{_short(approvals)}"
    return Intent(key, "Collegium", "allowReferee", (referee, allowed, deadline, approvals))


# Rounds


def open_round(study_id: int, round_number: int) -> Intent:
    """round_number: the number the new round will get."""
    return Intent(f"study/{study_id}/round/{round_number}/open", "Collegium", "openRound", (study_id,))


def commit_updates(study_id: int, round_number: int, updates: Sequence[Signed[Update]] | bytes) -> Intent:
    """updates: signed records, or items packed already."""
    items = updates if isinstance(updates, bytes) else pack_commits(updates)
    key = f"study/{study_id}/round/{round_number}/commit/{_short(items)}"
    return Intent(key, "Collegium", "commitUpdates", (study_id, items))


def reveal_updates(study_id: int, round_number: int, reveals: Sequence[Reveal] | bytes) -> Intent:
    items = reveals if isinstance(reveals, bytes) else pack_reveals(reveals)
    key = f"study/{study_id}/round/{round_number}/reveal/{_short(items)}"
    return Intent(key, "Collegium", "revealUpdates", (study_id, items))


def certify(study_id: int, round_number: int, attestations: Sequence[Signed[Attestation]] | bytes) -> Intent:
    items = attestations if isinstance(attestations, bytes) else pack_attestations(attestations)
    key = f"study/{study_id}/round/{round_number}/certify/{_short(items)}"
    return Intent(key, "Collegium", "certify", (study_id, items))


def propose(
    study_id: int,
    round_number: int,
    attempt: int,
    *,
    mean_root: bytes,
    new_model_root: bytes,
    model_digest: bytes,
    mean_digest: bytes,
) -> Intent:
    key = f"study/{study_id}/round/{round_number}/propose/{attempt}"
    return Intent(key, "Collegium", "propose", (study_id, mean_root, new_model_root, model_digest, mean_digest))


def endorse(study_id: int, round_number: int, endorsements: Sequence[Signed[Endorsement]] | bytes) -> Intent:
    items = endorsements if isinstance(endorsements, bytes) else pack_endorsements(endorsements)
    key = f"study/{study_id}/round/{round_number}/endorse/{_short(items)}"
    return Intent(key, "Collegium", "endorse", (study_id, items))


def finalize(study_id: int, round_number: int, proposal: Proposal) -> Intent:
    return Intent(f"study/{study_id}/round/{round_number}/finalize", "Collegium", "finalize", (study_id, proposal))


def conclude(
    study_id: int,
    round_number: int,
    endorsements: Sequence[Signed[Endorsement]] | bytes,
    proposal: Proposal,
    *,
    open_next: bool,
) -> Intent:
    """Endorse, finalize and, when asked, open the next round."""
    items = endorsements if isinstance(endorsements, bytes) else pack_endorsements(endorsements)
    key = f"study/{study_id}/round/{round_number}/conclude/{_short(items, bytes([open_next]))}"
    return Intent(key, "Collegium", "conclude", (study_id, items, proposal, open_next))


def settle(study_id: int, round_number: int, *, request: str | None = None) -> Intent:
    """Write down what time decided; may be needed several times in a round."""
    key = f"study/{study_id}/round/{round_number}/settle/{_request(request)}"
    return Intent(key, "Collegium", "settle", (study_id,))


# Refutations


def announce(digest: bytes) -> Intent:
    """digest: keccak(abi.encode(sender, keccak(evidence), salt))."""
    return Intent(f"refutation/announce/{digest.hex()}", "Refutations", "announce", (digest,))


def refute(kind: Kind, study_id: int, proposal: Proposal, evidence: bytes, *, salt: bytes = ZERO32) -> Intent:
    """Mean, step or tail of the live proposal. salt: zero when not announced."""
    key = f"study/{study_id}/refute/{kind.name.lower()}/{_short(proposal.words(), evidence, salt)}"
    return Intent(key, "Refutations", "refute", (int(kind), study_id, proposal, evidence, salt))


def dispute(
    kind: Kind, study_id: int, proposal: Proposal, proof: RecordProof, evidence: bytes, *, salt: bytes = ZERO32
) -> Intent:
    """The same against a recorded round."""
    key = f"study/{study_id}/dispute/{kind.name.lower()}/{_short(proposal.words(), evidence, salt)}"
    return Intent(key, "Refutations", "dispute", (int(kind), study_id, proposal, proof, evidence, salt))


def refute_range(study_id: int, evidence: bytes, *, salt: bytes = ZERO32) -> Intent:
    key = f"study/{study_id}/refute/range/{_short(evidence, salt)}"
    return Intent(key, "Refutations", "refuteRange", (study_id, evidence, salt))


def refute_equivocation(study_id: int, evidence: bytes, *, salt: bytes = ZERO32) -> Intent:
    key = f"study/{study_id}/refute/equivocation/{_short(evidence, salt)}"
    return Intent(key, "Refutations", "refuteEquivocation", (study_id, evidence, salt))


def refute_contradiction(
    study_id: int, final: Proposal, proof: RecordProof, failed: Proposal, *, salt: bytes = ZERO32
) -> Intent:
    key = f"study/{study_id}/refute/contradiction/{_short(final.words(), failed.words(), salt)}"
    return Intent(key, "Refutations", "refuteContradiction", (study_id, final, proof, failed, salt))


def claim_announced(key: bytes, evidence_hash: bytes, salt: bytes) -> Intent:
    name = f"refutation/claim/{_short(key, evidence_hash, salt)}"
    return Intent(name, "Refutations", "claimAnnounced", (key, evidence_hash, salt))


# Money


def deposit(bonds: str, amount: int, *, request: str | None = None) -> list[Intent]:
    """Approve, then deposit, in this order. bonds: address of the Bonds contract; amount: token wei."""
    name = _request(request)
    return [
        Intent(f"stake/approve/{name}", "CollegiumToken", "approve", (bonds, amount)),
        Intent(f"stake/deposit/{name}", "Bonds", "deposit", (amount,)),
    ]


def deposit_for(bonds: str, institution: str, amount: int, *, request: str | None = None) -> list[Intent]:
    """The sender pays the stake of an institution."""
    name = _request(request)
    return [
        Intent(f"stake/approve/{name}", "CollegiumToken", "approve", (bonds, amount)),
        Intent(f"stake/deposit/{name}", "Bonds", "depositFor", (institution, amount)),
    ]


def deposit_with_permit(
    institution: str, amount: int, deadline: int, signature: bytes, *, request: str | None = None
) -> Intent:
    """Stake of an institution, paid by the sender in one transaction.

    signature: 64 bytes, the sender's over `permit.permit_digest`. deadline: the one it signed, unix seconds.
    """
    r, vs = signature[:32], int.from_bytes(signature[32:], "big")
    v, s = 27 + (vs >> 255), (vs & ((1 << 255) - 1)).to_bytes(32, "big")
    arguments = (institution, amount, deadline, v, r, s)
    return Intent(f"stake/deposit/{_request(request)}", "Bonds", "depositWithPermit", arguments)


def unlock(amount: int, *, request: str | None = None) -> Intent:
    return Intent(f"stake/unlock/{_request(request)}", "Bonds", "unlock", (amount,))


def withdraw(*, request: str | None = None) -> Intent:
    return Intent(f"stake/withdraw/{_request(request)}", "Bonds", "withdraw")


def top_up(study_id: int, amount: int, *, request: str | None = None) -> Intent:
    return Intent(f"study/{study_id}/top-up/{_request(request)}", "Bonds", "topUp", (study_id, amount))


def release(study_id: int, institution: str, role: Role, *, request: str | None = None) -> Intent:
    key = f"study/{study_id}/release/{institution}/{role.name.lower()}/{_request(request)}"
    return Intent(key, "Bonds", "release", (study_id, institution, int(role)))


def claim_reward(key: bytes) -> Intent:
    return Intent(f"fine/{key.hex()}/reward", "Bonds", "claimReward", (key,))


def claim_share(key: bytes) -> Intent:
    return Intent(f"fine/{key.hex()}/share", "Bonds", "claimShare", (key,))


def withdraw_credit(*, request: str | None = None) -> Intent:
    return Intent(f"credit/withdraw/{_request(request)}", "Bonds", "withdrawCredit")


def burn_fines(study_id: int, *, request: str | None = None) -> Intent:
    return Intent(f"study/{study_id}/fines/burn/{_request(request)}", "Bonds", "burnFines", (study_id,))


def transfer_tokens(recipient: str, amount: int, *, request: str | None = None) -> Intent:
    """Stake tokens to another account. amount: token wei."""
    return Intent(f"token/transfer/{_request(request)}", "CollegiumToken", "transfer", (recipient, amount))


def transfer_coin(recipient: str, amount: int, *, request: str | None = None) -> Intent:
    """The chain's own coin, for gas. amount: wei."""
    return Intent(f"coin/transfer/{_request(request)}", recipient, value=amount)


# Members


def admit(institution: str, profile: bytes, name: str, deadline: int, approvals: bytes) -> Intent:
    """approvals: `messages.pack_approvals` of the council's signatures over Admit."""
    key = f"institution/{institution}/admit"
    return Intent(key, "Members", "admit", (institution, profile, name, deadline, approvals))


def suspend(institution: str, suspended: bool, deadline: int, approvals: bytes) -> Intent:
    key = f"institution/{institution}/suspend/{_short(approvals)}"
    return Intent(key, "Members", "suspend", (institution, suspended, deadline, approvals))


def register_node_key(
    institution: str, node_key: str, deadline: int, *, institution_signature: bytes = b"", node_key_signature: bytes
) -> Intent:
    """institution_signature: empty when the sender is the institution itself."""
    key = f"institution/{institution}/node-key/{node_key}"
    arguments = (institution, node_key, deadline, institution_signature, node_key_signature)
    return Intent(key, "Members", "registerNodeKey", arguments)


def revoke_node_key(node_key: str) -> Intent:
    return Intent(f"node-key/{node_key}/revoke", "Members", "revokeNodeKey", (node_key,))
