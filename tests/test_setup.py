"""The set-up: what it gives to Python code, when it does nothing, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.setup import paths
from scripts.setup.steps import SetupError, Step, call
from scripts.setup.supervise import read_parents

FAMILY = """
import subprocess, sys, time
subprocess.Popen(["sh", "-c", "trap '' TERM; echo orphan $$; sleep {seconds}"], start_new_session=True)
subprocess.Popen(["sleep", "{seconds}"])
print("ready", flush=True)
time.sleep({wait})
"""


def supervise(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scripts.setup.supervise", *command],
        cwd=paths.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def is_running(marker: str) -> bool:
    listing = subprocess.run(["ps", "-axo", "args="], capture_output=True, text=True, check=True).stdout
    return any(marker in line for line in listing.splitlines())


class TestTools:
    @pytest.mark.chain
    @pytest.mark.parametrize("name", ["anvil", "cast", "forge"])
    def test_foundry_is_the_pinned_release(self, name: str) -> None:
        assert "1.7.1" in call([str(paths.tool(name)), "--version"], quiet=True)

    @pytest.mark.chain
    def test_solc_is_the_pinned_release(self) -> None:
        version = call([str(paths.tool("solc")), "--version"], quiet=True)
        assert f"{paths.SOLC_VERSION}+commit.{paths.SOLC_COMMIT}" in version

    @pytest.mark.kubo
    def test_kubo_knows_the_profile(self, tmp_path: Path) -> None:
        env = {**os.environ, "IPFS_PATH": str(tmp_path)}
        ipfs = str(paths.tool("ipfs"))
        call([ipfs, "init", "--profile", "test,unixfs-v1-2025"], env=env, quiet=True)
        sample = tmp_path / "sample"
        sample.write_bytes(b"hello world")
        cid = call([ipfs, "add", "-Q", "--only-hash", str(sample)], env=env, quiet=True).strip()
        assert cid == "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"

    def test_missing_tool_names_the_command(self) -> None:
        with pytest.raises(paths.ToolMissing, match="make setup"):
            paths.tool("no-such-tool")


class TestStep:
    def step(self, folder: Path, log: list[str], source: str = "a") -> Step:
        def act() -> None:
            log.append("ran")
            (folder / "out").write_text("x")

        return Step("s", "Sample", folder / "stamp", lambda: [source], lambda: [folder / "out"], act)

    def test_second_run_does_nothing(self, tmp_path: Path) -> None:
        log: list[str] = []
        self.step(tmp_path, log).run()
        self.step(tmp_path, log).run()
        assert log == ["ran"]

    def test_changed_input_runs_again(self, tmp_path: Path) -> None:
        log: list[str] = []
        self.step(tmp_path, log).run()
        self.step(tmp_path, log, source="b").run()
        assert log == ["ran", "ran"]

    def test_missing_output_runs_again(self, tmp_path: Path) -> None:
        log: list[str] = []
        self.step(tmp_path, log).run()
        (tmp_path / "out").unlink()
        self.step(tmp_path, log).run()
        assert log == ["ran", "ran"]

    def test_failure_leaves_no_stamp(self, tmp_path: Path) -> None:
        def act() -> None:
            call(["false"])

        step = Step("s", "Sample", tmp_path / "stamp", lambda: ["a"], list, act)
        with pytest.raises(SetupError, match="exit code 1"):
            step.run()
        assert not step.is_current()


class TestSupervise:
    def test_exit_code_is_the_commands(self) -> None:
        assert supervise("sh", "-c", "exit 7").wait(timeout=30) == 7

    def test_orphans_end_with_the_command(self) -> None:
        marker = f"sleep 8{os.getpid()}"
        child = supervise(sys.executable, "-c", FAMILY.format(seconds=marker[6:], wait=0))
        assert child.wait(timeout=30) == 0
        assert not is_running(marker)

    @pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_interrupt_ends_the_whole_family(self, signum: signal.Signals) -> None:
        marker = f"sleep 9{os.getpid()}{int(signum)}"
        child = supervise(sys.executable, "-c", FAMILY.format(seconds=marker[6:], wait=60))
        assert child.stdout is not None
        while child.stdout.readline().strip() != "ready":
            time.sleep(0.01)
        child.send_signal(signum)
        assert child.wait(timeout=30) == 130
        assert not is_running(marker)

    def test_own_parent_is_known(self) -> None:
        assert read_parents()[os.getpid()] == os.getppid()
