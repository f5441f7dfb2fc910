"""CAR archives: what is written is read back, by Kubo too, and no damage gets past the reader."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from collegium.errors import BlobNotFoundError, BlobOversizedError, CidMismatchError, CollegiumError
from collegium.storage import BlobFolder, open_store
from collegium.storage.archive import CarStore, blocks_of, export_car, import_car
from collegium.storage.car import CarReader, CarWriter, decode_header, encode_header, encode_uvarint
from collegium.storage.cid import DAG_PB, RAW, Cid, cid_of
from collegium.storage.errors import (
    CarBlockError,
    CarError,
    CarMissingBlockError,
    CarRootError,
    CarTrailingBytesError,
    CarTruncatedError,
    StoreAddressError,
    StoreReadOnlyError,
    UnixFsError,
)
from collegium.storage.kubo import KuboStore
from collegium.storage.kubo_daemon import KuboDaemon
from collegium.storage.unixfs import Importer

from .actors import MIB, keystream

CIDS = st.builds(Cid, st.binary(min_size=32, max_size=32), st.sampled_from((RAW, DAG_PB)))
PRAGMA_V2 = bytes.fromhex("0aa16776657273696f6e02")
LARGE = b"".join(keystream("archive", 3 * MIB + 5))


def archive_of(*contents: bytes) -> bytes:
    """An archive of whole blobs."""
    file = io.BytesIO()
    writer = CarWriter(file, [cid_of(content) for content in contents])
    for content in contents:
        for cid, block in blocks_of(content):
            writer.add(cid, block)
    return file.getvalue()


def read(data: bytes) -> list[tuple[Cid, bytes]]:
    return [(block.cid, block.data) for block in CarReader(io.BytesIO(data))]


def as_v2(payload: bytes, *, padding: int = 0, index: bytes = b"an index", size: int | None = None) -> bytes:
    """CARv2 around a CARv1."""
    offset = len(PRAGMA_V2) + 40 + padding
    numbers = (offset, len(payload) if size is None else size, offset + len(payload))
    header = bytes(16) + b"".join(number.to_bytes(8, "little") for number in numbers)
    return PRAGMA_V2 + header + bytes(padding) + payload + index


def section(cid: bytes, block: bytes) -> bytes:
    return encode_uvarint(len(cid) + len(block)) + cid + block


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "blobs.car"


class TestFormat:
    @given(contents=st.lists(st.binary(max_size=300), min_size=1, max_size=6, unique=True))
    def test_every_block_comes_back_in_order(self, contents: list[bytes]) -> None:
        reader = CarReader(io.BytesIO(archive_of(*contents)))
        assert reader.roots == tuple(cid_of(content) for content in contents)
        assert [block.data for block in reader] == contents

    @given(contents=st.lists(st.binary(max_size=100), min_size=1, max_size=4), padding=st.integers(0, 90))
    def test_version_two_is_read_like_its_payload(self, contents: list[bytes], padding: int) -> None:
        payload = archive_of(*contents)
        reader = CarReader(io.BytesIO(as_v2(payload, padding=padding)))
        assert reader.version == 2
        assert [(block.cid, block.data) for block in reader] == read(payload)

    @given(roots=st.lists(CIDS, min_size=1, max_size=40))
    def test_header_comes_back(self, roots: list[Cid]) -> None:
        assert decode_header(encode_header(roots)) == tuple(roots)

    @pytest.mark.parametrize("count", [23, 24, 255, 256, 65_536])
    def test_header_of_many_roots_comes_back(self, count: int) -> None:
        roots = [Cid(number.to_bytes(32, "big"), RAW) for number in range(count)]
        assert decode_header(encode_header(roots)) == tuple(roots)

    def test_header_is_that_of_the_specification(self) -> None:
        cid = cid_of(b"hello world")
        plain = "a265726f6f747381d82a582500" + cid.to_bytes().hex() + "6776657273696f6e01"
        assert encode_header([cid]).hex() == plain

    @pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 3 * MIB + 5])
    def test_blocks_are_those_of_the_importer_root_first(self, size: int) -> None:
        content = LARGE[:size]
        wanted: dict[Cid, bytes] = {}
        importer = Importer(wanted.__setitem__)
        importer.feed(content)
        root = importer.finish()
        blocks = list(blocks_of(content))
        assert blocks[0][0] == root
        assert dict(blocks) == wanted

    def test_repeated_blocks_are_written_once_unless_asked(self) -> None:
        content = bytes(3 * MIB)
        for repeat, count in ((False, 2), (True, 4)):
            file = io.BytesIO()
            writer = CarWriter(file, [cid_of(content)], repeat=repeat)
            for cid, block in blocks_of(content):
                writer.add(cid, block)
            assert len(read(file.getvalue())) == writer.blocks == count

    def test_writer_refuses_what_it_would_not_read(self) -> None:
        with pytest.raises(CarError, match="at least one root"):
            CarWriter(io.BytesIO(), [])
        writer = CarWriter(io.BytesIO(), [cid_of(b"a")])
        with pytest.raises(CarBlockError):
            writer.add(cid_of(b"a"), b"b")


class TestDamage:
    @given(content=st.binary(min_size=1, max_size=200), cut=st.data())
    def test_every_cut_inside_a_block_is_noticed(self, content: bytes, cut: st.DataObject) -> None:
        data = archive_of(b"first", content)
        whole = {len(data), len(archive_of(b"first", content)) - len(section(cid_of(content).to_bytes(), content))}
        first = len(data) - len(section(cid_of(content).to_bytes(), content)) - len(section(bytes(36), b"first"))
        at = cut.draw(st.integers(0, len(data) - 1).filter(lambda at: at not in whole | {first}))
        with pytest.raises(CarTruncatedError):
            read(data[:at])

    @given(content=st.binary(min_size=1, max_size=200), cut=st.data())
    def test_every_cut_of_version_two_is_noticed(self, content: bytes, cut: st.DataObject) -> None:
        data = as_v2(archive_of(b"first", content), index=b"")
        with pytest.raises(CarTruncatedError):
            read(data[: cut.draw(st.integers(0, len(data) - 1))])

    @given(content=st.binary(min_size=1, max_size=200), place=st.data())
    def test_every_changed_bit_of_a_block_is_noticed(self, content: bytes, place: st.DataObject) -> None:
        data = bytearray(archive_of(content))
        at = len(data) - 1 - place.draw(st.integers(0, len(content) + 31))
        data[at] ^= 1 << place.draw(st.integers(0, 7))
        with pytest.raises(CarBlockError):
            read(bytes(data))

    @given(seed=st.data())
    def test_mutations_raise_our_errors_only(self, seed: st.DataObject) -> None:
        data = bytearray(archive_of(*seed.draw(st.lists(st.binary(max_size=60), min_size=1, max_size=3))))
        if seed.draw(st.booleans()):
            data = bytearray(as_v2(bytes(data), padding=seed.draw(st.integers(0, 5))))
        for _ in range(seed.draw(st.integers(1, 6))):
            at = seed.draw(st.integers(0, max(0, len(data) - 1)))
            match seed.draw(st.sampled_from(("set", "insert", "delete", "copy"))):
                case "set":
                    data[at : at + 1] = seed.draw(st.binary(min_size=1, max_size=1))
                case "insert":
                    data[at:at] = seed.draw(st.binary(max_size=9))
                case "delete":
                    del data[at : at + seed.draw(st.integers(1, 40))]
                case "copy":
                    data += data[at : at + 60]
        try:
            for cid, block in read(bytes(data)):
                assert cid == Cid(cid_of(block).digest, cid.codec), "what is handed over is verified"
        except CarError:
            pass

    @given(data=st.binary(max_size=300))
    def test_noise_raises_our_errors_only(self, data: bytes) -> None:
        for head in (b"", PRAGMA_V2, encode_uvarint(58) + encode_header([cid_of(b"")])):
            try:
                read(head + data)
            except CarError:
                continue

    @given(value=st.integers(MIB, (1 << 63) - 1))
    def test_announced_lengths_are_bounded(self, value: int) -> None:
        # A reader that allocated what is announced would die here.
        with pytest.raises(CarError):
            read(encode_uvarint(8 * value))
        with pytest.raises(CarError):
            read(archive_of(b"") + encode_uvarint(8 * value) + b"rest")

    def test_zeros_at_the_end_are_told(self) -> None:
        with pytest.raises(CarTrailingBytesError, match="zeros behind block 1"):
            read(archive_of(b"content") + bytes(7))

    def test_garbage_at_the_end_is_refused(self) -> None:
        with pytest.raises(CarError):
            read(archive_of(b"content") + b"garbage garbage")

    @pytest.mark.parametrize(
        ("cid", "why"),
        [
            (bytes.fromhex("1220") + bytes(34), "CIDv0"),
            (bytes.fromhex("01551e20") + bytes(32), "blake3"),
            (bytes.fromhex("01550020") + bytes(32), "identity"),
            (bytes.fromhex("01711220") + bytes(32), "dag-cbor"),
            (bytes.fromhex("02551220") + bytes(32), "version 2"),
        ],
    )
    def test_other_kinds_of_cid_are_refused_by_name(self, cid: bytes, why: str) -> None:
        with pytest.raises(CarError, match=why):
            read(archive_of(b"") + section(cid, b"block"))

    @pytest.mark.parametrize(
        ("header", "why"),
        [
            (b"\xa1\x67version\x03", "version 03"),
            (b"\xa2\x65roots\x81\xd8\x2a\x58\x23\x00\x12\x20" + bytes(32) + b"\x67version\x01", "no CIDv1"),
            (b"\xa2\x65roots\x9a\xff\xff\xff\xff\x67version\x01", "4294967295 roots"),
            (encode_header([cid_of(b"")])[:-1] + b"\x02", "version 1"),
            (b"\xa2\x65roots\xa0\x67version\x01", "list of roots"),
            (b"not cbor at all, not cbor", "map of roots"),
        ],
    )
    def test_other_headers_are_refused_by_reason(self, header: bytes, why: str) -> None:
        with pytest.raises(CarError, match=why):
            read(encode_uvarint(len(header)) + header)


class TestArchive:
    @pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 3 * MIB + 5])
    def test_exported_blobs_are_imported(self, folder: BlobFolder, path: Path, tmp_path: Path, size: int) -> None:
        cids = [folder.put(LARGE[:size]), folder.put(b"beside it")]
        written = export_car(path, cids, folder, max_bytes=size + 10)
        assert written.bytes == path.stat().st_size
        other = BlobFolder(tmp_path / "other")
        assert import_car(path, other, expected=cids) == written
        assert other.get(cids[0], max_bytes=size) == LARGE[:size]

    def test_archive_is_a_store(self, folder: BlobFolder, path: Path) -> None:
        content = bytes(2 * MIB) + b"end"
        cid = folder.put(content)
        export_car(path, [cid], folder, max_bytes=len(content))
        store = CarStore(path)
        assert store.get(cid, max_bytes=len(content)) == content
        assert store.has(cid)
        assert not store.has(cid_of(b"absent"))
        assert path.stat().st_size < 2 * MIB, "equal blocks are kept once"
        with pytest.raises(BlobOversizedError):
            store.get(cid, max_bytes=len(content) - 1)
        with pytest.raises(BlobNotFoundError):
            store.get(cid_of(b"absent"), max_bytes=10)
        with pytest.raises(StoreReadOnlyError):
            store.put(b"new")

    def test_archive_has_an_address(self, folder: BlobFolder, path: Path) -> None:
        cid = folder.put(b"content")
        export_car(path, [cid], folder, max_bytes=10)
        store = open_store(path.as_uri().replace("file:", "car:"))
        assert (store.get(cid, max_bytes=10), store.name) == (b"content", CarStore(path).name)
        for uri in ("car://host/blobs.car", "car:relative.car", f"{store.name}.absent"):
            with pytest.raises(StoreAddressError):
                open_store(uri)

    def test_any_store_can_be_exported(self, folder: BlobFolder, path: Path, tmp_path: Path) -> None:
        cid = folder.put(LARGE)
        export_car(path, [cid], folder, max_bytes=len(LARGE))
        again = tmp_path / "again.car"
        export_car(again, [cid], CarStore(path), max_bytes=len(LARGE))
        assert again.read_bytes() == path.read_bytes()

    def test_failed_export_leaves_no_file(self, folder: BlobFolder, path: Path) -> None:
        cid = folder.put(b"content")
        with pytest.raises(BlobNotFoundError):
            export_car(path, [cid, cid_of(b"absent")], folder, max_bytes=100)
        assert [entry.name for entry in path.parent.iterdir()] == ["store"]

    def test_missing_block_is_named_and_nothing_is_stored(self, folder: BlobFolder, path: Path) -> None:
        blocks = list(blocks_of(LARGE))
        good = list(blocks_of(b"a whole blob"))
        with path.open("wb") as file:
            writer = CarWriter(file, [good[0][0], blocks[0][0]])
            for cid, block in (*good, *blocks[:2], *blocks[3:]):
                writer.add(cid, block)
        with pytest.raises(CarMissingBlockError) as caught:
            import_car(path, folder)
        assert caught.value.block == blocks[2][0].text
        assert caught.value.exit_code == 4
        assert list(folder.list()) == []
        assert not CarStore(path).has(blocks[0][0])

    def test_missing_root_is_named(self, folder: BlobFolder, path: Path) -> None:
        with path.open("wb") as file:
            CarWriter(file, [cid_of(b"nothing follows")])
        with pytest.raises(CarMissingBlockError, match=cid_of(b"nothing follows").text):
            import_car(path, folder)

    def test_other_roots_are_refused(self, folder: BlobFolder, path: Path) -> None:
        cid = folder.put(b"content")
        export_car(path, [cid], folder, max_bytes=10)
        with pytest.raises(CarRootError) as caught:
            import_car(path, folder, expected=[cid_of(b"other")])
        assert (caught.value.missing, caught.value.foreign) == ([cid_of(b"other").text], [cid.text])

    def test_archive_without_roots_is_refused(self, path: Path) -> None:
        header = b"\xa2\x65roots\x80\x67version\x01"
        path.write_bytes(encode_uvarint(len(header)) + header)
        with pytest.raises(CarRootError):
            CarStore(path)

    def test_archive_changed_after_opening_is_noticed(self, folder: BlobFolder, path: Path) -> None:
        cid = folder.put(b"content")
        export_car(path, [cid], folder, max_bytes=10)
        store = CarStore(path)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        with pytest.raises(CidMismatchError):
            store.get(cid, max_bytes=10)

    def test_directory_is_no_blob(self, folder: BlobFolder, path: Path) -> None:
        # The empty directory of UnixFS.
        block = b"\x0a\x02\x08\x01"
        cid = Cid(cid_of(block).digest, DAG_PB)
        with path.open("wb") as file:
            CarWriter(file, [cid]).add(cid, block)
        with pytest.raises(UnixFsError):
            import_car(path, folder)

    def test_blocks_in_any_order_and_twice_are_fine(self, folder: BlobFolder, path: Path) -> None:
        blocks = list(blocks_of(LARGE))
        with path.open("wb") as file:
            writer = CarWriter(file, [blocks[0][0]], repeat=True)
            for cid, block in (*reversed(blocks), *blocks):
                writer.add(cid, block)
        assert CarStore(path).duplicates == len(blocks)
        import_car(path, folder)
        assert folder.get(cid_of(LARGE), max_bytes=len(LARGE)) == LARGE

    @given(seed=st.data())
    def test_mutated_archives_never_give_other_blobs(
        self, tmp_path_factory: pytest.TempPathFactory, seed: st.DataObject
    ) -> None:
        content = seed.draw(st.binary(min_size=1, max_size=80))
        data = bytearray(archive_of(content))
        at = seed.draw(st.integers(0, len(data) - 1))
        data[at : at + seed.draw(st.integers(0, 3))] = seed.draw(st.binary(max_size=3))
        path = tmp_path_factory.getbasetemp() / "mutated.car"
        path.write_bytes(data)
        try:
            assert CarStore(path).get(cid_of(content), max_bytes=80) == content
        except CollegiumError as error:
            assert error.exit_code in (4, 5)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboDaemon]:
    with KuboDaemon(tmp_path_factory.mktemp("kubo") / "repo") as running:
        yield running


@pytest.mark.kubo
class TestKubo:
    def call(self, daemon: KuboDaemon, command: str, **options: object) -> requests.Response:
        url = daemon.uri.replace("kubo://", "http://")
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(f"{url}/api/v0/{command}", timeout=20, **options)  # type: ignore[arg-type]
        assert answer.ok, answer.text
        return answer

    @pytest.mark.parametrize("content", [b"small", LARGE, bytes(2 * MIB)], ids=["raw", "dag", "repeated"])
    def test_kubo_imports_what_we_export(
        self, daemon: KuboDaemon, folder: BlobFolder, path: Path, content: bytes
    ) -> None:
        cid = folder.put(content)
        export_car(path, [cid], folder, max_bytes=len(content))
        with path.open("rb") as file:
            answer = self.call(daemon, "dag/import?pin-roots=true", files={"file": ("a.car", file, "application/car")})
        assert f'"{cid}"' in answer.text
        store = KuboStore(port=int(daemon.uri.rsplit(":", 1)[1]))
        assert store.has(cid)
        assert store.get(cid, max_bytes=len(content)) == content

    def test_we_import_what_kubo_exports(self, daemon: KuboDaemon, folder: BlobFolder, path: Path) -> None:
        content = b"".join(keystream("from kubo", 2 * MIB + 9))
        cid = KuboStore(port=int(daemon.uri.rsplit(":", 1)[1])).put(content)
        path.write_bytes(self.call(daemon, f"dag/export?arg={cid}").content)
        assert import_car(path, folder, expected=[cid]).roots == (cid,)
        assert folder.get(cid, max_bytes=len(content)) == content
