"""The wheel, the source archive and the bill of materials: the same bytes every time, and nothing foreign."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import collegium
from scripts.release.__main__ import write_sums
from scripts.release.packages import build
from scripts.release.sbom import SbomError, find_closure, make_requirements, make_sbom, read_lock
from scripts.setup.paths import ROOT

from .newest import EPOCH

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOPS = {"collegium", "collegium_client", "collegium_coordinator"}


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


class TestPackages:
    @pytest.mark.slow
    @pytest.mark.xdist_group("newest")
    def test_a_second_build_elsewhere_gives_the_same_bytes(
        self, sources: Path, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        monkeypatch.setenv("TZ", "Pacific/Kiritimati")
        monkeypatch.setenv("LC_ALL", "C")
        before = os.umask(0o077)
        try:
            shutil.copytree(sources, tmp_path / "elsewhere")
            again = build(tmp_path / "deep" / "er", working_tree=True, root=tmp_path / "elsewhere")
        finally:
            os.umask(before)
        assert again[0].read_bytes() == wheel.read_bytes()
        assert again[1].read_bytes() == next(wheel.parent.glob("*.tar.gz")).read_bytes()

    def test_wheel_has_the_three_packages_and_nothing_else(self, sources: Path, wheel: Path) -> None:
        names = names_in(wheel)
        own = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
        assert own == TOPS
        assert not [name for name in names if "test" in name.lower().split("/") or "__pycache__" in name]
        assert {f"{top}/py.typed" for top in TOPS} <= set(names)
        assert "collegium/abi/Collegium.json" in names
        # A folder without an __init__.py, or data that pyproject.toml forgets, would be left out without a word.
        there = {str(path.relative_to(sources)) for path in sources.rglob("*") if path.is_file()}
        there = {name.removeprefix("client/").removeprefix("coordinator/") for name in there}
        there = {name for name in there if name.partition("/")[0] in TOPS and not name.endswith("README.md")}
        packed = {name for name in names if ".dist-info/" not in name}
        assert there == packed, there ^ packed

    def test_wheel_is_for_any_platform_and_asks_for_no_compiler(self, wheel: Path) -> None:
        assert wheel.name == f"collegium-{PROJECT['version']}-py3-none-any.whl"
        with zipfile.ZipFile(wheel) as archive:
            (metadata,) = (archive.read(name).decode() for name in names_in(wheel) if name.endswith("/METADATA"))
        needed = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
        for heavy in ("eth-ape", "ipfshttpclient", "pandas", "scikit-learn", "matplotlib", "opentelemetry", "onnx"):
            assert not any(heavy in line for line in needed), heavy

    def test_source_archive_has_the_same_modules(self, wheel: Path) -> None:
        with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
            members = archive.getmembers()
        assert {(member.uid, member.uname, member.mtime) for member in members} == {(0, "", members[0].mtime)}
        paths = [member.name.partition("/")[2] for member in members if member.name.endswith(".py")]
        stripped = {path.removeprefix("client/").removeprefix("coordinator/") for path in paths}
        assert {name for name in names_in(wheel) if name.endswith(".py")} <= stripped

    def test_one_version_everywhere(self) -> None:
        assert collegium.__version__ == PROJECT["version"]


@pytest.fixture(scope="module")
def sbom() -> str:
    return make_sbom()


class TestSbom:
    def test_it_lists_the_closure_of_the_lock(self, sbom: str) -> None:
        bom = json.loads(sbom)
        pins = read_lock((ROOT / "requirements" / "dev.txt").read_text())
        listed = {each["name"]: each for each in bom["components"]}
        assert bom["bomFormat"] == "CycloneDX" and bom["metadata"]["component"]["version"] == PROJECT["version"]
        assert {"torch", "web3", "numpy", "cryptography", "certifi"} <= set(listed)
        assert not {"eth-ape", "ipfshttpclient", "pytest", "mypy"} & set(listed)
        for name, each in listed.items():
            assert each["version"] == pins[name].version
            assert each["purl"] == f"pkg:pypi/{name}@{each['version']}"
            hashes = {found["content"] for found in each["externalReferences"][0]["hashes"]}
            assert hashes == set(pins[name].hashes) != set()
        edges = {each["ref"]: set(each.get("dependsOn", ())) for each in bom["dependencies"]}
        assert any(ref.startswith("web3==") for ref in edges["collegium"])
        assert any(ref.startswith("eth-abi==") for ref in edges[f"web3=={listed['web3']['version']}"])

    def test_twice_is_the_same(self, sbom: str) -> None:
        assert make_sbom() == sbom

    def test_an_extra_adds_to_the_pinned_requirements(self) -> None:
        plain, kubo = make_requirements().split(), make_requirements(["kubo"]).split()
        assert set(plain) < set(kubo) and "ipfshttpclient==0.7.0" in set(kubo) - set(plain)
        assert all(word.startswith("--hash=sha256:") for word in plain if "==" not in word and word != "\\")

    def test_what_is_not_locked_is_an_error(self) -> None:
        from packaging.requirements import Requirement

        with pytest.raises(SbomError, match="make lock"):
            find_closure([Requirement("no-such-package")], {})
        with pytest.raises(SbomError, match="no extra"):
            make_sbom(["nonsense"])


def test_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "a.json").write_text("{}")
    (tmp_path / "b.whl").write_bytes(b"b")
    write_sums(tmp_path)
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count(": OK") == 2, done.stdout + done.stderr
    (tmp_path / "b.whl").write_bytes(b"c")
    assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, check=False).returncode


def test_make_wheel_says_what_it_leaves_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.release.packages", "--folder", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = sorted(line.split()[1] for line in done.stdout.splitlines())
    assert told == sorted(path.name for path in tmp_path.iterdir())
