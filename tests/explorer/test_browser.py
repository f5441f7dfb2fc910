"""The pages in a real browser: nothing logged, nothing fetched from elsewhere, accessible, and verifying bytes.

Screenshots lie in `build/explorer` afterwards, for people to look at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collegium.explorer.web.render import read_asset
from collegium.explorer.web.server import ExplorerServer
from collegium.storage import cid_of, unixfs
from scripts.setup import paths
from tests.support.federation import Federation

from .browser import Browser, Tab, find_browser, open_browser
from .test_site import samples

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("explorer")]

SHOTS = paths.ROOT / "build" / "explorer"
AXE = paths.ROOT / "node_modules" / "axe-core" / "axe.min.js"
VERDICT = "document.querySelector('output').textContent"
LOOKS = {"light": (1280, False), "dark": (1280, True), "narrow": (390, False)}
ASK_AXE = (
    "axe.run(document, {resultTypes: ['violations'] RULES}).then((found) => found.violations.map("
    "(each) => [each.id, each.impact, each.nodes.slice(0, 3).map((node) => node.html)]))"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = find_browser()
    if found is None:
        pytest.skip("no Chromium on PATH (chromium, google-chrome)")
    with open_browser(found) as browser:
        yield browser


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest, browser: Browser) -> Iterator[tuple[str, Tab]]:
    width, dark = LOOKS[request.param]
    yield request.param, browser.open_tab(width=width, dark=dark)


def test_pages_are_quiet_and_keep_to_themselves(
    look: tuple[str, Tab], served: ExplorerServer, history: Federation
) -> None:
    name, tab = look
    for label, path in samples(history).items():
        tab.go(f"{served.url}{path}.html")
        title = tab.evaluate("document.title")
        assert title.endswith("· Collegium explorer") and title != "owned"
        over = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, f"{path} scrolls sideways by {over}"
        if label in ("overview", "study", "round", "rounds", "model", "mean", "institution"):
            tab.screenshot(SHOTS / f"{label}-{name}.png")
    assert tab.complaints == [] and tab.outside == [] and len(tab.requests) > 15


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(browser: Browser, served: ExplorerServer, history: Federation, dark: bool) -> None:
    if not AXE.is_file():
        reason = "axe-core is missing; `npm ci` provides it"
        pytest.fail(reason, pytrace=False) if paths.is_required() else pytest.skip(reason)
    tab = browser.open_tab(dark=dark)
    found = {}
    same = ("genesis", "aborted", "step", "tail", "contradiction")  # as others of their kind
    for path in (path for name, path in samples(history).items() if name not in same):
        tab.go(f"{served.url}{path}.html")
        tab.evaluate(AXE.read_text(encoding="utf-8") + "\n;1")
        # In the dark only the colors are others.
        rules = ", runOnly: ['color-contrast']" if dark else ""
        if violations := tab.evaluate(ASK_AXE.replace(" RULES", rules)):
            found[path] = violations
    assert found == {}, json.dumps(found, indent=1)


def test_without_scripts_everything_is_read(browser: Browser, served: ExplorerServer) -> None:
    tab = browser.open_tab(scripts=False)
    tab.go(f"{served.url}studies/1/rounds/4.html")
    text = tab.evaluate("document.body.innerText")
    for words in ("Roll call", "hospital-0", "endorsed", "Transactions and gas", "collegium audit --study 1"):
        assert words in text
    assert tab.evaluate("[...document.querySelectorAll('button')].every((each) => each.hidden)")
    assert tab.complaints == []


class TestVerifying:
    def test_good_bytes_are_confirmed(self, browser: Browser, served: ExplorerServer) -> None:
        tab = browser.open_tab()
        tab.go(f"{served.url}studies/1/rounds/4.html")
        count = tab.evaluate("document.querySelectorAll('button.verify').length")
        tab.evaluate("document.querySelectorAll('button.verify').forEach((each) => each.click())")
        tab.wait_for("[...document.querySelectorAll('output')].every((each) => /^[✓✗]|^Not/.test(each.textContent))")
        verdicts = tab.evaluate("[...document.querySelectorAll('output')].map((each) => each.textContent)")
        assert len(verdicts) == count >= 8
        assert all(words.startswith("✓ CID and root fit: 1,536 bytes (CID by the browser's Sub") for words in verdicts)
        assert tab.complaints == [] and tab.outside == []

    def test_other_bytes_are_not(self, browser: Browser, served: ExplorerServer) -> None:
        tab = browser.open_tab()
        tab.go(f"{served.url}studies/1/models/4.html")
        forged = "fetch = async () => new Response(new Uint8Array(1536))"
        tab.evaluate(f"{forged}; document.querySelector('button.verify').click()")
        assert tab.wait_for(f"{VERDICT}.startsWith('✗ wrong: the bytes have CID')")
        # The right bytes under a wrong root.
        tab.go(f"{served.url}studies/1/models/4.html")
        button = "document.querySelector('button.verify')"
        tab.evaluate(f"{button}.dataset.root = '0x' + '0'.repeat(64); {button}.click()")
        assert tab.wait_for(f"{VERDICT}.startsWith('✗ wrong: the CID fits, the root')")

    def test_a_blob_that_is_nowhere_is_said_to_be_unchecked(self, browser: Browser, served: ExplorerServer) -> None:
        tab = browser.open_tab()
        tab.go(f"{served.url}studies/1/models/4.html")
        missing = "fetch = async () => new Response('', {status: 404})"
        tab.evaluate(f"{missing}; document.querySelector('button.verify').click()")
        assert tab.wait_for(f"{VERDICT}.startsWith('Not checked:')")

    @pytest.mark.parametrize("size", [0, 1, 55, 56, 64, 1 << 20, (1 << 20) + 1, 3 << 20])
    def test_files_of_any_size_get_their_cid(
        self, browser: Browser, served: ExplorerServer, tmp_path: Path, size: int
    ) -> None:
        content = (hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1))[:size]
        file = tmp_path / "blob"
        file.write_bytes(content)
        assert self.check(browser, served, file) == f"CID: {cid_of(content).text}"

    def test_a_tree_of_several_levels(self, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
        """Leaves of one byte and three links a node stand for the gigabytes that two levels need."""
        monkeypatch.setattr(unixfs, "CHUNK_BYTES", 1)
        monkeypatch.setattr(unixfs, "MAX_LINKS", 3)
        script = read_asset("explorer.js").decode()
        shrunk = script.replace("CHUNK = 1 << 20, LINKS = 1024", "CHUNK = 1, LINKS = 3")
        assert shrunk != script
        tab = browser.open_tab()
        tab.evaluate(shrunk + "\n;1")
        for size in (2, 3, 4, 9, 10, 27, 40):
            content = bytes(i * 11 % 256 for i in range(size))
            importer = unixfs.Importer()
            importer.feed(content)
            assert tab.evaluate(f"cidOf(new Uint8Array({list(content)}))") == importer.finish().text

    def test_own_sha256_is_sha256(self, browser: Browser, served: ExplorerServer) -> None:
        """What is used where the browser has no SubtleCrypto."""
        tab = browser.open_tab()
        tab.go(f"{served.url}verify.html")
        for length in (0, 1, 55, 56, 63, 64, 65, 119, 120, 1000):
            bytes_ = bytes(i * 7 % 256 for i in range(length))
            found = tab.evaluate(f"hex(sha256(new Uint8Array({list(bytes_)})))")
            assert found == "0x" + hashlib.sha256(bytes_).hexdigest()

    def test_a_blob_shows_its_root(
        self, browser: Browser, served: ExplorerServer, history: Federation, tmp_path: Path
    ) -> None:
        update = history.rounds[0].updates[0]
        file = tmp_path / "blob"
        file.write_bytes(update.blob)
        words = self.check(browser, served, file, root="0x" + update.reveal.root.hex(), line=1)
        assert words == f"Root: 0x{update.reveal.root.hex()} ✓ as expected"

    @staticmethod
    def check(browser: Browser, served: ExplorerServer, file: Path, *, root: str = "", line: int = 0) -> str:
        """Put a file into the page that checks files; one line of what it says."""
        tab = browser.open_tab()
        tab.go(f"{served.url}verify.html")
        tab.evaluate(f"document.querySelector('#root').value = {json.dumps(root)}")
        document = tab.call("DOM.getDocument")["root"]["nodeId"]
        field = tab.call("DOM.querySelector", {"nodeId": document, "selector": "#file"})["nodeId"]
        tab.call("DOM.setFileInputFiles", {"nodeId": field, "files": [str(file)]})
        tab.wait_for("document.querySelectorAll('.result p').length === 3")
        assert tab.complaints == []
        return str(tab.evaluate(f"document.querySelectorAll('.result p')[{line}].textContent"))


class TestHands:
    def test_the_first_tab_key_reaches_the_skip_link(self, browser: Browser, served: ExplorerServer) -> None:
        tab = browser.open_tab()
        tab.go(f"{served.url}studies/1/index.html")
        tab.press("Tab", 9)
        assert tab.evaluate("document.activeElement.className") == "skip"
        assert tab.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
        tab.press("Tab", 9)
        outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "the focus is seen"

    def test_a_countdown_runs_by_the_chains_clock(self, browser: Browser, served: ExplorerServer) -> None:
        tab = browser.open_tab()
        tab.go(f"{served.url}studies/1/index.html")
        assert tab.wait_for("/left\\)$/.test(document.querySelector('[data-deadline]').textContent)")

    def test_selecting_a_short_hash_copies_the_whole(self, browser: Browser, served: ExplorerServer) -> None:
        tab = browser.open_tab()
        tab.go(f"{served.url}studies/1/rounds/4.html")
        whole, selected = tab.evaluate(
            "(() => { const code = document.querySelector('code.hash'); getSelection().selectAllChildren(code);"
            " return [code.title, getSelection().toString().replace(/\\s/g, '')]; })()"
        )
        assert len(whole) >= 42 and selected == whole

    def test_on_paper_hashes_are_whole(self, browser: Browser, served: ExplorerServer) -> None:
        tab = browser.open_tab()
        tab.go(f"{served.url}studies/1/models/4.html")
        tab.call("Emulation.setEmulatedMedia", {"media": "print"})
        assert tab.evaluate("getComputedStyle(document.querySelector('.hash .rest')).position") == "static"
        assert tab.evaluate("getComputedStyle(document.querySelector('button.verify')).display") == "none"


def test_a_folder_opens_without_a_server(browser: Browser, site: Path) -> None:
    tab = browser.open_tab()
    tab.go((site / "studies/1/rounds/4.html").as_uri())
    assert tab.evaluate("getComputedStyle(document.querySelector('.card')).borderTopStyle") == "solid"
    assert "Roll call" in tab.evaluate("document.body.innerText")
    assert tab.outside == []
