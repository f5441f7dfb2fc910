"""round coordinate."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from collegium.cli.framework import App, Shown, command, rpc_option
from collegium.errors import BlobNotFoundError, CollegiumError, PreconditionError, UsageError, VerificationError

if TYPE_CHECKING:
    from collegium.chain.views import RoundView

__all__ = ["round_coordinate"]

_HINTS = {
    "live": "While its window is open, `collegium watch` refutes it and is paid for it.",
    "refuted": "It was refuted on chain, and the round went on without it.",
    "lapsed": "It found no endorsement and counts for nothing.",
    "final": "It is final: `collegium audit` tells what that means for the study.",
}


@command()
@click.argument("study", type=int)
@click.argument("number", metavar="ROUND", type=int)
@click.argument("position", metavar="[COORDINATE]", type=int, required=False)
@click.option("--attempt", type=int, help="Which proposal, by failed duties before it [default: the last].")
@rpc_option()
@click.option("--deployment", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Deployment file.")
@click.option("--store", "stores", multiple=True, help="Store to read from instead of the home's; repeat for more.")
def round_coordinate(
    app: App,
    study: int,
    number: int,
    position: int | None,
    attempt: int | None,
    rpc_url: str | None,
    deployment: Path | None,
    stores: tuple[str, ...],
) -> Shown:
    """Recompute one COORDINATE of a ROUND by hand, from the hospitals' blobs; exit 4 when the proposal is wrong there.

    Without COORDINATE it is the one that a refutation named. Needs no key.
    """
    from collegium.chain import Indexer
    from collegium.chain.following import StudyFollower
    from collegium.coordinate import recompute_coordinate
    from collegium.inputs import BlobSource
    from collegium.storage import open_stores
    from collegium.storage.folder import BlobFolder
    from collegium_client.home import Home

    from .network import open_chain

    chain = open_chain(app, deployment, rpc_url)
    # An auditor has no home to keep an index or blobs in.
    with tempfile.TemporaryDirectory() as scratch:
        with Indexer(Path(scratch) / "index.sqlite", chain) as indexer:
            view = StudyFollower(indexer, study).refresh()
        round = view.round(number)
        if round is None:
            raise PreconditionError(f"Study {study} has no round {number}.", hint="See `collegium study show`.")
        if position is None:
            position, attempt = _refuted(round, attempt)
        id_ = chain.chain_id
        home = Home(app.home)
        given = open_stores(stores, chain_id=id_, transport=home.transport) if stores else None
        readable = given or home.stores_to_read(id_)
        blobs = BlobSource(BlobFolder(Path(scratch) / "store"), readable, view.format)
        found = recompute_coordinate(blobs, view.plan, round, position, attempt=attempt)
    error: CollegiumError | None = None
    if found.ok is False:
        error = VerificationError(
            f"The proposal of attempt {found.attempt} is wrong at coordinate {position}.",
            hint=_HINTS[found.status],
        )
    elif found.ok is None:
        error = BlobNotFoundError(
            f"What the proposal says at coordinate {position} cannot be compared: no store here has its blobs.",
            hint="Name further stores with --store, those of other coordinators first.",
        )
    lines = [*found.lines(), *_others(round, position, found.attempt)]
    return Shown({"study": study, **found.to_json()}, lines, error=error)


def _others(round: RoundView, position: int, attempt: int) -> list[str]:
    """Refutations of other proposals of the round at the same coordinate."""
    lines = []
    for event in round.refutations:
        ended = next((p for p in round.proposals if p.ended and p.ended.transaction == event.transaction), None)
        if ended is not None and ended.proposal.attempt != attempt and int(event.args["coordinate"]) == position:
            lines.append(
                f"  attempt {ended.proposal.attempt} was refuted here: it claimed {event.args['claimed']}"
                f" (see --attempt {ended.proposal.attempt})"
            )
    return lines


def _refuted(round: RoundView, attempt: int | None) -> tuple[int, int | None]:
    """Coordinate and attempt of the round's refuted proposal."""
    for event in round.refutations:
        found = next((p for p in round.proposals if p.ended and p.ended.transaction == event.transaction), None)
        if found is not None and attempt in (None, found.proposal.attempt):
            return int(event.args["coordinate"]), found.proposal.attempt
    raise UsageError(f"No proposal of round {round.number} was refuted.", hint="Name a coordinate.")
