"""Trustless gateways: Kubo's and our own are read, and whatever a lying one does is noticed and blamed on it."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from collegium.errors import (
    BlobNotFoundError,
    BlobOversizedError,
    CidMismatchError,
    StoreUnreachableError,
)
from collegium.storage import BlobFolder, EmbeddedStoreServer, MultiStore, open_store
from collegium.storage.archive import blocks_of, import_car
from collegium.storage.car import CarWriter
from collegium.storage.cid import DAG_PB, Cid, cid_of, parse_cid
from collegium.storage.errors import StoreAddressError, StoreAnswerError, StoreReadOnlyError, UnixFsError
from collegium.storage.gateway import CAR_TYPE, RAW_TYPE, GatewayStore
from collegium.storage.http_server import Body, HttpServer, Response
from collegium.storage.kubo import KuboStore
from collegium.storage.kubo_daemon import KuboDaemon
from collegium.storage.unixfs import block_sizes

from .actors import MIB, keystream, server_answering

LARGE = b"".join(keystream("gateway", 3 * MIB + 5))
CONTENTS = {"empty": b"", "raw": b"a raw block", "dag": LARGE, "repeated": bytes(3 * MIB)}


@dataclass
class Double:
    """A gateway that has some blobs and can be told to misbehave.

    change: what it makes of a block. forms: what it speaks. cut: bytes after which a CAR breaks off. order: of a CAR.
    """

    blocks: dict[bytes, bytes] = field(default_factory=dict)
    change: Callable[[Cid, bytes], bytes] = lambda cid, block: block
    forms: tuple[str, ...] = ("raw", "car")
    cut: int | None = None
    repeat: bool = True
    order: Callable[[list[tuple[Cid, bytes]]], list[tuple[Cid, bytes]]] = lambda blocks: blocks
    asked: list[str] = field(default_factory=list)
    contents: dict[Cid, bytes] = field(default_factory=dict)

    def add(self, content: bytes) -> Cid:
        cid = cid_of(content)
        self.contents[cid] = content
        self.blocks.update((name.digest, block) for name, block in blocks_of(content))
        return cid

    def __call__(self, method: str, path: str, headers: Mapping[str, str], body: Body) -> Response:
        name, _, query = path.removeprefix("/ipfs/").partition("?")
        cid = parse_cid(name)
        form = "raw" if "format=raw" in query else "car"
        self.asked.append(form)
        if form not in self.forms:
            return Response(406, {"Content-Length": "0"})
        if cid.digest not in self.blocks:
            return Response(404, {"Content-Length": "0"})
        if form == "raw":
            data = self.change(cid, self.blocks[cid.digest])
            return Response(200, {"Content-Type": RAW_TYPE, "Content-Length": str(len(data))}, data)
        file = io.BytesIO()
        writer = CarWriter(file, [cid], repeat=self.repeat)
        for each, block in self.order(list(blocks_of(self.contents[cid]))):
            changed = self.change(each, block)
            if changed == block:
                writer.add(each, block)
            else:
                file.write(bytes((0x80 | (36 + len(changed)) & 0x7F, (36 + len(changed)) >> 7 & 0x7F | 0x80)))
                file.write(bytes(((36 + len(changed)) >> 14,)) + each.to_bytes() + changed)
        data = file.getvalue()
        return Response(200, {"Content-Type": CAR_TYPE, "Content-Length": str(len(data))}, data[: self.cut], True)


@contextmanager
def served(double: Double) -> Iterator[GatewayStore]:
    server = HttpServer(double)
    server.start()
    try:
        yield GatewayStore(server.url, timeout=2, attempts=2, pause=0.01)
    finally:
        server.close(0)


class TestReading:
    @pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
    def test_blobs_come_whole(self, content: bytes) -> None:
        double = Double()
        cid = double.add(content)
        with served(double) as gateway:
            assert gateway.get(cid, max_bytes=len(content)) == content
            assert gateway.has(cid)
            assert not gateway.has(cid_of(b"absent"))
            with pytest.raises(BlobNotFoundError):
                gateway.get(cid_of(b"absent"), max_bytes=100)

    def test_large_blob_comes_in_one_stream(self) -> None:
        double = Double()
        cid = double.add(LARGE)
        with served(double) as gateway:
            gateway.get(cid, max_bytes=len(LARGE))
        assert double.asked == ["raw", "car"]

    @pytest.mark.parametrize(
        ("change", "raw"),
        [
            ({"forms": ("raw",)}, 6),
            ({"cut": MIB + 500}, 4),
            ({"cut": 20}, 6),
            ({"order": lambda blocks: [*blocks[:2], *blocks[3:]]}, 2),
            ({"order": lambda blocks: blocks[::-1]}, 6),
        ],
        ids=["no-car", "cut", "cut-in-header", "block-left-out", "wrong-order"],
    )
    def test_what_a_stream_lacks_is_asked_for(self, change: dict[str, object], raw: int) -> None:
        double = Double(**change)  # type: ignore[arg-type]
        cid = double.add(LARGE)
        with served(double) as gateway:
            assert gateway.get(cid, max_bytes=len(LARGE)) == LARGE
        assert double.asked.count("raw") <= raw

    def test_stream_without_repetitions_is_completed(self) -> None:
        double = Double(repeat=False)
        cid = double.add(bytes(3 * MIB))
        with served(double) as gateway:
            assert gateway.get(cid, max_bytes=3 * MIB) == bytes(3 * MIB)

    def test_nothing_is_written(self) -> None:
        with pytest.raises(StoreReadOnlyError):
            GatewayStore("http://127.0.0.1:1").put(b"data")

    def test_addresses(self) -> None:
        assert open_store("gateway+https://gateway.example").name == "gateway+https://gateway.example"
        for uri in ("gateway+https://", "gateway+https://host/path", "gateway+ftp://host", "gateway+http://u:p@host"):
            with pytest.raises(StoreAddressError):
                open_store(uri)


class TestLies:
    @pytest.mark.parametrize("where", [0, 1, 2, 4], ids=["root", "first-leaf", "leaf", "last-leaf"])
    @pytest.mark.parametrize("forms", [("raw",), ("raw", "car")], ids=["raw", "car"])
    def test_changed_block_is_noticed_and_blamed(self, where: int, forms: tuple[str, ...]) -> None:
        victim = list(blocks_of(LARGE))[where][0]
        double = Double(forms=forms, change=lambda cid, block: block[:-1] + b"?" if cid == victim else block)
        cid = double.add(LARGE)
        with served(double) as gateway, pytest.raises(CidMismatchError) as caught:
            gateway.get(cid, max_bytes=len(LARGE))
        assert caught.value.store == gateway.name
        assert gateway.name in caught.value.message

    def test_other_gateway_is_asked_and_the_liar_named(self) -> None:
        liar, honest = Double(change=lambda cid, block: block + b"!"), Double()
        cid = liar.add(b"content")
        honest.add(b"content")
        with served(liar) as first, served(honest) as second:
            both = MultiStore([first, second])
            assert both.get(cid, max_bytes=100) == b"content"
            assert list(both.liars) == [first.name]

    def test_longer_block_is_not_read_to_its_end(self) -> None:
        double = Double(change=lambda cid, block: bytes(50 * MIB))
        cid = double.add(b"content")
        with served(double) as gateway, pytest.raises(BlobOversizedError):
            gateway.get(cid, max_bytes=7)

    def test_longer_blob_is_refused_at_its_root(self) -> None:
        double = Double()
        cid = double.add(LARGE)
        with served(double) as gateway, pytest.raises(BlobOversizedError, match=f"{len(LARGE)} bytes"):
            gateway.get(cid, max_bytes=len(LARGE) - 1)
        assert double.asked == ["raw"]

    def test_directory_is_no_blob(self) -> None:
        double = Double()
        block = b"\x0a\x02\x08\x01"
        cid = Cid(cid_of(block).digest, DAG_PB)
        double.blocks[cid.digest] = block
        with served(double) as gateway, pytest.raises(UnixFsError):
            gateway.get(cid, max_bytes=10)


class TestAnswers:
    @pytest.mark.parametrize(
        "target", ["http://169.254.169.254/latest/meta-data", "http://127.0.0.1:1/", "//elsewhere.example/x", "/ipfs/y"]
    )
    def test_redirects_are_not_followed(self, target: str) -> None:
        with (
            server_answering(302, b"", {"Location": target}) as url,
            pytest.raises(StoreAnswerError, match="not followed"),
        ):
            GatewayStore(url).get(cid_of(b"data"), max_bytes=10)

    @pytest.mark.parametrize(
        ("status", "headers", "error"),
        [
            (200, {"Content-Type": "text/html"}, StoreAnswerError),
            (200, {"Content-Type": RAW_TYPE, "Content-Encoding": "gzip"}, StoreAnswerError),
            (206, {"Content-Type": RAW_TYPE}, StoreAnswerError),
            (200, {"Content-Type": RAW_TYPE}, CidMismatchError),
            (410, {}, BlobNotFoundError),
            (504, {}, BlobNotFoundError),
            (451, {}, StoreAnswerError),
            (500, {}, StoreUnreachableError),
        ],
    )
    def test_each_answer_has_its_meaning(self, status: int, headers: dict[str, str], error: type[Exception]) -> None:
        with server_answering(status, b"<html>", headers) as url, pytest.raises(error):
            GatewayStore(url, attempts=2, pause=0.01).get(cid_of(b"data"), max_bytes=10)

    def test_gateway_that_asks_for_patience_is_asked_again(self) -> None:
        double = Double()
        cid = double.add(b"content")
        refusals = iter([True, False])

        def answer(method: str, path: str, headers: Mapping[str, str], body: Body) -> Response:
            if next(refusals, False):
                return Response(429, {"Content-Length": "0", "Retry-After": "1"})
            return double(method, path, headers, body)

        server = HttpServer(answer)
        server.start()
        try:
            started = time.monotonic()
            assert GatewayStore(server.url, attempts=2, pause=0.01).get(cid, max_bytes=10) == b"content"
            assert time.monotonic() - started >= 1
        finally:
            server.close(0)

    def test_long_wait_is_left_to_others(self) -> None:
        with server_answering(429, b"", {"Retry-After": "3600"}) as url:
            started = time.monotonic()
            with pytest.raises(StoreUnreachableError, match="less often"):
                GatewayStore(url).get(cid_of(b"data"), max_bytes=10)
            assert time.monotonic() - started < 2


class TestOurs:
    """The embedded server as a gateway."""

    @pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
    def test_it_is_read_like_any_other(self, server: EmbeddedStoreServer, content: bytes) -> None:
        cid = server.folder.put(content)
        gateway = GatewayStore(server.url)
        assert gateway.has(cid)
        assert gateway.get(cid, max_bytes=len(content)) == content
        for name, block in blocks_of(content):
            assert GatewayStore(server.url).block(name) == block

    @pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
    def test_its_archive_has_the_announced_length(
        self, server: EmbeddedStoreServer, tmp_path: Path, content: bytes
    ) -> None:
        cid = server.folder.put(content)
        answer = requests.get(f"{server.url}/ipfs/{cid}", headers={"Accept": CAR_TYPE}, timeout=5)
        assert len(answer.content) == int(answer.headers["Content-Length"])
        (tmp_path / "blob.car").write_bytes(answer.content)
        assert import_car(tmp_path / "blob.car", BlobFolder(tmp_path / "other"), expected=[cid]).roots == (cid,)
        head = requests.head(f"{server.url}/ipfs/{cid}?format=car", timeout=5)
        assert (head.status_code, head.headers["Content-Length"]) == (200, answer.headers["Content-Length"])

    @pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 2 * MIB, 1024 * MIB, 1024 * MIB + 1, 1025 * MIB])
    def test_lengths_of_blocks_follow_from_the_length(self, size: int) -> None:
        sizes = list(block_sizes(size))
        leaves = max(1, -(-size // MIB))
        nodes = 0 if leaves == 1 else 1 if leaves <= 1024 else 1 + -(-leaves // 1024)
        assert len(sizes) == leaves + nodes
        if size <= 4 * MIB:
            assert sizes == [len(block) for _, block in blocks_of(bytes(size))]

    def test_leaf_is_found_by_who_never_asked_for_its_root(self, server: EmbeddedStoreServer) -> None:
        server.folder.put(LARGE)
        cid, block = list(blocks_of(LARGE))[3]
        assert GatewayStore(server.url).block(cid) == block

    def test_removed_blob_is_gone_with_its_blocks(self, server: EmbeddedStoreServer) -> None:
        cid = server.folder.put(LARGE)
        gateway = GatewayStore(server.url)
        leaf = list(blocks_of(LARGE))[2][0]
        gateway.block(leaf)
        server.folder.remove(cid)
        for gone in (leaf, cid):
            with pytest.raises(BlobNotFoundError):
                gateway.block(gone)

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/ipfs/{cid}", 400),
            ("/ipfs/{cid}?format=tar", 400),
            ("/ipfs/{cid}?format=car&entity-bytes=1:2", 400),
            ("/ipfs/{cid}/index.html?format=raw", 400),
            ("/ipfs/notacid?format=raw", 400),
            ("/ipfs/{cid}?format=raw", 200),
            ("/ipfs/{cid}?format=car&dag-scope=block", 200),
        ],
    )
    def test_other_requests_are_refused(self, server: EmbeddedStoreServer, path: str, status: int) -> None:
        cid = server.folder.put(b"content")
        assert requests.get(server.url + path.format(cid=cid), timeout=5).status_code == status


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboDaemon]:
    with KuboDaemon(tmp_path_factory.mktemp("kubo") / "repo") as running:
        yield running


@pytest.mark.kubo
class TestKubo:
    @pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
    def test_its_gateway_is_read(self, daemon: KuboDaemon, content: bytes) -> None:
        cid = KuboStore(port=int(daemon.uri.rsplit(":", 1)[1])).put(content)
        gateway = open_store(daemon.gateway_uri)
        assert gateway.get(cid, max_bytes=len(content)) == content
        assert gateway.has(cid)

    def test_its_gateway_fetches_nothing(self, daemon: KuboDaemon) -> None:
        gateway = open_store(daemon.gateway_uri)
        started = time.monotonic()
        assert not gateway.has(cid_of(b"absent"))
        with pytest.raises(BlobNotFoundError):
            gateway.get(cid_of(b"absent"), max_bytes=10)
        assert time.monotonic() - started < 5
