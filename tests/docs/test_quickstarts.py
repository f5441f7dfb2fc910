"""docs/quickstart/: every command of the five pages, typed by the party that each page speaks to, on one chain."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sklearn.datasets import load_breast_cancer

from collegium.chain.devnet import DevnetRecord
from scripts.setup.paths import BIN, ROOT, VENV
from tests.docs.pages import sections
from tests.docs.terminal import Terminal
from tests.flows.arena import free_ports

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow]

PAGES = ROOT / "docs" / "quickstart"
# What a reader answers after reading.
ASKS = (
    "study approve-task ", "collegium join ", "study create ", "coordinator enlist ", "study pause ", "study resume ",
    "study close ",
)  # fmt: skip
# What a coordinator does by itself, for days on which there is none (docs/cli.md).
BY_HAND = """
kill %1; wait %1 || true
collegium round open 1 --yes
collegium-coordinator propose --study 1
collegium study settle 1 --yes
"""
Party = Callable[[str], Terminal]


def replacements() -> dict[str, str]:
    """Placeholders of the pages, and what costs minutes: installing (tests/release) and strong password hashing."""
    return {
        "127.0.0.1:8545": (node := f"127.0.0.1:{free_ports(1)[0]}"),
        "--port 8545": f"--port {node.partition(':')[2]}",
        "127.0.0.1:8470": f"127.0.0.1:{free_ports(1)[0]}",
        "python3 -m venv ~/collegium-programs\n": "",
        "~/collegium-programs/bin/pip install './collegium-0.2.0-py3-none-any.whl[data]'\n": "",
        "export PATH=~/collegium-programs/bin:$PATH": f"export PATH={VENV / 'bin'}:$PATH",
        "collegium keys new ": "collegium keys new --light ",
        **{asks: f"{asks}--yes " for asks in ASKS},
    }


def plain_environment() -> dict[str, str]:
    """A reader's: nothing of this clone is on the path before the pages put it there."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    ours = {str(BIN), str(VENV / "bin")}
    return {"PATH": os.pathsep.join(each for each in folders if each not in ours), "LANG": "C.UTF-8"}


class Reader:
    """Types sections of pages and remembers which."""

    def __init__(self) -> None:
        self.texts = {(page.stem, title): text for page in PAGES.glob("*.md") for title, text in sections(page)}
        self.typed: set[tuple[str, str]] = set()
        self.replaced = replacements()
        every = "".join(self.texts.values())
        missing = [shown for shown in self.replaced if shown not in every]
        assert not missing, f"the pages do not say {missing} any more"

    def read(self, page: str, title: str, **special: str) -> str:
        text = self.texts[page, title]
        self.typed.add((page, title))
        for shown, instead in {**self.replaced, **special}.items():
            text = text.replace(shown, instead)
        return text

    def together(self, terminals: list[Terminal], page: str, *titles: str) -> list[str]:
        """Several parties at once, as in life; what each saw."""
        before = [each.output.stat().st_size for each in terminals]
        started = time.monotonic()
        for each in terminals:
            each.type("\n".join(self.read(page, title) for title in titles))
        for each in terminals:
            each.wait(200)
        print(f"{time.monotonic() - started:5.1f} s  {page}: {', '.join(titles)}")
        return [
            each.output.read_bytes()[size:].decode(errors="replace")
            for each, size in zip(terminals, before, strict=True)
        ]


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Party]:
    opened: list[Terminal] = []

    def open_terminal(name: str) -> Terminal:
        folder = ROOT if name == "operator" else None
        opened.append(Terminal(tmp_path / name, plain_environment(), folder=folder))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()
    record = DevnetRecord.load(tmp_path / "operator" / "federation" / "devnet.json")
    if record is not None:
        record.stop()


def give(terminal: Terminal, deployment: Path, name: str, share: slice) -> None:
    """What a party has before it begins: the deployment file and a table."""
    shutil.copy(deployment, terminal.home / "deployment.json")
    table = terminal.home / name
    table.parent.mkdir(exist_ok=True)
    load_breast_cancer(as_frame=True).frame.iloc[share].to_csv(table, index=False)


def test_from_nothing_to_the_audit(party: Party, tmp_path: Path) -> None:
    reader = Reader()
    operator, clinic, north, south = (party(name) for name in ("operator", "clinic", "north", "south"))
    (said,) = reader.together([operator], "operator", "Deploy")
    assert "CollegiumToken" in said
    home = operator.home / "federation"
    give(clinic, home / "deployment.json", "cohort.csv", slice(None))
    give(north, home / "deployment.json", "data/cohort.csv", slice(0, None, 2))
    give(south, home / "deployment.json", "data/cohort.csv", slice(1, None, 2))

    # The clinic leads the study; all three are institutions.
    institutions = [clinic, north, south]
    reader.together(institutions, "hospital", "IT: install, make keys, ask to be admitted")
    (home / "requests").mkdir()
    grants = ""
    for each in institutions:
        shutil.copy(each.home / "request.json", home / "requests" / f"{each.home.name}.json")
        keys = each.run("collegium keys show institution; collegium keys show node").split()
        grants += f"{keys[0]},0.2,2000 {keys[1]},0.2,0 "
    placeholder = "0xINSTITUTION,0.2,2000 0xNODE,0.2,0"
    assert placeholder in reader.texts["operator", "Admit"]
    operator.run(reader.read("operator", "Admit", **{placeholder: grants}))
    reader.together(institutions, "hospital", "IT: stake")

    reader.together([clinic], "coordinator", "Write the study", "Found and serve")
    clinic.run("until grep -q serves coordinator.log; do sleep 0.2; done")
    hospitals = [north, south]
    for shown in reader.together(hospitals, "hospital", "Data scientist: read, check, join"):
        assert "Nothing was signed or sent." in shown
    for shown in reader.together(hospitals, "hospital", "Train"):
        assert "held-out cases" in shown and "records, head" in shown
    assert (north.home / "model.safetensors").read_bytes() == (south.home / "model.safetensors").read_bytes()

    reader.together([clinic], "coordinator", "While it runs")
    auditor = party("auditor")
    shutil.copy(home / "deployment.json", auditor.home)
    auditor.run(f"export PATH={VENV / 'bin'}:$PATH")
    (audited,) = reader.together(
        [auditor], "auditor", "Replay everything", "One number by hand", "Without a network", "With your eyes"
    )
    assert audited.count("Verdict: ok") == 2 and (auditor.home / "pages" / "index.html").exists()
    (signed,) = reader.together([north], "lawyer", "What to read", "Afterwards")
    assert "updates public: agreed" in signed and "</html>" in (north.home / "annex.html").read_text()
    clinic.run(BY_HAND)
    reader.together([clinic], "coordinator", "The end")
    reader.together([operator], "operator", "Afterwards")

    left = set(reader.texts) - reader.typed
    assert not left, f"nobody typed {left}"
