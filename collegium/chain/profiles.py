"""Network profiles: settings and study windows that suit a kind of chain.

`network.profile = "sepolia"` in the settings fills in whatever the `[network]` table does not say itself; the
windows are what a plan for that chain should at least have.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collegium.errors import ConfigError

__all__ = ["PROFILES", "NetworkProfile", "StudyWindows", "profile", "profile_of_chain"]


@dataclass(frozen=True, slots=True)
class StudyWindows:
    """Phase windows of a plan, seconds; the fields have the names they have in a plan."""

    commit_window: int
    reveal_window: int
    certify_window: int
    propose_window: int
    challenge_window: int
    evidence_period: int

    def to_plan(self) -> dict[str, int]:
        """As the `[rounds]` table of a plan file."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class NetworkProfile:
    """Presets of one kind of chain.

    chain_ids: chains it is meant for. block_seconds: time between blocks, 0 where a block is made on demand.
    confirmations: as in the settings, -1 waits for the finalized block. finality_seconds: how long after its
    block something is acted on with these confirmations, at worst in ordinary times.
    poll_interval, retry_for, bump_after: seconds. log_window: blocks asked for in one piece at first.
    """

    name: str
    chain_ids: tuple[int, ...]
    block_seconds: float
    confirmations: int
    finality_seconds: int
    poll_interval: float
    retry_for: float
    bump_after: float
    log_window: int
    windows: StudyWindows

    def settings(self) -> dict[str, Any]:
        """What it sets in the `[network]` table, by name."""
        names = ("confirmations", "poll_interval", "retry_for", "bump_after", "log_window")
        return {name: getattr(self, name) for name in names}


_HOUR = 3600
_DAY = 24 * _HOUR

PROFILES: Mapping[str, NetworkProfile] = {
    found.name: found
    for found in (
        NetworkProfile(
            name="devnet", chain_ids=(31337,), block_seconds=0.0, confirmations=0, finality_seconds=0,
            poll_interval=0.25, retry_for=30.0, bump_after=45.0, log_window=2_000,
            windows=StudyWindows(600, 600, 600, 600, 600, _DAY),
        ),
        # A rehearsal should not wait for finality, which takes 13 to 20 minutes; reorganizations beyond 5 blocks
        # have not been seen there in ordinary times.
        NetworkProfile(
            name="sepolia", chain_ids=(11155111, 560048), block_seconds=12.0, confirmations=5, finality_seconds=90,
            poll_interval=4.0, retry_for=120.0, bump_after=60.0, log_window=2_000,
            windows=StudyWindows(1800, 900, 1800, 900, 1800, 3 * _DAY),
        ),
        # Salts are revealed only after the end of the commit phase is final, so each window holds finality,
        # two hours of an outage of half the validators or of a provider, and the work itself.
        NetworkProfile(
            name="mainnet", chain_ids=(1, 100), block_seconds=12.0, confirmations=-1, finality_seconds=1200,
            poll_interval=6.0, retry_for=300.0, bump_after=120.0, log_window=2_000,
            windows=StudyWindows(12 * _HOUR, 3 * _HOUR, 6 * _HOUR, 3 * _HOUR, _DAY, 14 * _DAY),
        ),
        # A sequencer orders at once and its word is final with its batch on the layer below; outages of hours
        # have happened, and a challenge must outlast one.
        NetworkProfile(
            name="l2", chain_ids=(10, 8453, 42161, 11155420, 84532, 421614), block_seconds=2.0, confirmations=30,
            finality_seconds=90, poll_interval=2.0, retry_for=300.0, bump_after=30.0, log_window=2_000,
            windows=StudyWindows(6 * _HOUR, 2 * _HOUR, 4 * _HOUR, 2 * _HOUR, _DAY, 14 * _DAY),
        ),
    )
}  # fmt: skip


def profile(name: str) -> NetworkProfile:
    """A profile by name.

    Raises:
        ConfigError: there is none of that name.
    """
    found = PROFILES.get(name)
    if found is None:
        close = difflib.get_close_matches(name, PROFILES, n=1)
        raise ConfigError(
            f"There is no network profile {name!r}.",
            hint=f"Did you mean {close[0]!r}?" if close else f"Known are {', '.join(PROFILES)}.",
        )
    return found


def profile_of_chain(chain_id: int) -> NetworkProfile | None:
    """The profile meant for a chain, None when no one knows it."""
    return next((found for found in PROFILES.values() if chain_id in found.chain_ids), None)
