"""The bill of materials of the wheel: CycloneDX JSON of everything that a plain `pip install` brings, and the same
as `requirements.txt` with hashes beside it.

Versions and hashes are those of `requirements/dev.txt`, who needs whom is what the installed packages declare. The
same lock gives the same bytes.

    python -m scripts.release.sbom [--extra kubo]… [--output build/release/collegium-0.2.0.cdx.json]
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tomllib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.setup.paths import BUILD, ROOT

from .packages import commit_time

__all__ = ["Pin", "SbomError", "find_closure", "main", "make_requirements", "make_sbom", "read_lock"]

LOCK = ROOT / "requirements" / "dev.txt"


class SbomError(RuntimeError):
    """The bill of materials would be incomplete."""


@dataclass(frozen=True)
class Pin:
    """A package of the lock. hashes: hex SHA-256 of every file that may be installed."""

    name: str
    version: str
    hashes: tuple[str, ...]
    needs: frozenset[str] = field(default_factory=frozenset)


def read_lock(text: str) -> dict[str, Pin]:
    """By canonical name; of a package with several versions the one for this Python and platform."""
    pins = {}
    for entry in re.split(r"(?m)^(?=\S)", text):
        line = entry.partition("\n")[0].rstrip(" \\")
        if "==" not in line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        name, version = str(canonicalize_name(requirement.name)), next(iter(requirement.specifier)).version
        pins[name] = Pin(name, version, tuple(sorted(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))))
    return pins


def find_closure(roots: Iterable[Requirement], pins: dict[str, Pin]) -> dict[str, Pin]:
    """Everything that these requirements bring on this platform. Raises SbomError when something is not locked."""
    found: dict[str, Pin] = {}
    extras_seen: dict[str, set[str]] = {}
    waiting = [(root, "") for root in roots]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = str(canonicalize_name(requirement.name))
        if name not in pins:
            raise SbomError(f"{name} is needed but not in {LOCK.name}; run `make lock`.")
        asked = {"", *requirement.extras}
        new = asked - extras_seen.get(name, set())
        if not new:
            continue
        extras_seen.setdefault(name, set()).update(new)
        needs = list(_needs_of(name, pins[name].version, new))
        before = found[name].needs if name in found else frozenset()
        now = frozenset(str(canonicalize_name(each.name)) for each, _ in needs)
        pin = pins[name]
        found[name] = Pin(pin.name, pin.version, pin.hashes, before | now)
        waiting += needs
    return found


def _needs_of(name: str, version: str, extras: set[str]) -> Iterator[tuple[Requirement, str]]:
    try:
        known = distribution(name)
    except PackageNotFoundError:
        raise SbomError(f"{name} is not installed; run `make setup`.") from None
    if known.version.partition("+")[0] != version:
        raise SbomError(f"{name} {known.version} is installed, {version} is locked; run `make setup`.")
    for line in known.requires or ():
        requirement = Requirement(line)
        for extra in extras:
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                yield requirement, extra
                break


def make_sbom(extras: Iterable[str] = ()) -> str:
    """The JSON text. Raises SbomError."""
    project, roots, closure = _closure(extras)
    return _render(project, roots, closure)


def make_requirements(extras: Iterable[str] = ()) -> str:
    """The same packages with their hashes, for `pip install --require-hashes --no-deps`. Raises SbomError."""
    pins = [pin for _, pin in sorted(_closure(extras)[2].items())]
    return "".join(
        " \\\n    ".join([f"{pin.name}=={pin.version}", *(f"--hash=sha256:{each}" for each in pin.hashes)]) + "\n"
        for pin in pins
    )


def _closure(extras: Iterable[str]) -> tuple[dict[str, Any], list[Requirement], dict[str, Pin]]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"]]
    for extra in extras:
        if extra not in project["optional-dependencies"]:
            raise SbomError(f"There is no extra {extra}. Known: {', '.join(project['optional-dependencies'])}.")
        lines += project["optional-dependencies"][extra]
    roots = [Requirement(line) for line in lines]
    return project, roots, find_closure(roots, read_lock(LOCK.read_text(encoding="utf-8")))


def _render(project: dict[str, Any], roots: list[Requirement], closure: dict[str, Pin]) -> str:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    own = Component(
        name=project["name"], version=project["version"], type=ComponentType.APPLICATION, bom_ref="collegium",
        description=project["description"], licenses=[DisjunctiveLicense(id="Apache-2.0")],
        purl=PackageURL("pypi", None, project["name"], project["version"]),
    )  # fmt: skip
    made = {name: _component(pin) for name, pin in closure.items()}
    bom = Bom(components=made.values())
    bom.metadata.component = own
    bom.metadata.timestamp = datetime.fromtimestamp(commit_time(), UTC)
    bom.register_dependency(own, [made[str(canonicalize_name(root.name))] for root in roots
                                  if str(canonicalize_name(root.name)) in made])  # fmt: skip
    for name, pin in closure.items():
        bom.register_dependency(made[name], [made[each] for each in sorted(pin.needs) if each in made])
    listed = "\n".join(f"{pin.name}=={pin.version}" for _, pin in sorted(closure.items()))
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, f"{project['name']}=={project['version']}\n{listed}")
    text: str = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    _validate(text)
    return text + "\n"


def _component(pin: Pin) -> Any:
    from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import DisjunctiveLicense
    from packageurl import PackageURL

    label = _license_of(pin.name)
    purl = PackageURL("pypi", None, pin.name, pin.version)
    # Each may be the file that was installed: which one depends on the platform.
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION, url=XsUri(str(purl)),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in pin.hashes],
    )  # fmt: skip
    return Component(
        name=pin.name, version=pin.version, type=ComponentType.LIBRARY, bom_ref=f"{pin.name}=={pin.version}",
        purl=purl, licenses=[DisjunctiveLicense(name=label)], external_references=[files],
    )  # fmt: skip


def _license_of(name: str) -> str:
    """As the package states it: an SPDX expression, a line, or classifiers."""
    told: Any = distribution(name).metadata
    stated = str(told.get("License-Expression") or told.get("License") or "").strip()
    classifiers = [each for each in told.get_all("Classifier") or [] if each.startswith("License")]
    if stated:
        return stated.splitlines()[0][:200]
    return ", ".join(each.rpartition(" :: ")[2] for each in classifiers) or "not stated in its metadata"


def _validate(text: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise SbomError(f"The bill of materials breaks the CycloneDX schema: {problem}")


def main(arguments: list[str] | None = None) -> int:
    """Write the file, and print its name with its SHA-256."""
    parser = argparse.ArgumentParser(prog="python -m scripts.release.sbom", description=__doc__)
    parser.add_argument("--extra", action="append", default=[], help="take in this extra; may be repeated")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args(arguments)
    try:
        text, pinned = make_sbom(given.extra), make_requirements(given.extra)
    except SbomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    output = given.output or BUILD / "release" / f"collegium-{version}.cdx.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    for path, content in ((output, text), (output.with_name("requirements.txt"), pinned)):
        path.write_text(content, encoding="utf-8")
        print(f"{hashlib.sha256(content.encode()).hexdigest()}  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
