"""Which pages there are, and the record behind each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from collegium.errors import RecordError
from collegium.records import checksum_address

from .grid import pages_of, read_rounds
from .institutions import read_institution, read_institutions
from .models import lineage_pages, read_lineage, read_model
from .overview import read_overview
from .reader import Reader, study_path
from .records import VerifyPage
from .refutations import read_refutation
from .replay import Replay
from .rounds import read_round
from .source import BLOB_BYTES, Source
from .studies import read_study

__all__ = ["Page", "list_pages", "read_page"]

_NUMBER = r"(0|[1-9][0-9]{0,9})"
_STUDY = rf"studies/{_NUMBER}"


@dataclass(frozen=True, slots=True)
class Page:
    """path: relative, without suffix. kind: names the template. record: what it shows."""

    path: str
    kind: str
    record: Any


_ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    (r"index", "overview", lambda reader: read_overview(reader)),
    (r"verify", "verify", lambda reader: VerifyPage(BLOB_BYTES)),
    (r"institutions/index", "institutions", lambda reader: read_institutions(reader)),
    (r"institutions/(0x[0-9a-fA-F]{40})", "institution", lambda reader, who: read_institution(reader, _address(who))),
    (rf"{_STUDY}/index", "study", lambda reader, study: read_study(reader, int(study))),
    (rf"{_STUDY}/rounds/page-{_NUMBER}", "rounds", lambda reader, *at: read_rounds(reader, *map(int, at))),
    (rf"{_STUDY}/rounds/{_NUMBER}", "round", lambda reader, *at: read_round(reader, *map(int, at))),
    (rf"{_STUDY}/models/{_NUMBER}", "model", lambda reader, *at: read_model(reader, *map(int, at))),
    (rf"{_STUDY}/lineage/page-{_NUMBER}", "lineage", lambda reader, *at: read_lineage(reader, *map(int, at))),
    (rf"{_STUDY}/refutations/{_NUMBER}", "refutation", lambda reader, *at: read_refutation(reader, *map(int, at))),
)


def _address(text: str) -> str:
    """Only the checksummed form names a page. Raises LookupError."""
    try:
        found = checksum_address(text)
    except RecordError as error:
        raise LookupError(text) from error
    if found != text:
        raise LookupError(text)
    return found


def read_page(source: Source, path: str, *, now: int | None = None) -> Page:
    """The page at a path without suffix. now: unix seconds, by default as the chain's next block would carry them.

    Raises LookupError when there is none.
    """
    for pattern, kind, read in _ROUTES:
        found = re.fullmatch(pattern, path, re.ASCII)
        if found is not None:
            with source.reading():
                return Page(path, kind, read(Reader(source, now=now), *found.groups()))
    raise LookupError(path)


def list_pages(source: Source) -> list[str]:
    """Paths of all pages as of now, overview first."""
    with source.reading() as replay:
        return list(_list(source, replay))


def _list(source: Source, replay: Replay) -> Iterator[str]:
    yield from ("index", "verify", "institutions/index")
    yield from (f"institutions/{each.address}" for each in replay.parties.values() if each.admitted is not None)
    for study in source.studies:
        log, folder = replay.studies[study], study_path(study)
        yield f"{folder}/index"
        yield from (f"{folder}/rounds/page-{page}" for page in range(1, pages_of(log) + 1))
        yield from (f"{folder}/rounds/{view.number}" for view in log.view.rounds)
        yield f"{folder}/models/0"
        yield from (f"{folder}/models/{view.number}" for view in log.view.final_rounds)
        yield from (f"{folder}/lineage/page-{page}" for page in range(1, lineage_pages(log) + 1))
        yield from (f"{folder}/refutations/{at}" for at in range(1, len(log.refutations) + 1))
