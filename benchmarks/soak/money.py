"""Where every token of an institution is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from collegium.chain import Chain, Contracts
from collegium.chain.events import ChainEvent
from collegium.records import ZERO_ADDRESS, Role

__all__ = ["Holding", "count_money"]


@dataclass(frozen=True)
class Holding:
    """Token wei. free: with what is unbonding. locked: in the study. wallet: in the institution's own account."""

    funded: int
    free: int
    locked: int
    credit: int
    wallet: int

    @property
    def total(self) -> int:
        return self.free + self.locked + self.credit + self.wallet

    @property
    def lost(self) -> int:
        """What was funded and is nowhere; negative when it has more."""
        return self.funded - self.total


def count_money(
    chain: Chain, events: Sequence[ChainEvent], study_id: int, institutions: Iterable[str]
) -> Mapping[str, Holding]:
    """By institution, from balances now and transfers of the past. events: all of the deployment."""
    contracts, bonds = Contracts(chain), chain.address_of("Bonds")
    found = {}
    for each in institutions:
        stake = contracts.stake(each)
        locked = sum(contracts.lock(study_id, each, role).amount for role in (Role.MEMBER, Role.AGGREGATOR))
        found[each] = Holding(
            _funded(events, each, bonds), stake.free + stake.unbonding, locked, contracts.credit(each),
            contracts.token_balance(each),
        )  # fmt: skip
    return found


def _funded(events: Sequence[ChainEvent], institution: str, bonds: str) -> int:
    """What others gave it: transfers to its wallet but from Bonds, and deposits that others paid."""
    total = 0
    for event in events:
        args = event.args
        if event.name == "Transfer" and event.contract == "CollegiumToken" and args["to"] == institution:
            total += args["value"] if args["from"] not in (bonds, ZERO_ADDRESS) else 0
        if event.name == "StakeDeposited" and args["institution"] == institution:
            total += args["amount"] if args["payer"] != institution else 0
    return total
