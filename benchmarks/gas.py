"""Gas of every act, as whole transactions on Anvil: intrinsic gas, calldata floor, cold storage.

Trees of 1M to 100M parameters are built sparsely (one chunk and its path, the rest random digests); proofs are full.
"""

from __future__ import annotations

import secrets
import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from collegium.aggregation import compute_mean
from collegium.chain import intents
from collegium.chain.abi import interface
from collegium.commitment import compute_commitment, compute_ext, compute_seal
from collegium.encoding import FormatTable
from collegium.evidence import ClientOpening, build_mean_evidence, build_range_evidence, build_step_evidence
from collegium.optimizer import compute_step
from collegium.records import ZERO32, ExtFields, Kind, Proposal, Reveal, Signed, Update
from collegium.tree import Opening, root_from_opening
from tests.support.accounts import Sent
from tests.support.federation import Federation, Submission, make_plan

from .measure import Results

__all__ = ["run"]

ROUND_SIZES = (4, 10, 32)
REFUTATION_SIZES = (4, 10, 32, 128)
PARAMETERS = {"1M": 1_000_000, "10M": 10_000_000}
FLAT_ROUNDS = 12
K = 7
EXT = ExtFields(0, 0, 1, ZERO32)
MAX_GAS = 1 << 24
MAX_BYTES = 131_072


def run(results: Results) -> None:
    """Rounds of 4, 10 and 32 hospitals, then refutations up to 128."""
    print("gas of rounds")
    for members in ROUND_SIZES:
        with tempfile.TemporaryDirectory() as folder, Federation.start(Path(folder), members=members) as federation:
            _rounds(results, federation, members)
    print("gas of refutations")
    for members in REFUTATION_SIZES:
        with tempfile.TemporaryDirectory() as folder, Federation.start(Path(folder), members=members) as federation:
            for name, count in PARAMETERS.items():
                _mean(results, federation, members, name, count)
            if members == 10:
                _mean(results, federation, members, "100M", 100_000_000)
                _single(results, federation)
            if members == 128:
                _mean(results, federation, members, "100M", 100_000_000)


def _rounds(results: Results, federation: Federation, members: int) -> None:
    """Costs in the steady state: slots are recycled from the second round on."""
    label = f"n={members}"
    if members == ROUND_SIZES[0]:
        _founding(results, federation)
        _membership(results, federation)
    first = federation.play_round()
    if members != ROUND_SIZES[0]:
        results.at_most(f"open the first round, {label}", first.sent[0].gas_used, "gas")
    federation.play_round(open_next=True)
    alone = federation.commit(batched=False)
    spent = [sent.gas_used for sent in alone]
    results.at_most(f"commit alone, {label}", statistics.median(spent), "gas", 54_000)
    results.at_most(f"commit alone by the last one, which ends the phase, {label}", spent[-1], "gas")
    federation.reveal()
    federation.certify()
    federation.propose()
    federation.conclude(open_next=True)
    first = _whole(results, federation, members, label)
    if members == 10:
        for _ in range(FLAT_ROUNDS):
            federation.play_round(open_next=True)
        later = _whole(None, federation, members, label)
        results.at_most(
            f"commit batch after {len(federation.rounds) - 1} rounds / before, {label}", later / first, "x", 1.01
        )


def _founding(results: Results, federation: Federation) -> None:
    """What was sent before the first round: each creation, the connections, and the first call of each kind."""
    created = {each.transaction: name for name, each in federation.deployment.contracts.items()}
    connecting, firsts = 0, dict(_FOUNDING)
    head = federation.chain.rpc.header("latest")
    assert head is not None
    for number in range(1, head.number + 1):
        for found in federation.chain.rpc.request("eth_getBlockByNumber", hex(number), True)["transactions"]:
            gas = int(federation.chain.rpc.request("eth_getTransactionReceipt", found["hash"])["gasUsed"], 16)
            function = _function_of(federation, found)
            if found["hash"] in created:
                results.at_most(f"create {created[found['hash']]}", gas, "gas")
            elif function == "connect":
                connecting += gas
            elif function in firsts:
                results.at_most(firsts.pop(function), gas, "gas")
    results.at_most("connect the contracts", connecting, "gas")
    assert not firsts, f"never sent: {list(firsts)}"


_FOUNDING = {
    "allowReferee": "allow a referee, 2 of 3 approvals",
    "createStudy": "create a study",
    "approve": "approve",
    "enlist": "enlist as an aggregator",
}


def _function_of(federation: Federation, transaction: dict[str, str]) -> str:
    name = federation.deployment.name_of(transaction["to"]) if transaction["to"] else None
    known = interface(name).by_selector.get(bytes.fromhex(transaction["input"][2:10])) if name else None
    return known.name if known else ""


def _whole(results: Results | None, federation: Federation, members: int, label: str) -> float:
    """One relayed round in five transactions; returns the commit batch's gas."""
    (commit,) = federation.commit()
    (reveal,) = federation.reveal()
    certify = federation.certify()
    propose = federation.propose().sent
    conclude = federation.conclude(open_next=True)
    if results is not None:
        bar = 20_000 if members == 10 else None
        results.at_most(f"commit in a batch, per hospital, {label}", commit.gas_used / members, "gas", bar)
        results.at_most(f"reveal in a batch, per hospital, {label}", reveal.gas_used / members, "gas")
        results.at_most(f"certify, {label}", certify.gas_used, "gas")
        results.at_most(f"propose, {label}", propose.gas_used, "gas")
        results.at_most(f"endorse, finalize and open the next, {label}", conclude.gas_used, "gas")
        whole = sum(sent.gas_used for sent in (commit, reveal, certify, propose, conclude)) / members
        results.at_most(f"whole round, per hospital, {label}", whole, "gas", 72_000 if members == 10 else None)
    return commit.gas_used


def _membership(results: Results, federation: Federation) -> None:
    """Registering and joining, each as the transactions a newcomer causes."""
    spent: list[Sent] = []
    sends = (federation.operator, federation.relay)
    originals = [account.send for account in sends]

    def recorded(original):  # type: ignore[no-untyped-def]
        def send(*arguments, **options):  # type: ignore[no-untyped-def]
            spent.append(original(*arguments, **options))
            return spent[-1]

        return send

    for account, original in zip(sends, originals, strict=True):
        account.send = recorded(original)  # type: ignore[method-assign]
    try:
        newcomer = federation.admit("newcomer")
        federation.join(newcomer)
    finally:
        for account, original in zip(sends, originals, strict=True):
            account.send = original  # type: ignore[method-assign]
    for function, name in (
        ("admit", "admit an institution, 2 of 3 approvals"),
        ("registerNodeKey", "register a node key"),
        ("depositFor", "deposit stake"),
        ("join", "join a study"),
    ):
        results.at_most(name, next(sent.gas_used for sent in spent if sent.function == function), "gas")
    newcomer.institution.send(intents.leave(federation.study_id))
    results.at_most("open the first round, n=4", federation.open_round().sent[0].gas_used, "gas")
    federation.commit()
    federation.reveal()
    federation.certify()
    federation.propose()
    federation.conclude()


# Refutations


@dataclass(frozen=True)
class _Sparse:
    """A tree of which one chunk is known."""

    leaf: int
    opening: Opening

    @classmethod
    def make(cls, chunk: np.ndarray, leaf: int, depth: int) -> _Sparse:
        path = tuple(secrets.token_bytes(32) for _ in range(depth))
        return cls(leaf, Opening(chunk.astype("<i4").tobytes(), path))

    @property
    def root(self) -> bytes:
        return root_from_opening(self.opening, self.leaf)

    @property
    def elements(self) -> np.ndarray:
        return np.frombuffer(self.opening.chunk, dtype="<i4")


@dataclass(frozen=True)
class _SparseRound:
    """A round up to its proposal, every tree known at one leaf."""

    leaf: int
    clients: list[ClientOpening]
    signed: list[Signed[Update]]
    mean: _Sparse
    base: _Sparse
    model: _Sparse
    proposal: Proposal


def _play(federation: Federation, count: int, *, lie: bool, out_of_range: bool = False) -> _SparseRound:
    """Found a study of `count` parameters and bring its first round to a proposal."""
    table = FormatTable([("w", (count,))], exponent=16, bound=1 << 20)
    depth, leaf = table.format.depth, table.format.leaves * 2 // 3
    rng = np.random.default_rng(count)
    base = _Sparse.make(rng.integers(-(1 << 18), 1 << 18, 64), leaf, depth)
    _found(federation, table, base)
    played = federation.open_round()
    updates, submissions = [], []
    for seat in played.invited:
        chunk = rng.integers(-(1 << 20), (1 << 20) + 1, 64)
        if out_of_range and seat == 2:
            chunk[K] = (1 << 20) + 1
        update = _Sparse.make(chunk, leaf, depth)
        updates.append(update)
        submissions.append(_submit(federation, seat, update))
    federation.commit(submissions=submissions)
    federation.reveal(withheld=played.invited)
    federation.certify(signers=range(played.quorum))
    weights = [each.weight for each in submissions]
    columns = np.stack([update.elements for update in updates]).T
    mean = np.array([compute_mean(list(column), weights, bound=1 << 20) for column in columns.tolist()])
    model = np.array(
        [compute_step(int(t), int(d), numerator=1, denominator=1) for t, d in zip(base.elements, mean, strict=True)]
    )
    mean[K] += lie
    model[K + 1] += 1
    mean_tree, model_tree = _Sparse.make(mean, leaf, depth), _Sparse.make(model, leaf, depth)
    sent = federation.on_duty().node.send(
        intents.propose(
            federation.study_id, played.number, 0, mean_root=mean_tree.root, new_model_root=model_tree.root,
            model_digest=secrets.token_bytes(32), mean_digest=secrets.token_bytes(32),
        )
    )  # fmt: skip
    proposal = Proposal.from_abi(sent.event("AggregateProposed").args["proposal"])
    clients = [
        ClientOpening(each.seal, each.weight, each.signed.message.ext, update.opening)
        for each, update in zip(submissions, updates, strict=True)
    ]
    return _SparseRound(leaf, clients, [each.signed for each in submissions], mean_tree, base, model_tree, proposal)


def _found(federation: Federation, table: FormatTable, base: _Sparse) -> None:
    """A study whose genesis model is known at one leaf; everybody joins it."""
    federation.table = table
    federation.rounds.clear()
    small = FormatTable([("w", (64,))], exponent=16, bound=1 << 20)
    plan = make_plan(
        small, base.elements, federation.deployment.addresses["Referee"], max_members=max(16, len(federation.members))
    )
    federation.plan = replace(plan, format_id=table.format_id, genesis_model_root=base.root)
    created = federation.operator.send(intents.create_study(federation.plan, table.format)).event("StudyCreated")
    federation.study_id, federation.plan_hash = created.args["studyId"], created.bytes32("planHash")
    federation.members = [federation.join(member) for member in federation.members]
    for aggregator in federation.aggregators:
        federation.stake(aggregator.institution.address, federation.plan.aggregator_bond)
        aggregator.institution.send(intents.enlist(federation.study_id))


def _submit(federation: Federation, seat: int, update: _Sparse) -> Submission:
    played = federation.round
    salt, content, weight = secrets.token_bytes(32), secrets.token_bytes(32), 100 + seat
    reveal = Reveal(seat, salt, update.root, content, weight, EXT)
    bound = compute_commitment(played.ctx, seat, update.root, compute_seal(salt, content))
    message = Update(federation.study_id, played.number, played.ctx, seat, bound, weight, compute_ext(EXT))
    signed = federation.members[seat].node.sign(message, federation.chain.domain())
    return Submission(seat, update.elements, b"", weight, reveal, signed)


def _mean(results: Results, federation: Federation, members: int, name: str, count: int) -> None:
    found = _play(federation, count, lie=True)
    evidence = build_mean_evidence(found.leaf, K, found.clients, found.mean.opening)
    sent = _refute(federation, Kind.MEAN, found.proposal, evidence)
    bar = 430_000 if (members, name) == (10, "10M") else None
    results.at_most(f"R1 mean, n={members}, {name} parameters", sent.gas_used, "gas", bar)
    if members == 128:
        results.at_most(f"R1 mean, n={members}, {name}: gas / 2^24", sent.gas_used / MAX_GAS, "x", 1.0)
        results.at_most(
            f"R1 mean, n={members}, {name}: bytes / 128 KiB", (sent.calldata_bytes + 200) / MAX_BYTES, "x", 1.0
        )


def _single(results: Results, federation: Federation) -> None:
    """Refutations whose price does not depend on the number of clients."""
    found = _play(federation, PARAMETERS["10M"], lie=False, out_of_range=True)
    leaf = found.leaf
    step = build_step_evidence(leaf, K + 1, found.mean.opening, found.base.opening, found.model.opening)
    sent = _refute(federation, Kind.STEP, found.proposal, step)
    results.at_most("R1s step, n=10, 10M parameters", sent.gas_used, "gas", 160_000)
    client = found.clients[2]
    evidence = build_range_evidence(found.signed[2], client.seal, leaf, client.opening)
    sent = federation.relay.send(intents.refute_range(federation.study_id, evidence))
    results.at_most("R4 range with its fine, n=10, 10M parameters", sent.gas_used, "gas", 125_000)


def _refute(federation: Federation, kind: Kind, proposal: Proposal, evidence: bytes) -> Sent:
    return federation.relay.send(intents.refute(kind, federation.study_id, proposal, evidence))
