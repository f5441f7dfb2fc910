"""A fresh environment outside the clone: the wheel as a hospital installs it, with the newest version of everything.

Everything but torch. Its wheels and the CUDA libraries that they pull in are more than five gigabytes, and their
newest version is not what is tested here: links lead to those of the clone's environment, the rest is resolved anew.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import Parser
from importlib.metadata import requires
from pathlib import Path

from scripts.setup.paths import find_uv

__all__ = ["EPOCH", "Environment", "make_environment"]

BORROWED = re.compile(r"^(torch|torchgen|functorch|nvidia|triton|cuda)([_-].*)?$")
EPOCH = "1700000000"
FOR_TESTS = ("hypothesis", "pytest", "tzdata")


@dataclass(frozen=True)
class Environment:
    """bin: folder of its programs. packages: its site-packages. borrowed: where the clone's torch lies."""

    bin: Path
    packages: Path
    borrowed: Path

    @property
    def python(self) -> str:
        return str(self.bin / "python")

    def run(
        self, *command: str, cwd: Path, code: int = 0, seconds: float = 120, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A program of this environment, by its name; nothing of the clone is on its path."""
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]], cwd=cwd, env=clean_environment() | environment,
            capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done


def clean_environment() -> dict[str, str]:
    """This process's, without what leads Python into the clone."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "COLLEGIUM_HOME", "COLLEGIUM_PASSWORD_FILE")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def make_environment(folder: Path, wheel: Path) -> Environment:
    """Raises CalledProcessError when packages cannot be had."""
    uv = find_uv()
    if uv is not None:
        _call(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        install = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python")]
    else:
        _call(sys.executable, "-m", "venv", str(folder))
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    packages = next((folder / "lib").glob("python3*/site-packages"))
    source = _borrow_torch(packages)
    _call(*install, *_needs(wheel), *FOR_TESTS)
    _call(*install, "--no-deps", str(wheel))
    # Task code cannot write: what it imports would be compiled again in every process.
    _call(str(folder / "bin" / "python"), "-c", "import collegium_client.training, torch, web3")
    return Environment(folder / "bin", packages, source)


def _borrow_torch(packages: Path) -> Path:
    """Link torch alone: the folder it lies in would bring all the pinned packages along."""
    import torch

    assert torch.__file__ is not None
    source, links = Path(torch.__file__).parents[1], packages.parent / "borrowed"
    links.mkdir()
    for path in source.iterdir():
        if BORROWED.match(path.name.removesuffix(".dist-info").partition("-")[0]):
            (links / path.name).symlink_to(path)
    (packages / "borrowed.pth").write_text(f"{links}\n")
    return source


def _needs(wheel: Path) -> Iterator[str]:
    """What the wheel asks for without an extra, and what torch asks for, less torch and its CUDA libraries."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    lines = [*(metadata.get_all("Requires-Dist") or []), *(requires("torch") or [])]
    for line in lines:
        is_extra = "extra ==" in line
        if not is_extra and not BORROWED.match(re.split(r"[\s<>=!~;\[]", line, maxsplit=1)[0].replace("-", "_")):
            yield line


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=clean_environment(), check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, shutil.which(command[0]) or command[0], stderr=done.stderr)
