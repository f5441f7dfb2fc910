"""docs/contracts/: each contract has a page, and each page names every function, event and error of its ABI."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts.setup.paths import ROOT

PAGES = ROOT / "docs" / "contracts"
ABIS = sorted((ROOT / "collegium" / "abi").glob("*.json"))


def read(abi: Path) -> list[tuple[str, str]]:
    """Kind and name of each entry of an ABI."""
    found = json.loads(abi.read_text(encoding="utf-8"))
    entries = found["abi"] if isinstance(found, dict) else found
    return [(each["type"], each["name"]) for each in entries if each["type"] in ("function", "event", "error")]


def missing(entries: list[tuple[str, str]], page: str) -> list[str]:
    """What no code of the page names."""
    text = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", text))))
    return [f"{kind} {name}" for kind, name in entries if name not in named]


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.stem)
def test_a_page_names_everything(abi: Path) -> None:
    entries = read(abi)
    assert len(entries) > 5
    assert missing(entries, (PAGES / f"{abi.stem}.md").read_text(encoding="utf-8")) == []


def test_what_is_not_named_is_found() -> None:
    assert missing([("error", "BondsTooTired"), ("function", "lock")], "`lock(x)` and BondsTooTired") == [
        "error BondsTooTired"
    ]


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_names_nothing_else(page: Path) -> None:
    """Errors and events on the page exist in some contract."""
    known = {name for abi in ABIS for _, name in read(abi)}
    prefixes = ("Bonds", "Members", "Study", "Join", "Round", "Refutation", "Evidence", "Proposal", "Aggregator")
    words = re.findall(r"`([A-Z][a-z]+[A-Z]\w+)(?:\([^`]*\))?`", page.read_text(encoding="utf-8"))
    unknown = {word for word in words if word.startswith(prefixes)} - known - {"BondsGasTest", "RoundKeeping"}
    assert not unknown


def test_every_contract_has_a_page() -> None:
    deployed = {abi.stem for abi in ABIS} | {"Studies"}
    assert {page.stem for page in PAGES.glob("*.md")} == deployed
    sources = {source.stem for source in (ROOT / "contracts").glob("*.sol")} | {"Studies"}
    assert sources == deployed


def test_the_page_of_studies_names_its_own_half() -> None:
    source = (ROOT / "contracts" / "core" / "Studies.sol").read_text(encoding="utf-8")
    own = re.findall(r"function (\w+)\([^)]*\)\s+(?:external|public)", source)
    assert len(own) == 9
    assert missing([("function", name) for name in own], (PAGES / "Studies.md").read_text(encoding="utf-8")) == []
