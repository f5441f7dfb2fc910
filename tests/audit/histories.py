"""Histories to audit, and how a test looks at them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from collegium.audit import Report, audit_study
from collegium.chain import intents
from collegium.messages import digest, pack_approvals
from collegium.records import Role, StudyStatus, Suspend
from collegium.storage import MultiStore
from collegium.storage.store import Store
from tests.support.accounts import Account
from tests.support.federation import TOKEN, Federation, Lie

__all__ = ["EVERY_EVENT", "audit", "play_eventful", "wrong"]

EVERY_EVENT = frozenset(
    (
        "StudyCreated", "RefereeAllowed", "RefutationsConnected", "MemberJoined", "MemberLeft", "MemberRemoved",
        "StudyStatusChanged", "StudyExtended", "AggregatorEnlisted", "AggregatorDelisted",
        "RosterSnapshotted", "RoundOpened", "UpdateCommitted", "UpdateRevealed",
        "UpdatesAttested", "UpdatesCertified", "ItemSkipped", "AggregateProposed", "ProposalEndorsed",
        "ProposalRefuted", "ProposalLapsed", "DutyMissed", "RoundFinalized", "RoundAborted", "CollegiumConnected",
        "InstitutionAdmitted", "InstitutionSuspended", "NodeKeyRegistered", "NodeKeyRevoked", "BondsConnected",
        "StakeDeposited", "StakeUnlocked", "StakeWithdrawn", "StakeLocked", "LockReleasing", "LockReleased", "Fined",
        "RewardHeld", "RewardClaimed", "ShareClaimed", "CreditWithdrawn", "FinesBurned", "EvidenceAnnounced",
        "Refuted", "Transfer", "Approval",
    )
)  # fmt: skip
"""What `play_eventful` makes happen: all events but RecordDisputed and RewardRedirected."""


def audit(
    federation: Federation,
    *,
    rpc_url: str | None = None,
    stores: list[Store] | None = None,
    folder: Path | None = None,
    trusted_head: str | None = None,
) -> Report:
    """Audit the played study, perhaps through another node or other stores."""
    return audit_study(
        federation.connect(rpc_url),
        MultiStore(stores or [federation.store]),
        federation.study_id,
        folder=folder,
        trusted_head=trusted_head,
    )


def wrong(report: Report) -> set[str]:
    """Names of the checks that found a mismatch or lack something."""
    return {check.name for check in report.failed()}


def play_eventful(federation: Federation) -> None:
    """Ten rounds in which everything happens that honest members and a few liars can cause, and every payment."""
    federation.play_round()
    federation.play_round(unrevealed=[1], missed=True)
    federation.play_round(late=[0], uncertified=[2])
    federation.add_aggregator("coordinator-2")
    federation.add_aggregator("coordinator-3")
    federation.play_round(lie=Lie.MEAN)
    _announce(federation)
    federation.play_round(lapsed=True, open_next=True)
    federation.play_round(endorsers=[0, 1, 2])
    _skip_an_item(federation)
    _abort(federation)
    _rotate_and_revoke(federation)
    federation.play_round(lie=Lie.WITHHELD)
    federation.refute_contradiction(federation.round.proposals[0])
    _take_money_out(federation)
    _leave(federation)
    _govern(federation)
    federation.add_member("hospital-late")
    federation.add_aggregator("coordinator-late")
    federation.play_round()


def _announce(federation: Federation) -> None:
    """The step is a lie, and its refutation was announced before."""
    federation.open_round()
    federation.commit()
    federation.reveal()
    federation.certify()
    federation.propose(Lie.STEP)
    federation.refute(announced=True)
    federation.propose()
    federation.conclude()


def _skip_an_item(federation: Federation) -> None:
    """The same update in two batches: the second is skipped with an event and harms nobody."""
    federation.open_round()
    first, second = federation.prepare(0), federation.prepare(1)
    federation.commit(submissions=[first])
    sent = federation.commit(submissions=[first, second])
    assert sent[0].named("ItemSkipped") and federation.round.committed == {0, 1}
    federation.commit([seat for seat in federation.round.invited if seat > 1], batched=False)
    federation.reveal(batched=False)
    federation.certify()
    federation.propose()
    federation.endorse([0, 1])
    federation.conclude([seat for seat in range(len(federation.members)) if seat > 1])


def _abort(federation: Federation) -> None:
    """One member commits, which is too few; nobody is fined."""
    federation.open_round()
    federation.commit([0])
    federation.pass_time(federation.plan.commit_window)
    sent = federation.settle()
    assert sent.named("RoundAborted")


def _rotate_and_revoke(federation: Federation) -> None:
    """Seat 0 gets a new key, seat 3 loses and regains admission."""
    member = federation.members[0]
    fresh = Account(federation.chain, federation.key_of(member.name, "second node"))
    federation.chain.rpc.request("anvil_setBalance", fresh.address, hex(10**24))
    assert federation.register_node_key(member.institution, fresh).named("NodeKeyRevoked")
    federation.members[0] = replace(member, node=fresh)
    for suspended in (True, False):
        _suspend(federation, federation.members[3].institution.address, suspended)


def _suspend(federation: Federation, institution: str, suspended: bool) -> None:
    deadline = federation.now() + 3600
    nonce = federation.chain.call("Members", "nonceOf", institution)
    hashed = digest(Suspend(institution, suspended, nonce, deadline), federation.chain.domain("Members"))
    approvals = pack_approvals(hashed, [each.signer.sign_digest(hashed) for each in federation.council[1:]])
    federation.send(intents.suspend(institution, suspended, deadline, approvals))


def _take_money_out(federation: Federation) -> None:
    """Rewards, shares, credit, what is burned, and unbonded stake."""
    federation.pass_time(3600)
    fines = [event for round in federation.rounds for sent in round.sent for event in sent.named("Fined")]
    claimed = shared = False
    for event in fines:
        key = event.bytes32("key")
        if not claimed and federation.chain.call("Bonds", "heldRewardOf", key)["amount"]:
            federation.send(intents.claim_reward(key))
            claimed = True
        for seat, member in enumerate(federation.members):
            if not shared and event.args["eligible"] >> seat & 1:
                member.institution.send(intents.claim_share(key))
                shared = True
    assert claimed and shared
    federation.relay.send(intents.withdraw_credit())
    federation.send(intents.burn_fines(federation.study_id))
    institution = federation.members[1].institution
    institution.send(intents.top_up(federation.study_id, 5 * TOKEN))
    institution.send(intents.unlock(100 * TOKEN))
    federation.pass_time(48 * 3600)
    institution.send(intents.withdraw())


def _govern(federation: Federation) -> None:
    """The sponsor pauses, resumes and gives the study a term; the council removes a member that also aggregates."""
    study, removed = federation.study_id, federation.members[3].institution
    removed.send(intents.enlist(study))
    for status in (StudyStatus.PAUSED, StudyStatus.OPEN):
        federation.operator.send(intents.set_study_status(study, status))
    federation.operator.send(intents.extend_study(study, federation.now() + 30 * 24 * 3600))
    federation.send(federation.removal(removed.address))


def _leave(federation: Federation) -> None:
    """A member and an aggregator leave, and their locks return."""
    leaving, aggregator = federation.members[2].institution, federation.aggregators[-1].institution
    leaving.send(intents.leave(federation.study_id))
    aggregator.send(intents.delist(federation.study_id))
    plan = federation.plan
    longest = plan.commit_window + plan.reveal_window + plan.certify_window
    federation.pass_time(longest + 3 * (plan.propose_window + plan.challenge_window) + plan.evidence_period)
    federation.send(intents.release(federation.study_id, leaving.address, Role.MEMBER))
    federation.send(intents.release(federation.study_id, aggregator.address, Role.AGGREGATOR))
    federation.aggregators.pop()
