"""Writes collegium/release/gas.json, the figures behind `collegium cost`, from measured ones.

    python -m benchmarks gas --out build/gas.json && python -m benchmarks.gas_table build/gas.json

`make bench` does it at its end.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collegium.costs import SCHEMA
from scripts.setup.paths import ROOT

TABLE = ROOT / "collegium" / "release" / "gas.json"

# Name in the table -> name among the figures, the part before ", n=…".
ROUND = {
    "open": "open the first round",
    "commit": "commit in a batch, per hospital",
    "reveal": "reveal in a batch, per hospital",
    "certify": "certify",
    "propose": "propose",
    "conclude": "endorse, finalize and open the next",
}
ONCE = {
    "allow a referee": "allow a referee, 2 of 3 approvals",
    "admit an institution": "admit an institution, 2 of 3 approvals",
    "create a study": "create a study",
    "register a node key": "register a node key",
    "approve": "approve",
    "deposit stake": "deposit stake",
    "join a study": "join a study",
    "enlist": "enlist as an aggregator",
    "connect the contracts": "connect the contracts",
}
_SIZES = {"K": 10**3, "M": 10**6}


def build(figures: Mapping[str, float]) -> dict[str, Any]:
    """The table. Raises KeyError for a figure that was not taken."""
    once = {name: figures[title] for name, title in ONCE.items()}
    once |= {name: gas for name, gas in figures.items() if name.startswith("create ")}
    alone = [gas for name, gas in figures.items() if re.fullmatch(r"commit alone, n=\d+", name)]
    once["commit alone"] = max(alone)
    rounds: dict[str, list[list[float]]] = {}
    for name, title in ROUND.items():
        found = ((re.fullmatch(rf"{re.escape(title)}, n=(\d+)", each), gas) for each, gas in figures.items())
        # What is told per hospital becomes the transaction again.
        rounds[name] = [
            [int(each[1]), round(gas * (int(each[1]) if "per hospital" in title else 1))] for each, gas in found if each
        ]
        if not rounds[name]:
            raise KeyError(title)
    mean = []
    for name, gas in figures.items():
        if each := re.fullmatch(r"R1 mean, n=(\d+), (\d+)([KM]) parameters", name):
            mean.append([int(each[1]), int(each[2]) * _SIZES[each[3]], round(gas)])
    return {
        "schema": SCHEMA,
        "once": {name: round(gas) for name, gas in sorted(once.items())},
        "round": rounds,
        "mean": mean,
    }


def write(figures: Mapping[str, float], path: Path = TABLE) -> None:
    """One act a line."""
    table = build(figures)
    lines = [f' "schema": {json.dumps(table["schema"])}']
    for key in ("once", "round"):
        body = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in table[key].items())
        lines.append(f' "{key}": {{\n{body}\n }}')
    lines.append(f' "mean": {json.dumps(table["mean"])}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read(path: Path) -> dict[str, float]:
    """Figures as `python -m benchmarks` writes them, by name."""
    return {each["name"]: each["value"] for each in json.loads(path.read_text(encoding="utf-8"))}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write collegium/release/gas.json.")
    parser.add_argument("figures", type=Path, help="file of `python -m benchmarks gas --out FILE`")
    write(read(parser.parse_args().figures))
    print(f"written to {TABLE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
