"""Branch coverage of the contracts by their Solidity tests, held against docs/security/coverage.toml.

    python -m scripts.security.coverage            measure (minutes); exit 1 on an uncovered branch without explanation
    python -m scripts.security.coverage --mutants  break each explained branch in a copy; its test must fail
    python -m scripts.security.coverage --page     only write docs/security/coverage.md from the explanations

Forge counts in a build without optimizer, whose source maps know nothing of what happens inside assembly and lose
some one-line conditions. A branch that it misses for that reason is explained by a test and by a mutant: the same
line, broken, with which that test fails.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.setup.paths import BUILD, ROOT, environment, tool

__all__ = ["Branch", "Explanation", "compare", "main", "read_branches", "read_explanations", "render"]

EXPLANATIONS = ROOT / "docs" / "security" / "coverage.toml"
PAGE = ROOT / "docs" / "security" / "coverage.md"
FOLDER = BUILD / "security" / "coverage"
LIMITS = "costs|stays_below|StaysBelow|code_fits|largest_mean"
"""Tests that hold gas and code size against their limits: those of the optimized code."""
ROOM = {"FOUNDRY_GAS_LIMIT": str((1 << 63) - 1), "FOUNDRY_MEMORY_LIMIT": str(1 << 32)}
"""Code without optimizer needs more of everything than a block or a test has by default."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One way out of a condition. line: from 1. text: the source line, stripped. hits: 0 when never taken."""

    file: str
    line: int
    text: str
    hits: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """An uncovered branch: why, and how one sees that it works. mutant: the line broken; test: fails then."""

    file: str
    text: str
    why: str
    test: str = ""
    mutant: str = ""


def _environment(folder: Path) -> dict[str, str]:
    places = {"FOUNDRY_OUT": str(folder / "out"), "FOUNDRY_CACHE_PATH": str(folder / "cache")}
    return {**environment(), **ROOM, **places}


def measure() -> Path:
    """Runs the tests with counters; the lcov file. Raises SystemExit when a test fails."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    report = FOLDER / "lcov.info"
    report.unlink(missing_ok=True)
    command = [str(tool("forge")), "coverage", "--ir-minimum", "--report", "lcov", "--report-file", str(report)]
    done = subprocess.run(
        [*command, "--no-match-test", LIMITS], cwd=ROOT, env=_environment(FOLDER), text=True, capture_output=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0 or not report.exists():
        failed = [line for line in done.stdout.splitlines() if "[FAIL" in line]
        raise SystemExit("forge coverage failed:\n" + "\n".join(failed or [done.stdout[-4000:], done.stderr[-4000:]]))
    return report


def read_branches(report: Path, root: Path = ROOT) -> Iterator[Branch]:
    """Branches of our contracts in an lcov file."""
    name, lines = "", list[str]()
    for entry in report.read_text(encoding="utf-8").splitlines():
        kind, _, value = entry.partition(":")
        if kind == "SF":
            name = value
            lines = (root / name).read_text(encoding="utf-8").splitlines() if name.startswith("contracts/") else []
        elif kind == "BRDA" and lines:
            line, _, _, hits = value.split(",")
            yield Branch(name, int(line), lines[int(line) - 1].strip(), 0 if hits == "-" else int(hits))


def read_explanations(path: Path = EXPLANATIONS) -> list[Explanation]:
    """The committed explanations. Raises SystemExit when one lacks a word."""
    try:
        return [Explanation(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("branch", ())]
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise SystemExit(f"{path}: {error}") from error


def compare(branches: Sequence[Branch], explanations: Sequence[Explanation]) -> list[str]:
    """Uncovered and not explained; explained and covered, or not there."""
    explained = {(each.file, each.text) for each in explanations}
    uncovered = [each for each in branches if each.hits == 0]
    problems = [
        f"{each.file}:{each.line}: never taken: {each.text}"
        for each in uncovered
        if (each.file, each.text) not in explained
    ]
    missing = explained - {(each.file, each.text) for each in uncovered}
    return problems + [f"{file}: explained, and covered or gone: {text}" for file, text in sorted(missing)]


def render(explanations: Sequence[Explanation]) -> str:
    """The page for readers."""
    lines = [
        "# Branch coverage of the contracts",
        "",
        "`make coverage` runs the Solidity tests with counters (some minutes), prints how many branches of each",
        "contract they take, and fails when one is never taken and not explained here, or explained without need.",
        "Tests of gas and code size stay out: they hold for the optimized code alone. This page is written from",
        "`coverage.toml`.",
        "",
        "Counters sit in a build whose source maps do not reach into assembly and lose some one-line conditions. For",
        "each branch missed that way, `make mutants` breaks the line as shown and sees the named test fail.",
        "",
        "| branch | why no counter | test | fails with |",
        "| --- | --- | --- | --- |",
    ]
    for each in sorted(explanations, key=lambda each: (each.file, each.text)):
        test, mutant = (f"`{text}`".replace("|", "\\|") if text else "–" for text in (each.test, each.mutant))
        text = each.text.replace("|", "\\|")
        lines.append(f"| `{each.file}`: `{text}` | {' '.join(each.why.split())} | {test} | {mutant} |")
    return "\n".join(lines) + "\n"


def _print_table(branches: Sequence[Branch]) -> None:
    total, taken = Counter(each.file for each in branches), Counter(each.file for each in branches if each.hits)
    for name in sorted(total):
        print(f"{name:<46} {taken[name]:>4} of {total[name]:>4} branches")
    print(f"{'all':<46} {taken.total():>4} of {total.total():>4} branches")


def break_branch(each: Explanation) -> bool:
    """Whether the explanation's test fails with its mutant, in a copy of contracts and tests."""
    with tempfile.TemporaryDirectory(prefix="collegium-mutant-") as temporary:
        copy = Path(temporary)
        for name in ("contracts", "tests/contracts", "tests/vectors"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns(".cache"))
        shutil.copy(ROOT / "foundry.toml", copy)
        for name in ("node_modules", "scripts", "build"):
            (copy / name).symlink_to(ROOT / name)
        source = copy / each.file
        text = source.read_text(encoding="utf-8")
        if text.count(each.text) != 1:
            raise SystemExit(f"{each.file}: the line is there {text.count(each.text)} times: {each.text}")
        source.write_text(text.replace(each.text, each.mutant), encoding="utf-8")
        contract, _, test = each.test.partition(".")
        command = [str(tool("forge")), "test", "--match-contract", f"^{contract}$", "--match-test", f"^{test}"]
        tests = sorted((copy / "tests" / "contracts").glob("*.sol"))
        found = next(path for path in tests if f"contract {contract} " in path.read_text(encoding="utf-8"))
        command += ["--match-path", str(found.relative_to(copy))]
        done = subprocess.run(command, cwd=copy, env=_environment(copy), text=True, capture_output=True, check=False)
        if "[FAIL" not in done.stdout and "[PASS]" not in done.stdout:
            raise SystemExit(f"{each.test} did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return "[FAIL" in done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Branch coverage of the contracts.")
    parser.add_argument("--page", action="store_true", help="only write docs/security/coverage.md")
    parser.add_argument("--mutants", action="store_true", help="break each explained branch; its test must fail")
    chosen = parser.parse_args(arguments)
    explanations = read_explanations()
    PAGE.write_text(render(explanations), encoding="utf-8")
    if chosen.page:
        return 0
    if chosen.mutants:
        survived = 0
        for each in explanations:
            if each.mutant:
                failed = break_branch(each)
                survived += not failed
                print(f"{'found' if failed else 'SURVIVED'}: {each.file}: {each.mutant}", flush=True)
        return 1 if survived else 0
    branches = list(read_branches(measure()))
    _print_table(branches)
    problems = compare(branches, explanations)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
