"""A whole federation in one process: real contracts on Anvil, real signatures and blobs, any course a round can take.

    with Federation.start(tmp_path, members=4) as federation:
        federation.play_round()                       # honest, final
        federation.play_round(lie=Lie.MEAN)           # refuted, then finished by the next aggregator

Every step of a round is a method of its own, so that a test can leave one out, do it late, or lie in it. Time moves
only by `pass_time`, which asks Anvil for it; whoever must not do that gives short windows and waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import numpy as np
from eth_hash.auto import keccak
from numpy.typing import NDArray

from collegium.chain import Chain, Deployment, NetworkSettings, Rpc, intents
from collegium.chain.devnet import Devnet
from collegium.chain.intents import Intent
from collegium.chain.signer import LocalSigner
from collegium.commitment import (
    compute_commitment,
    compute_ext,
    compute_item,
    compute_seal,
    compute_set_hash,
    compute_slot,
    derive_salt,
)
from collegium.encoding import BlobKind, FormatTable, pack_blob
from collegium.messages import digest, pack_approvals
from collegium.optimizer import check_plan
from collegium.records import (
    ZERO32,
    Admit,
    AllowReferee,
    Attestation,
    Endorsement,
    ExtFields,
    Join,
    Kind,
    Message,
    Mode,
    NodeKey,
    Optimizer,
    Outcome,
    Phase,
    Plan,
    Proposal,
    RecordProof,
    Reveal,
    Rule,
    Signed,
    Update,
    bits,
)
from collegium.storage.cid import cid_of
from collegium.storage.folder import BlobFolder
from collegium.tree import root_of
from collegium.verification import Certified, Recomputed, find_refutation, recompute_round, refute_update
from scripts.operations.deployment import deploy
from scripts.operations.policy import Policy
from scripts.operations.sender import Web3Sender

from .accounts import Account, Sent

__all__ = ["TOKEN", "Federation", "Lie", "Member", "PlayedRound", "Proposed", "Submission", "make_plan"]

TOKEN = 10**18
WINDOW = 3600
COIN = 10**24
TABLE = FormatTable([("layer.weight", (10, 30)), ("layer.bias", (10,))], exponent=16, bound=1 << 20)
_EXT = ExtFields(dp_profile=0, base_round=0, local_steps=1, extras=ZERO32)


class Lie(StrEnum):
    """What an aggregator may do instead of its duty. WITHHELD: roots of nothing, and no blobs."""

    MEAN = "mean"
    STEP = "step"
    TAIL = "tail"
    WITHHELD = "withheld"


@dataclass(frozen=True)
class Member:
    """A hospital or a coordinator: the institution's account and its node key's. seat: None for a coordinator."""

    name: str
    institution: Account
    node: Account
    seat: int | None = None


@dataclass(frozen=True)
class Submission:
    """One member's update of a round. elements: int32, padded."""

    seat: int
    elements: NDArray[np.int32]
    blob: bytes
    weight: int
    reveal: Reveal
    signed: Signed[Update]

    @property
    def seal(self) -> bytes:
        return compute_seal(self.reveal.salt, self.reveal.content_digest)

    @property
    def slot(self) -> bytes:
        update = self.signed.message
        return compute_slot(compute_item(update.commitment, update.weight, update.ext), update.weight)

    @property
    def certified(self) -> Certified:
        return Certified(self.seal, self.weight, self.signed.message.ext, self.elements)


@dataclass(frozen=True)
class Proposed:
    """A proposal on chain, with the payloads that its proposer had in hand."""

    proposal: Proposal
    hash: bytes
    aggregator: Member
    mean: NDArray[np.int32]
    model: NDArray[np.int32]
    sent: Sent


@dataclass
class PlayedRound:
    """What the federation remembers of a round. Sets are of seats."""

    number: int
    ctx: bytes
    invited: list[int]
    quorum: int
    parent_record: bytes
    cohort_hash: bytes
    model_root: bytes
    base: NDArray[np.int32]
    updates: dict[int, Submission] = field(default_factory=dict)
    committed: set[int] = field(default_factory=set)
    revealed: set[int] = field(default_factory=set)
    certified: set[int] = field(default_factory=set)
    proposals: list[Proposed] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    outcome: Outcome | None = None
    record: bytes | None = None

    @property
    def last(self) -> Proposed:
        return self.proposals[-1]

    def proof(self) -> RecordProof:
        """What `dispute` and `refuteContradiction` ask for once the round is final."""
        assert self.outcome is not None
        return RecordProof(
            self.number, self.parent_record, self.model_root, ZERO32, self.cohort_hash, ZERO32, self.outcome
        )


def make_plan(table: FormatTable, genesis: NDArray[np.int32], referee: str, **changes: Any) -> Plan:
    """A plan with windows of an hour and round sums of money; `changes` by field."""
    blob = pack_blob(BlobKind.MODEL, genesis, format_id=table.format_id)
    windows = ("commit_window", "reveal_window", "certify_window", "propose_window", "challenge_window")
    values: dict[str, Any] = {
        "mode": Mode.OPEN, "rule": Rule.WEIGHTED_MEAN, "optimizer": Optimizer.FEDAVG,
        "rate_numerator": 1, "rate_denominator": 1,
        "format_id": table.format_id, "genesis_model_root": root_of(genesis), "genesis_model_digest": cid_of(blob).digest,
        "task_digest": bytes(keccak(b"task")), "referee": referee,
        "min_clients": 2, "max_members": 16, "quorum_min": 2, "max_weight": 10_000,
        **dict.fromkeys(windows, WINDOW), "evidence_period": 24 * WINDOW,
        "aggregator_bond": 1000 * TOKEN, "unrevealed_fine": 10 * TOKEN, "range_fine": 50 * TOKEN,
        "equivocation_fine": 60 * TOKEN, "duty_fine": 20 * TOKEN, "contradiction_fine": 500 * TOKEN,
        "reward_terms": ZERO32, "privacy_profiles_hash": ZERO32, "agreement": bytes(keccak(b"agreement")),
        "plan_digest": cid_of(b"{}").digest,
    }  # fmt: skip
    return Plan(**{**values, **changes})


class Federation:
    """Seats are 0 … members-1; `aggregators` are institutions of their own. Use as a context manager."""

    def __init__(self, devnet: Devnet, deployment: Deployment, folder: Path, table: FormatTable, seed: int) -> None:
        self.devnet = devnet
        self.deployment = deployment
        self.folder = folder
        self.table = table
        self.chain = self.connect()
        self.operator = Account(self.chain, devnet.key(0))
        self.relay = Account(self.chain, devnet.key(1))
        self.council = [Account(self.chain, devnet.key(2 + at)) for at in range(3)]
        self.store = BlobFolder(folder / "store")
        self.members: list[Member] = []
        self.aggregators: list[Member] = []
        self.rounds: list[PlayedRound] = []
        self.study_id = 0
        self.plan: Plan
        self.model: NDArray[np.int32]
        self._random = np.random.default_rng(seed)
        self._secret = bytes(keccak(b"federation" + seed.to_bytes(8, "big")))

    # Setting up

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        members: int = 4,
        aggregators: int = 2,
        table: FormatTable = TABLE,
        plan: Mapping[str, Any] | None = None,
        devnet: Devnet | None = None,
        seed: int = 1,
        reward_hold: int = WINDOW,
    ) -> Self:
        """Chain, contracts, admitted and staked members, a study that all have joined. plan: fields to change."""
        folder.mkdir(parents=True, exist_ok=True)
        devnet = devnet or Devnet.start()
        try:
            federation = cls(devnet, _deploy(devnet, folder, reward_hold), folder, table, seed)
            federation.allow_referee()
            limit = max(16, members)
            federation.create_study(**{"max_members": limit, **(plan or {})})
            for at in range(members):
                federation.add_member(f"hospital-{at}")
            for at in range(aggregators):
                federation.add_aggregator(f"coordinator-{at}")
        except BaseException:
            devnet.stop()
            raise
        return federation

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.devnet.stop()

    def connect(self, rpc_url: str | None = None) -> Chain:
        """A chain without a signer, perhaps through a proxy."""
        settings = NetworkSettings(
            rpc_url=rpc_url or self.devnet.url, chain_id=self.devnet.record.chain_id, poll_interval=0.02, retry_for=3.0
        )
        return Chain.connect(settings, deployment=self.deployment)

    def now(self) -> int:
        return self.chain.now()

    def pass_time(self, seconds: int) -> None:
        """Let the chain's clock run ahead and mine a block at that time."""
        self.chain.rpc.request("evm_increaseTime", hex(seconds))
        self.chain.rpc.request("anvil_mine", "0x1")

    def allow_referee(self) -> Sent:
        referee, deadline = self.deployment.addresses["Referee"], self.now() + WINDOW
        nonce = self.chain.call("Collegium", "nonceOf", referee)
        approvals = self._approve(AllowReferee(referee, True, nonce, deadline))
        return self.operator.send(intents.allow_referee(referee, True, deadline, approvals))

    def create_study(self, **changes: Any) -> int:
        """A study with a random genesis model; becomes the one that is played."""
        count = self.table.count
        self.model = np.zeros(self.table.elements, dtype="<i4")
        self.model[:count] = self._random.integers(-(1 << 18), 1 << 18, count, dtype=np.int32)
        self.plan = make_plan(self.table, self.model, self.deployment.addresses["Referee"], **changes)
        check_plan(self.plan, self.table.format)
        self.store.put(pack_blob(BlobKind.MODEL, self.model, format_id=self.table.format_id))
        self.store.put(b"{}")
        created = self.operator.send(intents.create_study(self.plan, self.table.format)).event("StudyCreated")
        self.study_id = created.args["studyId"]
        self.plan_hash = created.bytes32("planHash")
        return self.study_id

    def admit(self, name: str, *, stake: int = 10_000 * TOKEN) -> Member:
        """An institution with an admission, a node key, stake and coin for gas."""
        institution = Account(self.chain, self._key(name, "institution"))
        node = Account(self.chain, self._key(name, "node"))
        for account in (institution, node):
            self.chain.rpc.request("anvil_setBalance", account.address, hex(COIN))
        deadline, nonce = self.now() + WINDOW, self.chain.call("Members", "nonceOf", institution.address)
        approvals = self._approve(Admit(institution.address, ZERO32, name, nonce, deadline))
        self.operator.send(intents.admit(institution.address, ZERO32, name, deadline, approvals))
        self.register_node_key(institution, node)
        self.stake(institution.address, stake)
        return Member(name, institution, node)

    def register_node_key(self, institution: Account, node: Account) -> Sent:
        deadline = self.now() + WINDOW
        nonce = self.chain.call("Members", "nonceOf", institution.address)
        message = NodeKey(institution.address, node.address, nonce, deadline)
        domain = self.chain.domain("Members")
        intent = intents.register_node_key(
            institution.address,
            node.address,
            deadline,
            institution_signature=institution.sign_long(message, domain),
            node_key_signature=node.sign(message, domain).signature,
        )
        return self.operator.send(intent)

    def stake(self, institution: str, amount: int) -> None:
        """The operator, who holds the supply, pays."""
        self.operator.send_all(intents.deposit_for(self.deployment.addresses["Bonds"], institution, amount))

    def join(self, member: Member, *, max_fine: int = 100 * TOKEN, long_signature: bool = False) -> Member:
        nonce = self.chain.call("Collegium", "nonceOf", member.institution.address)
        message = Join(
            self.study_id, self.plan_hash, member.institution.address, member.node.address, max_fine,
            self.plan.agreement, True, nonce, self.now() + WINDOW,
        )  # fmt: skip
        domain = self.chain.domain()
        long = member.institution.sign_long(message, domain)
        signature = long if long_signature else member.institution.sign(message, domain).signature
        joined = self.operator.send(intents.join(message, signature)).event("MemberJoined")
        return replace(member, seat=joined.args["index"])

    def add_member(self, name: str) -> Member:
        """Admit and join. Every other one signs as wallets do."""
        member = self.join(self.admit(name), long_signature=len(self.members) % 2 == 1)
        self.members.append(member)
        return member

    def add_aggregator(self, name: str) -> Member:
        """Admit and enlist."""
        member = self.admit(name)
        member.institution.send(intents.enlist(self.study_id))
        self.aggregators.append(member)
        return member

    def _approve(self, message: Message) -> bytes:
        hashed = digest(message, self.chain.domain("Members"))
        return pack_approvals(hashed, [each.signer.sign_digest(hashed) for each in self.council[:2]])

    def _key(self, name: str, kind: str) -> bytes:
        return bytes(keccak(self._secret + f"{kind}/{name}".encode()))

    # A round, step by step

    @property
    def round(self) -> PlayedRound:
        return self.rounds[-1]

    def open_round(self) -> PlayedRound:
        number = len(self.rounds) + 1
        sent = self.aggregators[0].node.send(intents.open_round(self.study_id, number))
        return self._opened(sent)

    def _opened(self, sent: Sent) -> PlayedRound:
        opened = sent.event("RoundOpened")
        played = PlayedRound(
            opened.args["round"], opened.bytes32("ctx"), bits(opened.args["invited"]), opened.args["quorum"],
            opened.bytes32("parentRecord"), opened.bytes32("cohortHash"), opened.bytes32("modelRoot"), self.model,
            sent=[sent],
        )  # fmt: skip
        self.rounds.append(played)
        return played

    def make_elements(self) -> NDArray[np.int32]:
        """A random update within the bound, padding 0."""
        bound, elements = self.table.bound, np.zeros(self.table.elements, dtype="<i4")
        elements[: self.table.count] = self._random.integers(-bound, bound + 1, self.table.count, dtype=np.int32)
        return elements

    def prepare(
        self, seat: int, *, elements: NDArray[np.int32] | None = None, weight: int | None = None, ext: ExtFields = _EXT
    ) -> Submission:
        """A member's update of the open round, signed; nothing is sent or stored."""
        played, member = self.round, self.members[seat]
        elements = self.make_elements() if elements is None else elements
        weight = int(self._random.integers(1, 500)) if weight is None else weight
        salt = derive_salt(self._key(member.name, "salt"), played.ctx)
        blob = pack_blob(
            BlobKind.UPDATE, elements, format_id=self.table.format_id, ctx=played.ctx, index=seat, salt=salt
        )
        reveal = Reveal(seat, salt, root_of(elements), cid_of(blob).digest, weight, ext)
        bound = compute_commitment(played.ctx, seat, reveal.root, compute_seal(salt, reveal.content_digest))
        update = Update(self.study_id, played.number, played.ctx, seat, bound, weight, compute_ext(ext))
        return Submission(seat, elements, blob, weight, reveal, member.node.sign(update, self.chain.domain()))

    def commit(
        self, seats: Sequence[int] | None = None, *, batched: bool = True, submissions: Sequence[Submission] | None = None
    ) -> list[Sent]:
        """Prepare and commit; by default all invited, in one batch that the relay carries."""
        played = self.round
        if submissions is None:
            submissions = [self.prepare(seat) for seat in (played.invited if seats is None else seats)]
        groups = [list(submissions)] if batched else [[each] for each in submissions]
        sent = []
        for group in groups:
            sender = self.relay if batched else self.members[group[0].seat].node
            sent.append(
                sender.send(intents.commit_updates(self.study_id, played.number, [each.signed for each in group]))
            )
            for submission in group:
                played.updates[submission.seat] = submission
        played.committed |= _seats(sent, "UpdateCommitted")
        played.sent += sent
        return sent

    def reveal(
        self, seats: Sequence[int] | None = None, *, batched: bool = True, withheld: Sequence[int] = ()
    ) -> list[Sent]:
        """Reveal and store the blobs, except those of seats in `withheld`."""
        played = self.round
        wanted = sorted(played.committed) if seats is None else list(seats)
        for seat in wanted:
            if seat not in withheld:
                self.store.put(played.updates[seat].blob)
        groups = [wanted] if batched else [[seat] for seat in wanted]
        sent = []
        for group in groups:
            sender = self.relay if batched else self.members[group[0]].node
            items = [played.updates[seat].reveal for seat in group]
            sent.append(sender.send(intents.reveal_updates(self.study_id, played.number, items)))
        played.revealed |= _seats(sent, "UpdateRevealed")
        played.sent += sent
        return sent

    def attest(self, seat: int, seats: Sequence[int] | None = None) -> Signed[Attestation]:
        """A member's signed attestation of `seats`, by default of all revealed."""
        played = self.round
        wanted = sorted(played.revealed) if seats is None else seats
        set_hash = compute_set_hash([played.updates[each].slot for each in sorted(played.revealed)])
        message = Attestation(
            self.study_id, played.number, played.ctx, seat, sum(1 << each for each in wanted), set_hash
        )
        return self.members[seat].node.sign(message, self.chain.domain())

    def certify(self, seats: Sequence[int] | None = None, *, signers: Sequence[int] | None = None) -> Sent:
        """Certify `seats` (default: all revealed) by the attestations of `signers` (default: all members)."""
        played = self.round
        signing = range(len(self.members)) if signers is None else signers
        items = [self.attest(signer, seats) for signer in signing]
        sent = self.relay.send(intents.certify(self.study_id, played.number, items))
        played.certified = set(bits(sent.event("UpdatesCertified").args["certified"]))
        played.sent.append(sent)
        return sent

    def recompute(self) -> Recomputed:
        """What an honest aggregator would propose now."""
        played = self.round
        updates = [played.updates[seat] for seat in sorted(played.certified)]
        return recompute_round(
            [each.elements for each in updates],
            [each.weight for each in updates],
            played.base,
            self.plan,
            self.table.format,
        )

    def on_duty(self) -> Member:
        address = self.chain.call("Collegium", "onDuty", self.study_id, block="pending")
        return next(each for each in self.aggregators if each.node.address == address)

    def propose(self, lie: Lie | None = None) -> Proposed:
        """By whoever is on duty; a lie is in one random coordinate."""
        played, aggregator, honest = self.round, self.on_duty(), self.recompute()
        mean, model = honest.mean.copy(), honest.model.copy()
        coordinate = int(self._random.integers(0, self.table.count))
        if lie in (Lie.MEAN, Lie.WITHHELD):
            mean[coordinate] += 1
        elif lie is Lie.STEP:
            model[coordinate] += 1
        elif lie is Lie.TAIL:
            assert self.table.elements > self.table.count, "this format has no padding to lie in"
            mean[self.table.count] = 1
        names = {"format_id": self.table.format_id, "ctx": played.ctx}
        mean_blob, model_blob = pack_blob(BlobKind.MEAN, mean, **names), pack_blob(BlobKind.MODEL, model, **names)
        if lie is not Lie.WITHHELD:
            self.store.put(mean_blob)
            self.store.put(model_blob)
        sent = aggregator.node.send(
            intents.propose(
                self.study_id,
                played.number,
                len(played.proposals),
                mean_root=root_of(mean),
                new_model_root=root_of(model),
                model_digest=cid_of(model_blob).digest,
                mean_digest=cid_of(mean_blob).digest,
            )
        )
        event = sent.event("AggregateProposed")
        proposal = Proposal.from_abi(event.args["proposal"])
        proposed = Proposed(proposal, event.bytes32("proposalHash"), aggregator, mean, model, sent)
        played.proposals.append(proposed)
        played.sent.append(sent)
        return proposed

    def sign_endorsement(self, seat: int) -> Signed[Endorsement]:
        played = self.round
        message = Endorsement(self.study_id, played.number, played.ctx, seat, played.last.hash)
        return self.members[seat].node.sign(message, self.chain.domain())

    def endorse(self, seats: Sequence[int] | None = None) -> Sent:
        """In a call of its own; by default all members."""
        played = self.round
        items = [self.sign_endorsement(seat) for seat in (range(len(self.members)) if seats is None else seats)]
        sent = self.relay.send(intents.endorse(self.study_id, played.number, items))
        played.sent.append(sent)
        return sent

    def conclude(self, seats: Sequence[int] | None = None, *, open_next: bool = False) -> Sent:
        """Endorse by `seats` (default: all) and finalize in one call."""
        played = self.round
        items = [self.sign_endorsement(seat) for seat in (range(len(self.members)) if seats is None else seats)]
        sender = self.aggregators[0].node if open_next else self.relay
        sent = sender.send(
            intents.conclude(self.study_id, played.number, items, played.last.proposal, open_next=open_next)
        )
        return self._finalized(sent, open_next)

    def finalize(self) -> Sent:
        """After endorsements of their own."""
        played = self.round
        return self._finalized(
            self.relay.send(intents.finalize(self.study_id, played.number, played.last.proposal)), False
        )

    def _finalized(self, sent: Sent, opened: bool) -> Sent:
        played, event = self.round, sent.event("RoundFinalized")
        played.outcome, played.record = Outcome.from_abi(event.args["outcome"]), event.bytes32("record")
        played.sent.append(sent)
        self.model = played.last.model
        if opened:
            self._opened(sent)
        return sent

    def settle(self) -> Sent:
        sent = self.relay.send(intents.settle(self.study_id, self.round.number))
        self.round.sent.append(sent)
        return sent

    # Faults

    def build_refutation(self, proposed: Proposed | None = None) -> tuple[Kind, bytes]:
        """Kind and evidence against a proposal of the present round."""
        played, proposed = self.round, proposed or self.round.last
        found = find_refutation(
            proposal=proposed.proposal,
            fmt=self.table.format,
            updates={seat: played.updates[seat].certified for seat in played.certified},
            base_model=played.base,
            honest=self.recompute(),
            claimed_mean=proposed.mean,
            claimed_model=proposed.model,
        )
        assert found is not None, "an honest proposal cannot be refuted"
        return found.kind, found.evidence

    def refute(self, *, challenger: Account | None = None, announced: bool = False) -> Sent:
        """Prove the live proposal wrong, by default from the relay's account."""
        challenger = challenger or self.relay
        kind, evidence = self.build_refutation()
        salt = ZERO32
        if announced:
            salt = bytes(keccak(evidence))
            who = bytes(12) + bytes.fromhex(challenger.address[2:])
            challenger.send(intents.announce(bytes(keccak(who + keccak(evidence) + salt))))
        intent = intents.refute(kind, self.study_id, self.round.last.proposal, evidence, salt=salt)
        sent = challenger.send(intent)
        self.round.sent.append(sent)
        return sent

    def refute_range(self, seat: int) -> Sent:
        """Prove that a member's update leaves the range."""
        submission = self.round.updates[seat]
        found = refute_update(submission.signed, submission.seal, submission.elements, self.table.format)
        assert found is not None, "the update is clean"
        return self.relay.send(intents.refute_range(self.study_id, found.evidence))

    def refute_contradiction(self, failed: Proposed) -> Sent:
        """R11 against a failed proposal of the present, final round."""
        played = self.round
        intent = intents.refute_contradiction(self.study_id, played.last.proposal, played.proof(), failed.proposal)
        return self.relay.send(intent)

    def send(self, intent: Intent, account: Account | None = None) -> Sent:
        """Anything else, by default from the relay's account."""
        return (account or self.relay).send(intent)

    # Whole rounds

    def play_round(
        self,
        *,
        late: Sequence[int] = (),
        unrevealed: Sequence[int] = (),
        uncertified: Sequence[int] = (),
        lie: Lie | None = None,
        lapsed: bool = False,
        missed: bool = False,
        endorsers: Sequence[int] | None = None,
        open_next: bool = False,
    ) -> PlayedRound:
        """One round to its record. Seats in `late` do not commit; what is missing is decided by passing time.

        lie: the first proposal is refuted, or lapses when it is withheld. lapsed: the first honest proposal finds no
        endorsement. missed: the first on duty proposes nothing. endorsers: a quorum that must wait for the window.
        """
        played = self.round if self.rounds and self.phase() is Phase.COMMIT else self.open_round()
        self.commit([seat for seat in played.invited if seat not in late])
        if late:
            self.pass_time(self.plan.commit_window)
        if set(unrevealed) != played.committed:
            self.reveal([seat for seat in sorted(played.committed) if seat not in unrevealed])
        if unrevealed:
            self.pass_time(self.plan.reveal_window)
        self.certify([seat for seat in sorted(played.revealed) if seat not in uncertified])
        if uncertified:
            self.pass_time(self.plan.certify_window)
        if missed:
            self.pass_time(self.plan.propose_window)
            self.settle()
        if lie is not None:
            self.propose(lie)
            if lie is Lie.WITHHELD:
                self.pass_time(self.plan.challenge_window)
            else:
                self.refute()
        if lapsed:
            self.propose()
            self.pass_time(self.plan.challenge_window)
        self.propose()
        if endorsers is None:
            self.conclude(open_next=open_next)
        else:
            self.endorse(endorsers)
            self.pass_time(self.plan.challenge_window)
            self.finalize()
        return played

    def phase(self) -> Phase:
        """As the contract computes it at the present time."""
        return Phase(self.chain.call("Collegium", "phaseOf", self.study_id, block="pending")["phase"])


def _seats(sent: Sequence[Sent], name: str) -> set[int]:
    return {event.args["index"] for each in sent for event in each.named(name)}


def _deploy(devnet: Devnet, folder: Path, reward_hold: int) -> Deployment:
    council = tuple(LocalSigner(devnet.key(2 + at)).address for at in range(3))
    policy = Policy(council=council, threshold=2, unbonding_period=48 * WINDOW, reward_hold=reward_hold)
    sender = Web3Sender(Rpc(devnet.url), LocalSigner(devnet.key(0)))
    return deploy(sender, policy, folder / "deployment.json").deployment
