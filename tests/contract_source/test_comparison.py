"""`contracts verify --offline` and `--against-release`: a real deployment passes, a tampered one does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collegium.contract_source.bytecode import Match, metadata_digests
from collegium.contract_source.comparison import Comparison, compare_with_chain
from collegium.contract_source.compiler import Compiled, compile_contract, find_compiler
from collegium.contract_source.release import Release
from scripts.setup.paths import tool
from tests.contract_source.conftest import Deployed, Shell

pytestmark = pytest.mark.chain


@pytest.fixture(scope="session")
def token(release: Release) -> Compiled:
    """The smallest contract, compiled."""
    return compile_contract(find_compiler(release), release, release.contracts["CollegiumToken"])


def mismatches(found: Comparison) -> list[str]:
    return [each.check for each in found.findings if each.status == "mismatch"]


class TestAgainstRelease:
    def test_every_contract_of_a_deployment_passes(self, shell: Shell, deployed: Deployed) -> None:
        code, envelope, err = verify(shell, deployed, "--against-release")
        assert code == 0, envelope["error"]
        contracts = envelope["data"]["contracts"]
        assert len(contracts) == 7 and all(each["match"] == "exact" for each in contracts)
        assert all(each["ok"] and len(each["findings"]) >= 2 for each in contracts)
        assert "hashes only" in err and envelope["warnings"]

    @pytest.mark.parametrize("name", ["Collegium", "Studies", "Refutations", "Referee", "Members", "Bonds"])
    def test_one_changed_byte_is_found(self, deployed: Deployed, name: str) -> None:
        target, code = deployed.target(name), bytearray(deployed.code(name))
        assert compare_with_chain(deployed.rpc, target, None).ok
        places = {at + byte for at, length in target.released.places for byte in range(length)}
        at = next(at for at in range(len(code) // 2, len(code)) if at not in places)
        code[at] ^= 1
        deployed.set_code(name, bytes(code))
        found = compare_with_chain(deployed.rpc, target, None)
        assert not found.ok and found.match is Match.NONE and mismatches(found) == ["runtime"]

    def test_every_immutable_of_every_contract_counts(self, deployed: Deployed) -> None:
        changed = 0
        for name in deployed.release.contracts:
            target, honest = deployed.target(name), deployed.code(name)
            for immutable in target.released.immutables:
                code = bytearray(honest)
                for at in immutable.at:
                    code[at + 31] ^= 1
                deployed.set_code(name, bytes(code))
                found = compare_with_chain(deployed.rpc, target, None)
                assert not found.ok and mismatches(found) == ["immutables"], immutable.name
                changed += 1
            deployed.set_code(name, honest)
        assert changed >= 20

    def test_one_place_of_an_immutable_that_differs_from_the_others_is_found(self, deployed: Deployed) -> None:
        target = deployed.target("Collegium")
        at = next(each.at for each in target.released.immutables if len(each.at) > 1)
        code = bytearray(deployed.code("Collegium"))
        code[at[-1] + 31] ^= 1
        deployed.set_code("Collegium", bytes(code))
        assert mismatches(compare_with_chain(deployed.rpc, target, None)) == ["immutables"]

    @pytest.mark.parametrize(
        ("name", "change", "words"),
        [
            ("Bonds", {"args": ["0x" + "11" * 20, 3600, 60]}, "immutables"),
            ("Members", {"args": [["0x" + "22" * 20], 2]}, "other constructor arguments"),
            ("Referee", {"transactionHash": "0x" + "33" * 32}, ""),
        ],
    )
    def test_a_deployment_file_that_tells_another_story(
        self, shell: Shell, deployed: Deployed, tmp_path: Path, name: str, change: dict[str, Any], words: str
    ) -> None:
        content = json.loads(deployed.file.read_text())
        content["contracts"][name] |= change
        file = tmp_path / "other.json"
        file.write_text(json.dumps(content))
        code, envelope, _ = shell(
            "contracts", "verify", "--against-release", "--contract", name, "--deployment", file,
            "--rpc", deployed.devnet.url,
        )  # fmt: skip
        assert code == (4 if words else 0)
        if words:
            assert words in envelope["error"]["message"]
        else:
            # A transaction the node does not have proves nothing and disproves nothing.
            findings = envelope["data"]["contracts"][0]["findings"]
            assert [each["check"] for each in findings if each["status"] == "warning"] == ["creation"]

    def test_the_creation_of_another_contract_is_found(self, deployed: Deployed) -> None:
        from dataclasses import replace

        other = deployed.target("Members").transaction
        for name in ("Referee", "Studies"):
            found = compare_with_chain(deployed.rpc, replace(deployed.target(name), transaction=other), None)
            assert mismatches(found) == ["creation"]

    def test_no_code_is_told(self, shell: Shell, deployed: Deployed) -> None:
        deployed.set_code("Referee", b"")
        code, envelope, _ = verify(shell, deployed, "--against-release", "--contract", "Referee")
        assert code == 4 and "no code" in envelope["error"]["message"]

    def test_arguments_of_another_release_are_told(self, shell: Shell, deployed: Deployed, tmp_path: Path) -> None:
        content = json.loads(deployed.file.read_text())
        content["contracts"]["Bonds"]["args"] = []
        file = tmp_path / "other.json"
        file.write_text(json.dumps(content))
        code, envelope, _ = shell("contracts", "verify", "--against-release", "--deployment", file)
        assert code == 2 and "another release" in envelope["error"]["hint"]


class TestOffline:
    @pytest.mark.slow
    def test_sources_compile_to_the_code_of_the_chain(self, shell: Shell, deployed: Deployed) -> None:
        code, envelope, _ = verify(shell, deployed, "--offline", "--contract", "Studies")
        assert code == 0, envelope["error"]
        (found,) = envelope["data"]["contracts"]
        assert found["recompiled"] and found["match"] == "exact"
        assert [each["status"] for each in found["findings"]] == ["ok", "ok", "ok"]

    def test_another_metadata_hash_is_a_partial_match(self, deployed: Deployed, token: Compiled) -> None:
        target, code = deployed.target("CollegiumToken"), deployed.code("CollegiumToken")
        assert compare_with_chain(deployed.rpc, target, token).match is Match.EXACT
        (digest,) = metadata_digests(code)
        deployed.set_code("CollegiumToken", code.replace(digest, bytes(32)))
        found = compare_with_chain(deployed.rpc, target, token)
        assert found.match is Match.PARTIAL and found.ok
        assert [each.check for each in found.findings if each.status == "warning"] == ["runtime"]

    def test_a_flipped_byte_is_found_where_it_is(self, deployed: Deployed, token: Compiled) -> None:
        code = bytearray(deployed.code("CollegiumToken"))
        code[321] ^= 0x10
        deployed.set_code("CollegiumToken", bytes(code))
        found = compare_with_chain(deployed.rpc, deployed.target("CollegiumToken"), token)
        assert not found.ok and "from byte 321 on" in found.findings[0].detail

    def test_longer_code_is_found(self, deployed: Deployed, token: Compiled) -> None:
        deployed.set_code("CollegiumToken", deployed.code("CollegiumToken") + b"\0")
        assert mismatches(compare_with_chain(deployed.rpc, deployed.target("CollegiumToken"), token)) == ["runtime"]


class TestCompiler:
    @pytest.fixture
    def nowhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
        """A machine without solc."""
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr("collegium.contract_source.compiler._candidates", lambda version: iter(()))
        yield

    @pytest.mark.usefixtures("nowhere")
    def test_without_a_compiler_the_hint_says_how_to_go_on(self, shell: Shell, deployed: Deployed) -> None:
        code, envelope, _ = verify(shell, deployed, "--offline")
        assert code == 3 and envelope["error"]["code"] == "compiler_missing"
        assert "collegium[deploy]" in envelope["error"]["hint"] and "--against-release" in envelope["error"]["hint"]

    def test_a_compiler_of_another_version_is_refused(self, shell: Shell, deployed: Deployed, tmp_path: Path) -> None:
        other = tmp_path / "solc"
        other.write_text("#!/bin/sh\necho Version: 0.8.29+commit.ab55807c.Linux.g++\n")
        other.chmod(0o755)
        code, envelope, _ = verify(shell, deployed, "--offline", "--solc", str(other))
        assert code == 2 and "0.8.29" in envelope["error"]["message"]

    def test_a_compiler_that_gives_other_code_is_found(
        self, shell: Shell, deployed: Deployed, tmp_path: Path, release: Release
    ) -> None:
        honest = tool("solc")
        liar = tmp_path / "solc"
        answer = {"contracts": {"contracts/Referee.sol": {"Referee": {"evm": {
            "bytecode": {"object": "6001"}, "deployedBytecode": {"object": "6001"}}}}}}  # fmt: skip
        (tmp_path / "answer.json").write_text(json.dumps(answer))
        liar.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec {honest} --version\ncat {tmp_path}/answer.json\n')
        liar.chmod(0o755)
        code, envelope, _ = verify(shell, deployed, "--offline", "--solc", str(liar), "--contract", "Referee")
        assert code == 4 and "compile to other code" in envelope["error"]["message"]

    def test_one_way_must_be_chosen(self, shell: Shell, deployed: Deployed) -> None:
        assert verify(shell, deployed)[0] == 2
        assert verify(shell, deployed, "--offline", "--against-release")[0] == 2


def verify(shell: Shell, deployed: Deployed, *words: str) -> tuple[int, Any, str]:
    return shell("contracts", "verify", *words, "--deployment", deployed.file, "--rpc", deployed.devnet.url)
