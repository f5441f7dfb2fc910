"""Runs Slither over the contracts and holds every high and medium finding against docs/security/slither.toml.

    python -m scripts.security.slither            run; exit 1 on a finding without explanation, or the other way round
    python -m scripts.security.slither --page     only write docs/security/slither.md from the explanations

Slither is licensed under the AGPL and is no dependency of this project: it gets an environment of its own under
build/ and reads the compiler's standard JSON, because it cannot drive the compiler of npm itself.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.release.compiler import compile_metadata, read_settings
from scripts.release.standard_json import contract_paths
from scripts.setup.paths import BUILD, ROOT, environment, tool

__all__ = ["Explanation", "Finding", "compare", "main", "read_explanations", "read_findings", "render"]

EXPLANATIONS = ROOT / "docs" / "security" / "slither.toml"
PAGE = ROOT / "docs" / "security" / "slither.md"
PINS = ROOT / "requirements" / "slither.txt"
VENV = BUILD / "slither"
GATED = ("High", "Medium")
LIBRARY = "@openzeppelin"
_PLACE = re.compile(r" ?\([^()]*\.sol#[0-9-]+\)")


@dataclass(frozen=True, slots=True)
class Finding:
    """check: Slither's detector. at: contract and function, or the library it lies in."""

    impact: str
    check: str
    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why `count` findings of a detector at a place are no fault."""

    check: str
    at: str
    count: int
    why: str


def install() -> Path:
    """Slither in an environment of its own; its path. Does nothing when the pinned one is there."""
    program, stamp = VENV / "bin" / "slither", VENV / "pins.txt"
    if program.exists() and stamp.exists() and stamp.read_bytes() == PINS.read_bytes():
        return program
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", str(PINS)], check=True)
    stamp.write_bytes(PINS.read_bytes())
    return program


def write_input(folder: Path) -> Path:
    """Standard JSON of all deployed contracts with their syntax trees, and the sources as files beside it."""
    settings, paths = read_settings(), contract_paths()
    names = sorted({name for sources in compile_metadata(paths, settings).values() for name in sources})
    sources = {}
    for name in names:
        text = (ROOT / name).read_text(encoding="utf-8")
        sources[name] = {"content": text}
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    contract = ["abi", "metadata", "devdoc", "userdoc", "evm.bytecode", "evm.deployedBytecode"]
    request = {
        "language": "Solidity",
        "sources": sources,
        "settings": {**settings, "outputSelection": {"*": {"*": contract, "": ["ast"]}}},
    }
    path = folder / "input.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    return path


def run_slither() -> dict[str, Any]:
    """Slither's own report. Raises SystemExit with its words when it does not come to one."""
    program = install()
    # Below a folder without foundry.toml, which it would take for the project to compile.
    with tempfile.TemporaryDirectory(prefix="collegium-slither-") as folder:
        request, answer = write_input(Path(folder)), Path(folder) / "findings.json"
        command = [str(program), request.name, "--compile-force-framework", "solc-json", "--solc", str(tool("solc"))]
        done = subprocess.run(
            [*command, "--json", answer.name, "--fail-none"],
            cwd=folder, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        if not answer.exists():
            raise SystemExit(f"Slither failed:\n{done.stderr or done.stdout}")
        report: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if not report["success"]:
        raise SystemExit(f"Slither failed: {report['error']}")
    return report


def read_findings(report: Mapping[str, Any]) -> Iterator[Finding]:
    """High and medium findings of a report."""
    for result in report["results"].get("detectors", ()):
        if result["impact"] in GATED:
            yield Finding(result["impact"], result["check"], _place(result), _PLACE.sub("", result["description"]))


def _place(result: Mapping[str, Any]) -> str:
    elements = result["elements"]
    if elements and LIBRARY in elements[0]["source_mapping"]["filename_relative"]:
        return LIBRARY
    for element in elements:
        if element["type"] in ("function", "variable"):
            parent = element["type_specific_fields"]["parent"]
            if parent["type"] == "function":
                return f"{parent['type_specific_fields']['parent']['name']}.{parent['name']}"
            return f"{parent['name']}.{element['name']}"
    return str(elements[0]["name"]) if elements else ""


def read_explanations(path: Path = EXPLANATIONS) -> list[Explanation]:
    """The committed explanations. Raises SystemExit when one lacks a word."""
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))["finding"]
        return [
            Explanation(each["check"], at, count, each["why"]) for each in entries for at, count in each["at"].items()
        ]
    except (tomllib.TOMLDecodeError, KeyError, AttributeError) as error:
        raise SystemExit(f"{path}: {error}") from error


def compare(findings: Sequence[Finding], explanations: Sequence[Explanation]) -> list[str]:
    """What is found and not explained, and what is explained and not found."""
    found = Counter((each.check, each.at) for each in findings)
    explained = {(each.check, each.at): each for each in explanations}
    problems = []
    for (check, at), count in sorted(found.items()):
        known = explained[check, at].count if (check, at) in explained else 0
        if count != known:
            texts = "".join(each.text for each in findings if (each.check, each.at) == (check, at))
            problems.append(f"{check} at {at}: {count} found, {known} explained\n{texts}".rstrip())
    for key, each in sorted(explained.items()):
        if key not in found:
            problems.append(f"{each.check} at {each.at}: explained, and no longer found")
    return problems


def render(explanations: Sequence[Explanation]) -> str:
    """The page for readers."""
    lines = [
        "# Static analysis",
        "",
        "`make slither` runs [Slither](https://github.com/crytic/slither) over the deployed contracts and fails when a",
        "high or medium finding is not explained here, or an explanation has lost its finding. This page is written",
        "from `slither.toml` by `python -m scripts.security.slither --page`. Low and informational findings are not",
        "gated.",
        "",
        "| detector | where | findings | why it is no fault |",
        "| --- | --- | --- | --- |",
    ]
    for each in sorted(explanations, key=lambda each: (each.check, each.at)):
        lines.append(f"| `{each.check}` | `{each.at}` | {each.count} | {' '.join(each.why.split())} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Static analysis of the contracts with Slither.")
    parser.add_argument("--page", action="store_true", help="only write docs/security/slither.md")
    page_only = parser.parse_args(arguments).page
    explanations = read_explanations()
    PAGE.write_text(render(explanations), encoding="utf-8")
    if page_only:
        return 0
    findings = list(read_findings(run_slither()))
    problems = compare(findings, explanations)
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(findings)} high and medium findings, {len(problems)} not settled by {EXPLANATIONS.relative_to(ROOT)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
