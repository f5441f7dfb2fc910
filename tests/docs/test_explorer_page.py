"""docs/audit-on-a-block-explorer.md: every command of the page, typed in its order, on a chain with a refuted round."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.release import event_tables
from scripts.setup.paths import ROOT, environment
from tests.support.federation import Federation, Lie

from .pages import blocks

PAGE = ROOT / "docs" / "audit-on-a-block-explorer.md"
PLACEHOLDER = "https://your.node"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation.start(tmp_path_factory.mktemp("page"), members=3) as federation:
        federation.play_round()
        federation.play_round(lie=Lie.MEAN)
        yield federation


def commands() -> list[str]:
    """Blocks of the page that a reader types, without the one that says where things are."""
    return [block.text for block in blocks(PAGE) if block.language == "sh" and PLACEHOLDER not in block.text]


def type_in(script: str, federation: Federation, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a shell that stops at the first failure, with `collegium` and the tools of this clone."""
    binaries = folder / "bin"
    binaries.mkdir()
    program = binaries / "collegium"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m collegium_client.cli "$@"\n')
    program.chmod(0o755)
    tools = environment()
    addresses = federation.deployment.addresses
    paths = [str(ROOT), str(ROOT / "client"), str(ROOT / "coordinator")]
    return subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", script],
        cwd=folder,
        env={
            **tools,
            "PATH": f"{binaries}{os.pathsep}{tools['PATH']}",
            "PYTHONPATH": os.pathsep.join(paths),
            "RPC": federation.devnet.url,
            "DEPLOYMENT": str(federation.folder / "deployment.json"),
            "STORE": f"file://{federation.folder / 'store'}",
            "STUDY": str(federation.study_id),
            "ROUND": "2",
            "COLLEGIUM": addresses["Collegium"],
            "REFUTATIONS": addresses["Refutations"],
            "COLLEGIUM_HOME": str(folder / "home"),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.chain
@pytest.mark.slow
def test_every_command_of_the_page_works_as_written(federation: Federation, tmp_path: Path) -> None:
    typed = commands()
    assert len(typed) >= 10
    done = type_in("\n".join(typed), federation, tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    said, refuted = done.stdout, federation.rounds[1]
    assert refuted.record is not None
    for words in (
        "Referee " + federation.deployment.addresses["Referee"] + ": exact match",
        "the blob is what was committed",
        f"the record is 0x{refuted.record.hex()}",
        "THE PROPOSAL SAYS",
        "coordinate 5;",
        "Verdict: ok",
        "standard-json/Studies.json",
    ):
        assert words in said, words
    # The coordinate on chain is the one that the command recomputed.
    (event,) = [each for sent in refuted.sent for each in sent.named("Refuted")]
    assert f"round 2, coordinate {event.args['coordinate']};" in said


@pytest.mark.chain
def test_a_wrong_address_stops_the_reader(federation: Federation, tmp_path: Path) -> None:
    second = next(text for text in commands() if "refutations()(address)" in text)
    script = f"REFUTATIONS={federation.deployment.addresses['Bonds']}\n{second}"
    assert type_in(script, federation, tmp_path).returncode != 0


def test_tables_of_events_are_those_of_the_contracts() -> None:
    assert event_tables.main(["--check"]) == 0, "run python -m scripts.release.event_tables"
