"""The server: for this computer only, for reading only, and only what it knows."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path

import pytest

from collegium.explorer.site import list_pages
from collegium.explorer.source import Source
from collegium.explorer.web.render import Renderer
from collegium.explorer.web.server import ExplorerServer
from collegium.storage import parse_cid
from tests.support.federation import Federation

from .outline import read_outline
from .worlds import open_source

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("explorer")]


def ask(
    server: ExplorerServer, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by lower-case name, body; the path goes out as it is."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        given = {"Host": f"127.0.0.1:{server.port}", **(headers or {})}
        connection.putrequest(method, path, skip_host=True)
        for name, value in given.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


class TestPages:
    def test_every_page_is_served_with_its_json(self, served: ExplorerServer, source: Source) -> None:
        for path in list_pages(source):
            status, headers, body = ask(served, f"/{path}.html")
            assert status == 200 and headers["content-type"] == "text/html; charset=utf-8", path
            assert read_outline(body).count("h1") == 1
            status, headers, body = ask(served, f"/{path}.json")
            assert status == 200 and json.loads(body)["page"], path

    def test_folders_have_an_index(self, served: ExplorerServer) -> None:
        for path in ("/", "/institutions/", "/studies/1/"):
            assert ask(served, path)[0] == 200

    def test_head_has_no_body(self, served: ExplorerServer) -> None:
        status, headers, body = ask(served, "/index.html", method="HEAD")
        assert (status, body) == (200, b"") and int(headers["content-length"]) > 1000

    def test_status_says_how_far_was_read(self, served: ExplorerServer, source: Source) -> None:
        status = json.loads(ask(served, "/status.json")[2])
        assert status["block"] == source.as_of.block == status["changed_at"] and status["error"] == ""

    def test_a_page_that_did_not_change_is_not_sent_again(self, served: ExplorerServer) -> None:
        _, headers, _ = ask(served, "/studies/1/models/0.html")
        again = ask(served, "/studies/1/models/0.html", headers={"If-None-Match": f'"x", W/{headers["etag"]}'})
        assert again[0] == 304 and again[2] == b""
        assert ask(served, "/studies/1/models/0.html", headers={"If-None-Match": '"other"'})[0] == 200


class TestRefusals:
    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
    )
    def test_a_name_that_was_rebound_gets_nothing(self, served: ExplorerServer, host: str) -> None:
        status, _, body = ask(served, "/", headers={"Host": host.format(port=served.port)})
        assert status == 421 and b"Study" not in body

    def test_no_host_gets_nothing(self, served: ExplorerServer) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)
        connection.putrequest("GET", "/", skip_host=True)
        connection.endheaders()
        assert connection.getresponse().status == 421
        connection.close()

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
    def test_nothing_is_written(self, served: ExplorerServer, method: str) -> None:
        status, headers, _ = ask(served, "/index.html", method=method)
        assert status == 405 and headers["allow"] == "GET, HEAD"

    @pytest.mark.parametrize(
        "path",
        [
            "/../../etc/passwd", "/assets/../render.py", "/assets/%2e%2e/render.py", "/assets/..%2frender.py",
            "/assets/", "/assets/explorer.css/", "//etc/passwd", "/templates/base.html", "/studies/1/rounds/01.html",
            "/studies/1/rounds/-1.html", "/studies/1/rounds/4.html.json", "/studies/%31%00/index.html",
            "/institutions/0x0000000000000000000000000000000000000000.html", "/studies/1/rounds/99999999999.html",
            "/studies/%D9%A1/index.html", "/blobs/", "/blobs/../site.json", "/index",
            "/blobs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
        ],
    )  # fmt: skip
    def test_what_is_no_page_is_not_found(self, served: ExplorerServer, path: str) -> None:
        status, headers, body = ask(served, path)
        assert status == 404 and headers["content-type"].startswith("text/html")
        assert b"root:" not in body

    def test_the_address_that_was_asked_for_is_not_echoed(self, served: ExplorerServer) -> None:
        assert b"alert" not in ask(served, "/<script>alert(1)</script>")[2]

    def test_every_answer_carries_the_policy(self, served: ExplorerServer) -> None:
        for path in ("/", "/nothing", "/index.json", "/assets/explorer.js", "/status.json"):
            headers = ask(served, path)[1]
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"


class TestBlobs:
    def test_blobs_that_the_chain_names_are_passed_on(self, served: ExplorerServer, history: Federation) -> None:
        update = history.rounds[0].updates[0]
        cid = next(cid for cid in served._source.replay.blobs if parse_cid(cid).digest == update.reveal.content_digest)
        status, headers, body = ask(served, f"/blobs/{cid}")
        assert status == 200 and body == update.blob
        assert headers["content-type"] == "application/octet-stream" and "attachment" in headers["content-disposition"]

    def test_others_are_not_even_if_a_store_has_them(self, served: ExplorerServer, history: Federation) -> None:
        cid = history.store.put(b"a private note")
        assert ask(served, f"/blobs/{cid.text}")[0] == 404


def test_it_keeps_reading(history: Federation, tmp_path: Path) -> None:
    with open_source(history, tmp_path) as source:
        renderer = Renderer(network="n", chain_id=31337, is_live=True)
        server = ExplorerServer(source, renderer, refresh_seconds=0.05)
        server.start()
        try:
            assert json.loads(ask(server, "/status.json")[2])["block"] == -1
            give_up = time.monotonic() + 20
            while json.loads(ask(server, "/status.json")[2])["block"] < history.chain.head().number:  # type: ignore[union-attr]
                assert time.monotonic() < give_up
                time.sleep(0.05)
        finally:
            server.close()
        assert not any(thread.name == "explorer-reader" and thread.is_alive() and thread is server._reader
                       for thread in threading.enumerate())  # fmt: skip
