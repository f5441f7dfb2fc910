"""The state of the contracts as events leave it: identities, money, seats. Applied event by event, in chain order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from collegium.amounts import format_tokens as tokens
from collegium.chain.events import ChainEvent
from collegium.chain.views import StudyView
from collegium.records import ZERO_ADDRESS, Kind, Role

from .report import utc

__all__ = [
    "Fine",
    "Identities",
    "Institution",
    "Ledger",
    "Stake",
    "World",
    "compute_fine_key",
    "describe_split",
    "split_fine",
]


@dataclass(slots=True)
class Institution:
    """node_key: the current one, empty when there is none. nonce: of its next message to Members.

    name: as the council admitted it: text of somebody else's.
    """

    admitted: bool = False
    suspended: bool = False
    node_key: str = ""
    nonce: int = 0
    name: str = ""


class Identities:
    """What Members knows."""

    def __init__(self) -> None:
        self._institutions: dict[str, Institution] = {}
        self._owners: dict[str, str] = {}
        self._revoked: set[str] = set()

    def institution(self, address: str) -> Institution:
        return self._institutions.setdefault(address, Institution())

    def institution_of(self, node_key: str) -> str:
        """For ever; the zero address when the key was never registered."""
        return self._owners.get(node_key, ZERO_ADDRESS)

    def usable_key(self, institution: str) -> str:
        """As `nodeKeyOf`: the zero address when none, revoked or suspended."""
        entry = self.institution(institution)
        return ZERO_ADDRESS if entry.suspended or not entry.node_key else entry.node_key

    def is_revoked(self, node_key: str) -> bool:
        return node_key in self._revoked

    def is_active(self, institution: str) -> bool:
        entry = self.institution(institution)
        return entry.admitted and not entry.suspended

    def apply(self, event: ChainEvent) -> None:
        args = event.args
        if event.name == "InstitutionAdmitted":
            entry = self.institution(args["institution"])
            entry.admitted, entry.nonce, entry.name = True, entry.nonce + 1, str(args["name"])
        elif event.name == "InstitutionSuspended":
            entry = self.institution(args["institution"])
            entry.suspended, entry.nonce = args["suspended"], entry.nonce + 1
        elif event.name == "NodeKeyRegistered":
            entry = self.institution(args["institution"])
            entry.node_key, entry.nonce = args["nodeKey"], entry.nonce + 1
            self._owners[args["nodeKey"]] = args["institution"]
        elif event.name == "NodeKeyRevoked":
            self._revoked.add(args["nodeKey"])
            entry = self.institution(args["institution"])
            if entry.node_key == args["nodeKey"]:
                entry.node_key = ""


@dataclass(slots=True)
class Stake:
    """Token wei."""

    free: int = 0
    unbonding: int = 0
    withdrawable_at: int = 0


@dataclass(slots=True)
class Fine:
    """share: wei for each seat of `unclaimed`. held: reward that waits for an announcer."""

    event: ChainEvent
    study_id: int
    share: int
    unclaimed: int
    reward: int
    held: int = 0


def split_fine(paid: int, *, challenger: str, eligible: int) -> tuple[int, int, int]:
    """Challenger's reward, share of each eligible seat, and what is burned (docs/contracts/Bonds.md)."""
    clients = eligible.bit_count()
    share = paid // 5 // clients if clients else 0
    reward = 0 if challenger == ZERO_ADDRESS else paid * 3 // 10
    return reward, share, paid - reward - share * clients


def compute_fine_key(ctx: bytes, institution: str, kind: Kind) -> bytes:
    """The key under which one party pays once for one kind of fault in one context."""
    who = bytes(12) + bytes.fromhex(institution[2:])
    return bytes(keccak(ctx + who + int(kind).to_bytes(32, "big")))


def describe_split(reward: int, share: int, burned: int) -> str:
    return f"{tokens(reward)} to the challenger, {tokens(share)} to each sharer, {tokens(burned)} to be burned"


class Ledger:
    """What Bonds owes to whom, and the token's own balances. `apply` yields what cannot be."""

    def __init__(self, bonds: str) -> None:
        self._bonds = bonds
        self.stakes: dict[str, Stake] = {}
        self.locks: dict[tuple[int, str, Role], int] = {}
        self.releases: dict[tuple[int, str, Role], int] = {}
        self.fines: dict[str, Fine] = {}
        self.credits: dict[str, int] = {}
        self.burnable: dict[int, int] = {}
        self.balances: dict[str, int] = {}
        self.minted = 0
        self.paid_in = 0
        self.paid_out = 0
        #: transfers that an event of Bonds announced: sender, recipient, amount
        self.due: list[tuple[str, str, int]] = []

    def stake(self, institution: str) -> Stake:
        return self.stakes.setdefault(institution, Stake())

    def lock(self, study_id: int, institution: str, role: Role) -> int:
        return self.locks.get((study_id, institution, role), 0)

    @property
    def balance(self) -> int:
        """Tokens that Bonds holds, by the token's own events."""
        return self.balances.get(self._bonds, 0)

    @property
    def obligations(self) -> int:
        """free + unbonding + locks + credits + held rewards + unclaimed shares + burnable."""
        return (
            sum(stake.free + stake.unbonding for stake in self.stakes.values())
            + sum(self.locks.values())
            + sum(self.credits.values())
            + sum(fine.held + fine.share * fine.unclaimed.bit_count() for fine in self.fines.values())
            + sum(self.burnable.values())
        )

    @property
    def donated(self) -> int:
        """Tokens sent to Bonds that no deposit accounts for; they belong to nobody."""
        return self.balance - (self.paid_in - self.paid_out)

    def apply(self, event: ChainEvent, seats: dict[str, int]) -> Iterator[str]:
        """seats: of the study that the event names, by institution."""
        handler = getattr(self, f"_{event.name}", None)
        if handler is not None:
            yield from handler(event, seats)

    def _Transfer(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        sender, recipient, value = (event.args[name] for name in ("from", "to", "value"))
        if sender == ZERO_ADDRESS:
            self.minted += value
        else:
            self.balances[sender] = self.balances.get(sender, 0) - value
            if self.balances[sender] < 0:
                yield f"{sender} sends {tokens(value)} tokens that it does not have"
        if recipient != ZERO_ADDRESS:
            self.balances[recipient] = self.balances.get(recipient, 0) + value
        if (sender, recipient, value) in self.due:
            self.due.remove((sender, recipient, value))
        elif sender == self._bonds:
            yield f"Bonds pays {tokens(value)} tokens to {recipient}, and no event of its own says why"

    def _StakeDeposited(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        self.stake(event.args["institution"]).free += event.args["amount"]
        self.paid_in += event.args["amount"]
        self.due.append((event.args["payer"], self._bonds, event.args["amount"]))
        yield from ()

    def _StakeUnlocked(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        stake, amount = self.stake(event.args["institution"]), event.args["amount"]
        stake.free, stake.unbonding = stake.free - amount, stake.unbonding + amount
        stake.withdrawable_at = event.args["withdrawableAt"]
        yield from self._not_negative(event, stake.free)

    def _StakeWithdrawn(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        stake, amount = self.stake(event.args["institution"]), event.args["amount"]
        if amount != stake.unbonding:
            waiting = tokens(stake.unbonding)
            yield f"{event.args['institution']} withdraws {tokens(amount)} tokens, and {waiting} are unbonding"
        if event.time < stake.withdrawable_at:
            yield f"{event.args['institution']} withdraws at {utc(event.time)}, before {utc(stake.withdrawable_at)}"
        stake.unbonding = stake.withdrawable_at = 0
        self._pay(event.args["institution"], amount)

    def _StakeLocked(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        args = event.args
        key = (args["studyId"], args["institution"], Role(args["role"]))
        stake = self.stake(args["institution"])
        stake.free -= args["amount"]
        self.locks[key] = self.locks.get(key, 0) + args["amount"]
        self.releases.pop(key, None)
        yield from self._not_negative(event, stake.free)
        if self.locks[key] != args["total"]:
            held, said = tokens(self.locks[key]), tokens(args["total"])
            yield f"{args['institution']} has {held} tokens locked, the event says {said}"

    def _LockReleasing(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        args = event.args
        self.releases[args["studyId"], args["institution"], Role(args["role"])] = args["releasableAt"]
        yield from ()

    def _LockReleased(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        args = event.args
        key = (args["studyId"], args["institution"], Role(args["role"]))
        held, releasable = self.locks.pop(key, 0), self.releases.pop(key, None)
        if held != args["amount"]:
            yield f"{args['institution']} gets {tokens(args['amount'])} tokens released of a lock of {tokens(held)}"
        if releasable is None or event.time < releasable:
            yield f"{args['institution']} gets its lock released at {utc(event.time)}, before its time"
        self.stake(args["institution"]).free += args["amount"]

    def _Fined(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        args = event.args
        lock = (args["studyId"], args["institution"], Role(args["role"]))
        if args["key"] in self.fines:
            yield f"{args['institution']} is fined twice under key {args['key']}"
        if args["amount"] > self.locks.get(lock, 0):
            held = tokens(self.locks.get(lock, 0))
            yield f"{args['institution']} pays {tokens(args['amount'])} tokens from a lock of {held}"
        if lock in self.locks:
            self.locks[lock] -= args["amount"]
        reward, share, burned = split_fine(args["amount"], challenger=args["challenger"], eligible=args["eligible"])
        said = (args["challengerReward"], args["sharePerClient"], args["burned"])
        if said != (reward, share, burned):
            right = describe_split(reward, share, burned)
            yield f"the fine {args['key']} is split {describe_split(*said)}; the rule gives {right}"
        self.fines[args["key"]] = Fine(event, args["studyId"], said[1], args["eligible"], said[0])
        self.burnable[args["studyId"]] = self.burnable.get(args["studyId"], 0) + said[2]
        # Credited at once; RewardHeld, which follows directly, takes it back.
        if said[0]:
            self.credits[args["challenger"]] = self.credits.get(args["challenger"], 0) + said[0]

    def _RewardHeld(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        args = event.args
        fine = self.fines.get(args["key"])
        if fine is None or fine.reward != args["amount"]:
            yield f"a reward of {tokens(args['amount'])} tokens is held for no fine of that reward"
            return
        self.credits[args["challenger"]] -= args["amount"]
        fine.held = args["amount"]

    def _RewardRedirected(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        args = event.args
        yield from self._take_held(event)
        self.credits[args["announcer"]] = self.credits.get(args["announcer"], 0) + args["amount"]

    def _RewardClaimed(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        yield from self._take_held(event)
        self._pay(event.args["challenger"], event.args["amount"])

    def _take_held(self, event: ChainEvent) -> Iterator[str]:
        fine = self.fines.get(event.args["key"])
        owner = fine.event.args["challenger"] if fine else None
        if fine is None or fine.held != event.args["amount"] or owner != event.args["challenger"]:
            yield f"{event.name}: {tokens(event.args['amount'])} tokens are not held under key {event.args['key']}"
        if fine is not None:
            fine.held = 0

    def _ShareClaimed(self, event: ChainEvent, seats: dict[str, int]) -> Iterator[str]:
        args = event.args
        fine, seat = self.fines.get(args["key"]), seats.get(args["institution"])
        if fine is None or seat is None or not fine.unclaimed >> seat & 1:
            yield f"{args['institution']} claims a share of {args['key']} that is not its own"
        elif args["amount"] != fine.share:
            yield f"{args['institution']} claims {tokens(args['amount'])} tokens, its share is {tokens(fine.share)}"
        if fine is not None and seat is not None:
            fine.unclaimed &= ~(1 << seat)
        self._pay(args["institution"], args["amount"])

    def _CreditWithdrawn(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        account, amount = event.args["account"], event.args["amount"]
        if self.credits.get(account, 0) != amount:
            yield f"{account} withdraws {tokens(amount)} tokens of a credit of {tokens(self.credits.get(account, 0))}"
        self.credits[account] = 0
        self._pay(account, amount)

    def _FinesBurned(self, event: ChainEvent, _: dict[str, int]) -> Iterator[str]:
        study_id, amount = event.args["studyId"], event.args["amount"]
        if self.burnable.get(study_id, 0) != amount:
            yield f"{tokens(amount)} tokens are burned of {tokens(self.burnable.get(study_id, 0))} that may be"
        self.burnable[study_id] = 0
        self._pay(ZERO_ADDRESS, amount)

    def _pay(self, recipient: str, amount: int) -> None:
        self.paid_out += amount
        self.due.append((self._bonds, recipient, amount))

    @staticmethod
    def _not_negative(event: ChainEvent, free: int) -> Iterator[str]:
        if free < 0:
            yield f"{event.name} takes {tokens(-free)} tokens more than {event.args['institution']} has free"


@dataclass
class World:
    """study: the audited one, None before its creation. seats: of every study, by institution.

    join_nonces: next nonce of an institution's Join or of a referee's AllowReferee.
    signatures: what was found of the signature under each seat's join.
    retention_days: as the published plan says; None for no term or no plan.
    """

    study_id: int
    ledger: Ledger
    identities: Identities = field(default_factory=Identities)
    study: StudyView | None = None
    seats: dict[int, dict[str, int]] = field(default_factory=dict)
    join_nonces: dict[str, int] = field(default_factory=dict)
    referees: dict[str, bool] = field(default_factory=dict)
    signatures: dict[int, str] = field(default_factory=dict)
    retention_days: int | None = None

    def apply(self, event: ChainEvent) -> Iterator[str]:
        """Yields what contradicts what happened before in matters of money."""
        self.identities.apply(event)
        study_id = event.study_id
        if event.name == "ShareClaimed":
            fine = self.ledger.fines.get(event.args["key"])
            study_id = fine.study_id if fine else None
        yield from self.ledger.apply(event, self.seats.get(study_id or 0, {}))
        if event.name == "MemberJoined":
            self._count(event.args["institution"])
            self.seats.setdefault(event.args["studyId"], {})[event.args["institution"]] = event.args["index"]
        elif event.name == "RefereeAllowed":
            # Those named at deployment carry no approvals and use up no nonce.
            if event.args["approvals"]:
                self._count(event.args["referee"])
            self.referees[event.args["referee"]] = event.args["allowed"]
        if study_id == self.study_id and event.contract in ("Collegium", "Refutations"):
            if event.name == "StudyCreated":
                self.study = StudyView.build([event], self.study_id)
            elif self.study is not None:
                self.study._apply(event)

    def _count(self, address: str) -> None:
        self.join_nonces[address] = self.join_nonces.get(address, 0) + 1

    def is_leaving(self, seat: int) -> bool:
        return self.study is not None and self.study.seats[seat].left is not None
