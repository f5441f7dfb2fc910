"""A document as Markdown, HTML or plain text. The same document gives the same bytes."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["FORMATS", "Bullets", "Document", "Paragraph", "Section", "Table", "render"]

WIDTH = 100


@dataclass(frozen=True)
class Paragraph:
    text: str


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """rows: as many cells each as the head has."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    heading: str
    blocks: tuple[Paragraph | Bullets | Table, ...]


@dataclass(frozen=True)
class Document:
    """Texts may hold what strangers wrote; every form escapes it in its own way."""

    title: str
    subtitle: str
    sections: tuple[Section, ...]


def render(document: Document, form: str) -> bytes:
    """form: one of FORMATS. UTF-8 with a final line break."""
    return (FORMATS[form](document).rstrip("\n") + "\n").encode()


def _to_markdown(document: Document) -> str:
    lines = [f"# {_md(document.title)}", "", _md(document.subtitle), ""]
    for number, section in enumerate(document.sections, 1):
        lines += [f"## {number}. {_md(section.heading)}", ""]
        for block in section.blocks:
            if isinstance(block, Paragraph):
                lines += [_md(block.text), ""]
            elif isinstance(block, Bullets):
                lines += [*(f"- {_md(item)}" for item in block.items), ""]
            else:
                lines += [_md_row(block.head), _md_row(tuple("---" for _ in block.head), escape=False)]
                lines += [*map(_md_row, block.rows), ""]
    return "\n".join(lines)


def _md(text: str) -> str:
    """Text in which nothing of Markdown or HTML acts."""
    return "".join("\\" + each if each in "\\`*_[]<>#|~!&" else each for each in _one_line(text))


def _md_row(cells: Sequence[str], escape: bool = True) -> str:
    return "| " + " | ".join(_md(cell) if escape else cell for cell in cells) + " |"


def _to_text(document: Document) -> str:
    title = _wrap(document.title)
    lines = [*title, "=" * max(map(len, title)), "", *_wrap(document.subtitle), ""]
    for number, section in enumerate(document.sections, 1):
        heading = f"{number}. {_one_line(section.heading)}"
        lines += [heading, "-" * len(heading), ""]
        for block in section.blocks:
            if isinstance(block, Paragraph):
                lines += [*_wrap(block.text), ""]
            elif isinstance(block, Bullets):
                for item in block.items:
                    lines += _wrap(item, "- ", "  ")
                lines.append("")
            else:
                for row in block.rows:
                    for name, cell in zip(block.head, row, strict=True):
                        lines += _wrap(f"{name}: {cell}", "- " if name == block.head[0] else "  ", "    ")
                lines.append("")
    return "\n".join(lines)


def _wrap(text: str, first: str = "", later: str = "") -> list[str]:
    return textwrap.wrap(
        _one_line(text), WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _to_html(document: Document) -> str:
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{_html(document.title)}</title>",
        "<style>body{max-width:46em;margin:2em auto;padding:0 1em;font:1rem/1.5 Georgia,serif}"
        "table{border-collapse:collapse;width:100%}th,td{border:1px solid #999;padding:.3em .5em;text-align:left;"
        "vertical-align:top}td{overflow-wrap:anywhere}"
        "th:first-child,td:first-child{overflow-wrap:normal;hyphens:none;min-width:8em}"
        "@media print{body{margin:0}}</style></head><body>",
        f"<h1>{_html(document.title)}</h1>",
        f"<p>{_html(document.subtitle)}</p>",
    ]
    for number, section in enumerate(document.sections, 1):
        parts.append(f"<h2>{number}. {_html(section.heading)}</h2>")
        for block in section.blocks:
            if isinstance(block, Paragraph):
                parts.append(f"<p>{_html(block.text)}</p>")
            elif isinstance(block, Bullets):
                parts += ["<ul>", *(f"<li>{_html(item)}</li>" for item in block.items), "</ul>"]
            else:
                head = "".join(f'<th scope="col">{_html(cell)}</th>' for cell in block.head)
                rows = ["<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in row) + "</tr>" for row in block.rows]
                parts += [f"<table><thead><tr>{head}</tr></thead><tbody>", *rows, "</tbody></table>"]
    return "\n".join([*parts, "</body></html>"])


def _html(text: str) -> str:
    return html.escape(_one_line(text), quote=True)


def _one_line(text: str) -> str:
    """No line breaks and no control or direction characters: a title must not look like a clause."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


FORMATS: Mapping[str, Callable[[Document], str]] = {"md": _to_markdown, "html": _to_html, "txt": _to_text}
