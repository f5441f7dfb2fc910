"""What the package ships about the contracts is what the sources, the ABIs and the deployed code are."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from collegium.chain.deployment import CONTRACTS
from collegium.contract_source.children import CHILDREN
from collegium.contract_source.immutables import RULES
from collegium.contract_source.release import Release
from collegium.errors import ConfigError
from scripts.release import standard_json
from tests.contract_source.conftest import Deployed, Shell


@pytest.fixture(scope="module")
def inputs() -> dict[str, dict[str, Any]]:
    """What the sources give now; asking the compiler which files belong together takes seconds."""
    return standard_json.build_inputs()


class TestTheShippedRelease:
    @pytest.fixture(autouse=True)
    def sources_read_once(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        if request.node.get_closest_marker("chain"):
            found = request.getfixturevalue("inputs")
            monkeypatch.setattr(standard_json, "build_inputs", lambda: found)

    @pytest.mark.chain
    def test_it_is_that_of_the_sources_and_of_the_code_that_is_deployed(self) -> None:
        assert standard_json.find_stale() == [], "run `make abi`"

    @pytest.mark.chain
    def test_a_changed_source_is_noticed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for path in standard_json.FOLDER.glob("*.json"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        content = json.loads((tmp_path / "Members.json").read_text())
        content["sources"]["contracts/Members.sol"]["content"] += "// changed\n"
        (tmp_path / "Members.json").write_text(standard_json.render_input(content))
        monkeypatch.setattr(standard_json, "FOLDER", tmp_path)
        assert standard_json.find_stale() == ["Members: the sources changed"]

    def test_it_holds_every_contract_of_a_deployment(self, release: Release) -> None:
        assert set(release.contracts) == {*CONTRACTS, *CHILDREN}

    def test_an_input_holds_no_foreign_file_and_no_path_of_a_machine(self, release: Release) -> None:
        for contract in release.contracts.values():
            sources = json.loads(release.input_text(contract))["sources"]
            folders = ("contracts/", "node_modules/@openzeppelin/contracts/")
            assert all(name.startswith(folders) for name in sources)

    def test_every_immutable_has_a_rule(self, release: Release) -> None:
        names = {each.name for contract in release.contracts.values() for each in contract.immutables}
        assert names <= set(RULES)

    def test_it_stays_small(self) -> None:
        assert sum(len(zlib.compress(path.read_bytes())) for path in standard_json.FOLDER.iterdir()) < 1_500_000

    def test_an_altered_input_is_refused(self, release: Release, tmp_path: Path) -> None:
        for path in standard_json.FOLDER.glob("*.json"):
            (tmp_path / path.name).write_bytes(path.read_bytes() + (b" " if path.name == "Bonds.json" else b""))
        other = Release.load(tmp_path)
        with pytest.raises(ConfigError, match=r"Bonds\.json was changed"):
            other.input_text(other.contracts["Bonds"])


@pytest.mark.chain
class TestStandardJson:
    def test_it_writes_what_an_explorers_page_takes(self, shell: Shell, tmp_path: Path, release: Release) -> None:
        code, envelope, _ = shell("contracts", "standard-json", "--output", tmp_path / "out", "--contract", "Referee")
        assert code == 0
        (row,) = envelope["data"]["inputs"]
        assert row["identifier"] == "contracts/Referee.sol:Referee"
        assert Path(row["file"]).read_text() == release.input_text(release.contracts["Referee"])

    def test_an_unknown_contract_is_told(self, shell: Shell, tmp_path: Path) -> None:
        code, envelope, _ = shell("contracts", "standard-json", "--output", tmp_path, "--contract", "Nothing")
        assert code == 2 and "Referee" in envelope["error"]["hint"]


@pytest.mark.chain
class TestAddresses:
    def test_children_are_listed_with_their_code(self, shell: Shell, deployed: Deployed) -> None:
        code, envelope, _ = shell(
            "contracts", "addresses", "--deployment", deployed.file, "--rpc", deployed.devnet.url
        )
        assert code == 0
        rows = {row["contract"]: row for row in envelope["data"]["contracts"]}
        assert set(rows) == {*CONTRACTS, *CHILDREN}
        assert rows["Studies"]["created_by"] == "Collegium" and rows["Studies"]["code_hash"] is not None
        assert rows["Studies"]["transaction"] == rows["Collegium"]["transaction"]

    def test_another_chain_is_told(self, shell: Shell, deployed: Deployed, tmp_path: Path) -> None:
        content = json.loads(deployed.file.read_text())
        other = tmp_path / "other.json"
        other.write_text(json.dumps({**content, "chainId": 11155111}))
        code, envelope, _ = shell("contracts", "addresses", "--deployment", other, "--rpc", deployed.devnet.url)
        assert code == 3 and envelope["error"]["code"] == "chain_id_mismatch"
