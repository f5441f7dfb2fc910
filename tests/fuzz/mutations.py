"""Bytes, texts and JSON as an attacker sends them: valid ones with a few things changed, and plain noise."""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from collegium.errors import CollegiumError

__all__ = ["FUZZ", "SLOW_FUZZ", "mutated", "mutated_json", "mutated_text", "never_crashes"]

SHARE = int(os.environ.get("COLLEGIUM_FUZZ", "1"))
"""How much longer than in a test run: `make fuzz` sets it."""


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples * SHARE,
        deadline=None,
        database=None if SHARE == 1 else settings.default.database,  # type: ignore[union-attr]
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    )


FUZZ = _settings(150)
SLOW_FUZZ = _settings(50)
"""For what reads files or recovers signatures."""


def never_crashes(
    decoder: Callable[[], Any], allowed: type[BaseException] | tuple[type[BaseException], ...] = CollegiumError
) -> Any:
    """What the decoder returns, or None when it refuses with an error it may raise. Anything else fails the test."""
    try:
        return decoder()
    except allowed as error:
        if isinstance(error, CollegiumError):
            assert error.message and "Traceback" not in error.message
            assert 1 <= error.exit_code <= 8
            json.dumps(error.to_json(), default=str)
        return None


EDGES = (
    b"", b"\0", b"\xff", b"\x7f", b"\x80", b"\xff" * 4, b"\0" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"\x80\0\0\0",
    b"\xc0", b"\xf8\xff", b"\0" * 32, b"\xff" * 32, b"..", b"\x1b[2J", b"\xed\xa0\x80", "\u202e".encode(),
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, valid: bytes | tuple[bytes, ...]) -> bytes:
    """One of the valid inputs with up to four changes, or noise of at most 300 bytes."""
    samples = (valid,) if isinstance(valid, bytes) else valid
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=300))
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, 4))):
        _change(draw, data)
    return bytes(data)


def _change(draw: st.DrawFn, data: bytearray) -> None:
    at = draw(st.integers(0, max(0, len(data) - 1)))
    kind = draw(st.sampled_from(("flip", "set", "insert", "cut", "truncate", "repeat", "edge", "append")))
    if kind == "append" or not data:
        data += draw(st.binary(max_size=40))
    elif kind == "flip":
        data[at] ^= 1 << draw(st.integers(0, 7))
    elif kind == "set":
        data[at] = draw(st.integers(0, 255))
    elif kind == "insert":
        data[at:at] = draw(st.binary(min_size=1, max_size=12))
    elif kind == "cut":
        del data[at : at + draw(st.integers(1, 40))]
    elif kind == "truncate":
        del data[at:]
    elif kind == "repeat":
        data[at:at] = data[at : at + draw(st.integers(1, 64))]
    else:
        edge = draw(st.sampled_from(EDGES))
        data[at : at + len(edge)] = edge


@st.composite
def mutated_text(draw: st.DrawFn, *valid: str) -> str:
    """As `mutated`, as text; also what is no UTF-8 in the way that Python keeps it."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.text(max_size=120))
    changed = draw(mutated(tuple(each.encode() for each in valid)))
    return changed.decode("utf-8", draw(st.sampled_from(("replace", "ignore", "surrogateescape"))))


HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1 << 63, 1 << 256, 10**400, 1.5, -0.0, math.inf, math.nan, "", "0x", "0xzz", "x" * 5000,
    "\0", "\x1b]0;title\x07", "\ud800", "../../etc/passwd", "<script>", [], [[]], {}, [None] * 50, {"": ""},
    "0x" + "f" * 64, "1e999", "١٢", [1 << 70], {"a": {"b": {"c": []}}},
)  # fmt: skip


@st.composite
def mutated_json(draw: st.DrawFn, valid: Any) -> Any:
    """A value with one to four of its parts replaced, removed, doubled or added."""
    value = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 4))):
        value = _change_json(draw, value)
    return value


def _change_json(draw: st.DrawFn, value: Any) -> Any:
    # Going deeper is likelier than replacing the whole.
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return copy.deepcopy(draw(st.sampled_from(HOSTILE)))
    key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else list(range(len(value)))))
    kind = draw(st.sampled_from(("change", "change", "change", "remove", "add")))
    if kind == "remove":
        del value[key]
    elif kind == "add":
        if isinstance(value, dict):
            value[draw(st.text(max_size=8))] = copy.deepcopy(draw(st.sampled_from(HOSTILE)))
        else:
            value.insert(key, copy.deepcopy(value[key]))
    else:
        value[key] = _change_json(draw, value[key])
    return value
