"""docs/network.md: its commands run, its settings are taken, its constants and codes are those of the code."""

from __future__ import annotations

import inspect
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from collegium.config import TLS
from collegium.transport import binding, errors
from collegium.transport.identity import Identity, read_certificates
from collegium.transport.settings import TlsSettings
from collegium_client.settings import Settings
from scripts.setup.paths import ROOT
from tests.transport.parties import DOMAIN

PAGE = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)


def test_openssl_commands_make_what_a_coordinator_can_use(tmp_path: Path) -> None:
    (block,) = [text for _, text in BLOCKS if text.startswith("openssl")]
    subprocess.run(["sh", "-ec", block], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    verified = subprocess.run(["openssl", "verify", "-CAfile", "ca.pem", "server.pem"], cwd=tmp_path, check=False)
    assert verified.returncode == 0
    settings = TlsSettings(tmp_path / "server.pem", key=tmp_path / "server.key", ca=tmp_path / "ca.pem")
    assert Identity(settings, DOMAIN).ensure() == read_certificates(tmp_path / "server.pem")[0]


def test_settings_are_taken(tmp_path: Path) -> None:
    blocks = [text for kind, text in BLOCKS if kind == "toml"]
    assert len(blocks) == 2
    for text in blocks:
        (tmp_path / "collegium.toml").write_text(text)
        settings = Settings.load(tmp_path, {})
        for table, values in tomllib.loads(text).items():
            for name, value in values.items():
                assert settings.get(table, name) == value
        assert settings.tls and settings.proxies


def test_every_tls_setting_is_listed_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]*)`? \|", PAGE, re.MULTILINE))
    for name, default in TLS.items():
        listed = next((line for line in PAGE.splitlines() if re.match(rf"\| .*`{name}`", line)), "")
        assert listed and (str(default) in listed or name in rows), name


def test_constants_are_those_of_the_code() -> None:
    assert f"\n{binding.OID}\n" in PAGE
    assert f"{binding.BYTES} bytes" in PAGE and binding.TAG.decode() in PAGE


@pytest.mark.parametrize(
    "code",
    sorted(
        each.code
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if each.__module__ == errors.__name__ and each is not errors.TlsFailedError
    ),
)
def test_every_code_is_explained(code: str) -> None:
    assert f"`{code}`" in PAGE
