"""The installed wheel with the newest numpy, web3 and click: its commands, the core's own tests, one round."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from collegium.chain.devnet import Devnet
from scripts.setup.paths import ROOT
from tests.flows.commands import Person
from tests.flows.test_processes import play_one_round

from .newest import Environment, clean_environment

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("newest")]

FEWER_EXAMPLES = """
from hypothesis import HealthCheck, settings

settings.register_profile("here", deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
settings.load_profile("here")
"""
VERSIONS = """
import json, sys
from importlib.metadata import version
import collegium, collegium_client, collegium_coordinator
names = ("numpy", "web3", "click", "eth-account", "collegium", "urllib3")
print(json.dumps({"versions": {name: version(name) for name in names},
                  "paths": [each.__file__ for each in (collegium, collegium_client, collegium_coordinator)]}))
"""
ABSENT = ("ape", "ipfshttpclient", "matplotlib", "opentelemetry", "pandas", "psutil", "sklearn")


def test_versions_are_others_than_the_pinned_ones(newest: Environment, tmp_path: Path) -> None:
    told = json.loads(newest.run("python", "-c", VERSIONS, cwd=tmp_path).stdout)
    versions = {name: int(text.partition(".")[0]) for name, text in told["versions"].items()}
    assert versions["numpy"] >= 2
    assert versions["web3"] >= 8
    assert all(Path(path).is_relative_to(newest.packages) for path in told["paths"]), told["paths"]


def test_only_what_a_hospital_needs_is_there(newest: Environment, tmp_path: Path) -> None:
    script = f"import importlib.util as u; print([n for n in {ABSENT!r} if u.find_spec(n)])"
    assert newest.run("python", "-c", script, cwd=tmp_path).stdout.strip() == "[]"


def test_commands_answer(newest: Environment, tmp_path: Path) -> None:
    assert "train" in newest.run("collegium", "--help", cwd=tmp_path).stdout
    assert "propose" in newest.run("collegium-coordinator", "--help", cwd=tmp_path).stdout
    home = tmp_path / "home"
    newest.run("collegium", "init", "--home", str(home), cwd=tmp_path)
    # No key and no chain: doctor says so, and how to mend it, instead of a traceback.
    done = newest.run("collegium", "doctor", "--home", str(home), "--json", cwd=tmp_path, code=3,
                      COLLEGIUM_NETWORK_RETRY_FOR="0.2", COLLEGIUM_NETWORK_RPC_URL="http://127.0.0.1:9")  # fmt: skip
    answer = json.loads(done.stdout)
    checks = {row["check"]: row for row in answer["data"]["checks"]}
    assert checks["node key"]["fix"] == "collegium keys new node"
    assert checks["chain"]["result"] == "failed"
    assert checks["torch"]["result"] == checks["home"]["result"] == "ok", checks
    assert "Traceback" not in done.stderr


def test_an_extra_that_is_absent_is_named(newest: Environment, tmp_path: Path) -> None:
    script = (
        "from collegium.storage import open_store, cid_of\n"
        "from collegium.errors import CollegiumError\n"
        "try:\n    open_store('kubo://127.0.0.1:5001').has(cid_of(b''))\n"
        "except CollegiumError as error:\n    print(error.exit_code, error.hint)\n"
    )
    said = newest.run("python", "-c", script, cwd=tmp_path).stdout
    assert said.strip() == "3 pip install 'collegium[kubo]'"


def test_core_passes_its_tests(newest: Environment, tmp_path: Path) -> None:
    """A copy of the tests beside nothing of the clone: what they import is the installed wheel."""
    for name in ("tests/core", "tests/vectors"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "scripts").mkdir()
    for name in ("__init__.py", "vector_tools.py", "make_vectors.py", "refutation_vectors.py"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    (tmp_path / "tests" / "__init__.py").touch()
    (tmp_path / "tests" / "conftest.py").write_text(FEWER_EXAMPLES)
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    done = newest.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/core", cwd=tmp_path)
    assert " passed" in done.stdout and "failed" not in done.stdout


SHELL = """
import contextlib, io, json, os, sys
from collegium_client.cli.app import run as client
from collegium_coordinator.cli import run as coordinator

answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    program, arguments, environment = json.loads(line)
    os.environ.update(environment)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            code = {"collegium": client, "collegium-coordinator": coordinator}[program](arguments)
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, said.getvalue()]), file=answers, flush=True)
"""
"""Runs command lines one after the other: most of a command's time is spent importing web3."""


class Shell:
    """A process of the fresh environment that types commands."""

    def __init__(self, environment: Environment, cwd: Path) -> None:
        self.environment, self.cwd = environment, cwd
        self._errors = (cwd / "shell.log").open("w+")
        self._process = subprocess.Popen(
            [environment.python, "-c", SHELL], cwd=cwd, env=clean_environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip

    def type(self, program: str, arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([program, arguments, environment]), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, (self.cwd / "shell.log").read_text()
        code, said = json.loads(line)
        return int(code), str(said)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._errors.close()


@dataclass
class Installed(Person):
    """A person who typed `pip install`: short commands through the shell, what keeps running as a program."""

    shell: Shell | None = None

    def run(self, program: str, *arguments: str | Path, code: int = 0, seconds: float = 120) -> Any:
        assert self.shell is not None
        typed = [*(str(each) for each in arguments), "--json"]
        found, said = self.shell.type(program, typed, self._own())
        assert found == code, f"{program} {arguments}: {found}\n{said}"
        envelope = json.loads(said)
        return envelope["error"] if code else envelope["data"]

    def _command(self, program: str, arguments: Sequence[str | Path]) -> list[str]:
        assert self.shell is not None
        return [str(self.shell.environment.bin / program), *(str(each) for each in arguments)]

    def _environment(self) -> dict[str, str]:
        return clean_environment() | self._own()

    def _own(self) -> dict[str, str]:
        assert self.shell is not None
        names = ("COLLEGIUM_HOME", "COLLEGIUM_PASSWORD_FILE", "PYTHONUNBUFFERED")
        own = {name: value for name, value in super()._environment().items() if name in names}
        # The wall around task code knows nothing of the folder that torch is borrowed from.
        return own | {"COLLEGIUM_TRAINING_READ": json.dumps([str(self.shell.environment.borrowed)])}


@pytest.mark.chain
def test_one_round(newest: Environment, devnet: Devnet, tmp_path: Path) -> None:
    """The pinned environment deploys and looks on; every role runs in the fresh one."""
    shell = Shell(newest, tmp_path)
    try:
        play_one_round(devnet, tmp_path, lambda home: Installed(home, cwd=tmp_path, shell=shell), hospitals=2)
    finally:
        shell.close()
