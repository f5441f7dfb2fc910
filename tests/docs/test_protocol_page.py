"""docs/protocol.md: its table of transitions is what the clock does."""

from __future__ import annotations

import itertools
import re

from collegium.phases import Clock, Rules, Tally, catch_up
from collegium.records import Phase
from scripts.setup.paths import ROOT

PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
RULES = Rules(10, 10, 10, 10, 10, min_clients=2, quorum=2, order_size=2)
RUNNING = (Phase.COMMIT, Phase.REVEAL, Phase.CERTIFY, Phase.PROPOSE, Phase.CHALLENGE)


def steps() -> set[tuple[Phase, Phase, bool]]:
    """From, to, and whether time has to pass, over small states; only what one deadline does."""
    found = set()
    for phase, done, attempt, excluded, late in itertools.product(RUNNING, range(4), range(3), range(4), (False, True)):
        tally = Tally(3, done, done, done, done)
        clock = Clock(phase, 0, attempt=attempt, position=excluded & 1, excluded=excluded)
        then = catch_up(clock, RULES, tally, 10 if late else 9)
        if then.phase is not phase or then.attempt != attempt:
            found.add((phase, then.phase, late))
    return found


def told() -> set[tuple[Phase, Phase, bool]]:
    """The rows of the page."""
    table = PAGE[PAGE.index("| phase | when | becomes |") :].partition("\n\n")[0]
    found = set()
    for name, when, becomes in re.findall(r"^\| (\w+) \| (.+?) \| (.+?) \|$", table, re.MULTILINE):
        if name == "phase":
            continue
        words = set(re.findall(r"Reveal|Certify|Propose|Final|Aborted", becomes))
        # "Pass on": the next one on duty, or nobody.
        words |= {"Propose", "Aborted"} if "pass on" in becomes else set()
        found |= {(Phase[name.upper()], Phase[word.upper()], "deadline" in when) for word in words}
    return found


def test_the_table_is_what_the_clock_does() -> None:
    assert told() == steps()
    assert (Phase.COMMIT, Phase.REVEAL, True) in told()


def test_states_are_drawn() -> None:
    picture = (ROOT / "docs" / "pictures" / "states.svg").read_text(encoding="utf-8")
    for phase in (*RUNNING, Phase.FINAL, Phase.ABORTED):
        assert f">{phase.name.capitalize()}<" in picture and phase.name.capitalize() in PAGE
