"""What a contract or a node refused, in plain words, with the command that helps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from collegium.errors import CollegiumError, InsufficientGasError, RevertedError
from collegium.records import Kind, Phase, Role, StudyStatus

from .abi import decode_revert
from .rpc import RpcError

__all__ = ["PLAIN_WORDS", "explain", "reverted"]

_MEMBERSHIP = "See `collegium institution status`."
_ROUND = "See `collegium round status`; the command may be tried again in the right phase."
_NEW_JOIN = "Run `collegium join` again: it reads the study anew and signs what it finds."
_APPROVALS = "Collect the signatures of the council again."
_OPERATOR = "Only the deploy script makes this call; check the deployment."
_EVIDENCE = "Recompute with `collegium audit`; an honest party is never refuted."
_DOUBLE = "Nothing is lost: it was done already."

PLAIN_WORDS: Mapping[str, tuple[str, str]] = {
    "Error": ("The contract refused: {reason}.", ""),
    "Panic": ("The contract stopped: {reason} (panic {number}).", "This is a fault of the contract; please report it."),
    # studies
    "StudyUnknown": ("There is no study {studyId}.", "`collegium study list` shows those that exist."),
    "StudyRefereeNotAllowed": (
        "The referee {referee} is not allowed by the council.",
        "Name an allowed referee in the plan.",
    ),
    "StudyPlanRejected": ("The plan breaks creation check {reason}.", "Run `collegium study validate` on the plan."),
    "StudyFormatMismatch": (
        "The format has id {actual}, the plan names {expected}.",
        "Run `collegium study validate`.",
    ),
    "StudyWindowTooShort": (
        "A phase window of {window} s is below this deployment's minimum of {minimum} s.",
        "Lengthen the windows in the plan.",
    ),
    "StudyNotSponsor": (
        "{caller} is not the sponsor of study {studyId}.",
        "Only who created the study may pause, resume, extend or close it.",
    ),
    "StudyNotOpen": (
        "Study {studyId} takes no new round or party: it is {status}, its term ends {openUntil}.",
        "Ask the sponsor to resume or extend it; a closed study stays closed. The running round goes on to its end.",
    ),
    "StudyStatusUnchanged": ("Study {studyId} is {status} already.", _DOUBLE),
    "StudyTermNotExtended": (
        "The term cannot end {openUntil}: only after {earliest}.",
        "A term is only ever extended. To stop earlier, pause or close the study.",
    ),
    "PlanNotJudgeable": (
        "The referee cannot judge a study with this plan (check {reason}).",
        "Run `collegium study validate` on the plan.",
    ),
    # joining
    "JoinPlanMismatch": ("The signed plan {actual} is not the study's plan {expected}.", _NEW_JOIN),
    "JoinAgreementMismatch": ("The signed agreement {actual} is not the study's agreement {expected}.", _NEW_JOIN),
    "JoinOpenUpdatesRequired": (
        "This study publishes updates, and the signed message does not agree to that.",
        "Join with the waiver for open updates, or stay out.",
    ),
    "JoinFineTooSmall": (
        "The largest fine signed, {maxFine}, is below the {needed} that this study can cost.",
        "Join with a larger maximum fine.",
    ),
    "JoinNotAdmitted": ("{institution} is not admitted, or is suspended.", _MEMBERSHIP),
    "JoinNodeKeyMismatch": (
        "The node key of the institution is {expected}, the message names {actual}.",
        "Register the node key with `collegium keys rotate`, or join with the registered one.",
    ),
    "JoinAlreadyMember": ("{institution} is a member already, in seat {index}.", _DOUBLE),
    "JoinStudyFull": ("The study has its {maxMembers} members.", "Ask the sponsor for another study."),
    "JoinBadNonce": ("The message has nonce {actual}, the institution's next one is {expected}.", _NEW_JOIN),
    "JoinDeadlinePassed": ("The message was good until {deadline}; the chain's time is {time}.", _NEW_JOIN),
    "JoinBadSignature": ("The message is not signed by {institution}.", "Sign with the institution key."),
    "MemberUnknown": ("{institution} is not a member of study {studyId}.", "Join first: `collegium join`."),
    # aggregators
    "AggregatorUnknown": (
        "{institution} is not an aggregator of study {studyId}.",
        "Enlist first: `collegium-coordinator run` does.",
    ),
    "AggregatorAlreadyEnlisted": ("{institution} is in the order of aggregators already.", _DOUBLE),
    "AggregatorOrderFull": ("The order of aggregators has its {maximum} places.", "Wait until one is delisted."),
    # rounds
    "RoundWrongPhase": ("The round of study {studyId} is in phase {actual}, and this needs {expected}.", _ROUND),
    "RoundOpenerNotAllowed": (
        "{caller} may not open a round: only members and aggregators of the study may.",
        "Open it with a node key of the study.",
    ),
    "RoundTooFewMembers": (
        "The study has {members} members with a usable key and needs {needed}.",
        "Wait for more institutions to join.",
    ),
    "RoundTooFewInvited": (
        "Only {invited} members can be invited and {needed} are needed.",
        "Members below one fine must top up: `collegium stake deposit`.",
    ),
    "RoundNoAggregator": ("Study {studyId} has no aggregator with a sufficient bond.", "An aggregator must enlist."),
    "RoundBatchLength": (
        "A batch of {length} bytes is not a whole number of items of {itemLength} bytes.",
        "Update the software: client and contract disagree on the format.",
    ),
    "RoundNothingAccepted": (
        "No item of the batch was accepted.",
        "They may be on chain already, or late: `collegium round status`.",
    ),
    "AttestationsTooFew": ("{valid} attestations count and {needed} are needed.", "Wait for more members to attest."),
    "AttestationsNotAscending": (
        "Attestation of seat {current} follows that of seat {previous}.",
        "Sort the attestations by seat.",
    ),
    "ProposalNotOnDuty": ("{caller} is not on duty; {onDuty} is.", "Wait: the duty passes on when it is missed."),
    "ProposalMismatch": ("The proposal is {actual}, the round holds {expected}.", _ROUND),
    "CollegiumOnlyRefutations": ("{caller} is not the Refutations contract.", _OPERATOR),
    "CollegiumOnlyMembers": ("{caller} is not the Members contract.", _OPERATOR),
    "CollegiumOnlyDeployer": ("{caller} is not the deployer.", _OPERATOR),
    "CollegiumAlreadyConnected": ("Collegium is connected to {refutations} already.", _OPERATOR),
    # institutions and keys
    "MembersTooFewApprovals": ("{valid} council members approved and {needed} are needed.", _APPROVALS),
    "MembersApprovalsNotAscending": (
        "The approval of {current} follows that of {previous}.",
        "Sort the approvals by signer address.",
    ),
    "MembersApprovalsMalformed": (
        "{length} bytes of approvals are not a whole number of 64-byte signatures.",
        _APPROVALS,
    ),
    "MembersNotCouncil": (
        "{signer} signed and is not in the council.",
        "Check chain id, nonce and deadline of what was signed.",
    ),
    "MembersAlreadyAdmitted": ("{institution} is admitted already.", _DOUBLE),
    "MembersUnknownInstitution": (
        "{institution} is not an admitted institution.",
        "Ask the council: `collegium institution register` prints the request.",
    ),
    "MembersSuspended": ("{institution} is suspended.", "Ask the council."),
    "MembersDeadlinePassed": ("The message was good until {deadline}; the chain's time is {time}.", "Sign it again."),
    "MembersNodeKeyTaken": (
        "The node key {nodeKey} belongs to {institution} for ever.",
        "Make a new one: `collegium keys new`.",
    ),
    "MembersNodeKeyIsInstitution": (
        "{nodeKey} is an institution's own key.",
        "Make a separate node key: `collegium keys new`.",
    ),
    "MembersUnknownNodeKey": ("{nodeKey} is no registered node key.", "Register it: `collegium keys rotate`."),
    "MembersNodeKeyAlreadyRevoked": ("The node key {nodeKey} is revoked.", _DOUBLE),
    "MembersBadSignature": (
        "The message is not signed by {expected}.",
        "Sign again; nonce, deadline or key may have changed.",
    ),
    "MembersZeroAddress": ("An address is zero.", "Check the arguments."),
    "MembersAlreadyConnected": ("Members is connected to {collegium} already.", _OPERATOR),
    "MembersOnlyDeployer": ("{caller} is not the deployer.", _OPERATOR),
    "MembersOnlyInstitution": ("{caller} may not act for {institution}.", "Use the institution key."),
    "MembersBadCouncil": (
        "A council of {size} with threshold {threshold} is not possible.",
        "Check the deploy settings.",
    ),
    "InvalidShortString": ("A short text is malformed.", "Please report it."),
    "StringTooLong": ("The text is too long for one word: {str}.", "Shorten it to 31 bytes."),
    # money
    "BondsOnlyAuthorized": ("{caller} may not order this.", _OPERATOR),
    "BondsAlreadyConnected": ("Bonds is connected already.", _OPERATOR),
    "BondsOnlyDeployer": ("{caller} is not the deployer.", _OPERATOR),
    "BondsInsufficientStake": (
        "{institution} has {free} of free stake and {needed} are needed (wei of the stake token).",
        "Deposit the difference: `collegium stake deposit`.",
    ),
    "BondsNothingToWithdraw": ("{account} has nothing to withdraw.", "See `collegium stake status`."),
    "BondsStillUnbonding": (
        "The stake of {institution} can be withdrawn from {withdrawableAt} on.",
        "Wait, then run `collegium stake withdraw`.",
    ),
    "BondsLockActive": (
        "The {role} lock of {institution} in study {studyId} is in use.",
        "Leave the study first: `collegium leave`.",
    ),
    "BondsLockNotReleasable": (
        "The lock of {institution} in study {studyId} is free from {releasableAt} on.",
        "Wait until then.",
    ),
    "BondsLockUnknown": ("{institution} has no {role} lock in study {studyId}.", "See `collegium stake status`."),
    "BondsAlreadyFined": ("This fault was fined already (key {key}).", _DOUBLE),
    "BondsNotEligible": (
        "{institution} has no share in the fine {key}, or has taken it.",
        "See `collegium stake status`.",
    ),
    "BondsRewardNotHeld": ("No reward is held for {key}.", "It was paid, or there never was one."),
    "BondsRewardNotClaimable": ("The reward for {key} can be claimed from {claimableAt} on.", "Wait until then."),
    "BondsZeroAmount": ("The amount is zero.", "Name an amount above zero."),
    "BondsZeroAddress": ("An address is zero.", "Check the arguments."),
    "BondsPermitRefused": (
        "The token refused the permit of {payer}, and only {allowance} of {needed} are approved.",
        "Sign a new permit: its deadline may have passed, or another one was used first.",
    ),
    "BondsTopUpTooLarge": (
        "The lock can take {room} more, not {amount}.",
        "Top up by less: the maximum fine signed caps it.",
    ),
    "BondsAmountTooLarge": ("The amount {amount} is above {maximum}.", "Name a smaller amount."),
    "BondsStudyOutOfRange": ("Study {studyId} is out of range.", "`collegium study list` shows those that exist."),
    "SafeERC20FailedOperation": (
        "The token {token} refused the transfer.",
        "Check balance and allowance: `collegium stake status`.",
    ),
    "ERC20InsufficientAllowance": (
        "{spender} may move {allowance} of your tokens and {needed} are needed.",
        "Run `collegium stake deposit`, which approves first.",
    ),
    "ERC20InsufficientBalance": (
        "{sender} has {balance} tokens and {needed} are needed (wei of the stake token).",
        "Ask the operator for stake tokens.",
    ),
    "ERC2612ExpiredSignature": ("The permit was good until {deadline}.", "Sign a new one."),
    "ERC2612InvalidSigner": ("The permit is signed by {signer}, not by {owner}.", "Sign with the key that pays."),
    "InvalidAccountNonce": (
        "The permit of {account} does not carry the next nonce {currentNonce}.",
        "Sign a new one: another was used first.",
    ),
    "ECDSAInvalidSignature": ("The signature is of nobody.", "Sign again."),
    "ECDSAInvalidSignatureLength": ("The signature has {length} bytes.", "Sign again."),
    "ECDSAInvalidSignatureS": ("The signature is not in its canonical form.", "Sign again with a current wallet."),
    "ERC20InvalidApprover": ("{approver} cannot approve.", "Check the arguments."),
    "ERC20InvalidReceiver": ("{receiver} cannot receive tokens.", "Check the arguments."),
    "ERC20InvalidSender": ("{sender} cannot send tokens.", "Check the arguments."),
    "ERC20InvalidSpender": ("{spender} cannot spend.", "Check the arguments."),
    # refutations
    "RefutationWrongPhase": (
        "Study {studyId} is in phase {phase}; there is no live proposal to refute.",
        "If the round is final, dispute its record.",
    ),
    "RefutationWrongProposal": (
        "The live proposal is {expected}, the evidence is against {actual}.",
        "Look at the round again; another proposal took its place.",
    ),
    "RefutationWrongRecord": ("The record is {expected}, the proof gives {actual}.", _EVIDENCE),
    "RefutationWrongContext": ("The context is {expected}, the evidence is of {actual}.", _EVIDENCE),
    "RefutationTooLate": (
        "Evidence was accepted until {deadline}; the chain's time is {time}.",
        "Nothing can be done about this round any more.",
    ),
    "RefutationUnknownSigner": ("{signer} never was a member's node key.", _EVIDENCE),
    "RefutationSameRoots": ("Both proposals have the same roots: there is no contradiction.", _EVIDENCE),
    "RefutationNotFailedProposal": ("{proposal} is not a failed proposal of that round.", _EVIDENCE),
    "RefutationKindUnsupported": ("The fault {kind} is not refuted by this call.", _EVIDENCE),
    "RefutationAlreadyAnnounced": ("The evidence {digest} is announced already.", _DOUBLE),
    "RefutationNotAnnounced": (
        "The evidence {digest} was not announced in time.",
        "Announce it at least one block ahead.",
    ),
    "EvidenceMalformed": (
        "{length} bytes of evidence are not of the form this refutation has.",
        "Build it anew from the blobs.",
    ),
    "EvidenceOutOfRange": ("Leaf {leaf}, element {k} lies outside the payload.", "Build the evidence anew."),
    "EvidenceMismatch": (
        "The evidence gives {actual} where the chain has {expected}.",
        "Build the evidence anew from verified blobs.",
    ),
    "EvidenceShowsNoFault": ("The evidence shows no fault: {claimed} is right.", _EVIDENCE),
    # OpenZeppelin
    "AddressEmptyCode": ("There is no contract at {target}.", "Check the deployment file."),
    "FailedCall": ("A call to another contract failed.", "Please report it."),
}

_TIMES = ("deadline", "time", "withdrawableAt", "releasableAt", "claimableAt", "openUntil", "earliest")
_ENUMS: Mapping[str, type[Phase] | type[Role] | type[Kind] | type[StudyStatus]] = {
    "phase": Phase,
    "actual": Phase,
    "expected": Phase,
    "role": Role,
    "kind": Kind,
    "status": StudyStatus,
}


def reverted(data: bytes | None, **evidence: Any) -> RevertedError:
    """The error behind revert bytes: `error` is the contract's name for it, `fields` its values."""
    reason = decode_revert(data)
    message, hint = PLAIN_WORDS.get(
        reason.name,
        (f"The contract refused with {reason.name}." if reason.name else "The contract refused without a reason.", ""),
    )
    shown = {name: _show(reason.name, name, value) for name, value in reason.fields.items()}
    return RevertedError(
        message.format_map(shown), hint=hint, error=reason.name, fields=dict(reason.fields), **evidence
    )


def explain(error: BaseException) -> CollegiumError:
    """Any error of the chain as one of ours; ours come back as they are, reverts are decoded."""
    if isinstance(error, RpcError):
        reason = str(error.evidence.get("reason", "")).lower()
        if "insufficient funds" in reason or "insufficient balance" in reason:
            return InsufficientGasError(
                "The account cannot pay for the gas of this transaction.",
                hint="Fund the account with the chain's own coin; `collegium doctor` shows address and balance.",
                reason=reason,
            )
        if error.evidence.get("data") is not None or "revert" in reason or error.evidence.get("rpc_code") == 3:
            return reverted(error.evidence.get("data"))
        return error
    if isinstance(error, CollegiumError):
        return error
    return CollegiumError(f"Unexpected {type(error).__name__}: {error}.", hint="Run again with --debug and report it.")


def _show(error: str, name: str, value: Any) -> str:
    if isinstance(value, bytes):
        text = value.hex()
        return f"0x{text[:8]}…{text[-6:]}" if len(text) > 20 else f"0x{text}"
    if name == "openUntil" and value == 0:
        return "never"
    if name in _TIMES and isinstance(value, int):
        try:
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        except (OverflowError, ValueError, OSError):
            return str(value)
    if name in _ENUMS and isinstance(value, int) and (name not in ("actual", "expected") or error == "RoundWrongPhase"):
        try:
            return _ENUMS[name](value).name.lower()
        except ValueError:
            return str(value)
    return str(value)
