"""docs/sepolia.md, command by command, on a chain that calls itself Sepolia."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from collegium.chain.devnet import Devnet
from scripts.setup.paths import ROOT, VENV, environment
from tests.docs.pages import blocks
from tests.flows.arena import free_ports

pytestmark = [pytest.mark.chain, pytest.mark.flow, pytest.mark.slow, pytest.mark.xdist_group("ape")]

PAGE = ROOT / "docs" / "sepolia.md"
SECONDS = 800


def test_the_walk_through(tmp_path: Path) -> None:
    with Devnet.start(chain_id=11155111, block_time=1) as devnet:
        # What a reader has and we have not: a node, a faucet, a folder. Strong password hashing costs a minute.
        ether = f"cast rpc --rpc-url {devnet.url} anvil_setBalance $(address operator deployer) 0xde0b6b3a7640000"
        replaced = {
            "export RPC=https://your.sepolia.node": f"export RPC={devnet.url}",
            "export W=~/collegium-sepolia": f"export W={tmp_path / 'parties'}",
            "source .venv/bin/activate": f"export PATH={VENV / 'bin'}:$PATH",
            "export PORT=8470": f"export PORT={free_ports(1)[0]}",
            "address operator deployer\n": f"address operator deployer\n{ether}\n",
            "collegium keys new ": "collegium keys new --light ",
            # Blocks come twelve times as often as there.
            "--profile sepolia": "--profile sepolia --set network.poll_interval=0.3 --set network.confirmations=1",
        }
        script = "set -euo pipefail\n" + "".join(block.text for block in blocks(PAGE) if block.language == "sh")
        for shown, instead in replaced.items():
            assert shown in script, f"{PAGE.name} does not say {shown!r} any more"
            script = script.replace(shown, instead)
        done = _run(script, tmp_path)
    assert done.returncode == 0, _tail(done, tmp_path)
    parties = tmp_path / "parties"
    assert (parties / "model.safetensors").stat().st_size > 0
    assert "serves" in (parties / "clinic.log").read_text()


def _run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """In a process group of its own, so that nothing it left running in the background outlives it."""
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            ["bash", "-c", script], cwd=ROOT, env=environment() | {"HOME": str(folder)}, stdin=subprocess.DEVNULL,
            stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    code: int | str
    try:
        code = process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        code = f"not done after {SECONDS} s"
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
                time.sleep(1)
        process.wait()
    return subprocess.CompletedProcess([], code, output.read_text(errors="replace"))  # type: ignore[arg-type]


def _tail(done: subprocess.CompletedProcess[str], folder: Path) -> str:
    logs = "".join(f"\n--- {log.name}\n{log.read_text()[-1500:]}" for log in sorted(folder.rglob("*.log")))
    return done.stdout[-5000:] + logs
