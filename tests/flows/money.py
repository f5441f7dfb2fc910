"""Where every token is: nothing appears, nothing vanishes, and Bonds holds exactly what it owes."""

from __future__ import annotations

from collections.abc import Sequence

from collegium.chain import Chain, Contracts
from collegium.chain.events import ChainEvent
from collegium.records import ZERO_ADDRESS, Role, bits

__all__ = ["assert_conserved"]


def assert_conserved(chain: Chain, events: Sequence[ChainEvent]) -> None:
    """events: all of the deployment since its first block."""
    contracts, token = Contracts(chain), "CollegiumToken"
    transfers = [event.args for event in events if event.name == "Transfer" and event.contract == token]
    holders = {args["to"] for args in transfers} - {ZERO_ADDRESS}
    minted = sum(args["value"] for args in transfers if args["from"] == ZERO_ADDRESS)
    burned = sum(args["value"] for args in transfers if args["to"] == ZERO_ADDRESS)
    assert sum(contracts.token_balance(holder) for holder in holders) == minted - burned
    assert contracts.token_balance(chain.address_of("Bonds")) == compute_obligations(chain, events)


def compute_obligations(chain: Chain, events: Sequence[ChainEvent]) -> int:
    """What Bonds owes to anybody."""
    contracts = Contracts(chain)
    institutions = {event.args["institution"] for event in events if event.name == "StakeDeposited"}
    locks = {
        (event.args["studyId"], event.args["institution"], event.args["role"])
        for event in events
        if event.name == "StakeLocked"
    }
    fined = [event for event in events if event.name == "Fined"]
    fines = [event.args for event in fined]
    challengers = {args["challenger"] for args in fines} - {ZERO_ADDRESS}
    challengers |= {event.args["announcer"] for event in events if event.name == "RewardRedirected"}
    total = 0
    for stake in map(contracts.stake, institutions):
        total += stake.free + stake.unbonding
    total += sum(contracts.lock(study, who, Role(role)).amount for study, who, role in locks)
    total += sum(contracts.credit(challenger) for challenger in challengers)
    for key in [event.bytes32("key") for event in fined]:
        total += chain.call("Bonds", "heldRewardOf", key)["amount"]
        shares = chain.call("Bonds", "sharesOf", key)
        total += shares["share"] * len(bits(shares["unclaimed"]))
    total += sum(chain.call("Bonds", "burnable", study) for study in {args["studyId"] for args in fines})
    return total
