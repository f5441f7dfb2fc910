"""Commands as documents show them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.setup.paths import ROOT

__all__ = ["Block", "blocks", "pages", "sections"]

_FENCE = re.compile(r"^```(?P<language>\w*)\s*\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block. line: where its text begins."""

    page: Path
    line: int
    language: str
    text: str


def pages() -> list[Path]:
    """Every Markdown page that we write."""
    found = [ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md") if (ROOT / name).exists()]
    for folder in ("docs", "examples", "benchmarks", "packaging"):
        found += sorted((ROOT / folder).rglob("*.md"))
    return found


def blocks(page: Path) -> Iterator[Block]:
    """Its fenced blocks in order."""
    content = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(content):
        yield Block(page, content[: found.start("text")].count("\n") + 1, found["language"], found["text"])


def sections(page: Path) -> Iterator[tuple[str, str]]:
    """Title of each section that shows commands, with all of them."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found: dict[str, str] = {}
    for block in blocks(page):
        if block.language == "sh":
            title = next(line[3:] for line in reversed(lines[: block.line]) if line.startswith("## "))
            found[title] = found.get(title, "") + block.text
    yield from found.items()
