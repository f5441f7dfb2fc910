"""One round of a federation: each step a method, so that a test can leave one out, do it late, or lie in it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from eth_hash.auto import keccak
from numpy.typing import NDArray

from collegium.chain import Chain, intents
from collegium.chain.intents import Intent
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
from collegium.records import (
    ZERO32,
    Attestation,
    Endorsement,
    ExtFields,
    Kind,
    Outcome,
    Phase,
    Plan,
    Proposal,
    RecordProof,
    Reveal,
    Signed,
    Update,
    bits,
)
from collegium.storage.cid import cid_of
from collegium.storage.folder import BlobFolder
from collegium.tree import root_of
from collegium.verification import Certified, Recomputed, find_refutation, recompute_round, refute_update

from .accounts import Account, Sent

__all__ = ["Lie", "Member", "PlayedRound", "Proposed", "RoundSteps", "Submission"]

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


class RoundSteps:
    """The half of `Federation` that plays rounds."""

    chain: Chain
    table: FormatTable
    store: BlobFolder
    plan: Plan
    study_id: int
    relay: Account
    members: list[Member]
    aggregators: list[Member]
    rounds: list[PlayedRound]
    model: NDArray[np.int32]
    random: np.random.Generator

    @abstractmethod
    def pass_time(self, seconds: int) -> None: ...

    @abstractmethod
    def key_of(self, name: str, kind: str) -> bytes: ...

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
        elements[: self.table.count] = self.random.integers(-bound, bound + 1, self.table.count, dtype=np.int32)
        return elements

    def prepare(
        self, seat: int, *, elements: NDArray[np.int32] | None = None, weight: int | None = None, ext: ExtFields = _EXT
    ) -> Submission:
        """A member's update of the open round, signed; nothing is sent or stored."""
        played, member = self.round, self.members[seat]
        elements = self.make_elements() if elements is None else elements
        weight = int(self.random.integers(1, 500)) if weight is None else weight
        salt = derive_salt(self.key_of(member.name, "salt"), played.ctx)
        blob = pack_blob(
            BlobKind.UPDATE, elements, format_id=self.table.format_id, ctx=played.ctx, index=seat, salt=salt
        )
        reveal = Reveal(seat, salt, root_of(elements), cid_of(blob).digest, weight, ext)
        bound = compute_commitment(played.ctx, seat, reveal.root, compute_seal(salt, reveal.content_digest))
        update = Update(self.study_id, played.number, played.ctx, seat, bound, weight, compute_ext(ext))
        return Submission(seat, elements, blob, weight, reveal, member.node.sign(update, self.chain.domain()))

    def commit(
        self,
        seats: Sequence[int] | None = None,
        *,
        batched: bool = True,
        submissions: Sequence[Submission] | None = None,
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

    def propose(self, lie: Lie | None = None, *, instead: Recomputed | None = None) -> Proposed:
        """By whoever is on duty; a lie is in one random coordinate. instead: another result than the right one."""
        played, aggregator, honest = self.round, self.on_duty(), instead or self.recompute()
        mean, model = honest.mean.copy(), honest.model.copy()
        coordinate = int(self.random.integers(0, self.table.count))
        if lie in (Lie.MEAN, Lie.WITHHELD):
            mean[coordinate] += 1
        elif lie is Lie.STEP:
            model[coordinate] += 1
        elif lie is Lie.TAIL:
            assert self.table.elements > self.table.count, "this format has no padding to lie in"
            mean[self.table.count] = 1
        format_id = self.table.format_id
        mean_blob = pack_blob(BlobKind.MEAN, mean, format_id=format_id, ctx=played.ctx)
        model_blob = pack_blob(BlobKind.MODEL, model, format_id=format_id, ctx=played.ctx)
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
