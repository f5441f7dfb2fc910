"""What a page is made of, read by a parser that forgives nothing: used by the tests of structure and links."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

__all__ = ["Outline", "read_outline"]

_VOID = {"meta", "link", "input", "br", "img", "hr"}


@dataclass
class Outline:
    """headings: (level, text). links: every href and src. elements: (tag, attributes) in order."""

    headings: list[tuple[int, str]] = field(default_factory=list)
    captions: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""

    def count(self, tag: str) -> int:
        return sum(each == tag for each, _ in self.elements)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found = Outline()
        self._open: list[str] = []
        self._words: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        assert len(given) == len(attrs), f"an attribute is given twice in <{tag}>"
        self.found.elements.append((tag, given))
        for name in ("href", "src", "data", "action", "poster"):
            if name in given:
                self.found.links.append(given[name])
        if "id" in given:
            self.found.ids.append(given["id"])
        if tag in ("h1", "h2", "h3", "caption"):
            self._words = []
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes <{self._open[-1:]}> at {self.getpos()}"
        self._open.pop()
        if tag in ("h1", "h2", "h3", "caption") and self._words is not None:
            words = " ".join("".join(self._words).split())
            if tag == "caption":
                self.found.captions.append(words)
            else:
                self.found.headings.append((int(tag[1]), words))
            self._words = None

    def handle_data(self, data: str) -> None:
        self.found.text += data
        if self._words is not None:
            self._words.append(data)

    def close(self) -> None:
        super().close()
        assert not self._open, f"never closed: {self._open}"


def read_outline(content: bytes) -> Outline:
    """Raises AssertionError for elements that are not closed in order, UnicodeDecodeError for other encodings."""
    reader = _Reader()
    reader.feed(content.decode("utf-8"))
    reader.close()
    return reader.found
