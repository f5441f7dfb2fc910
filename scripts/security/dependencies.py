"""What Collegium depends on: known weaknesses, and licenses.

    python -m scripts.security.dependencies              # ask the advisory databases, check licenses
    python -m scripts.security.dependencies --offline    # licenses and pins only

Exit codes: 0 nothing found, 1 something was found, 5 an advisory database could not be asked.
"""

from __future__ import annotations

import fnmatch
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.setup.paths import ROOT

__all__ = ["License", "ask", "check_licenses", "installed", "pins"]

LOCK = ROOT / "requirements" / "dev.txt"
RULES = Path(__file__).with_name("licenses.toml")
_SEPARATOR = re.compile(r"\s+(?:AND|OR)\s+|\s*/\s*|[()]")
_UNREACHABLE = re.compile(
    r"audit endpoint returned an error|ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN|ConnectionError|Max retries|"
    r"Could not connect|Failed to fetch|ServiceError|HTTP (?:40[3-5]|5\d\d)|No solution found|unable to connect",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class License:
    """names: what the package's own metadata says, one or several."""

    package: str
    names: tuple[str, ...]


def pins(lock: Path = LOCK) -> dict[str, str]:
    """Name to version of every pinned package, in normal form."""
    found = re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"))
    return {_normal(name): version for name, version in found}


def installed() -> Iterator[License]:
    """Licenses of the pinned packages that are installed here."""
    pinned = pins()
    for found in importlib.metadata.distributions():
        name = _normal(found.metadata["Name"] or "")
        if name in pinned:
            yield License(name, tuple(_licenses(found.metadata)))


def check_licenses(licenses: Sequence[License], rules: Mapping[str, object] | None = None) -> list[str]:
    """What is not on the allow-list, in words. Where a package offers several, one that is allowed is enough."""
    rules = rules or tomllib.loads(RULES.read_text(encoding="utf-8"))
    allowed, exceptions = set(_strings(rules["allowed"])), _strings(rules["exceptions"])
    wrong = []
    for each in licenses:
        if any(fnmatch.fnmatch(each.package, pattern) for pattern in exceptions):
            continue
        if not each.names or not set(each.names) <= allowed:
            wrong.append(f"{each.package}: {' / '.join(each.names) or 'no license named'}")
    return wrong


def ask(name: str, command: Sequence[str]) -> int:
    """Run one auditing tool; 0 clean, 1 findings, 5 not answered."""
    if shutil.which(command[0]) is None:
        print(f"{name}: {command[0]} is not installed; not asked")
        return 5
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    output = (done.stdout + done.stderr).strip()
    if done.returncode == 0:
        print(f"{name}: nothing known")
        return 0
    if _UNREACHABLE.search(output):
        print(f"{name}: the advisory database cannot be reached from here; not asked")
        return 5
    print(f"{name}:\n{output}")
    return 1


def main(arguments: Sequence[str]) -> int:
    listed = list(installed())
    wrong = check_licenses(listed)
    for each in wrong:
        print(f"license: {each}")
    if not wrong:
        print(f"licenses: {len(listed)} packages, each allowed")
    codes = [1 if wrong else 0]
    if "--offline" not in arguments:
        audit = ["pip-audit"] if shutil.which("pip-audit") else ["uvx", "pip-audit"]
        codes.append(ask("Python packages", [*audit, "--requirement", str(LOCK), "--disable-pip", "--require-hashes"]))
        codes.append(ask("Node packages", ["npm", "audit", "--audit-level=moderate"]))
    return 1 if 1 in codes else max(codes)


def _licenses(metadata: importlib.metadata.PackageMetadata) -> Iterator[str]:
    expression = (metadata.get_all("License-Expression") or [""])[0]
    if expression:
        yield from (part.strip() for part in _SEPARATOR.split(expression) if part.strip())
        return
    classifiers = [each.split("::")[-1].strip() for each in metadata.get_all("Classifier") or ()
                   if each.startswith("License ::")]  # fmt: skip
    if classifiers:
        yield from classifiers
        return
    text = (metadata.get_all("License") or [""])[0].splitlines()
    yield from (part.strip() for part in _SEPARATOR.split(text[0]) if part.strip()) if text else ()


def _strings(value: object) -> list[str]:
    assert isinstance(value, list | dict)
    return [str(each) for each in value]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
