"""Pages lead to one another: each is reached from the README, each linked heading exists, short ones stay short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.setup.paths import ROOT
from tests.docs.pages import pages

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def links(page: Path) -> list[tuple[Path, str]]:
    """File and heading of each relative link."""
    found = []
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        if "://" not in target and not target.startswith("mailto:"):
            found.append(((page.parent / path).resolve() if path else page, heading))
    return found


def headings(page: Path) -> set[str]:
    """As links name them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_every_page_is_reached_from_the_readme() -> None:
    reached: set[Path] = set()
    ahead = [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        if page.is_dir():
            ahead += page.glob("*.md")
        elif page.suffix == ".md" and page.exists():
            ahead += [path for path, _ in links(page) if path.is_relative_to(ROOT)]
    lost = {str(page.relative_to(ROOT)) for page in pages() if page not in reached}
    assert not lost


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_linked_headings_exist(page: Path) -> None:
    wrong = [f"{path.name}#{heading}" for path, heading in links(page) if heading and heading not in headings(path)]
    assert not wrong


def test_short_pages_stay_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 60
    for page in (ROOT / "docs" / "quickstart").glob("*.md"):
        assert len(page.read_text(encoding="utf-8").splitlines()) <= 90, page.name
