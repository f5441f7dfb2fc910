"""The units: right by systemd's own tools, and the roles work under what they take away."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from collegium.chain.devnet import Devnet
from scripts.setup.paths import ROOT, VENV
from tests.flows.arena import Arena

UNITS = sorted((ROOT / "packaging" / "systemd").glob("*.service"))
EXPOSURE = {"collegium-client@.service": 3.0, "collegium-watcher@.service": 1.5, "collegium-coordinator@.service": 1.5}
"""Largest score of `systemd-analyze security`, 10 is worst. The client makes namespaces for task code."""
CONFINED = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
libc.prctl(65, 1, 0, 0, 0)  # since Linux 6.3
os.execv(sys.executable, [sys.executable, "-m", "tests.flows.killed", *sys.argv[1:]])
"""
"""NoNewPrivileges= and MemoryDenyWriteExecute=, as the units of coordinator and watcher have them."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with programs that are there; systemd refuses those that are not."""
    for unit in UNITS:
        (tmp_path / unit.name).write_text(re.sub(r"/opt/collegium/bin/[\w-]+", "/bin/true", unit.read_text()))
    return tmp_path


def test_all_roles_have_one() -> None:
    assert {unit.name for unit in UNITS} == set(EXPOSURE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("name", sorted(EXPOSURE))
class TestUnit:
    def test_systemd_takes_it_without_a_word(self, name: str, installed: Path) -> None:
        instance = installed / name.replace("@", "@1")
        shutil.copy(installed / name, instance)
        done = subprocess.run(["systemd-analyze", "verify", str(instance)], capture_output=True, text=True, check=False)
        # Other units of this machine may be faulty.
        ours = [line for line in (done.stdout + done.stderr).splitlines() if "collegium" in line]
        assert done.returncode == 0 and not ours, done.stderr

    def test_it_gives_little_away(self, name: str, installed: Path) -> None:
        threshold = str(int(EXPOSURE[name] * 10))
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={threshold}"]
        done = subprocess.run([*command, str(installed / name)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_its_command_exists_and_nothing_secret_is_in_it(unit: Path) -> None:
    text = unit.read_text()
    (line,) = re.findall(r"(?m)^ExecStart=/opt/collegium/bin/(.*)$", text)
    program, *arguments = line.replace("%i", "1").split()
    done = subprocess.run([VENV / "bin" / program, *arguments, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Usage" in done.stdout
    assert "LoadCredential=password:" in text and "%d/password" in text
    for line in ("ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "PrivateTmp=yes"):
        assert line in text.splitlines()


@pytest.mark.chain
@pytest.mark.flow
def test_coordinator_and_watcher_work_confined(devnet: Devnet, tmp_path: Path) -> None:
    world = Arena(devnet, tmp_path / "arena", hospitals=2)
    watcher = world.make_watcher_home()
    processes = [confined("coordinator", world.coordinators[0]), confined("watcher", watcher)]
    try:
        world.start_hospitals()
        world.wait_final(1)
        log = watcher / "logs" / "watcher.jsonl"
        world.wait("the watcher to check", lambda _: log.exists() and "checked" in log.read_text())
        assert [each.poll() for each in processes] == [None, None]
    finally:
        for each in processes:
            each.terminate()
        codes = [each.wait(20) for each in processes]
        world.close()
    assert codes == [0, 0]


def confined(role: str, home: Path) -> subprocess.Popen[bytes]:
    with (home / "confined.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", CONFINED, role, str(home)], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log,
        )  # fmt: skip
