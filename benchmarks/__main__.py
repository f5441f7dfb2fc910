"""`python -m benchmarks [part ...]`: take the figures and write `benchmarks/results.json`."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from . import gas_table
from .measure import Results

PARTS = ("vectors", "gas", "federation", "explorer", "startup")
RESULTS = Path(__file__).parent / "results.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="parts to measure; default: all")
    parser.add_argument("--out", type=Path, help="where to write; default: benchmarks/results.json when all parts ran")
    arguments = parser.parse_args()
    results = Results()
    for part in arguments.parts or PARTS:
        importlib.import_module(f".{part}", __package__).run(results)
    out = arguments.out or (None if arguments.parts else RESULTS)
    if out:
        results.write(out)
        print(f"written to {out}")
    if not arguments.parts:
        gas_table.write({figure.name: figure.value for figure in results.figures})
    missed = [figure.name for figure in results.figures if not figure.ok]
    for name in missed:
        print(f"missed its bar: {name} (see benchmarks/README.md)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
