"""Kubo: `ipfs` on PATH when it is recent enough, else built by Go and kept outside the clone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from .paths import BIN, KUBO_OLDEST, KUBO_VERSION, ROOT, cache_folder, node_platform
from .steps import SetupError, Step, call, link, say

MODULE = ROOT / "tools"


def read_version(executable: Path) -> tuple[int, ...] | None:
    """Version of an `ipfs` executable, None if it does not run."""
    try:
        answer = subprocess.run(
            [str(executable), "version", "--number"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"(\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in match.groups()) if match else None


def find_on_path() -> Path | None:
    """A recent enough `ipfs` that the user installed."""
    folders = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry != str(BIN)]
    found = shutil.which("ipfs", path=os.pathsep.join(folders))
    if found is None:
        return None
    version = read_version(Path(found))
    if version is None or version < KUBO_OLDEST:
        oldest = ".".join(map(str, KUBO_OLDEST))
        say(f"{found} is not Kubo {oldest} or newer; building {KUBO_VERSION}")
        return None
    return Path(found)


def built() -> Path:
    """Where our own build is kept."""
    return cache_folder() / f"kubo-{KUBO_VERSION}-{node_platform()}" / "ipfs"


def build() -> Path:
    """Build Kubo from the modules pinned in tools/go.sum (about two minutes on two cores)."""
    target = built()
    if target.exists() and read_version(target) is not None:
        return target
    if shutil.which("go") is None:
        raise SetupError(
            f"Kubo is needed here, but neither `ipfs` {'.'.join(map(str, KUBO_OLDEST))} or newer nor `go` is "
            "on PATH. Install one of them (Go 1.26 builds Kubo by itself), or use the embedded store."
        )
    say("building takes about two minutes, once per machine")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".ipfs.{os.getpid()}")
    try:
        call(
            ["go", "build", "-C", str(MODULE), "-trimpath", "-ldflags", "-s -w", "-o", str(fresh),
             "github.com/ipfs/kubo/cmd/ipfs"],
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"},
        )
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return target


def install_kubo() -> None:
    """Put `ipfs` into build/bin."""
    executable = find_on_path() or build()
    link(executable, BIN / "ipfs")
    if read_version(BIN / "ipfs") is None:
        raise SetupError(f"{executable} does not run. Delete it and try again.")


KUBO = Step(
    name="kubo",
    title=f"Kubo {KUBO_VERSION}",
    stamp=BIN / ".kubo.stamp",
    inputs=lambda: [KUBO_VERSION, MODULE / "go.mod", MODULE / "go.sum"],
    outputs=lambda: [BIN / "ipfs"],
    act=install_kubo,
)
