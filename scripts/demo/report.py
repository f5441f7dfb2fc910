"""`build/demo/report.html`: one file, no scripts, nothing fetched; readable in light and dark, on screen and paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .chart import Line, draw_bars, draw_lines
from .evaluation import MEASURES

__all__ = ["render"]

_STYLE = """
:root { color-scheme: light dark; --ink:#1b1f24; --soft:#5a6472; --rule:#d5dae1; --page:#ffffff; --panel:#f5f7f9;
  --fed:#0b6bcb; --pool:#1a7f37; --one:#a85b00; --bad:#b42318; --good:#1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6e9ee; --soft:#a0a9b6; --rule:#39414c; --page:#14181d;
  --panel:#1d232a; --fed:#6cb2ff; --pool:#5fce82; --one:#f0ad4e; --bad:#ff8a80; --good:#5fce82; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--page); color:var(--ink);
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif; }
main { max-width: 1040px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size:1.7rem; margin:0 0 .25rem; } h2 { font-size:1.2rem; margin:2.5rem 0 .75rem; }
p { max-width: 70ch; } .soft { color:var(--soft); }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(180px,1fr)); gap:.75rem; margin:1.5rem 0; }
.tile { background:var(--panel); border:1px solid var(--rule); border-radius:8px; padding:.75rem 1rem; }
.tile b { display:block; font-size:1.45rem; font-variant-numeric:tabular-nums; } .tile span { color:var(--soft); }
.good b { color:var(--good); } .bad b { color:var(--bad); }
.charts { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(460px,100%),1fr)); gap:1rem; }
figure { margin:0; background:var(--panel); border:1px solid var(--rule); border-radius:8px; padding:.75rem; }
figcaption { font-weight:600; margin-bottom:.25rem; }
svg { width:100%; height:auto; display:block; font:12px system-ui,sans-serif; }
.grid { stroke:var(--rule); } .tick { fill:var(--soft); } .line { fill:none; stroke-width:2; }
.mark { stroke:var(--bad); stroke-dasharray:4 4; } .marked { fill:var(--bad); }
.fed { stroke:var(--fed); stroke-width:3; } .pool { stroke:var(--pool); stroke-dasharray:8 4; }
.one { stroke:var(--one); stroke-width:1.5; opacity:.85; }
.two { stroke-dasharray:5 3; } .three { stroke-dasharray:2 3; } .four { stroke-dasharray:9 3 2 3; }
.label { stroke:none; opacity:1; } .label.fed { fill:var(--fed); font-weight:600; }
.label.pool { fill:var(--pool); } .label.one { fill:var(--one); } .bar { fill:var(--fed); }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums; font-size:.92rem; }
caption { text-align:left; color:var(--soft); padding:.25rem 0; }
th,td { text-align:left; padding:.35rem .6rem; border-bottom:1px solid var(--rule); vertical-align:top; }
td.n,th.n { text-align:right; }
code { font:.86em ui-monospace,"SFMono-Regular",Menlo,monospace; overflow-wrap:anywhere; }
pre { background:var(--panel); border:1px solid var(--rule); border-radius:8px; padding:.75rem; overflow-x:auto; }
@media print { body { font-size:11pt; } figure,.tile,tr { break-inside:avoid; } }
"""


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
        f"<style>{_STYLE}</style></head><body><main>",
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
        '<p class="soft">Alone and pooled had the same budget: as many rounds of the same epochs. Pooling is what the'
        " hospitals may not do; it is the mark to reach.</p>",
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
    dashes = ("", " two", " three", " four")
    lines = [
        *[
            Line(f"{name} alone", [each[measure] for each in measures["alone"][at]], f"one{dashes[at % 4]}")
            for at, name in enumerate(names)
        ],
        Line("pooled", [each[measure] for each in measures["pooled"]], "pool"),
        Line("federation", [each[measure] for each in measures["global"]], "fed"),
    ]
    title = f"{measure.upper() if measure == 'auroc' else measure.capitalize()} on the held-out patients"
    return f"<figure><figcaption>{title}</figcaption>{draw_lines(title, '', lines, marks=marks)}</figure>"


def _sites(summary: Mapping[str, Any]) -> str:
    rows = [
        [each["name"], f"{each['patients']}", f"{each['malignant'] / each['patients']:.0%}",
         f"{each['accuracy_alone']:.3f}", f"<code>{each['institution']}</code>"]
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
                f"<code>{each['model_cid']}</code>",
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
        + _table("What happened, in order", ["", "who", "transaction"], rows, raw={1, 2})
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

    def cell(tag: str, at: int, text: str) -> str:
        kind = ' class="n"' if at in numeric else ""
        return f"<{tag}{kind}>{text if at in raw and tag == 'td' else escape(text)}</{tag}>"

    header = "".join(cell("th", at, text) for at, text in enumerate(head))
    body = "".join("<tr>" + "".join(cell("td", at, text) for at, text in enumerate(row)) + "</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{header}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _hashes(value: str | Sequence[str] | None) -> str:
    """Transaction hashes in full, which a reader can copy into any explorer."""
    if not value:
        return "–"
    each = [value] if isinstance(value, str) else list(value)
    return "<br>".join(f"<code>{escape(one)}</code>" for one in each)
