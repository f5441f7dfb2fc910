"""docs/security: every test that the table of attacks names exists; the generated pages are those of their sources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.security import coverage, slither

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security" / "attacks.md"
NAME = re.compile(r"`([a-z_]+/[A-Za-z_.]+): (\w+)`")
BUILT = {1, 2, 3, *range(5, 11), 12, 13, *range(15, 20), 30, 32, 33, 34, 35, 38, 39, 40, *range(47, 56)}


def rows() -> Iterator[tuple[str, str]]:
    """Number and text of every row."""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        found = re.match(r"\| ([0-9][0-9, –]*) \|", line)
        if found:
            yield found[1], line


def numbers(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("–")
        found |= set(range(int(first), int(last or first) + 1))
    return found


NAMED = sorted({(match[1], match[2]) for _, text in rows() for match in NAME.finditer(text)})


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda each: str(each))
def test_named_test_exists(file: str, name: str) -> None:
    source = (ROOT / "tests" / file).read_text(encoding="utf-8")
    keyword = "function" if file.endswith(".sol") else "def"
    assert re.search(rf"\b{keyword} {name}\(", source), f"tests/{file} has no {name}"


def test_every_row_of_what_exists_has_tests_and_every_number_a_row() -> None:
    tested = set[int]()
    seen = set[int]()
    for number, text in rows():
        seen |= numbers(number)
        if NAME.search(text):
            tested |= numbers(number)
    assert tested == BUILT
    assert seen == set(range(1, 56))


def test_no_name_is_written_in_a_form_that_is_not_checked() -> None:
    text = PAGE.read_text(encoding="utf-8")
    mentioned = set(re.findall(r"\b((?:test|testFuzz|invariant)_\w+)\b", text)) - {"test_attack_table"}
    assert mentioned - {"test_attacks"} <= {name for _, name in NAMED} | {Path(file).stem for file, _ in NAMED}


class TestPages:
    def test_static_analysis(self) -> None:
        assert slither.PAGE.read_text(encoding="utf-8") == slither.render(slither.read_explanations())

    def test_coverage(self) -> None:
        explained = coverage.read_explanations()
        assert coverage.PAGE.read_text(encoding="utf-8") == coverage.render(explained)
        for each in explained:
            lines = (ROOT / each.file).read_text(encoding="utf-8").splitlines()
            assert [line.strip() for line in lines].count(each.text) == 1, each.text
            assert each.mutant != each.text
            contract, _, test = each.test.partition(".")
            sources = [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "contracts").glob("*.sol")]
            assert any(f"contract {contract} " in text and f"function {test}(" in text for text in sources)


class TestComparisons:
    """What the two commands fail on."""

    def test_unexplained_findings_and_idle_explanations_fail(self) -> None:
        finding = slither.Finding("High", "reentrancy-eth", "Bonds.withdraw", "Reentrancy in Bonds.withdraw()\n")
        explained = slither.Explanation("reentrancy-eth", "Bonds.withdraw", 1, "why")
        assert slither.compare([finding], [explained]) == []
        assert "1 found, 0 explained" in slither.compare([finding], [])[0]
        assert "2 found, 1 explained" in slither.compare([finding, finding], [explained])[0]
        assert "no longer found" in slither.compare([], [explained])[0]

    def test_findings_are_read_with_their_place(self) -> None:
        parent = {"type": "contract", "name": "Bonds"}
        function = {
            "type": "function",
            "name": "withdraw",
            "source_mapping": {"filename_relative": "contracts/Bonds.sol"},
            "type_specific_fields": {"parent": parent},
        }
        result = {
            "impact": "High",
            "check": "reentrancy-eth",
            "elements": [function],
            "description": "Reentrancy in Bonds.withdraw() (contracts/Bonds.sol#1-9):\n",
        }
        low = {**result, "impact": "Low"}
        found = list(slither.read_findings({"results": {"detectors": [result, low]}}))
        text = "Reentrancy in Bonds.withdraw():\n"
        assert found == [slither.Finding("High", "reentrancy-eth", "Bonds.withdraw", text)]

    def test_uncovered_branches_and_idle_explanations_fail(self, tmp_path: Path) -> None:
        source = tmp_path / "contracts" / "A.sol"
        source.parent.mkdir()
        source.write_text("contract A {\n    if (x) y();\n    if (z) w();\n}\n", encoding="utf-8")
        report = tmp_path / "lcov.info"
        report.write_text(
            "SF:contracts/A.sol\nBRDA:2,0,0,3\nBRDA:3,1,0,-\nend_of_record\nSF:tests/B.sol\nBRDA:1,0,0,0\n",
            encoding="utf-8",
        )
        branches = list(coverage.read_branches(report, tmp_path))
        seen = [(each.line, each.text, each.hits) for each in branches]
        assert seen == [(2, "if (x) y();", 3), (3, "if (z) w();", 0)]
        assert coverage.compare(branches, []) == ["contracts/A.sol:3: never taken: if (z) w();"]
        known = coverage.Explanation("contracts/A.sol", "if (z) w();", "why")
        assert coverage.compare(branches, [known]) == []
        idle = coverage.Explanation("contracts/A.sol", "if (x) y();", "why")
        problems = coverage.compare(branches, [known, idle])
        assert problems == ["contracts/A.sol: explained, and covered or gone: if (x) y();"]
