"""The deployment at a glance: contracts, studies, and how far was read."""

from __future__ import annotations

from collegium.chain.views import ProposalStatus
from collegium.errors import CollegiumError

from .reader import Reader
from .records import Check, ContractRow, OverviewPage, StudyRow
from .words import network_name

__all__ = ["read_overview"]

def read_overview(reader: Reader) -> OverviewPage:
    source, replay = reader.source, reader.replay
    return OverviewPage(
        network_name(source.chain.chain_id),
        source.chain.chain_id,
        tuple(_contract(reader, name) for name in source.chain.deployment.contracts),
        tuple(_study(reader, study) for study in source.studies),
        sum(party.admitted is not None for party in replay.parties.values()),
        len(replay.home_of),
        replay.events,
        _health(reader),
    )


def _contract(reader: Reader, name: str) -> ContractRow:
    deployed = reader.source.chain.deployment.contracts[name]
    try:
        code = reader.source.code(name)
    except CollegiumError as error:
        check = Check("code", None, f"not read: {error.message}")
        return ContractRow(name, deployed.address, "", 0, check, deployed.block, deployed.transaction)
    if not code.length:
        check = Check("code", False, "there is no code at this address")
    elif code.is_released:
        check = Check("code", True, "the code of this release, immutables aside")
    elif code.missing:
        shown = ", ".join(code.missing[:5])
        check = Check("code", False, f"other code, without {len(code.missing)} functions of the ABI: {shown}")
    else:
        check = Check("code", False, "other code than this release's; collegium contracts verify --offline compares")
    return ContractRow(
        name, deployed.address, code.hash, code.length, check, deployed.block, deployed.transaction
    )  # fmt: skip


def _study(reader: Reader, study: int) -> StudyRow:
    log = reader.log(study)
    view = log.view
    proposals = [each for round in view.rounds for each in round.proposals]
    return StudyRow(
        study,
        reader.title(study),
        reader.party(view.sponsor),
        reader.status(log),
        sum(seat.left is None for seat in view.seats.values()),
        len(view.aggregators),
        len(view.rounds),
        len(view.final_rounds),
        sum(round.aborted is not None for round in view.rounds),
        sum(each.status is ProposalStatus.REFUTED for each in proposals),
        reader.countdown(log),
    )


def _health(reader: Reader) -> tuple[Check, ...]:
    """What a reader should know before believing a page."""
    source, replay = reader.source, reader.replay
    as_of = source.as_of
    checks = [
        Check("node", not as_of.error, as_of.error or "The node answered the last time it was asked."),
        Check(
            "events",
            not replay.problems,
            f"{replay.events:,} events follow from one another."
            if not replay.problems
            else f"{len(replay.problems)} contradictions, the first: {replay.problems[0]}",
        ),
    ]
    unknown = sum(
        source.book.find(event.transaction, event.block_hash) is None
        for study in source.studies
        for events in replay.studies[study].transactions.values()
        for event in events.values()
    )
    detail = f"{unknown:,} receipts are not known." if unknown else "Every transaction's receipt is known."
    checks.append(Check("receipts", not unknown, detail))
    if source.stores is None:
        checks.append(Check("stores", None, "No store is given (--store): titles and blobs cannot be shown."))
    else:
        lacking = [
            study for study in source.studies if reader.published(replay.studies[study].view) is None
        ]
        detail = (
            "The published plan of every study was fetched."
            if not lacking
            else f"No store gives the published plan of studies {', '.join(map(str, lacking[:10]))}."
        )
        checks.append(Check("stores", not lacking, detail))
    checks.append(Check("proof", None, "Pages repeat what a node says; collegium audit proves it."))
    return tuple(checks)
