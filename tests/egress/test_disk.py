"""Commands and the journal on disks that are full or read-only, in a namespace that only the test sees."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collegium.chain import keystore
from collegium.chain.signer import LocalSigner
from collegium.egress import FILE, EgressLog, verify
from collegium_client.cli.app import run
from scripts.setup.paths import ROOT

JOURNAL = """
import json, os, sqlite3, sys
from pathlib import Path
from collegium.chain import Journal
from collegium.chain.signer import LocalSigner
from collegium.files import explain_disk
from collegium.messages import Domain
from collegium.records import Update

folder = Path(sys.argv[1])
journal = Journal(folder / "journal.sqlite", Domain(1, "0x" + "11" * 20), LocalSigner(bytes([7]) * 32))
update = lambda number: Update(1, number, bytes(32), 0, bytes([number % 251 + 1]) * 32, 1, bytes(32))
signed, told = [], None
for number in range(1, 100_000):
    try:
        journal.sign_update(update(number))
        signed.append(number)
    except sqlite3.OperationalError as error:
        told = explain_disk(error, folder)
        break
refused = number
(folder / "filler").unlink()
again = journal.sign_update(update(refused)).signature.hex()
journal.close()
journal = Journal(folder / "journal.sqlite", Domain(1, "0x" + "11" * 20), LocalSigner(bytes([7]) * 32))
kept = [each["round"] for each in journal.export()["entries"]]
print(json.dumps({"told": told and [told.code, told.hint], "lost": sorted({*signed, refused} - {*kept}),
                  "extra": sorted({*kept} - {*signed, refused}), "signed": len(signed), "again": again}))
"""


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not can_mount(), reason="this system lets nobody mount anything")


def inside(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a namespace of its own; $1 and so on are the arguments, $PYTHON is this Python."""
    return subprocess.run(
        ["unshare", "-Urm", "sh", "-c", f"PYTHON={sys.executable}; {script}", "sh", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_journal_keeps_what_it_signed_and_goes_on(tmp_path: Path) -> None:
    script = """
    mount -t tmpfs -o size=400k tmpfs "$1" && head -c 150k /dev/zero > "$1/filler" && exec "$PYTHON" -c "$2" "$1"
    """
    done = inside(script, tmp_path, JOURNAL)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["told"][0] == "disk" and "space" in found["told"][1]
    assert found["signed"] > 3 and found["lost"] == found["extra"] == [] and len(found["again"]) == 128


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With a node key and a log; the chain it names is not there."""
    home = tmp_path / "home"
    assert run(["init", "--home", str(home)]) == 0
    (tmp_path / "password").write_text("correct horse\n")
    keystore.save(home / "keystore" / "node.json", LocalSigner(bytes([3]) * 32), "correct horse", light=True)
    EgressLog(home / "state" / FILE).record("message", "http://127.0.0.1:1", b"x")
    return home


def typed(command: str, home: Path, mount: str) -> tuple[int, dict[str, Any]]:
    script = f"""
    {mount}
    exec "$PYTHON" -m collegium_client.cli {command} --json --home "$1"
    """
    done = inside(script, home)
    assert done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"'
FULL = 'mount -t tmpfs -o size=32k tmpfs "$1" && head -c 1m /dev/zero > "$1/filler" 2>/dev/null'


class TestCommands:
    def test_read_only(self, home: Path) -> None:
        code, told = typed("train run 1", home, READ_ONLY)
        assert code == 3 and told["error"]["code"] == "disk", told
        assert "read-only" in told["error"]["hint"]
        # What only reads still works.
        assert typed("log verify", home, READ_ONLY)[1]["data"]["records"] == 1
        assert typed("log show", home, READ_ONLY)[0] == 0
        assert typed("config show", home, READ_ONLY)[0] == 0
        assert verify(home / "state" / FILE).records == 1

    @pytest.mark.parametrize("command", ["init", "init --force"])
    def test_full(self, home: Path, command: str) -> None:
        code, told = typed(command, home, FULL)
        assert code == 3 and told["error"]["code"] == "disk" and "space" in told["error"]["hint"], told

    def test_no_key_is_left_half_made(self, home: Path, tmp_path: Path) -> None:
        script = f"""
        cp "$1/collegium.toml" "$2/settings"; {FULL}
        rm "$1/filler"; cp "$2/settings" "$1/collegium.toml"; mkdir "$1/keystore"
        head -c 1m /dev/zero > "$1/filler" 2>/dev/null
        "$PYTHON" -m collegium_client.cli keys new institution --light --json --home "$1" --password-file "$2/password"
        echo; echo "code $?"; ls -A "$1/keystore"
        """
        done = inside(script, home, tmp_path)
        told = json.JSONDecoder().raw_decode(done.stdout)[0]
        assert told["error"]["code"] == "disk", done.stdout + done.stderr
        assert done.stdout.rstrip().splitlines()[-1].startswith("code"), "the keystore is not empty:\n" + done.stdout
