"""V3 keystores: private, refusing wrong passwords, the same to Ape and cast."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collegium.chain import keystore
from collegium.errors import KeyExistsError, KeyMissingError, KeystoreError, WrongPasswordError
from collegium.messages import recover
from scripts.setup.paths import environment, tool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keystore" / "node.json"


class TestKeystore:
    def test_created_key_is_loaded_again(self, path: Path) -> None:
        signer = keystore.create(path, "secret", light=True)
        assert keystore.load(path, "secret").private_key == signer.private_key
        assert keystore.address_of(path) == signer.address
        assert recover(b"\x01" * 32, signer.sign_digest(b"\x01" * 32)) == signer.address

    def test_file_and_folder_are_private(self, path: Path) -> None:
        keystore.create(path, "secret", light=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert keystore.find_loose_permissions(path) is None
        path.chmod(0o644)
        assert "chmod 600" in str(keystore.find_loose_permissions(path))

    def test_wrong_password_is_an_error_of_its_own(self, path: Path) -> None:
        keystore.create(path, "secret", light=True)
        with pytest.raises(WrongPasswordError) as caught:
            keystore.load(path, "Secret")
        assert caught.value.exit_code == 6

    def test_key_is_never_overwritten(self, path: Path) -> None:
        signer = keystore.create(path, "secret", light=True)
        with pytest.raises(KeyExistsError):
            keystore.create(path, "secret", light=True)
        assert keystore.load(path, "secret").address == signer.address

    @pytest.mark.parametrize("content", ["", "{}", "[]", '{"crypto": 3}', "not json"])
    def test_damaged_file_is_told(self, path: Path, content: str) -> None:
        path.parent.mkdir()
        path.write_text(content)
        with pytest.raises(KeystoreError):
            keystore.load(path, "secret")

    def test_missing_file_is_told(self, path: Path) -> None:
        with pytest.raises(KeyMissingError):
            keystore.load(path, "secret")

    def test_password_is_changed_in_one_step(self, path: Path) -> None:
        signer = keystore.create(path, "old", light=True)
        keystore.change_password(path, "old", "new", light=True)
        assert keystore.load(path, "new").address == signer.address
        with pytest.raises(WrongPasswordError):
            keystore.load(path, "old")
        assert [each.name for each in path.parent.iterdir()] == [path.name]

    def test_key_does_not_show(self, path: Path) -> None:
        signer = keystore.create(path, "secret", light=True)
        assert signer.private_key.hex() not in repr(signer) + path.read_text()


class TestOtherTools:
    def test_a_short_initialization_vector_is_drawn_again(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from eth_account import Account

        drawn: list[str] = []
        encrypt = Account.encrypt

        def short_at_first(*arguments: object, **options: object) -> dict[str, Any]:
            content = encrypt(*arguments, **options)
            if not drawn:
                content["crypto"]["cipherparams"]["iv"] = "ab" * 15
            drawn.append(content["crypto"]["cipherparams"]["iv"])
            return content

        monkeypatch.setattr(Account, "encrypt", short_at_first)
        keystore.create(path, "secret", light=True)
        written = json.loads(path.read_text())["crypto"]["cipherparams"]["iv"]
        assert len(drawn) >= 2
        assert written == drawn[-1]

    @pytest.mark.chain
    def test_cast_opens_our_key(self, path: Path, tmp_path: Path) -> None:
        signer = keystore.create(path, "secret", light=True)
        shown = subprocess.run(
            [str(tool("cast")), "wallet", "address", "--keystore", str(path), "--password", "secret"],
            capture_output=True,
            text=True,
            env=environment(),
            check=True,
        )
        assert shown.stdout.strip() == signer.address

    @pytest.mark.chain
    def test_we_open_a_key_of_cast(self, tmp_path: Path) -> None:
        subprocess.run(
            [str(tool("cast")), "wallet", "new", str(tmp_path), "theirs", "--unsafe-password", "secret"],
            capture_output=True,
            env=environment(),
            check=True,
        )
        signer = keystore.load(tmp_path / "theirs", "secret")
        assert len(signer.private_key) == 32

    def test_ape_finds_what_it_needs(self, path: Path) -> None:
        keystore.create(path, "secret", light=True)
        content = json.loads(path.read_text())
        assert {"address", "crypto", "version"} <= set(content)


class TestPassword:
    def test_file_is_read_without_its_line_end(self, tmp_path: Path) -> None:
        file = tmp_path / "password"
        file.write_text(" secret \n")
        assert keystore.read_password(file) == " secret "

    def test_environment_names_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "password").write_text("secret\r\n")
        monkeypatch.setenv("COLLEGIUM_PASSWORD_FILE", str(tmp_path / "password"))
        assert keystore.read_password() == "secret"

    def test_missing_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(KeystoreError):
            keystore.read_password(tmp_path / "nowhere")

    def test_without_file_and_terminal_it_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("COLLEGIUM_PASSWORD_FILE", raising=False)
        monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
        with pytest.raises(KeystoreError):
            keystore.read_password()
