"""Where the tools of this clone are, for the set-up, the tests, the benchmarks and the demo."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Root of the clone."""

BUILD = ROOT / "build"
"""Everything generated that is neither the virtual environment nor node_modules."""

BIN = BUILD / "bin"
"""Links to the native tools: anvil, cast, forge, ipfs, solc."""

VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
NODE_MODULES = ROOT / "node_modules"
APE_DATA_FOLDER = BUILD / "ape"
SOLCX_FOLDER = BUILD / "solcx"

SOLC_VERSION = "0.8.30"
SOLC_COMMIT = "73712a01"
KUBO_VERSION = "0.41.0"
KUBO_OLDEST = (0, 40)
"""First Kubo release that knows the CID profile unixfs-v1-2025."""

FOUNDRY_TOOLS = ("anvil", "cast", "forge")


class ToolMissing(RuntimeError):
    """A tool that the set-up provides is not there."""


def tool(name: str) -> Path:
    """Path of `anvil`, `cast`, `forge`, `solc` or `ipfs` of this clone.

    Raises:
        ToolMissing: the set-up has not provided it; the message names the command that does.
    """
    path = BIN / name
    if path.exists():
        return path
    command = "make kubo" if name == "ipfs" else "make setup"
    raise ToolMissing(f"{name} is not installed in this clone ({path} is missing). Run `{command}`.")


def has_tool(name: str) -> bool:
    """Whether `tool(name)` would find it."""
    return (BIN / name).exists()


def is_required() -> bool:
    """Whether a missing tool is a failure rather than a reason to skip a test (`CI=true`)."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def environment(base: dict[str, str] | None = None) -> dict[str, str]:
    """Copy of `base` (default: the process environment) in which the tools of this clone come first."""
    values = dict(os.environ if base is None else base)
    before = [str(BIN), str(VENV / "bin")]
    rest = [entry for entry in values.get("PATH", os.defpath).split(os.pathsep) if entry not in before]
    values["PATH"] = os.pathsep.join(before + rest)
    values["APE_DATA_FOLDER"] = str(APE_DATA_FOLDER)
    values["SOLCX_BINARY_PATH"] = str(SOLCX_FOLDER)
    values["PYTHONNOUSERSITE"] = "1"
    # Compiling torch and web3 anew at every start would cost each process seconds.
    values.pop("PYTHONDONTWRITEBYTECODE", None)
    values["MPLCONFIGDIR"] = str(BUILD / "matplotlib")
    # No tool may call home from a demo that promises to need no network.
    values["FOUNDRY_DISABLE_NIGHTLY_WARNING"] = "1"
    values["IPFS_TELEMETRY"] = "off"
    return values


def cache_folder() -> Path:
    """Folder outside the clone for what takes minutes to build."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "collegium"


def node_platform() -> str:
    """This machine in the words of the npm packages of Foundry, such as `linux-amd64`."""
    machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    name = machine.get(platform.machine().lower(), platform.machine().lower())
    return f"{sys.platform if sys.platform == 'darwin' else 'linux'}-{name}"


def find_uv() -> str | None:
    """The uv executable, when it is installed and `UV=0` does not forbid it."""
    return None if os.environ.get("UV") == "0" else shutil.which("uv")
