"""The pinned versions: complete, free of addresses, and the same for both contract tools."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from scripts.setup import paths

ADDRESS = re.compile(r"(https?|git|file)(\+\w+)?://")
LOCK = (paths.ROOT / "requirements" / "dev.txt").read_text()
PROJECT: dict[str, Any] = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
PINS = {name.lower(): version for name, version in re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", LOCK)}
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DECLARED = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
COMMITTED = ["requirements/dev.txt", "package-lock.json", "package.json", "pyproject.toml"]


@pytest.mark.parametrize("line", sorted(DECLARED))
def test_lock_satisfies_the_declaration(line: str) -> None:
    requirement = Requirement(line)
    assert requirement.specifier.contains(PINS[requirement.name.lower()])


def test_every_pin_has_hashes() -> None:
    for entry in re.split(r"(?m)^(?=\S)", LOCK):
        assert not entry.strip() or "--hash=sha256:" in entry, entry


@pytest.mark.parametrize("name", COMMITTED)
def test_no_address_in(name: str) -> None:
    assert not ADDRESS.search((paths.ROOT / name).read_text())


def test_npm_lock_has_this_platform_and_hashes() -> None:
    packages = json.loads((paths.ROOT / "package-lock.json").read_text())["packages"]
    for name in paths.FOUNDRY_TOOLS:
        assert f"node_modules/@foundry-rs/{name}-{paths.node_platform()}" in packages
        assert packages[f"node_modules/@foundry-rs/{name}-linux-amd64"]["integrity"].startswith("sha512-")


def test_ape_and_forge_compile_alike() -> None:
    ape = yaml.safe_load((paths.ROOT / "ape-config.yaml").read_text())
    forge = tomllib.loads((paths.ROOT / "foundry.toml").read_text())["profile"]["default"]
    solidity = ape["solidity"]
    assert str(solidity["version"]) == paths.SOLC_VERSION
    assert forge["solc"] == "build/bin/solc"
    assert solidity["evm_version"] == forge["evm_version"] == ape["foundry"]["evm_version"]
    assert solidity["optimize"] == forge["optimizer"]
    assert solidity["optimization_runs"] == forge["optimizer_runs"]
    assert solidity["via_ir"] == forge["via_ir"]
