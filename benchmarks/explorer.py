"""How fast the explorer's pages are after a thousand rounds, played for real on Anvil with a tiny model.

Every hundredth round has a lie that is refuted, every seventieth an institution that is late. A page's time is that of
its record and its HTML together, in one process, as a served request takes it.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from .measure import Results

if TYPE_CHECKING:
    from collegium.explorer.source import Source
    from collegium.explorer.web.render import Renderer
    from tests.support.federation import Federation

__all__ = ["run"]

ROUNDS = int(os.environ.get("EXPLORER_ROUNDS", "1000"))
BAR_SECONDS = 1.0


def run(results: Results) -> None:
    """Play, read, show."""
    from collegium.explorer.source import Source
    from collegium.explorer.web.build import build_site
    from collegium.explorer.web.render import Renderer
    from collegium.storage import MultiStore
    from tests.support.federation import Federation

    print(f"explorer after {ROUNDS} rounds")
    with tempfile.TemporaryDirectory() as name, Federation.start(Path(name) / "federation", aggregators=2) as played:
        start = time.perf_counter()
        _play(played)
        results.at_most(f"playing {ROUNDS} rounds on Anvil", time.perf_counter() - start, "s")
        renderer = Renderer(network="devnet", chain_id=31337)
        store = MultiStore([played.store])
        with Source(played.connect(), Path(name) / "index", stores=store) as source:
            start = time.perf_counter()
            source.refresh()
            results.at_most("reading the whole history from the node", time.perf_counter() - start, "s")
            results.at_least("events read", source.replay.events, "events")
            _pages(results, source, renderer)
            start = time.perf_counter()
            built = build_site(source, renderer, Path(name) / "site")
            results.at_most("building the whole site", time.perf_counter() - start, "s")
            results.at_least("files of the site", built.written, "files")
            start = time.perf_counter()
            again = build_site(source, renderer, Path(name) / "site")
            results.at_most("building it again, nothing changed", time.perf_counter() - start, "s")
            if again.written:
                raise RuntimeError(f"{again.written} files were written again although nothing changed")
            played.play_round()
            start = time.perf_counter()
            source.refresh()
            results.at_most("reading one round more", time.perf_counter() - start, "s")
            more = build_site(source, renderer, Path(name) / "site")
            results.at_most("files written for one round more", more.written, "files")
        with Source(played.connect(), Path(name) / "index", stores=store) as source:
            start = time.perf_counter()
            source.refresh()
            results.at_most("starting again with what was read", time.perf_counter() - start, "s")


def _play(played: Federation) -> None:
    from tests.support.federation import Lie

    for number in range(1, ROUNDS + 1):
        if number % 100 == 0:
            # Liars lose their bond, so each is a new one.
            played.add_aggregator(f"liar-{number}")
            played.play_round(lie=Lie.STEP)
        else:
            played.play_round(late=[0] if number % 70 == 0 else [])
        if number % 100 == 0:
            print(f"  {number} rounds", file=sys.stderr, flush=True)


def _pages(results: Results, source: Source, renderer: Renderer) -> None:
    from collegium.explorer.site import list_pages, read_page

    times: dict[str, list[float]] = defaultdict(list)
    slowest = ("", 0.0)
    for path in list_pages(source):
        start = time.perf_counter()
        page = read_page(source, path)
        renderer.html(page, source.as_of)
        taken = time.perf_counter() - start
        times[page.kind].append(taken)
        slowest = max(slowest, (path, taken), key=lambda each: each[1])
    for kind, taken_each in times.items():
        results.at_most(f"{kind} page, median of {len(taken_each)}", statistics.median(taken_each), "s")
    results.at_most(f"slowest page of all ({slowest[0]})", slowest[1], "s", BAR_SECONDS)
