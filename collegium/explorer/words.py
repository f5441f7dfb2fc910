"""Numbers of the protocol in words, and amounts as people read them."""

from __future__ import annotations

from decimal import Decimal

from collegium.records import Kind, Phase, Role, SkipReason

__all__ = [
    "KINDS",
    "PHASES",
    "ROLES",
    "SKIPPED",
    "STATUSES",
    "UNIT",
    "format_duration",
    "format_number",
    "format_tokens",
    "network_name",
    "skip_reason",
]

UNIT = 10**18

PHASES = {
    Phase.NONE: "none",
    Phase.COMMIT: "commit",
    Phase.REVEAL: "reveal",
    Phase.CERTIFY: "certify",
    Phase.PROPOSE: "propose",
    Phase.CHALLENGE: "challenge",
    Phase.FINAL: "final",
    Phase.ABORTED: "aborted",
}

KINDS = {
    Kind.NONE: "nothing",
    Kind.MEAN: "a wrong coordinate of the mean",
    Kind.STEP: "a wrong coordinate of the new model",
    Kind.TAIL: "bytes beyond the payload that are not zero",
    Kind.RANGE: "an update out of range",
    Kind.EQUIVOCATION: "two signed updates for one round",
    Kind.DUTY: "a duty passed without a proposal",
    Kind.CONTRADICTION: "a failed proposal with other roots than the final one",
    Kind.UNREVEALED: "an update committed and never revealed",
}

ROLES = {Role.MEMBER: "member", Role.AGGREGATOR: "aggregator"}

SKIPPED = {
    SkipReason.NONE: "no reason given",
    SkipReason.NOT_INVITED: "its seat was not invited",
    SkipReason.ALREADY_DONE: "its seat had already acted",
    SkipReason.WEIGHT_OUT_OF_RANGE: "its weight is 0 or above the plan's largest",
    SkipReason.BAD_SIGNATURE: "its signature is not that of the seat's node key",
    SkipReason.REVOKED_KEY: "its node key was revoked",
    SkipReason.SLOT_MISMATCH: "it does not open what was committed",
}

STATUSES = ("open", "paused", "closed")
"""By the number that `StudyStatusChanged` carries."""

_NETWORKS = {
    1: "Ethereum",
    10: "OP Mainnet",
    100: "Gnosis",
    137: "Polygon",
    8453: "Base",
    42161: "Arbitrum One",
    17000: "Holesky testnet",
    560048: "Hoodi testnet",
    11155111: "Sepolia testnet",
    31337: "Local devnet",
}


def network_name(chain_id: int) -> str:
    return _NETWORKS.get(chain_id, f"chain {chain_id}")


def skip_reason(number: int) -> str:
    """Also for a reason that this version does not know."""
    return SKIPPED[SkipReason(number)] if number in SkipReason.__members__.values() else f"reason {number}"


def format_number(value: int) -> str:
    """Thousands apart, with a true minus sign."""
    return f"{value:,}".replace("-", "\u2212")


def format_tokens(units: int) -> str:
    """Units of 10^-18 as a decimal number of tokens, thousands apart."""
    text = f"{Decimal(units) / UNIT:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def format_duration(seconds: int) -> str:
    """The two largest units: "2 d 3 h", "45 min", "0 s"."""
    if seconds < 0:
        return "−" + format_duration(-seconds)
    parts = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"
