"""docs/cli.md: its table has every command, and no option that there is not."""

from __future__ import annotations

import re

from scripts.setup.paths import ROOT
from tests.docs.test_commands import check_click
from tests.docs.test_every_command_is_run import COMMANDS

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
SPANS = [
    span.replace("\\|", "|")
    for row in re.findall(r"^\| (`.+?) \| [^|]*\| ", PAGE.replace("\\|", "/"), re.MULTILINE)
    for span in re.findall(r"`([^`]+)`", row)
]


def test_the_table_has_every_command() -> None:
    text = " ".join(f"{span} ;" for span in SPANS)
    names = {" ".join(path[1:]) for path in COMMANDS if path[0] == "collegium"}
    missing = {name for name in names if not re.search(rf"(^|; ){re.escape(name)}\b", text)}
    assert not missing


def test_the_table_has_no_option_that_there_is_not() -> None:
    assert len(SPANS) > 70
    wrong = {}
    for span in SPANS:
        words = re.findall(r"--?[a-z][a-z-]*|[\w/|-]+", span)
        if ("collegium", words[0]) in {path[:2] for path in COMMANDS} and (reason := check_click("collegium", words)):
            wrong[span] = reason
    assert not wrong
