"""`--help` loads nothing heavy, of any command of either program."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch", "pandas", "web3", "sklearn", "matplotlib", "onnx", "jinja2", "scipy", "numpy", "cryptography", "coincurve",
    "eth_account", "eth_abi", "requests", "prometheus_client", "opentelemetry", "pyarrow", "PIL", "pydicom", "psutil",
)  # fmt: skip

LOOK = """
import contextlib, io, json, sys
from benchmarks.startup import commands_below, programs

def loaded():
    return {name.partition(".")[0] for name in sys.modules} & set(HEAVY)

found, count = {}, 0
# Which commands there are is asked last: it imports them all.
for program, tree in programs().items():
    before = loaded()
    for words in (), *json.loads(sys.argv[1])[program]:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            tree.main(args=[*words, "--help"], prog_name=program, standalone_mode=False)
        assert "Usage" in said.getvalue(), words
        now, count = loaded(), count + 1
        if now - before:
            found[" ".join((program, *words))] = sorted(now - before)
        before = now
print(json.dumps([count, found]))
"""


@pytest.fixture(scope="module")
def every_command() -> dict[str, list[list[str]]]:
    code = """
import json
from benchmarks.startup import commands_below, programs
print(json.dumps({name: [list(words) for words in commands_below(tree)] for name, tree in programs().items()}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    listed: dict[str, list[list[str]]] = json.loads(done.stdout)
    return listed


def test_help_of_every_command_loads_nothing_heavy(every_command: dict[str, list[list[str]]]) -> None:
    code = f"HEAVY = {HEAVY!r}\n{LOOK}"
    command = [sys.executable, "-c", code, json.dumps(every_command)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, found = json.loads(done.stdout)
    assert count > 80
    assert found == {}


def test_every_documented_group_is_walked(every_command: dict[str, list[list[str]]]) -> None:
    # Nested groups too, or their commands would not be looked at.
    for words in (["train", "run"], ["tls", "ca"], ["explore", "build"], ["audit", "export"]):
        assert words in every_command["collegium"]
    assert ["run"] in every_command["collegium-coordinator"]
