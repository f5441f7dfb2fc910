"""docs/glossary.md: the nouns of events, and the groups of commands, are explained; one word is explained once."""

from __future__ import annotations

import re
from collections import Counter

from collegium_client.cli.app import _GROUPS
from scripts.setup.paths import ROOT
from tests.docs.test_contract_pages import ABIS, read

PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
TERMS = [
    term.strip().lower()
    for row in re.findall(r"^\| ([^|]+) \| [^|]+ \|$", PAGE, re.MULTILINE)
    for term in re.split(r"[,()]", row)
    if term.strip() and term not in ("word", "---")
]
# What events say of a thing, and names of other people's standards.
_SAID = re.compile(
    r"ed$|^Left$|^Held$|^Domain$|^712$|^EIP$|^Transfer$|^Approval$|^Key$|^Open|ing$|wn$|^Aggregate$|^Bonds$|^Collegium$"
)
# Groups of commands that say in plain English what they are about.
_PLAIN = {"keys", "train", "model", "log", "config", "contracts", "data", "tls", "devnet"}


def nouns() -> set[str]:
    found = set()
    for abi in ABIS:
        for kind, name in read(abi):
            if kind == "event":
                found |= {word for word in re.findall(r"[A-Z][a-z]+|\d+", name) if not _SAID.search(word)}
    return {_singular(word.lower()) for word in found}


def _singular(word: str) -> str:
    return word.removesuffix("s") if not word.endswith("ss") and word != "status" else word


def known() -> set[str]:
    return {_singular(word) for term in TERMS for word in term.split()} | set(TERMS)


def test_nouns_of_events_are_explained() -> None:
    assert len(nouns()) > 15
    assert not nouns() - known()


def test_groups_of_commands_are_explained() -> None:
    assert not {_singular(group) for group in _GROUPS if group not in _PLAIN} - known()


def test_a_word_is_explained_once() -> None:
    assert not {term for term, count in Counter(TERMS).items() if count > 1}
