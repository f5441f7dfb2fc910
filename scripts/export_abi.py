"""Writes collegium/abi/<Name>.json, the ABIs that the Python packages carry.

    python -m scripts.export_abi            compile and write
    python -m scripts.export_abi --check    compile and compare; exit 1 when a file is out of date

Only the ABI is asked of the compiler, so this takes a second and needs no optimizer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.setup.paths import ROOT, environment, tool

CONTRACTS = ("Collegium", "Refutations", "Referee", "Members", "Bonds", "CollegiumToken")
FOLDER = ROOT / "collegium" / "abi"


def find_source(name: str) -> tuple[Path, str]:
    """File and contract name to export `name` from: the contract, or its interface while there is none."""
    for candidate in (name, f"I{name}"):
        found = [path for path in sorted((ROOT / "contracts").rglob(f"{candidate}.sol")) if ".cache" not in path.parts]
        if found:
            return found[0], candidate
    raise SystemExit(f"no Solidity source for {name} under contracts/")


def compile_abis(names: tuple[str, ...] = CONTRACTS) -> dict[str, list[dict[str, Any]]]:
    """ABI of each contract, entries sorted by kind, name and types."""
    sources = {name: find_source(name) for name in names}
    request = {
        "language": "Solidity",
        "sources": {
            str(path.relative_to(ROOT)): {"urls": [str(path.relative_to(ROOT))]} for path, _ in sources.values()
        },
        "settings": {
            "remappings": ["@openzeppelin/contracts/=node_modules/@openzeppelin/contracts/"],
            "outputSelection": {"*": {"*": ["abi"]}},
        },
    }
    done = subprocess.run(
        [str(tool("solc")), "--standard-json", "--base-path", str(ROOT), "--allow-paths", str(ROOT)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=False,
    )
    if done.returncode != 0 or not done.stdout.lstrip().startswith("{"):
        raise SystemExit(f"solc failed: {done.stderr or done.stdout}")
    answer = json.loads(done.stdout)
    problems = [error["formattedMessage"] for error in answer.get("errors", ()) if error["severity"] == "error"]
    if problems:
        raise SystemExit("\n".join(problems))
    return {
        name: sorted(answer["contracts"][str(path.relative_to(ROOT))][contract]["abi"], key=_order)
        for name, (path, contract) in sources.items()
    }


def _order(entry: dict[str, Any]) -> tuple[str, str, str]:
    return entry["type"], entry.get("name", ""), json.dumps(entry.get("inputs", ()), sort_keys=True)


def render(abi: list[dict[str, Any]]) -> str:
    """One entry a line, so that a change reads well in a diff."""
    return "[\n" + ",\n".join(json.dumps(entry, sort_keys=True) for entry in abi) + "\n]\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Export the ABIs of the contracts.")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 on a difference")
    check = parser.parse_args(arguments).check
    FOLDER.mkdir(exist_ok=True)
    stale = []
    for name, abi in compile_abis().items():
        path, text = FOLDER / f"{name}.json", render(abi)
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not check:
            path.write_text(text)
    if check and stale:
        print(f"ABIs out of date: {', '.join(stale)}. Run `python -m scripts.export_abi`.", file=sys.stderr)
        return 1
    print(f"{'up to date' if not stale else 'wrote ' + ', '.join(stale)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
