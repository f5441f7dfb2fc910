"""The embedded store over real sockets: who may write, how much, and what it costs to lie."""

from __future__ import annotations

import http.client
import io
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collegium.errors import CollegiumError
from collegium.storage import http_server, request
from collegium.storage.cid import Cid, cid_of
from collegium.storage.embedded import EmbeddedStoreServer, StoreRoutes
from collegium.storage.folder import BlobFolder
from collegium.storage.ledger import WriterLedger

from .actors import ALICE, BOB, CHAIN_ID, MALLORY, MIB, STUDY, Member, is_member

DATA = b"an update"
CID = cid_of(DATA)


def sign(member: Member, cid: Cid = CID, **changed: int) -> dict[str, str]:
    fields = {"time": int(time.time()), "study_id": STUDY, "chain_id": CHAIN_ID, **changed}
    return request.sign_put(member, cid, **fields)


def ask(
    server: EmbeddedStoreServer,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, dict[str, str], bytes]:
    """One request on its own connection: status, headers in lower case, body."""
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def put(server: EmbeddedStoreServer, headers: Mapping[str, str], data: bytes = DATA, cid: Cid = CID) -> tuple[int, str]:
    """Status and reason of a PUT."""
    status, _, body = ask(server, "PUT", f"/v1/blobs/{cid}", headers, data)
    return status, str(json.loads(body).get("code", ""))


def send_raw(server: EmbeddedStoreServer, data: bytes, wait: float = 5.0) -> bytes:
    """Send bytes as they are, close the sending side and return everything answered."""
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=wait) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def head_of(headers: Mapping[str, str], length: int, cid: Cid = CID) -> bytes:
    lines = [f"PUT /v1/blobs/{cid} HTTP/1.1", "Host: store", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


class TestWriting:
    def test_member_writes_and_anyone_reads(self, server: EmbeddedStoreServer) -> None:
        assert put(server, sign(ALICE)) == (201, "")
        status, headers, body = ask(server, "GET", f"/v1/blobs/{CID}")
        assert (status, body) == (200, DATA)
        assert headers["etag"] == f'"{CID}"'
        status, headers, body = ask(server, "HEAD", f"/v1/blobs/{CID}")
        assert (status, headers["content-length"], body) == (200, str(len(DATA)), b"")

    def test_second_put_is_harmless(self, server: EmbeddedStoreServer) -> None:
        assert put(server, sign(ALICE))[0] == 201
        assert put(server, sign(BOB))[0] == 200
        assert server.routes.ledger.used_bytes(ALICE.address) == len(DATA)
        assert server.routes.ledger.used_bytes(BOB.address) == 0

    @pytest.mark.parametrize(
        "missing", ["X-Collegium-Key", "X-Collegium-Time", "X-Collegium-Study", "X-Collegium-Signature"]
    )
    def test_without_a_header_is_refused(self, server: EmbeddedStoreServer, missing: str) -> None:
        headers = sign(ALICE)
        del headers[missing]
        assert put(server, headers) == (401, "unauthorized")

    @pytest.mark.parametrize(
        "headers",
        [
            sign(ALICE, cid_of(b"another")),
            sign(ALICE, chain_id=1),
            {**sign(ALICE), "X-Collegium-Study": "8"},
            {**sign(ALICE), "X-Collegium-Time": str(int(time.time()) + 1)},
            {**sign(ALICE), "X-Collegium-Key": BOB.address},
            {**sign(ALICE), "X-Collegium-Signature": "00" * 64},
            {**sign(ALICE), "X-Collegium-Signature": "ff" * 64},
        ],
    )
    def test_wrong_signature_is_refused(self, server: EmbeddedStoreServer, headers: dict[str, str]) -> None:
        assert put(server, headers) == (401, "unauthorized")

    @pytest.mark.parametrize("shift", [-200, -121, 123, 10**6])
    def test_time_outside_the_window_is_refused(self, server: EmbeddedStoreServer, shift: int) -> None:
        assert put(server, sign(ALICE, time=int(time.time()) + shift)) == (401, "unauthorized")

    @pytest.mark.parametrize("shift", [-115, 115])
    def test_time_inside_the_window_is_accepted(self, server: EmbeddedStoreServer, shift: int) -> None:
        assert put(server, sign(ALICE, time=int(time.time()) + shift))[0] == 201

    def test_stranger_is_refused(self, server: EmbeddedStoreServer) -> None:
        assert put(server, sign(MALLORY)) == (403, "unauthorized")

    def test_member_of_another_study_is_refused(self, server: EmbeddedStoreServer) -> None:
        assert put(server, sign(ALICE, study_id=8)) == (403, "unauthorized")

    @pytest.mark.parametrize(
        "changed",
        [
            {"X-Collegium-Key": "alice"},
            {"X-Collegium-Time": "now"},
            {"X-Collegium-Time": "-1"},
            {"X-Collegium-Time": "9" * 20},
            {"X-Collegium-Study": "1e3"},
            {"X-Collegium-Signature": "0x12"},
            {"X-Collegium-Signature": "zz" * 64},
        ],
    )
    def test_malformed_header_is_refused(self, server: EmbeddedStoreServer, changed: dict[str, str]) -> None:
        assert put(server, {**sign(ALICE), **changed})[0] in (400, 401)

    def test_other_bytes_are_refused(self, server: EmbeddedStoreServer) -> None:
        assert put(server, sign(ALICE), data=b"an upbeat") == (422, "cid_mismatch")
        assert list(server.folder.list()) == []

    def test_identity_cid_is_refused(self, server: EmbeddedStoreServer) -> None:
        status, _, body = ask(server, "PUT", "/v1/blobs/bafkqabtimvwgy3yk", sign(ALICE), b"hello")
        assert status == 400
        assert "identity" in json.loads(body)["message"]

    @pytest.mark.parametrize(
        "name", ["", "..", "%2e%2e%2fwriters.jsonl", "../../etc/passwd", "Qm" + "1" * 44, "b" * 59]
    )
    def test_no_other_name_reaches_the_disk(self, server: EmbeddedStoreServer, name: str) -> None:
        for method in ("GET", "HEAD", "PUT"):
            assert ask(server, method, f"/v1/blobs/{name}", sign(ALICE), b"")[0] == 400

    def test_oversized_blob_is_refused_unread(self, server: EmbeddedStoreServer) -> None:
        data = bytes(5 * MIB)
        cid = cid_of(data)
        assert put(server, sign(ALICE, cid), data, cid) == (413, "blob_oversized")

    def test_quota_is_per_key_and_deleting_frees_it(self, server: EmbeddedStoreServer) -> None:
        first, second = bytes(4 * MIB), b"\x01" * (3 * MIB)
        assert put(server, sign(ALICE, cid_of(first)), first, cid_of(first))[0] == 201
        assert put(server, sign(ALICE, cid_of(second)), second, cid_of(second)) == (507, "quota_exceeded")
        assert put(server, sign(BOB, cid_of(second)), second, cid_of(second))[0] == 201
        server.folder.remove(cid_of(first))
        third = b"\x02" * (3 * MIB)
        assert put(server, sign(ALICE, cid_of(third)), third, cid_of(third))[0] == 201

    def test_quota_survives_a_restart_and_a_torn_line(self, server: EmbeddedStoreServer) -> None:
        assert put(server, sign(ALICE))[0] == 201
        ledger = server.folder.path / "writers.jsonl"
        with ledger.open("ab") as file:
            file.write(b'{"cid":"baf')
        again = WriterLedger(server.folder, quota_bytes=100)
        assert again.used_bytes(ALICE.address) == len(DATA)
        other = server.folder.put(b"other")
        with again.admit(BOB.address, other, 5):
            pass
        assert WriterLedger(server.folder, quota_bytes=100).used_bytes(BOB.address) == 5

    def test_truncated_upload_leaves_nothing(self, server: EmbeddedStoreServer) -> None:
        answer = send_raw(server, head_of(sign(ALICE), len(DATA) + 10) + DATA)
        assert b" 400 " in answer.splitlines()[0]
        assert b"ended 10 bytes early" in answer
        assert list(server.folder.list()) == []
        assert list((server.folder.path / "incoming").iterdir()) == []

    def test_upload_without_length_is_refused(self, server: EmbeddedStoreServer) -> None:
        lines = head_of(sign(ALICE), 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        assert b" 411 " in send_raw(server, lines + b"9\r\nan update\r\n0\r\n\r\n").splitlines()[0]

    def test_signed_head_says_beforehand_what_a_put_would(self, server: EmbeddedStoreServer) -> None:
        path = f"/v1/blobs/{CID}"
        assert ask(server, "HEAD", path)[0] == 404
        assert ask(server, "HEAD", path, {**sign(ALICE), "X-Collegium-Length": "9"})[0] == 404
        status, headers, _ = ask(server, "HEAD", path, {**sign(MALLORY), "X-Collegium-Length": "9"})
        assert (status, headers["x-collegium-error"]) == (403, "unauthorized")
        assert ask(server, "HEAD", path, {**sign(ALICE), "X-Collegium-Length": str(5 * MIB)})[0] == 413

    def test_concurrent_puts_all_arrive(self, server: EmbeddedStoreServer) -> None:
        blobs = [bytes([number]) * 100_000 for number in range(16)]
        statuses: list[int] = []

        def send(data: bytes) -> None:
            cid = cid_of(data)
            statuses.append(put(server, sign(ALICE, cid), data, cid)[0])

        threads = [threading.Thread(target=send, args=(blob,)) for blob in blobs + blobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {200, 201}
        assert set(server.folder.list()) == {cid_of(blob) for blob in blobs}


class TestReading:
    def test_damaged_file_is_a_missing_blob(self, server: EmbeddedStoreServer) -> None:
        cid = server.folder.put(DATA)
        path = server.folder.path_of(cid)
        path.write_bytes(b"altered")
        status, _, body = ask(server, "GET", f"/v1/blobs/{CID}")
        assert status == 404
        assert str(server.folder.path).encode() not in body, "paths of this machine are nobody's business"
        assert not server.folder.has(cid)

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [("DELETE", f"/v1/blobs/{CID}", 405), ("GET", "/", 404), ("POST", "/v1/blobs/", 405)],
    )
    def test_nothing_else_is_served(self, server: EmbeddedStoreServer, method: str, path: str, status: int) -> None:
        assert ask(server, method, path)[0] == status

    def test_one_connection_serves_several_requests(self, server: EmbeddedStoreServer) -> None:
        server.folder.put(DATA)
        address = urlsplit(server.url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
        for _ in range(3):
            connection.request("PUT", f"/v1/blobs/{CID}", body=b"refused")
            assert connection.getresponse().read()
            connection.request("GET", f"/v1/blobs/{CID}")
            assert connection.getresponse().read() == DATA
        connection.close()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
    @given(data=st.binary(max_size=300))
    def test_foreign_bytes_on_the_wire_do_no_harm(self, server: EmbeddedStoreServer, data: bytes) -> None:
        send_raw(server, data + b"\r\n\r\n")
        assert ask(server, "GET", "/health")[0] == 200


class TestSlowClients:
    def test_dripping_head_is_cut_off(self, server: EmbeddedStoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.4)
        address = urlsplit(server.url)
        with socket.create_connection((str(address.hostname), address.port or 0), timeout=10) as connection:
            started = time.monotonic()
            with pytest.raises(OSError):
                while time.monotonic() - started < 8:
                    connection.sendall(b"G")
                    time.sleep(0.05)
            assert time.monotonic() - started < 5

    def test_stalled_body_is_cut_off(self, server: EmbeddedStoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http_server, "BODY_SECONDS", 0.4)
        address = urlsplit(server.url)
        with socket.create_connection((str(address.hostname), address.port or 0), timeout=10) as connection:
            connection.sendall(head_of(sign(ALICE), len(DATA)) + DATA[:3])
            assert b" 408 " in connection.recv(4096).splitlines()[0]
        assert list(server.folder.list()) == []

    def test_too_many_connections_are_turned_away(self, folder: BlobFolder) -> None:
        routes = StoreRoutes(folder, is_member, chain_id=CHAIN_ID)
        server = http_server.HttpServer(routes.handle, max_connections=2)
        server.start()
        held = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(2)]
        time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as third:
            assert b" 503 " in third.recv(4096).splitlines()[0]
        for connection in held:
            connection.close()
        server.close()

    def test_connection_that_is_idle_after_an_answer_makes_room(self, folder: BlobFolder) -> None:
        server = http_server.HttpServer(StoreRoutes(folder, is_member, chain_id=CHAIN_ID).handle, max_connections=2)
        server.start()
        links = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=5) for _ in range(4)]
        for link in links:
            link.request("GET", "/health")
            assert link.getresponse().read() is not None and link.sock is not None
            time.sleep(0.1)
        # The longest idle one went first; the latest two are still served on the connections that they have.
        assert links[0].sock.recv(1) == b""
        for link in links[2:]:
            link.request("GET", "/health")
            assert link.getresponse().read() is not None
        for link in links:
            link.close()
        server.close()


class TestClosing:
    def test_request_in_progress_ends_first(self, folder: BlobFolder) -> None:
        entered, leave = threading.Event(), threading.Event()

        def authorize(key: str, study_id: int) -> bool:
            entered.set()
            return leave.wait(5)

        server = EmbeddedStoreServer(folder, authorize, chain_id=CHAIN_ID).start()
        answers: list[int] = []
        client = threading.Thread(target=lambda: answers.append(put(server, sign(ALICE))[0]))
        client.start()
        assert entered.wait(5)
        closer = threading.Thread(target=server.close)
        closer.start()
        leave.set()
        closer.join(10)
        client.join(10)
        assert answers == [201]
        with pytest.raises(OSError):
            ask(server, "GET", "/health")

    def test_idle_connections_do_not_delay_it(self, server: EmbeddedStoreServer) -> None:
        address = urlsplit(server.url)
        with socket.create_connection((str(address.hostname), address.port or 0)):
            time.sleep(0.1)
            started = time.monotonic()
            server.close()
            assert time.monotonic() - started < 3


class TestRoutesAlone:
    """The handler without sockets, as another server mounts it."""

    @given(
        method=st.sampled_from(["GET", "HEAD", "PUT", "POST", "BREW"]),
        path=st.one_of(st.text(max_size=50), st.text(max_size=70).map(lambda name: "/v1/blobs/" + name)),
        headers=st.dictionaries(
            st.sampled_from(
                ["X-Collegium-Key", "X-Collegium-Time", "x-collegium-study", "X-Collegium-Signature", "Content-Length"]
            ),
            st.text(max_size=140),
        ),
        body=st.binary(max_size=50),
    )
    def test_any_request_gets_an_answer(
        self, tmp_path_factory: pytest.TempPathFactory, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> None:
        folder = BlobFolder(tmp_path_factory.mktemp("routes"))
        routes = StoreRoutes(folder, is_member, chain_id=CHAIN_ID)
        response = routes.handle(method, path, headers, io.BytesIO(body))
        assert 400 <= response.status < 500
        output = io.BytesIO()
        response.write_to(output)
        assert json.loads(output.getvalue())["code"]
        assert len(output.getvalue()) == int(response.headers["Content-Length"])

    def test_chain_id_of_the_store_decides(self, tmp_path: Path) -> None:
        headers = {name.lower(): value for name, value in sign(ALICE, chain_id=1).items()}
        with pytest.raises(CollegiumError):
            request.read_put_request(headers, CID, chain_id=2, now=time.time())
        found = request.read_put_request(headers, CID, chain_id=1, now=time.time())
        assert (found.key, found.study_id) == (ALICE.address, STUDY)


WRITER = """
import io, os, signal, sys
from pathlib import Path
from collegium.storage import folder, ledger
from collegium.storage.embedded import StoreRoutes
from collegium.storage.folder import BlobFolder
from tests.storage.actors import ALICE, CHAIN_ID, is_member
from tests.storage.test_embedded import CID, DATA, sign

left = int(sys.argv[2])

def dying(act):
    def call(*args, **kwargs):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return act(*args, **kwargs)
    return call

os.fsync, os.write, Path.rename, Path.unlink = map(dying, (os.fsync, os.write, Path.rename, Path.unlink))
routes = StoreRoutes(BlobFolder(sys.argv[1]), is_member, chain_id=CHAIN_ID)
headers = {**sign(ALICE), "Content-Length": str(len(DATA))}
print(routes.handle("PUT", f"/v1/blobs/{CID}", headers, io.BytesIO(DATA)).status, left)
"""


class TestKill:
    def test_at_any_durable_step_a_put_is_whole_or_absent(self, tmp_path: Path) -> None:
        outcomes = []
        for step in range(30):
            home = tmp_path / str(step)
            done = subprocess.run(
                [sys.executable, "-c", WRITER, str(home), str(step)], capture_output=True, text=True, check=False
            )
            folder = BlobFolder(home)
            routes = StoreRoutes(folder, is_member, chain_id=CHAIN_ID)
            outcomes.append(folder.has(CID))
            if folder.has(CID):
                assert folder.get(CID, max_bytes=len(DATA)) == DATA
            assert folder.used_bytes == (len(DATA) if folder.has(CID) else 0)
            assert list((home / "incoming").iterdir()) == []
            headers = {**sign(ALICE), "Content-Length": str(len(DATA))}
            again = routes.handle("PUT", f"/v1/blobs/{CID}", headers, io.BytesIO(DATA))
            assert again.status == (200 if outcomes[-1] else 201)
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr
        assert done.stdout.split()[0] == "201"
        assert outcomes == sorted(outcomes), "once visible, always visible"
        assert {True, False} == set(outcomes)
