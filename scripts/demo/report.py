"""`build/demo/report.html`: one file, no scripts, nothing fetched; readable in light and dark, on screen and paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .chart import Line, draw_bars, draw_lines
from .evaluation import MEASURES
from .style import STYLE

__all__ = ["render"]

def render(summary: Mapping[str, Any]) -> str:
    """The page for a summary as `summary.build` makes it."""
    lie = summary["lie"]
    marks = [(lie["round"], "refuted")] if lie else []
    names = [each["name"] for each in summary["sites"]]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        "<title>Collegium: a verified federation</title>",
        f"<style>{STYLE}</style></head><body><main>",
        "<h1>A verified federation</h1>",
        f'<p class="soft">{len(names)} hospitals train one model on the Wisconsin breast cancer data without pooling'
        f" it. Every round is proven on a chain (id {summary['chain_id']}); blobs lie in"
        f" {escape(summary['storage_words'])}."
        f" Held out for judging: {summary['held_out']} patients that no hospital trains on.</p>",
        _tiles(summary),
        "<h2>How good the model is</h2>",
        '<div class="charts">',
        *[_chart(summary, measure, names, marks) for measure in MEASURES],
        "</div>",
        '<p class="soft">A hospital\'s name stands for what it reached alone. Alone and pooled had the same budget:'
        " as many rounds of the same epochs. Pooling is what the hospitals may not do; it is the mark to reach.</p>",
        _sites(summary),
        "<h2>Rounds</h2>",
        _rounds(summary),
        _lie(summary) if lie else "<h2>Lies</h2><p>Nobody lied in this run, and nobody was refuted.</p>",
        "<h2>Audit</h2>",
        _audit(summary),
        "<h2>Time</h2>",
        _time(summary),
        "<h2>Gas</h2>",
        _table(
            "Gas used on the chain, by what it was for",
            ["what", "gas"],
            [[name.replace("_", " "), f"{value:,}"] for name, value in summary["gas"].items()],
            numeric={1},
        ),
        "<h2>Behind each claim</h2>",
        _table(
            "The transaction behind each outcome",
            ["outcome", "transaction"],
            [[name.replace("_", " "), _hashes(value)] for name, value in summary["transactions"].items()],
            raw={1},
        ),
        "<h2>What this does not show</h2>",
        "<p>A correct aggregate does not mean honest training: poisoned but committed updates are averaged correctly."
        " In this mode updates are public to anyone. If as many members as form a quorum collude with the aggregator"
        " they can finalize a lie, which costs them the bond and stands as disputed.</p>",
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _tiles(summary: Mapping[str, Any]) -> str:
    lie = summary["lie"]
    token = summary["aggregator_slashed_wei"] / 10**18
    tiles = [
        (f"{summary['rounds_finalized']}", "rounds finalized", ""),
        (f"{summary['accuracy_global']:.3f}", "accuracy of the federation", ""),
        (f"{summary['accuracy_pooled']:.3f}", "accuracy if data were pooled", ""),
        (f"{summary['accuracy_local_mean']:.3f}", "mean accuracy alone", ""),
        ("refuted" if summary["lie_refuted"] else "none", f"lie in round {lie['round']}" if lie else "lies", "good"),
        (f"{token:g}", "stake tokens slashed", ""),
        (summary["audit_verdict"], "independent audit", "good" if summary["audit_verdict"] == "ok" else "bad"),
        (f"{summary['seconds']['total']:.0f} s", "from nothing to audited", ""),
    ]
    return (
        '<div class="tiles">'
        + "".join(
            f'<div class="tile {tone}"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
            for value, what, tone in tiles
        )
        + "</div>"
    )


def _chart(summary: Mapping[str, Any], measure: str, names: Sequence[str], marks: Sequence[tuple[int, str]]) -> str:
    measures = summary["measures"]
    lines = [
        *[
            Line(f"{name} alone", [each[measure] for each in measures["alone"][at]], f"site-{at % 4 + 1}", name)
            for at, name in enumerate(names)
        ],
        Line("pooled", [each[measure] for each in measures["pooled"]], "pool"),
        Line("federation", [each[measure] for each in measures["global"]], "fed"),
    ]
    title = f"{measure.upper() if measure == 'auroc' else measure.capitalize()} on the held-out patients"
    return f"<figure><figcaption>{title}</figcaption>{draw_lines(title, lines, marks=marks)}</figure>"


def _sites(summary: Mapping[str, Any]) -> str:
    rows = [
        [each["name"], f"{each['patients']}", f"{each['malignant'] / each['patients']:.0%}",
         f"{each['accuracy_alone']:.3f}", _hash(each["institution"])]
        for each in summary["sites"]
    ]  # fmt: skip
    return _table(
        "The hospitals: sizes and labels are skewed on purpose",
        ["hospital", "patients", "malignant", "accuracy alone", "institution"],
        rows,
        numeric={1, 2, 3},
        raw={4},
    )


def _rounds(summary: Mapping[str, Any]) -> str:
    rows = []
    for each, measured in zip(summary["rounds"], summary["measures"]["global"][1:], strict=True):
        rows.append(
            [
                str(each["round"]),
                each["aggregator"],
                *[f"{measured[measure]:.3f}" for measure in MEASURES],
                f"{each['seconds']:.1f}",
                f"{each['gas']:,}",
                _hash(each["model_cid"]),
                _hashes(each["finalized"]),
            ]
        )
    return _table(
        "Metrics are those of the finalized model on the held-out patients",
        ["round", "aggregator", *MEASURES, "seconds", "gas", "model", "finalized in"],
        rows,
        numeric={0, 2, 3, 4, 5, 6, 7},
        raw={8, 9},
    )


def _lie(summary: Mapping[str, Any]) -> str:
    lie = summary["lie"]
    proven = (
        f"{escape(lie['challenger'])}: coordinate {lie['coordinate']:,} was claimed to be {lie['claimed']:,},"
        f" is {lie['right']:,}"
    )
    paid, burned, rewarded, shared = (
        f"{each / 10**18:g}"
        for each in (summary["aggregator_slashed_wei"], lie["burned_wei"], lie["challenger_wei"], lie["clients_wei"])
    )
    split = f"{paid} tokens from the bond: {burned} burned, {rewarded} to the challenger, {shared} to the hospitals"
    rows = [
        ["proposed", escape(lie["liar"]), _hashes(lie["proposed"])],
        ["refuted", proven, _hashes(lie["refuted"])],
        ["paid", split, _hashes(lie["refuted"])],
        ["finished by", escape(lie["successor"] or "nobody"), _hashes(lie["finalized"])],
    ]
    note = "The liar's process was alive at the end and saw it." if lie["liar_alive"] else ""
    return (
        f"<h2>The lie of round {lie['round']}</h2><p>One coordinate out of {lie['elements']:,}, drawn by the liar's own"
        f" process and told to nobody. The watcher recomputed the proposal and proved the fault with"
        f" {lie['evidence_bytes']:,} bytes of evidence. {note}</p>"
        + _table("What happened, in order", ["step", "who", "transaction"], rows, raw={1, 2})
    )


def _audit(summary: Mapping[str, Any]) -> str:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in summary["audit_checks"]:
        groups.setdefault((each["status"], each["name"]), []).append(each)
    rows = [
        [status, name, _span([each["round"] for each in group]), group[0]["detail"]]
        for (status, name), group in groups.items()
    ]
    return (
        "<p>Made afterwards from a fresh folder that knows an RPC address, the deployment file and a store, and"
        " nothing else (to repeat it, run <code>make demo DEMO_ARGS=--keep</code>):</p>"
        f"<pre><code>{escape(summary['audit_command'])}</code></pre>"
        '<p>The whole history as pages: <a href="explorer/index.html">explorer/index.html</a>, beside this report.</p>'
        + _table("Every check of the audit", ["verdict", "check", "rounds", "detail, of the first round"], rows)
    )


def _span(numbers: Sequence[int | None]) -> str:
    found = [number for number in numbers if number is not None]
    return "" if not found else str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _time(summary: Mapping[str, Any]) -> str:
    seconds = summary["seconds"]
    steps = [(name.replace("_", " "), value) for name, value in seconds["steps"].items()]
    phases = [(f"rounds: {name}", value) for name, value in seconds["rounds_by_phase"].items()]
    title = "Seconds by step"
    return (
        f"<figure><figcaption>{title}</figcaption>{draw_bars(title, 's', [*steps, *phases])}</figure>"
        f'<p class="soft">Windows of the plan: {escape(summary["windows_words"])}. A phase ends as soon as everybody'
        f" has acted; {summary['windows_waited']} ended by their deadline instead. Training took"
        f" {seconds['training']:.2f} s of {seconds['rounds']:.1f} s in the rounds; the rest, waiting included,"
        f" is overhead: {seconds['overhead_per_round']:.2f} s per round.</p>"
    )


def _table(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numeric: set[int] | None = None,
    raw: set[int] | None = None,
) -> str:
    numeric, raw = numeric or set(), raw or set()

    def cell(at: int, text: str) -> str:
        # On narrow screens a row is a block, and each cell says what it is.
        kind = ' class="n"' if at in numeric else ""
        return f'<td{kind} data-head="{escape(head[at])}">{text if at in raw else escape(text)}</td>'

    header = "".join(
        f'<th scope="col"{" class=n" if at in numeric else ""}>{escape(text)}</th>' for at, text in enumerate(head)
    )
    body = "".join("<tr>" + "".join(cell(at, text) for at, text in enumerate(row)) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{header}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _hashes(value: str | Sequence[str] | None) -> str:
    """One or several; a dash for none."""
    if not value:
        return "–"
    return "<br>".join(_hash(one) for one in ([value] if isinstance(value, str) else value))


def _hash(text: str) -> str:
    """Shown short, there in full: a click selects all of it, to be copied into any explorer."""
    return f'<code class="hash" title="{escape(text)}">{escape(text)}</code>'
