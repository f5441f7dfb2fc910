"""The deployment itself, who was admitted by whom, and who signed to join."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eth_hash.auto import keccak

from collegium import messages
from collegium.amounts import format_tokens as tokens
from collegium.chain import Chain
from collegium.chain.deployment import CONTRACTS
from collegium.chain.events import ChainEvent
from collegium.phases import MAX_ATTEMPTS
from collegium.records import (
    Admit,
    AllowReferee,
    Join,
    Message,
    NodeKey,
    RemoveMember,
    Role,
    StudyStatus,
    Suspend,
    checksum_address,
)

from .history import History
from .report import Findings, Tally, utc
from .signatures import is_signed_by
from .wallets import ask_wallet, recover_any
from .world import World

__all__ = ["Admissions", "Council", "check_deployment"]

_CONSTRUCTORS: Mapping[str, tuple[str, ...]] = {
    "CollegiumToken": ("string", "string", "address", "uint256"),
    "Members": ("address[]", "uint256"),
    "Bonds": ("address", "uint40", "uint40"),
    "Referee": (),
    "Collegium": ("address", "address", "(uint32,uint32,uint32,uint32,uint32,uint32)", "address[]"),
    "Refutations": ("address", "address", "address"),
}
_LINKS = {
    "Bonds": ("CollegiumToken",),
    "Collegium": ("Members", "Bonds"),
    "Refutations": ("Collegium", "Bonds", "Members"),
}
"""Contracts that a constructor names first."""
_PARAMETERS = {
    "admit": ("institution", "profile", "name", "deadline", "approvals"),
    "suspend": ("institution", "suspended", "deadline", "approvals"),
    "allowReferee": ("referee", "allowed", "deadline", "approvals"),
    "registerNodeKey": ("institution", "nodeKey", "deadline", "institutionSignature", "nodeKeySignature"),
    "join": ("message", "signature"),
    "removeMember": ("studyId", "institution", "deadline", "approvals"),
    "setStudyStatus": ("studyId", "status"),
    "extendStudy": ("studyId", "openUntil"),
}


@dataclass(frozen=True, slots=True)
class Council:
    members: tuple[str, ...]
    threshold: int


def check_deployment(history: History, tally: Tally) -> Council:
    """Code at every address, created with the arguments of the deployment file, connected as it says."""
    chain, addresses = history.chain, history.chain.deployment.addresses
    for name in CONTRACTS:
        if name not in addresses:
            tally.fail(f"the deployment has no {name}")
    names = list(addresses)
    codes = chain.rpc.batch("eth_getCode", [[addresses[name], hex(history.head)] for name in names])
    for name, code in zip(names, codes, strict=True):
        tally.require(code not in ("0x", None), f"there is no code at {addresses[name]} ({name})")
        _check_creation(history, tally, name)
    for name, links in _LINKS.items():
        given = chain.deployment.contracts[name].arguments if name in addresses else ()
        for argument, wanted in zip(given, links, strict=False):
            tally.equal(f"{name}'s {wanted}", str(argument).lower(), addresses[wanted].lower())
    connected = {
        "BondsConnected": {"collegium": "Collegium", "refutations": "Refutations"},
        "CollegiumConnected": {"collegium": "Collegium"},
        "RefutationsConnected": {"refutations": "Refutations"},
    }
    for event_name, named in connected.items():
        found = [event for event in history.events if event.name == event_name]
        if tally.require(len(found) == 1, f"{event_name} happened {len(found)} times, not once"):
            for argument, name in named.items():
                tally.equal(f"{event_name}.{argument}", found[0].args[argument], addresses.get(name))
    return _read_council(chain, tally)


def _check_creation(history: History, tally: Tally, name: str) -> None:
    from eth_abi.abi import encode
    from rlp import encode as rlp_encode

    contract = history.chain.deployment.contracts[name]
    created = history.transactions.get(contract.transaction.lower())
    if created is None:
        tally.warn(f"{name}: its creation is not proven (transaction {contract.transaction or 'not named'})")
        return
    if created.to is not None:
        tally.warn(f"{name} was created by another contract: its arguments are not checkable from calldata")
        return
    sender = bytes.fromhex(created.sender[2:])
    address = checksum_address(bytes(keccak(rlp_encode([sender, created.nonce])))[12:])
    tally.equal(f"the address that {created.hash} created", address, contract.address)
    try:
        arguments = [tuple(each) if isinstance(each, list) else each for each in contract.arguments]
        expected = encode(_CONSTRUCTORS[name], arguments)
    except Exception as error:
        tally.fail(f"{name}: the deployment file's constructor arguments are malformed: {error}")
        return
    same = created.data.endswith(expected)
    tally.require(same, f"{name} was created with other arguments than the deployment file says")


def _read_council(chain: Chain, tally: Tally) -> Council:
    members = chain.deployment.contracts.get("Members")
    if members is not None and len(members.arguments) == 2:
        return Council(tuple(checksum_address(each) for each in members.arguments[0]), int(members.arguments[1]))
    tally.warn("the council is the node's word: the deployment file does not name it")
    found = chain.call("Members", "council")
    return Council(tuple(found["members"]), int(found["threshold"]))


class Admissions:
    """Checks `admissions` and `joins`, event by event."""

    def __init__(self, history: History, findings: Findings, council: Council) -> None:
        self._history = history
        self._council = council
        self._admissions = findings.of("admissions")
        self._joins = findings.of("joins")
        self._members = history.chain.domain("Members")

    def see(self, event: ChainEvent, world: World) -> None:
        """`world` is as before the event."""
        handler = {
            "InstitutionAdmitted": self._admitted,
            "InstitutionSuspended": self._suspended,
            "RefereeAllowed": self._referee,
            "NodeKeyRegistered": self._registered,
            "NodeKeyRevoked": self._revoked,
            "MemberJoined": self._joined,
            "AggregatorEnlisted": self._enlisted,
            "MemberLeft": self._left,
            "MemberRemoved": self._removed,
            "StudyStatusChanged": self._governed,
            "StudyExtended": self._governed,
            "AggregatorDelisted": self._left,
            "LockReleasing": self._releasing,
        }.get(event.name)
        if handler is not None:
            handler(event, world)

    def _arguments(self, event: ChainEvent, tally: Tally, contract: str, function: str) -> Mapping[str, Any] | None:
        """Arguments of the call, by the names of the interface; some ABIs leave them out."""
        call = self._history.call(event)
        if call is None or (call.contract, call.function) != (contract, function):
            tally.warn(f"{event.name} in {event.transaction}: another contract called, not checkable from calldata")
            return None
        return dict(zip(_PARAMETERS[function], call.arguments.values(), strict=True))

    # By the council

    def _admitted(self, event: ChainEvent, world: World) -> None:
        given = self._arguments(event, self._admissions, "Members", "admit")
        if given is None:
            return
        institution = event.args["institution"]
        nonce = world.identities.institution(institution).nonce
        message = Admit(institution, event.bytes32("profile"), event.args["name"], nonce, given["deadline"])
        self._approved(event, message, given)

    def _suspended(self, event: ChainEvent, world: World) -> None:
        given = self._arguments(event, self._admissions, "Members", "suspend")
        if given is None:
            return
        institution = event.args["institution"]
        nonce = world.identities.institution(institution).nonce
        self._approved(event, Suspend(institution, event.args["suspended"], nonce, given["deadline"]), given)

    def _referee(self, event: ChainEvent, world: World) -> None:
        if event.args["approvals"] == 0 and event.transaction == self._creation_of("Collegium"):
            self._admissions.note(f"referee {event.args['referee']} is allowed by the deployment itself")
            return
        given = self._arguments(event, self._admissions, "Collegium", "allowReferee")
        if given is None:
            return
        referee = event.args["referee"]
        nonce = world.join_nonces.get(referee, 0)
        self._approved(event, AllowReferee(referee, event.args["allowed"], nonce, given["deadline"]), given)

    def _creation_of(self, contract: str) -> str:
        return self._history.chain.deployment.contracts[contract].transaction.lower()

    def _approved(self, event: ChainEvent, message: Message, given: Mapping[str, Any]) -> None:
        """At least the threshold of council members signed, strictly ascending, in time."""
        what, tally, approvals = f"{event.name} in {event.transaction}", self._admissions, bytes(given["approvals"])
        digest = messages.digest(message, self._members)
        signers = [recover_any(digest, approvals[at : at + 64]) for at in range(0, len(approvals), 64)]
        numbers = [int(signer, 16) if signer else 0 for signer in signers]
        if not all(signer in self._council.members for signer in signers):
            tally.fail(f"{what} is approved by somebody outside the council")
        elif numbers != sorted(set(numbers)) or len(signers) < self._council.threshold:
            tally.fail(f"{what} has {len(set(signers))} approvals, and {self._council.threshold} are needed")
        elif event.time > given["deadline"]:
            tally.fail(f"{what} came after its deadline {utc(given['deadline'])}")
        else:
            tally.passes(len(signers))
        if event.args.get("approvals", len(signers)) != len(signers):
            tally.fail(f"{what} counts {event.args['approvals']} approvals, its calldata has {len(signers)}")

    # By institutions and node keys

    def _registered(self, event: ChainEvent, world: World) -> None:
        tally, args = self._admissions, event.args
        institution, key = args["institution"], args["nodeKey"]
        entry = world.identities.institution(institution)
        tally.require(entry.admitted and not entry.suspended, f"{institution} registers a key and is not admitted")
        if int(world.identities.institution_of(key), 16):
            tally.fail(f"key {key} is registered a second time")
        if entry.node_key:
            tally.fail(f"{institution} registers {key} and its key {entry.node_key} was not revoked")
        given = self._arguments(event, tally, "Members", "registerNodeKey")
        if given is None:
            return
        digest = messages.digest(NodeKey(institution, key, entry.nonce, given["deadline"]), self._members)
        tally.require(
            is_signed_by(digest, bytes(given["nodeKeySignature"]), key), f"key {key} did not sign its own registration"
        )
        signature = bytes(given["institutionSignature"])
        if signature:
            self._require_signature(tally, f"key {key}", institution, digest, signature, event)
        else:
            sender = self._history.transaction(event).sender
            tally.equal(f"the sender that registers {key}", sender, institution)

    def _revoked(self, event: ChainEvent, world: World) -> None:
        call, args, identities = self._history.call(event), event.args, world.identities
        if identities.institution_of(args["nodeKey"]) != args["institution"] or identities.is_revoked(args["nodeKey"]):
            self._admissions.fail(f"{args['institution']} has no key {args['nodeKey']} to revoke")
        if call is None:
            self._admissions.warn(f"revocation of {args['nodeKey']} came through another contract")
        elif call.function == "revokeNodeKey":
            sender = self._history.transaction(event).sender
            own = sender in (args["institution"], args["nodeKey"])
            self._admissions.require(own, f"{sender} revoked the key {args['nodeKey']} of another")

    def _joined(self, event: ChainEvent, world: World) -> None:
        if event.study_id != world.study_id or world.study is None:
            return
        tally, args, plan = self._joins, event.args, world.study.plan
        institution, who = args["institution"], f"seat {args['index']} ({args['institution']})"
        tally.equal(f"the index of {institution}", args["index"], len(world.study.seats))
        tally.require(world.identities.is_active(institution), f"{who} joined without being admitted")
        tally.equal(f"{who}: node key", args["nodeKey"], world.identities.usable_key(institution))
        tally.equal(f"{who}: agreement", event.bytes32("agreement"), plan.agreement)
        tally.require(args["openUpdates"], f"{who} did not agree to open updates")
        needed = max(plan.unrevealed_fine, plan.range_fine, plan.equivocation_fine)
        tally.require(
            args["maxFine"] >= needed,
            f"{who} signed fines up to {tokens(args['maxFine'])} tokens, the plan needs {tokens(needed)}",
        )
        locked = self._locked(event)
        enough = f"{who} joined and {tokens(locked)} tokens were locked, not {tokens(args['maxFine'])}"
        tally.require(locked >= args["maxFine"], enough)
        given = self._arguments(event, tally, "Collegium", "join")
        if given is None:
            return
        message = Join.from_abi(given["message"])
        expected = Join(
            world.study_id, world.study.plan_hash, institution, args["nodeKey"], args["maxFine"], plan.agreement, True,
            world.join_nonces.get(institution, 0), message.deadline,
        )  # fmt: skip
        tally.equal_fields(f"{who} signed other words than its join says", message, expected)
        tally.require(event.time <= message.deadline, f"{who} joined after its deadline {utc(message.deadline)}")
        digest = messages.digest(message, self._history.chain.domain())
        found = self._require_signature(tally, who, institution, digest, bytes(given["signature"]), event)
        world.signatures[args["index"]] = found

    def _enlisted(self, event: ChainEvent, world: World) -> None:
        if event.study_id != world.study_id or world.study is None:
            return
        tally, institution = self._joins, event.args["institution"]
        tally.require(world.identities.is_active(institution), f"{institution} enlisted without being admitted")
        tally.equal("the enlisted node key", event.args["nodeKey"], world.identities.usable_key(institution))
        bond = world.study.plan.aggregator_bond
        locked = self._locked(event)
        tally.require(
            locked >= bond,
            f"{institution} enlisted with {tokens(locked)} tokens locked, not {tokens(bond)}",
        )
        sender = self._history.transaction(event).sender
        if self._history.call(event) is None:
            tally.warn(f"{institution} enlisted through another contract: not checkable from calldata")
        else:
            tally.equal("who enlisted", sender, institution)

    def _releasing(self, event: ChainEvent, world: World) -> None:
        """A lock begins its release because its owner left, and for no other reason."""
        if event.study_id != world.study_id or world.study is None:
            return
        args = event.args
        names = ("MemberLeft", "MemberRemoved") if args["role"] == Role.MEMBER else ("AggregatorDelisted",)
        left = [
            each
            for each in self._history.events_of(event.transaction)
            if each.name in names
            and each.args["institution"] == args["institution"]
            and each.study_id == event.study_id
        ]
        plan = world.study.plan
        longest = plan.commit_window + plan.reveal_window + plan.certify_window + plan.evidence_period
        longest += MAX_ATTEMPTS * (plan.propose_window + plan.challenge_window)
        same = [each for each in left if each.args["releasableAt"] == args["releasableAt"] == event.time + longest]
        self._joins.require(bool(same), f"the lock of {args['institution']} is released, and it did not leave in time")

    def _left(self, event: ChainEvent, world: World) -> None:
        if event.study_id != world.study_id or world.study is None:
            return
        institution = event.args["institution"]
        if event.name == "MemberLeft":
            seat = world.study.seats.get(event.args["index"])
            self._joins.equal("who left the seat", institution, seat.institution if seat else None)
        else:
            self._joins.require(institution in world.study.aggregators, f"{institution} delisted and was not enlisted")
        call = self._history.call(event)
        if call is not None and call.function == "removeMember":
            self._require_removal(event)
        elif call is not None:
            self._joins.equal("who left", self._history.transaction(event).sender, institution)

    def _require_removal(self, event: ChainEvent) -> None:
        """The council approved that this institution leaves this study."""
        given = self._arguments(event, self._admissions, "Collegium", "removeMember")
        if given is None:
            return
        institution = checksum_address(given["institution"])
        named = (given["studyId"], institution) == (event.study_id, event.args["institution"])
        self._joins.require(named, f"{event.name} in {event.transaction} is not what its call asks for")
        self._approved(event, RemoveMember(event.study_id or 0, institution, given["deadline"]), given)

    def _removed(self, event: ChainEvent, world: World) -> None:
        if event.study_id != world.study_id or world.study is None:
            return
        seat, institution = world.study.seats.get(event.args["index"]), event.args["institution"]
        self._joins.equal("who is removed from the seat", institution, seat.institution if seat else None)
        self._joins.require(seat is None or seat.left is None, f"{institution} is removed and had left before")
        self._require_removal(event)

    def _governed(self, event: ChainEvent, world: World) -> None:
        """Only the sponsor pauses, resumes, closes and extends; a closed study stays closed, a term only grows."""
        study, args, tally = world.study, event.args, self._admissions
        if event.study_id != world.study_id or study is None:
            return
        tally.equal(f"who governs by {event.name}", args["sponsor"], study.sponsor)
        extends = event.name == "StudyExtended"
        given = self._arguments(event, tally, "Collegium", "extendStudy" if extends else "setStudyStatus")
        if given is not None:
            tally.equal(f"the sender of {event.name}", self._history.transaction(event).sender, study.sponsor)
            asked = {name: value for name, value in args.items() if name != "sponsor"}
            tally.equal(f"what the call of {event.name} asks for", asked, dict(given))
        tally.require(study.status is not StudyStatus.CLOSED, f"{event.name} came after the study was closed")
        if extends:
            longer = args["openUntil"] > max(study.open_until, event.time)
            tally.require(longer, f"the term was cut to {args['openUntil']}, not extended")

    def _locked(self, event: ChainEvent) -> int:
        """What the same call locked for the same institution; 0 when nothing."""
        for each in self._history.events_of(event.transaction):
            later = each.log_index > event.log_index
            if later and each.name == "StakeLocked" and each.args["institution"] == event.args["institution"]:
                return int(each.args["total"])
        return 0

    def _require_signature(
        self, tally: Tally, what: str, institution: str, digest: bytes, signature: bytes, event: ChainEvent
    ) -> str:
        """An EOA's signature is recovered; a contract is asked, which only the node can answer (ERC-1271).

        Returns what was found, in words.
        """
        if recover_any(digest, signature) == institution:
            tally.passes()
            return "verified: by the institution's key"
        answer = ask_wallet(self._history.chain, institution, digest, signature, event.block)
        if answer is None:
            tally.fail(f"{what} is not signed by {institution}")
            return "WRONG: not by the institution's key"
        if answer:
            tally.warn(f"{what}: the wallet contract {institution} accepts the signature, by the node's word")
            return "accepted by the institution's wallet contract, by the node's word"
        tally.fail(f"{what}: the wallet contract {institution} does not accept the signature")
        return "WRONG: the institution's wallet contract does not accept it"
