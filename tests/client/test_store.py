"""The commands for blobs: each does what it says, and damage ends with exit code 4."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collegium.storage import BlobFolder, EmbeddedStoreServer, cid_of
from collegium_client.cli.app import run

Shell = Callable[..., tuple[int, dict[str, Any]]]
CONTENT = bytes(range(256)) * 5000
CID = cid_of(CONTENT).text


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    def call(*words: str | Path, home: str = "home") -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = run([*map(str, words), "--home", str(tmp_path / home), "--json"])
        envelope = json.loads(capsys.readouterr().out)
        return code, envelope["data"] if envelope["ok"] else envelope["error"]

    assert call("init")[0] == 0
    return call


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "content.bin"
    path.write_bytes(CONTENT)
    return path


class TestStore:
    def test_cid_needs_no_home(self, shell: Shell, file: Path) -> None:
        code, data = shell("store", "cid", file, home="nowhere")
        assert (code, data) == (0, [{"file": str(file), "cid": CID, "bytes": len(CONTENT)}])

    def test_what_is_put_is_listed_got_and_removed(self, shell: Shell, file: Path, tmp_path: Path) -> None:
        assert shell("store", "put", file)[1]["blobs"][0]["cid"] == CID
        assert shell("store", "list")[1]["blobs"] == [{"cid": CID, "bytes": len(CONTENT)}]
        assert shell("store", "get", CID, "-o", tmp_path / "copy")[0] == 0
        assert (tmp_path / "copy").read_bytes() == CONTENT
        assert shell("store", "remove", CID)[0] == 3, "nobody is here to confirm"
        assert shell("store", "remove", CID, "--yes")[1]["removed"] == [CID]
        assert shell("store", "remove", CID, "--yes")[1]["absent"] == [CID]
        code, error = shell("store", "get", CID, "-o", tmp_path / "again")
        assert (code, error["code"]) == (5, "blob_unavailable")
        assert not (tmp_path / "again").exists()

    def test_damaged_blob_is_found(self, shell: Shell, file: Path, tmp_path: Path) -> None:
        shell("store", "put", file)
        assert shell("store", "verify")[1]["verified"] == 1
        BlobFolder(tmp_path / "home" / "store").path_of(cid_of(CONTENT)).write_bytes(b"other")
        code, error = shell("store", "verify")
        assert (code, list(error["evidence"]["wrong"])) == (4, [CID])
        assert shell("store", "verify", CID)[0] == 4, "set aside, it is missing"

    def test_no_home_is_told(self, shell: Shell, file: Path) -> None:
        assert shell("store", "put", file, home="nowhere")[1]["code"] == "precondition"

    @pytest.mark.parametrize("command", [("get", "-o", "x"), ("export", "-o", "x"), ("verify",), ("remove", "--yes")])
    def test_what_is_no_cid_is_told(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert shell("store", *command, "\x1b[31mQm")[1]["code"].startswith("cid_")


class TestGateway:
    def test_blob_is_read_through_a_gateway(self, shell: Shell, file: Path, tmp_path: Path) -> None:
        shell("store", "put", file)
        with EmbeddedStoreServer(tmp_path / "home" / "store", lambda key, study: False, chain_id=1) as server:
            words = ("store", "get", CID, "-o", tmp_path / "copy", "--store", f"gateway+{server.url}")
            assert shell(*words, home="nowhere")[0] == 0
            assert (tmp_path / "copy").read_bytes() == CONTENT
            code, error = shell("store", "list", "--store", f"gateway+{server.url}")
            assert (code, error["code"]) == (2, "usage")


class TestArchive:
    def test_archive_goes_from_home_to_home(self, shell: Shell, file: Path, tmp_path: Path) -> None:
        shell("init", home="other")
        shell("store", "put", file)
        code, done = shell("store", "export", CID, "-o", tmp_path / "blobs.car")
        assert (code, done["roots"], done["blocks"]) == (0, [CID], 3)
        code, done = shell("store", "import", tmp_path / "blobs.car", "--root", CID, home="other")
        assert (code, done["cids"]) == (0, [CID])
        assert shell("store", "get", CID, "-o", tmp_path / "copy", home="other")[0] == 0
        assert shell("store", "verify", CID, "--store", f"car://{tmp_path}/blobs.car", home="nowhere")[0] == 0

    def test_damaged_archive_is_refused(self, shell: Shell, file: Path, tmp_path: Path) -> None:
        shell("init", home="other")
        shell("store", "put", file)
        path = tmp_path / "blobs.car"
        shell("store", "export", CID, "-o", path)
        whole = path.read_bytes()
        for data, reason in (
            (whole[:-1], "car_truncated"),
            (whole[:-1] + b"?", "car_block_mismatch"),
            (whole[: len(whole) - (1 << 18)], "car_truncated"),
            (b"", "car_truncated"),
            (b"PK\x03\x04" + bytes(100), "car_invalid"),
        ):
            path.write_bytes(data)
            code, error = shell("store", "import", path, home="other")
            assert (code, error["code"]) == (4, reason)
        assert shell("store", "list", home="other")[1]["blobs"] == []
