"""Writes the tables of events in docs/audit-on-a-block-explorer.md from the packaged ABIs.

    python -m scripts.release.event_tables            write
    python -m scripts.release.event_tables --check    compare; exit 1 when out of date
"""

from __future__ import annotations

import argparse
import functools
import re
import sys

from collegium.chain.abi import interface
from scripts.setup.paths import ROOT

PAGE = ROOT / "docs" / "audit-on-a-block-explorer.md"

# contract -> event -> what it tells, in the order of a study's life.
EVENTS = {
    "Collegium": {
        "StudyCreated": "plan and format in full, CIDs of the published plan and of the genesis model",
        "MemberJoined": "seat index, node key, largest fine agreed to, agreement digest, waiver",
        "RosterSnapshotted": "seats and aggregators from this round on; zero where nobody can act",
        "RoundOpened": "ctx, invited seats, quorum, base model: root and CID, record of the round before",
        "UpdateCommitted": "seat, commitment, weight; the update itself is still secret",
        "UpdateRevealed": "root, salt and CID of the update",
        "UpdatesAttested": "which updates this hospital fetched and found in range",
        "UpdatesCertified": "which updates count: certified by a quorum",
        "ItemSkipped": "seat and reason of what was not taken",
        "DutyMissed": "this aggregator let its window pass",
        "AggregateProposed": "the proposal in full, CIDs of the new model and of the mean",
        "ProposalRefuted": "proven wrong on chain, see `Refuted` in the same transaction",
        "ProposalLapsed": "no quorum endorsed it in time",
        "ProposalEndorsed": "this hospital recomputed the proposal and found it right",
        "RoundFinalized": "record, proposal, outcome, new model: root and CID",
        "RoundAborted": "ended without a result, and in which phase",
        "RecordDisputed": "a recorded round was proven wrong afterwards",
        "MemberLeft": "from the next round on; when its lock is released",
        "MemberRemoved": "the same by the council",
        "AggregatorEnlisted": "may be on duty",
        "AggregatorDelisted": "no longer",
        "StudyStatusChanged": "opened, paused or closed by the sponsor",
        "StudyExtended": "no round opens at or after this time",
        "RefereeAllowed": "the council allowed a judge, or took it off the list",
    },
    "Refutations": {
        "EvidenceAnnounced": "somebody claims to have evidence, without showing it yet",
        "Refuted": "kind of fault, challenger, coordinate, claimed and right value, fine; 1 mean, 2 step, 3 tail, "
        "4 range, 5 equivocation, 7 contradiction",
    },
    "Bonds": {
        "StakeLocked": "stake that a study may fine",
        "Fined": "amount and its split: burned, challenger, per client",
        "RewardHeld": "a challenger's share waits for an earlier announcer",
        "FinesBurned": "stake tokens destroyed",
    },
}  # fmt: skip


def render(contract: str) -> str:
    """The table of a contract's events."""
    lines = ["| event | topic 0 | topics 1, 2, 3 | tells |", "| --- | --- | --- | --- |"]
    for name, tells in EVENTS[contract].items():
        event = interface(contract).events[name]
        topics = ", ".join(each.name for each in event.inputs if each.indexed)
        lines.append(f"| `{name}` | `0x{event.topic.hex()}` | {topics} | {tells} |")
    return "\n".join(lines)


def fill(text: str) -> str:
    """The page with its tables written anew."""
    for contract in EVENTS:
        pattern = re.compile(rf"(<!-- topics: {contract} -->\n).*?(\n<!-- /topics -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"{PAGE.name} has no place for the events of {contract}")
        # A function, so that nothing in the table is taken for a reference to a group.
        text = pattern.sub(functools.partial(_put, render(contract)), text)
    return text


def _put(table: str, found: re.Match[str]) -> str:
    return found[1] + table + found[2]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the tables of events.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 on a difference")
    check = parser.parse_args(arguments).check
    old = PAGE.read_text(encoding="utf-8")
    new = fill(old)
    if check and old != new:
        print(f"{PAGE.name} is out of date. Run `python -m scripts.release.event_tables`.", file=sys.stderr)
        return 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
