"""One history for all tests of the explorer: everything that can happen in rounds, told by people who mean no good."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from collegium.chain import intents
from collegium.evidence import build_equivocation_evidence
from collegium.explorer.source import Source
from collegium.storage import MultiStore, cid_of
from tests.audit.histories import play_eventful
from tests.support.federation import TABLE, Federation, Lie

__all__ = ["HOSTILE", "HOSTILE_NAME", "HOSTILE_TITLE", "open_source", "play_hostile"]

HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\" onmouseover=\"document.title='owned'\" x=\"",
    "'; javascript:alert(1)//",
    "{{ 7*7 }} {% raw %} </title></style>",
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnihton\u2066 \u200f\ufeff",
    "a" + "\u0301" * 60,
)
"""What escaping must survive: markup, attributes, templates, terminals, text direction, towers of accents."""

HOSTILE_NAME = "St. " + HOSTILE[0] + HOSTILE[6]
HOSTILE_TITLE = "Study " + HOSTILE[1] + HOSTILE[5]


def published_plan() -> bytes:
    """A plan as the client writes it, with a title and a tensor that nobody would approve."""
    tensors = json.loads(TABLE.canonical_json())
    tensors[0]["name"] = "layer" + HOSTILE[0]
    content = {
        "schema": "collegium.plan/1",
        "title": HOSTILE_TITLE,
        "description": "\n".join(HOSTILE) + "\n" + "x" * 10_000,
        "task": {"digest": "00" * 32},
        "format": {"exponent": 16, "bound": 1 << 20, "weighted": True, "tensors": tensors},
    }
    return json.dumps(content).encode()


def play_hostile(folder: Path) -> Federation:
    """A federation after some fifteen rounds; the last one is under way."""
    plan = published_plan()
    federation = Federation.start(folder, plan={"plan_digest": cid_of(plan).digest})
    try:
        federation.store.put(plan)
        play_eventful(federation)
        federation.add_member(HOSTILE_NAME)
        federation.add_aggregator("<b>coordinator</b>")
        federation.play_round(lie=Lie.TAIL)
        _play_cheaters(federation)
        federation.open_round()
        federation.commit([0])
    except BaseException:
        federation.stop()
        raise
    return federation


def _play_cheaters(federation: Federation) -> None:
    """Seat 0 sends an update out of range, another signs two."""
    opened = federation.open_round()
    seat, other = opened.invited[0], opened.invited[-1]
    elements = np.zeros(federation.table.elements, dtype="<i4")
    elements[7] = federation.table.bound + 5
    twice = [federation.prepare(other), federation.prepare(other)]
    rest = [federation.prepare(each) for each in opened.invited if each not in (seat, other)]
    federation.commit(submissions=[federation.prepare(seat, elements=elements), *rest, twice[0]])
    federation.reveal()
    federation.refute_range(seat)
    evidence = build_equivocation_evidence(twice[0].signed, twice[1].signed)
    federation.send(intents.refute_equivocation(federation.study_id, evidence))
    federation.certify()
    federation.propose()
    federation.conclude()


def open_source(federation: Federation, folder: Path, *, stores: bool = True, rpc_url: str | None = None) -> Source:
    """Reads the federation's chain and store; not refreshed yet."""
    store = MultiStore([federation.store]) if stores else None
    return Source(federation.connect(rpc_url), folder, stores=store)
