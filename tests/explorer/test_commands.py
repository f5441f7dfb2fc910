"""`collegium explore` and `collegium explore build` as processes: no home, no key, from a node and a store alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from collegium_client.cli.app import run as main_run
from tests.support.federation import Federation

Here = Callable[[list[str]], tuple[int, str, str]]

pytestmark = [pytest.mark.chain, pytest.mark.xdist_group("explorer")]


def command(history: Federation, folder: Path, *arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "collegium_client.cli", "explore", *arguments, "--home", str(folder / "nowhere"),
        "--rpc", history.devnet.url, "--deployment", str(history.folder / "deployment.json"),
        "--store", f"file://{history.folder / 'store'}", "--index", str(folder / "index"),
    ]  # fmt: skip


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Run a command line in this process, which is faster; the flags go through the environment."""
    for name in ("RPC_URL", "DEPLOYMENT", "CHAIN_ID"):
        monkeypatch.setenv(f"COLLEGIUM_NETWORK_{name}", "")
        monkeypatch.delenv(f"COLLEGIUM_NETWORK_{name}")

    def call(arguments: list[str]) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main_run(arguments[3:])
        told = capsys.readouterr()
        return code, told.out, told.err

    return call


def test_build_then_build_again(history: Federation, tmp_path: Path, run_here: Here) -> None:
    arguments = command(history, tmp_path, "build", str(tmp_path / "site"), "--blobs", "--json")
    first = run(arguments)
    assert first.returncode == 0, first.stderr
    data = json.loads(first.stdout)["data"]
    assert data["written"] > 100 and data["block"] == history.chain.head().number  # type: ignore[union-attr]
    assert (tmp_path / "site/index.html").is_file() and not (tmp_path / "nowhere").exists()
    again = json.loads(run_here(arguments)[1])["data"]
    assert (again["written"], again["removed"]) == (0, 0) and again["unchanged"] == data["written"]


def test_errors_say_what_to_do(
    history: Federation, tmp_path: Path, run_here: Here
) -> None:
    for extra, code, words in (
        (("--study", "9"), 3, "There is no study 9"),
        (("--explorer-url", "javascript:x"), 2, "no address of a block explorer"),
    ):
        found, _, said = run_here([*command(history, tmp_path, "build", str(tmp_path / "site")), *extra])
        assert found == code and words in said and "next:" in said, said
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis").write_text("x")
    code, _, said = run_here(command(history, tmp_path, "build", str(tmp_path / "mine")))
    assert code == 3 and "no site of ours" in said


def test_serving_ends_on_request(
    history: Federation, tmp_path: Path, run_here: Here
) -> None:
    arguments = command(history, tmp_path, "--port", "0", "--json", "--refresh", "1")
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        assert started["url"].startswith("http://127.0.0.1:") and started["studies"] == [1]
        with urllib.request.urlopen(started["url"], timeout=30) as response:
            assert b"Collegium" in response.read()
        code, _, said = run_here(command(history, tmp_path, "--port", "0"))
        assert code == 3 and "Another explorer uses the index" in said
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert json.loads(out)["ok"] is True
    finally:
        process.kill()
        process.communicate()


def test_a_port_in_use_is_told(
    history: Federation, tmp_path: Path, run_here: Here
) -> None:
    port = history.devnet.url.rpartition(":")[2]
    code, _, said = run_here(command(history, tmp_path, "--port", port))
    assert code == 3 and f"Port {port}" in said
