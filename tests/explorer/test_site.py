"""The static site: structure, links, JSON, hostile text, and building it again."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from collegium.errors import ConfigError, PreconditionError
from collegium.explorer.site import read_page
from collegium.explorer.source import Source
from collegium.explorer.web.build import build_site
from collegium.explorer.web.render import Renderer
from collegium.storage import cid_of
from tests.support.federation import Federation

from .outline import Outline, read_outline
from .worlds import HOSTILE_NAME, HOSTILE_TITLE

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("explorer")]

GOLDEN = Path(__file__).parent / "outlines.json"
SAMPLES = {
    "overview": "index", "verify": "verify", "institutions": "institutions/index", "study": "studies/1/index",
    "rounds": "studies/1/rounds/page-1", "round": "studies/1/rounds/4", "aborted": "studies/1/rounds/9",
    "genesis": "studies/1/models/0", "model": "studies/1/models/4", "lineage": "studies/1/lineage/page-1",
    "mean": "studies/1/refutations/1", "step": "studies/1/refutations/2", "contradiction": "studies/1/refutations/3",
    "tail": "studies/1/refutations/4", "range": "studies/1/refutations/5", "equivocation": "studies/1/refutations/6",
}  # fmt: skip


def samples(history: Federation) -> dict[str, str]:
    """A page of each kind by name."""
    return {**SAMPLES, "institution": f"institutions/{history.members[0].institution.address}"}


def pages_of(site: Path) -> dict[str, Outline]:
    return {
        path.relative_to(site).as_posix(): read_outline(path.read_bytes()) for path in sorted(site.rglob("*.html"))
    }


class TestStructure:
    def test_outlines_are_as_agreed(self, site: Path, history: Federation) -> None:
        """Headings, captions and landmarks of a page of each kind. UPDATE_OUTLINES=1 writes them anew."""
        found = {}
        for name, path in samples(history).items():
            outline = read_outline((site / f"{path}.html").read_bytes())
            landmarks = [tag for tag, _ in outline.elements if tag in ("header", "nav", "main", "section", "footer")]
            found[name] = {
                "headings": [f"h{level} {_neutral(words)}" for level, words in outline.headings],
                "captions": [_neutral(words) for words in outline.captions],
                "landmarks": landmarks,
            }
        if os.environ.get("UPDATE_OUTLINES"):
            GOLDEN.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))

    def test_every_page_is_sound(self, site: Path) -> None:
        for path, page in pages_of(site).items():
            assert page.elements[0] == ("html", {"lang": "en"}), path
            assert page.count("main") == page.count("h1") == 1, path
            tags = [tag for tag, _ in page.elements]
            assert tags[: tags.index("body")].count("title") == 1, path
            assert len(set(page.ids)) == len(page.ids), path
            levels = [level for level, _ in page.headings]
            assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), path
            assert page.count("table") == page.count("caption"), path
            for tag, given in page.elements:
                assert tag != "th" or given.get("scope") in ("col", "row"), path
                assert not any(name.startswith("on") or name == "style" for name in given), (path, tag, given)
                assert tag not in ("style", "iframe", "object", "embed", "base"), path
                assert tag != "script" or re.fullmatch(r"(\.\./)*assets/explorer\.js\?\w+", given["src"]), path
                assert tag != "svg" or given.get("aria-hidden") or given.get("aria-label"), path
                assert tag != "a" or given.get("href"), path

    def test_every_page_says_up_to_which_block(self, site: Path, source: Source) -> None:
        for path, page in pages_of(site).items():
            assert f"up to block {source.as_of.block}" in " ".join(page.text.split()), path

    def test_policy_allows_only_this_site(self, site: Path) -> None:
        for path, page in pages_of(site).items():
            policies = [given["content"] for tag, given in page.elements
                        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
            assert len(policies) == 1 and policies[0].startswith("default-src 'none';"), path
            assert "unsafe" not in policies[0] and "http" not in policies[0], path


class TestLinks:
    def test_every_link_resolves(self, site: Path) -> None:
        pages = pages_of(site)
        outside = set()
        for path, page in pages.items():
            for link in page.links:
                parts = urlsplit(link)
                if parts.scheme:
                    outside.add((parts.scheme, parts.netloc))
                    assert re.fullmatch(r"/(tx/0x[0-9a-f]{64}|address/0x[0-9a-fA-F]{40})", parts.path), link
                    continue
                assert not link.startswith("/"), f"{path}: {link} would leave the folder"
                target = (site / path).parent / unquote(parts.path) if parts.path else site / path
                assert target.is_file(), f"{path}: {link}"
                assert target.resolve().is_relative_to(site.resolve()), link
                if parts.fragment:
                    assert parts.fragment in pages[path].ids, f"{path}: {link}"
        assert outside == {("https", "explorer.example")}

    def test_without_a_block_explorer_nothing_leads_outside(self, source: Source) -> None:
        renderer = Renderer(network="n", chain_id=1)
        page = read_outline(renderer.html(read_page(source, "studies/1/rounds/4"), source.as_of))
        assert not any(urlsplit(link).scheme for link in page.links)

    @pytest.mark.parametrize("url", ["javascript:alert(1)", "ftp://x", "//evil", "https://", "https://x/?a=1", "x"])
    def test_an_address_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(ConfigError, match="block explorer"):
            Renderer(network="n", chain_id=1, explorer_url=url)


class TestHostileText:
    def test_no_page_carries_it_as_markup(self, site: Path) -> None:
        shown = 0
        for path in site.rglob("*.html"):
            content = path.read_bytes()
            text = content.decode("utf-8")
            shown += "document.title" in text
            assert b"\x1b" not in content and b"\x07" not in content, path
            assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\ufeff]", text), path
            assert "<script>" not in text and "<img" not in text and "onerror=\"" not in text, path
            assert "\u0301" * 4 not in text, path
        # It is there, and told as it is.
        assert shown > 10

    def test_it_is_shown_where_people_look_for_it(self, site: Path) -> None:
        study = read_outline((site / "studies/1/index.html").read_bytes())
        assert study.headings[0][1].startswith("Study <img src=x onerror=\"document.title='owned'\">\\u001b[2J")
        listed = read_outline((site / "institutions/index.html").read_bytes())
        assert "St. <script>document.title='owned'</script>" in listed.text
        assert "<b>coordinator</b>" in listed.text

    def test_json_keeps_it_whole_and_plain(self, site: Path) -> None:
        raw = (site / "studies/1/index.json").read_bytes()
        assert raw.isascii() and b"\x1b" not in raw
        assert json.loads(raw)["page"]["title"] == HOSTILE_TITLE
        listed = json.loads((site / "institutions/index.json").read_bytes())["page"]["institutions"]
        assert HOSTILE_NAME in [row["party"]["name"] for row in listed]

    def test_endless_text_is_cut(self, site: Path) -> None:
        page = read_outline((site / "studies/1/index.html").read_bytes())
        assert "… (cut)" in page.text and "x" * 5000 not in page.text


class TestJson:
    def test_beside_every_page(self, site: Path) -> None:
        for path in site.rglob("*.html"):
            content = json.loads(path.with_suffix(".json").read_bytes())
            assert content["schema"] == "collegium.explorer/1" and content["as_of"]["block"] > 0

    def test_amounts_and_hashes_are_exact(self, site: Path, history: Federation) -> None:
        page = json.loads((site / "studies/1/rounds/2.json").read_bytes())["page"]
        (fine,) = [fine for fine in page["fines"] if "never revealed" in fine["kind"]]
        assert int(fine["amount"]) == history.plan.unrevealed_fine
        assert int(fine["burned"]) + int(fine["share"]) * len(fine["sharers"]) == int(fine["amount"])


class TestBuilding:
    def test_blobs_are_those_the_chain_names(self, site: Path, source: Source) -> None:
        blobs = {path.name: path for path in (site / "blobs").iterdir()}
        assert set(blobs) <= set(source.replay.blobs) and len(blobs) > 50
        assert all(cid_of(path).text == name for name, path in blobs.items())

    def test_building_again_writes_nothing(self, source: Source, renderer: Renderer, tmp_path: Path) -> None:
        first = build_site(source, renderer, tmp_path)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.name != "site.json"}
        again = build_site(source, renderer, tmp_path)
        assert first.written > 100 and (again.written, again.removed) == (0, 0)
        assert before == {path: path.stat().st_mtime_ns for path in before}

    def test_only_what_changed_is_written(self, source: Source, renderer: Renderer, tmp_path: Path) -> None:
        build_site(source, renderer, tmp_path)
        damaged, lost = tmp_path / "studies/1/rounds/3.html", tmp_path / "studies/1/rounds/5.json"
        right = damaged.read_bytes()
        damaged.write_bytes(right[: len(right) // 2])
        lost.unlink()
        again = build_site(source, renderer, tmp_path)
        assert again.written == 2 and damaged.read_bytes() == right and lost.is_file()

    def test_an_interrupted_build_goes_on(self, source: Source, renderer: Renderer, tmp_path: Path) -> None:
        class Interrupted(Exception):
            pass

        def interrupt(done: int, total: int) -> None:
            if done == total // 2:
                raise Interrupted

        with pytest.raises(Interrupted):
            build_site(source, renderer, tmp_path / "one", progress=interrupt)
        half = len(list((tmp_path / "one").rglob("*.html")))
        build_site(source, renderer, tmp_path / "one")
        build_site(source, renderer, tmp_path / "two")
        files = {path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*.*")}
        assert 0 < half < len([name for name in files if name.suffix == ".html"])
        for name in files:
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name

    def test_pages_of_blocks_taken_back_are_removed(self, source: Source, renderer: Renderer, tmp_path: Path) -> None:
        build_site(source, renderer, tmp_path)
        gone = tmp_path / "studies/1/rounds/99.html"
        gone.write_text("x")
        manifest = json.loads((tmp_path / "site.json").read_text())
        manifest["files"]["studies/1/rounds/99.html"] = ["", ""]
        (tmp_path / "site.json").write_text(json.dumps(manifest))
        assert build_site(source, renderer, tmp_path).removed == 1 and not gone.exists()

    def test_a_folder_of_others_is_left_alone(self, source: Source, renderer: Renderer, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("mine")
        with pytest.raises(PreconditionError, match="no site of ours"):
            build_site(source, renderer, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_a_damaged_list_is_told(self, source: Source, renderer: Renderer, tmp_path: Path) -> None:
        for content in ("{", "[]", '{"schema": "other"}', '{"schema": "collegium.site/1", "files": {"../../x": []}}'):
            (tmp_path / "site.json").write_text(content)
            with pytest.raises(PreconditionError, match="site's files"):
                build_site(source, renderer, tmp_path)


def _neutral(words: str) -> str:
    """Without what differs from run to run."""
    return re.sub(r"0x[0-9a-f]{8}…?[0-9a-f]*", "0x…", words)
