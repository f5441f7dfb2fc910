"""Foreign text made harmless before it is shown. Escaping for HTML comes on top; this is about what escaping leaves."""

from __future__ import annotations

import itertools
import unicodedata

from collegium.cli.framework import neutralize

__all__ = ["LONGEST", "clean", "shorten"]

LONGEST = 4_000
"""Characters of one foreign text on a page; the JSON beside the page has the whole."""

_MARKS = 3


def clean(text: str) -> str:
    """Control characters and overrides of direction become visible, towers of accents end, endless text is cut."""
    if len(text) > LONGEST:
        text = text[:LONGEST] + " … (cut)"
    if text.isascii() and text.isprintable():
        return text
    return _limit_marks(neutralize(text))


def _limit_marks(text: str) -> str:
    """At most three combining marks in a row: more of them paint over the neighboring lines."""
    kept = []
    for is_mark, group in itertools.groupby(text, lambda each: unicodedata.category(each) in ("Mn", "Me")):
        characters = list(group)
        kept += characters[:_MARKS] if is_mark else characters
    return "".join(kept)


def shorten(text: str, length: int) -> str:
    """At most `length` characters, for titles and headings."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"
