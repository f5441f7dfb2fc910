"""A whole federation in one process: real contracts on Anvil, real signatures and blobs, any course a round can take.

    with Federation.start(tmp_path, members=4) as federation:
        federation.play_round()                       # honest, final
        federation.play_round(lie=Lie.MEAN)           # refuted, then finished by the next aggregator

Every step of a round is a method of its own, so that a test can leave one out, do it late, or lie in it. Time moves
only by `pass_time`, which asks Anvil for it; whoever must not do that gives short windows and waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from eth_hash.auto import keccak
from numpy.typing import NDArray

from collegium.chain import Chain, Deployment, NetworkSettings, Rpc, intents
from collegium.chain.devnet import Devnet
from collegium.chain.intents import Intent
from collegium.chain.signer import LocalSigner
from collegium.encoding import BlobKind, FormatTable, pack_blob
from collegium.messages import digest, pack_approvals
from collegium.optimizer import check_plan
from collegium.records import (
    ZERO32,
    Admit,
    AllowReferee,
    Join,
    Message,
    Mode,
    NodeKey,
    Optimizer,
    Plan,
    RemoveMember,
    Rule,
)
from collegium.storage.cid import cid_of
from collegium.storage.folder import BlobFolder
from collegium.tree import root_of
from scripts.operations.deployment import deploy
from scripts.operations.policy import Policy
from scripts.operations.sender import Web3Sender

from .accounts import Account, Sent
from .rounds import Lie, Member, PlayedRound, Proposed, RoundSteps, Submission

__all__ = ["TOKEN", "Federation", "Lie", "Member", "PlayedRound", "Proposed", "Submission", "make_plan"]

TOKEN = 10**18
WINDOW = 3600
COIN = 10**24
TABLE = FormatTable([("layer.weight", (10, 30)), ("layer.bias", (10,))], exponent=16, bound=1 << 20)


def make_plan(table: FormatTable, genesis: NDArray[np.int32], referee: str, **changes: Any) -> Plan:
    """A plan with windows of an hour and round sums of money; `changes` by field."""
    blob = pack_blob(BlobKind.MODEL, genesis, format_id=table.format_id)
    windows = ("commit_window", "reveal_window", "certify_window", "propose_window", "challenge_window")
    values: dict[str, Any] = {
        "mode": Mode.OPEN, "rule": Rule.WEIGHTED_MEAN, "optimizer": Optimizer.FEDAVG,
        "rate_numerator": 1, "rate_denominator": 1,
        "format_id": table.format_id,
        "genesis_model_root": root_of(genesis), "genesis_model_digest": cid_of(blob).digest,
        "task_digest": bytes(keccak(b"task")), "referee": referee,
        "min_clients": 2, "max_members": 16, "quorum_min": 2, "max_weight": 10_000,
        **dict.fromkeys(windows, WINDOW), "evidence_period": 24 * WINDOW,
        "aggregator_bond": 1000 * TOKEN, "unrevealed_fine": 10 * TOKEN, "range_fine": 50 * TOKEN,
        "equivocation_fine": 60 * TOKEN, "duty_fine": 20 * TOKEN, "contradiction_fine": 500 * TOKEN,
        "reward_terms": ZERO32, "privacy_profiles_hash": ZERO32, "agreement": bytes(keccak(b"agreement")),
        "plan_digest": cid_of(b"{}").digest,
    }  # fmt: skip
    return Plan(**{**values, **changes})


class Federation(RoundSteps):
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
        self.random = np.random.default_rng(seed)
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
        self.model[:count] = self.random.integers(-(1 << 18), 1 << 18, count, dtype=np.int32)
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
        institution = Account(self.chain, self.key_of(name, "institution"))
        node = Account(self.chain, self.key_of(name, "node"))
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

    def removal(self, institution: str) -> Intent:
        """The council's decision to take an institution out of the study."""
        message = RemoveMember(self.study_id, institution, self.now() + WINDOW)
        return intents.remove_member(self.study_id, institution, message.deadline, self._approve(message))

    def _approve(self, message: Message) -> bytes:
        hashed = digest(message, self.chain.domain("Members"))
        return pack_approvals(hashed, [each.signer.sign_digest(hashed) for each in self.council[:2]])

    def key_of(self, name: str, kind: str) -> bytes:
        """A secret that follows from the seed."""
        return bytes(keccak(self._secret + f"{kind}/{name}".encode()))


def _deploy(devnet: Devnet, folder: Path, reward_hold: int) -> Deployment:
    council = tuple(LocalSigner(devnet.key(2 + at)).address for at in range(3))
    policy = Policy(council=council, threshold=2, unbonding_period=48 * WINDOW, reward_hold=reward_hold)
    sender = Web3Sender(Rpc(devnet.url), LocalSigner(devnet.key(0)))
    return deploy(sender, policy, folder / "deployment.json").deployment
