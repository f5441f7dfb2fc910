"""The virtual environment: pinned packages with hashes, then our own packages in place."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from .paths import BUILD, ROOT, VENV, VENV_PYTHON, find_uv
from .steps import SetupError, Step, call, say

LOCK = ROOT / "requirements" / "dev.txt"
OLDEST, NEWEST = (3, 11), (3, 12)
"""Ape holds numpy below 2, which has no wheels for Python 3.13."""

SOURCES = ("collegium", "client/collegium_client", "coordinator/collegium_coordinator")
TORCH_CHOICE = VENV / "torch-choice"
CUDA_ONLY = re.compile(r"^(torch|triton|nvidia-|cuda-)")


def torch_choice() -> str:
    """`TORCH`: `default` is the build that the package index serves, `cpu` is the small one.

    Without it the environment keeps the choice it was made with.
    """
    choice = os.environ.get("TORCH") or (TORCH_CHOICE.read_text() if TORCH_CHOICE.exists() else "default")
    if choice not in ("default", "cpu"):
        raise SetupError(f"TORCH={choice} is unknown. Use TORCH=cpu or TORCH=default, or leave it out.")
    return choice


def find_python() -> str:
    """An interpreter that pip can build the environment from."""
    low, high = ".".join(map(str, OLDEST)), ".".join(map(str, NEWEST))
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        # Not the environment that is about to be replaced, even when it is active.
        return str(getattr(sys, "_base_executable", sys.executable))
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        if path := shutil.which(f"python3.{minor}"):
            return path
    raise SetupError(
        f"this is Python {sys.version.split()[0]} and no Python {low} or {high} is on PATH. "
        "Install one of them, or install uv, which brings its own."
    )


def lock_without_torch() -> tuple[Path, str]:
    """The lock less torch and what only its CUDA build needs, and the version of torch it names."""
    entries = re.split(r"(?m)^(?=\S)", LOCK.read_text())
    kept = [entry for entry in entries if not CUDA_ONLY.match(entry)]
    version = next((match[1] for entry in entries if (match := re.match(r"torch==([\w.]+)", entry))), "")
    if not version:
        raise SetupError(f"{LOCK} names no torch. Restore the file, or run `make lock`.")
    path = BUILD / "requirements-without-torch.txt"
    path.write_text("".join(kept))
    return path, version


def install_packages() -> None:
    """Create `.venv` and install the lock into it."""
    uv, lock, torch_cpu, choice = find_uv(), LOCK, "", torch_choice()
    if choice == "cpu":
        if uv is None:
            raise SetupError("TORCH=cpu needs uv. Install uv, or leave TORCH out.")
        lock, torch_cpu = lock_without_torch()
    if uv is not None:
        call([uv, "venv", "--quiet", "--clear", "--python", ">=3.11,<3.13", str(VENV)])
        install = [uv, "pip", "install", "--quiet", "--python", str(VENV_PYTHON)]
        call([*install, "--require-hashes", "--no-deps", "-r", str(lock)])
        if torch_cpu:
            # The CPU build has other hashes than the one in the lock.
            call([*install, "--no-deps", "--torch-backend", "cpu", f"torch=={torch_cpu}"])
        TORCH_CHOICE.write_text(choice)
        return
    say("without uv, pip takes some minutes")
    if VENV.exists():
        shutil.rmtree(VENV)
    call([find_python(), "-m", "venv", str(VENV)])
    install = [str(VENV_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    call([*install, "--require-hashes", "--no-deps", "-r", str(lock)])


def install_ourselves() -> None:
    """Editable install: the code runs from the clone, the console scripts appear in `.venv/bin`."""
    uv = find_uv()
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    if uv is not None:
        call([uv, "pip", "install", "--python", str(VENV_PYTHON), *options])
    else:
        call([str(VENV_PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *options])


PACKAGES = Step(
    name="python",
    title="Python packages",
    stamp=VENV / "collegium-packages.stamp",
    inputs=lambda: [LOCK, torch_choice(), str(ROOT)],
    outputs=lambda: [VENV_PYTHON, VENV / "bin" / "pytest", VENV / "bin" / "ape"],
    act=install_packages,
)

OURSELVES = Step(
    name="editable",
    title="Collegium in place",
    stamp=VENV / "collegium-editable.stamp",
    inputs=lambda: [
        ROOT / "pyproject.toml",
        str(ROOT),
        *(f"{name}:{(ROOT / name / '__init__.py').exists()}" for name in SOURCES),
    ],
    outputs=lambda: [VENV / "bin" / "collegium", VENV / "bin" / "collegium-coordinator"],
    act=install_ourselves,
)
