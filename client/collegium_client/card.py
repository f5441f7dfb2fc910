"""A model card in Markdown: what the model is for, what it was trained on, how good it is, where it comes from.

After Mitchell et al. (2019), Model cards for model reporting, FAT* '19. Every line is taken from the chain, the
published plan or signed reports; nothing is measured here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from collegium.cli.framework import neutralize
from collegium.records import bits

from .evaluation import Comparison
from .finals import Final

__all__ = ["write_card"]

_SPECIAL = re.compile(r"([\\`*_{}\[\]()<>#+!|~&])")


def plain(text: str) -> str:
    """Foreign text that neither Markdown nor HTML nor a terminal takes for its own."""
    return _SPECIAL.sub(r"\\\1", " ".join(neutralize(text).split()))


def write_card(final: Final, comparison: Comparison | None, *, files: Sequence[tuple[str, str]] = ()) -> str:
    """The card of a verified model. `files`: names and sha256 of the exported files."""
    model, plan = final.model, final.plan
    deployed = final.chain.deployment.addresses
    parts = [
        f"# {plain(plan.title) or f'Study {model.study}'}, round {model.round}",
        "",
        f"Model of study {model.study} on chain {model.chain_id}, trained by {len(_served(final))} institutions without"
        " pooling their data, verified against the chain when this card was written.",
        "",
        "## Intended use",
        "",
        plain(plan.description) or "The study's plan does not say. Ask its sponsor before any use.",
        "",
        "Research. Collegium proves how a model came about, not that it is safe or effective: clinical use needs the"
        " validation and approval that apply where you are.",
        "",
        "## The model",
        "",
        *_table(("", ""), [
            ("parameters", f"{plan.table.count} in {len(plan.table.tensors)} tensors, float32"),
            ("precision", f"multiples of 2^-{plan.table.exponent}"),
            ("task", f"`{plan.task_digest.hex()}` (sha256; its code defines inputs and outputs)"),
            *((f"file {plain(name)}", f"sha256 `{digest}`") for name, digest in files),
        ]),
        "",
        "## Training data",
        "",
        "Data never left the institutions. The chain shows for each round who took part and a weight: the number of"
        " examples, rounded to a power of 1.25. Nothing else about the data is public.",
        "",
        *_sites(final),
        "",
        "## Measured",
        "",
        *_measured(comparison),
        "",
        "## Lineage",
        "",
        "From the genesis model to this one. A record binds everything before it.",
        "",
        *_lineage(final),
        "",
        *_table(("contract", "address"), [(name, f"`{address}`") for name, address in sorted(deployed.items())]),
        "",
        "## Limits",
        "",
        "- A correct aggregate does not mean honest training: poisoned but committed updates are averaged correctly.",
        "- Updates of this study are public; what can be inferred from them about training data was accepted by all.",
        "- Reported measures are each institution's own words, signed by it, about its own held-out cases.",
        "- Performance elsewhere, in other populations or with other devices, is unknown.",
        "",
        "## Verify",
        "",
        "```",
        f"collegium model verify {model.study} FILE.safetensors --round {model.round}",
        f"collegium audit --study {model.study} --rpc-url URL --deployment FILE --store URL",
        "```",
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _table(head: tuple[str, ...], rows: Sequence[tuple[Any, ...]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def _rounds(final: Final) -> list[Any]:
    return [each for each in final.view.final_rounds if each.number <= final.model.round]


def _served(final: Final) -> dict[int, list[int]]:
    """Weights by seat, one per round that the seat's update is part of."""
    found: dict[int, list[int]] = {}
    for each in _rounds(final):
        for seat in bits(each.proposals[-1].proposal.included):
            found.setdefault(seat, []).append(each.commits[seat].weight)
    return found


def _sites(final: Final) -> list[str]:
    served = _served(final)
    if not served:
        return ["This is the genesis model: seeded initial weights, trained on nothing."]
    rows = [
        (seat, f"`{final.view.seats[seat].institution}`", len(weights), weights[-1])
        for seat, weights in sorted(served.items())
    ]
    return _table(("seat", "institution", "rounds", "latest weight"), rows)


def _measured(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return ["No evaluation report was given."]
    pooled = comparison.pooled
    rows = [(name, _say(measure), pooled.sites[name]) for name, measure in pooled.measures.items()]
    sites = [
        (f"`{row.institution}`", row.cases or "withheld", *(_say(value) for value in row.measures.values()))
        for row in comparison.rows
    ]
    lines = [f"At threshold {pooled.threshold:g}, 95 % intervals, from counts that the institutions published.", ""]
    lines += _table(("all cases together", "value", "institutions"), rows)
    if pooled.area_low is not None and pooled.area_high is not None:
        lines += ["", f"The counts bound the AUROC of all cases by {pooled.area_low:.3f} and {pooled.area_high:.3f}."]
    lines += ["", *_table(("institution", "cases", *comparison.rows[0].measures), sites)]
    if comparison.differ is not None:
        each = comparison.differ
        lines += ["", f"AUROC differs between institutions: Q {each.q:.2f} on {each.freedom} degrees of freedom,"
                      f" p {each.p:.3f}, I2 {100 * each.i2:.0f} %; random effects {each.summary}."]  # fmt: skip
    return lines


def _say(measure: Any) -> str:
    return "withheld" if measure is None else str(measure)


def _lineage(final: Final) -> list[str]:
    view = final.view
    rows: list[tuple[Any, ...]] = [
        (0, _day(view.created.time), 0, f"`{view.genesis_cid}`", f"plan `{view.plan_hash.hex()}`",
         f"`{view.created.transaction}`")
    ]  # fmt: skip
    for each in _rounds(final):
        last = each.proposals[-1]
        rows.append((
            each.number, _day(each.finalized.time if each.finalized else 0), last.proposal.included.bit_count(),
            f"`{last.model_cid}`", f"`{each.record.hex()}`" + (" (disputed)" if each.disputed is not None else ""),
            f"`{each.finalized.transaction}`" if each.finalized else "",
        ))  # fmt: skip
    return _table(("round", "final on", "updates", "model CID", "record", "transaction"), rows)


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d") if seconds else "unknown"
