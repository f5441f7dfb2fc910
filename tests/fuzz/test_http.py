"""The coordinator's HTTP side: every request gets an answer, and none of them ends the server."""

from __future__ import annotations

import contextlib
import io
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium.messages import pack_attestations, pack_commits, pack_reveals
from collegium.storage.embedded import StoreRoutes
from collegium.storage.folder import BlobFolder
from collegium.storage.http_server import Body, HttpServer, Response
from collegium_coordinator.inbox import Topic
from collegium_coordinator.service import CoordinatorApplication
from tests.coordinator.desk import Desk
from tests.fuzz import samples
from tests.fuzz.mutations import FUZZ, SLOW_FUZZ, mutated, mutated_json, mutated_text, never_crashes
from tests.support.federation import Federation

PATHS = ("/health", "/v1/info", "/v1/updates", "/v1/attestations?study=1&round=1", f"/v1/blobs/{samples.RAW_CID}", "/")
BODY = {"study": 1, "round": 1, "item": "11" * 100, "proposal": "22" * 32}
HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-length", "content-type", "range", "if-none-match", "expect", "transfer-encoding", "x-collegium-key",
         "x-collegium-time", "x-collegium-study", "x-collegium-signature", "x-collegium-length"]
    ),
    st.one_of(
        st.text(max_size=40), st.sampled_from(["bytes=0-1", "bytes=-1", "bytes=5-2", "0x" + "11" * 20, "1" * 4400])
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> CoordinatorApplication:
    folder = BlobFolder(tmp_path_factory.mktemp("fuzz") / "store")
    folder.put(b"one")

    def take(topic: Topic, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"status": "accepted"}

    return CoordinatorApplication(
        intake=take,
        attestations=lambda study, round: [b"\1"],
        info=lambda: {"study": 1},
        routes=StoreRoutes(folder, lambda key, study: True, chain_id=1, quota_bytes=1 << 20),
    )


def ask(
    application: CoordinatorApplication, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> Response:
    response: Response = never_crashes(
        lambda: application(method, path, headers, Body(io.BufferedReader(io.BytesIO(body)), len(body))), ()
    )
    response.discard()
    return response


class TestApplication:
    @FUZZ
    @given(
        st.one_of(st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"]), st.text(max_size=8)),
        mutated_text(*PATHS), HEADERS, mutated(json.dumps(BODY).encode()),
    )  # fmt: skip
    def test_any_request_is_answered(
        self, application: CoordinatorApplication, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> None:
        response = ask(application, method, path, headers, body)
        assert 200 <= response.status < 600 and "Content-Length" in response.headers

    @FUZZ
    @given(st.sampled_from(sorted(Topic)), mutated(json.dumps(BODY).encode()))
    def test_any_message_is_answered(self, application: CoordinatorApplication, topic: Topic, body: bytes) -> None:
        assert ask(application, "POST", f"/v1/{topic}", {}, body).status in (202, 400)


class TestServer:
    @pytest.fixture(scope="class")
    def server(self, application: CoordinatorApplication) -> Iterator[HttpServer]:
        server = HttpServer(application)
        server.start()
        yield server
        server.close()

    REQUEST = (
        b"POST /v1/updates HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n" + b'{"study":1,"item":2}',
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PUT /v1/blobs/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )

    @SLOW_FUZZ
    @given(mutated(REQUEST))
    def test_any_bytes_leave_it_standing(self, server: HttpServer, data: bytes) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as rude:
            rude.sendall(data)
            rude.shutdown(socket.SHUT_WR)
            answer = rude.recv(1 << 16)
            # Garbage gets an HTTP error or nothing, and no traceback.
            assert b"Traceback" not in answer
        with socket.create_connection((host, int(port)), timeout=5) as polite:
            polite.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"200" in polite.makefile("rb").readline()


@pytest.mark.chain
@pytest.mark.xdist_group("fuzz-intake")
class TestIntake:
    @pytest.fixture(scope="class")
    def desk(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
        """In the commit phase of a real round."""
        folder: Path = tmp_path_factory.mktemp("fuzz-intake")
        with Federation.start(folder / "federation", members=3, aggregators=1) as federation:
            federation.open_round()
            desk = Desk(federation, folder / "desk", 0)
            desk.view()
            yield desk
            desk.close()

    @SLOW_FUZZ
    @given(st.data())
    def test_any_body_is_taken_or_refused(self, desk: Desk, data: st.DataObject) -> None:
        first, second = desk.federation.prepare(0), desk.federation.prepare(1)
        valid = {
            "study": 1, "round": 1, "item": pack_commits([first.signed]).hex(), "proposal": "22" * 32,
            "more": [pack_reveals([second.reveal]).hex(), pack_attestations([]).hex()],
        }  # fmt: skip
        topic = data.draw(st.sampled_from(sorted(Topic)))
        body = data.draw(mutated_json(valid))
        never_crashes(lambda: desk.intake(topic, body if isinstance(body, dict) else {"study": body}))
        wire = data.draw(mutated(pack_commits([first.signed])))
        never_crashes(lambda: desk.intake(topic, {**valid, "item": wire.hex()}))

    def test_good_body_is_still_taken(self, desk: Desk) -> None:
        wire = pack_commits([desk.federation.prepare(2).signed])
        assert desk.take(Topic.UPDATES, wire)["status"] == "accepted"
