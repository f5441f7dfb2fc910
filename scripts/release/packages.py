"""The wheel and the source archive, the same bytes on every machine.

They are built from a copy of the tracked files whose times and permissions are set, by the setuptools of the locked
environment, so nothing of the machine gets in. `SOURCE_DATE_EPOCH` is the commit's time.

    python -m scripts.release.packages [--folder build/release] [--working-tree]
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from scripts.setup.paths import BUILD, ROOT

__all__ = ["BuildError", "build", "commit_time", "copy_sources", "main"]

SOURCES = ("collegium/", "client/collegium_client/", "coordinator/collegium_coordinator/")
BESIDES = ("pyproject.toml", "README.md", "LICENSE")
# Old enough for zip, which begins in 1980, and plainly no real date.
NO_COMMIT = 315_532_800
_BACKEND = """
import sys
from setuptools import build_meta
getattr(build_meta, sys.argv[1])(sys.argv[2])
"""


class BuildError(RuntimeError):
    """The packages cannot be built."""


def build(folder: Path, *, working_tree: bool = False, root: Path = ROOT) -> tuple[Path, Path]:
    """Write the wheel and the source archive into `folder` and return their paths.

    working_tree: build what is on the disk instead of the last commit. root: a copy of the clone. Raises BuildError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    epoch = commit_time()
    with tempfile.TemporaryDirectory(prefix="collegium-release-") as scratch:
        stage, made = Path(scratch) / "source", Path(scratch) / "made"
        made.mkdir()
        if working_tree or not _git("rev-parse", "HEAD"):
            copy_sources(root, stage)
        else:
            _export_commit(stage)
        _settle(stage, epoch)
        for hook in ("build_sdist", "build_wheel"):
            _run_backend(stage, hook, made, epoch)
            _sweep(stage)
        (wheel,), (archive,) = made.glob("*.whl"), made.glob("*.tar.gz")
        _normalize(archive, epoch)
        return tuple(Path(shutil.copy(each, folder / each.name)) for each in (wheel, archive))  # type: ignore[return-value]


def commit_time() -> int:
    """Unix seconds of the last commit; a fixed time outside a repository."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given and given.isdigit():
        return int(given)
    done = _git("log", "-1", "--format=%ct")
    return int(done) if done.strip().isdigit() else NO_COMMIT


def _git(*arguments: str, root: Path = ROOT) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def copy_sources(root: Path, stage: Path) -> None:
    """Copy what goes into the packages, as it is on the disk."""
    for name in _names(root):
        target = stage / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, target)


def _names(root: Path) -> list[str]:
    """Tracked and new files of the packages, without those that are ignored."""
    listed = _git("ls-files", "-co", "--exclude-standard", "-z", "--", *SOURCES, *BESIDES, root=root).split("\0")
    names = [name for name in listed if name and (root / name).is_file()]
    if names:
        return sorted(set(names))
    found = [path for top in SOURCES for path in (root / top).rglob("*") if path.is_file()]
    kept = [path for path in found if "__pycache__" not in path.parts]
    return sorted([*(str(path.relative_to(root)) for path in kept), *BESIDES])


def _export_commit(stage: Path) -> None:
    command = ["git", "archive", "--format=tar", "HEAD", "--", *SOURCES, *BESIDES]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise BuildError(f"git archive failed: {archive.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(stage, filter="data")


def _settle(stage: Path, epoch: int) -> None:
    """Times and permissions that do not depend on the machine."""
    for path in sorted(stage.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch))


def _run_backend(stage: Path, hook: str, made: Path, epoch: int) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0", "PYTHONNOUSERSITE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _BACKEND, hook, str(made)], cwd=stage, env=environment, umask=0o022,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BuildError(f"setuptools failed at {hook}:\n{done.stderr[-2000:]}")


def _sweep(stage: Path) -> None:
    """What the backend leaves behind."""
    shutil.rmtree(stage / "build", ignore_errors=True)
    for path in list(stage.rglob("*.egg-info")):
        shutil.rmtree(path)


def _normalize(archive: Path, epoch: int) -> None:
    """The same archive without users, times and the order of a file system."""
    packed = io.BytesIO()
    with tarfile.open(archive) as old, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() else 0o644
            member.pax_headers = {}
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    with archive.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=epoch) as zipped:
        zipped.write(packed.getvalue())


def main(arguments: list[str] | None = None) -> int:
    """Build, and print names with their SHA-256."""
    parser = argparse.ArgumentParser(prog="python -m scripts.release.packages", description=__doc__)
    parser.add_argument("--folder", type=Path, default=BUILD / "release")
    parser.add_argument("--working-tree", action="store_true", help="what is on the disk instead of the last commit")
    given = parser.parse_args(arguments)
    if not given.working_tree and _git("status", "--porcelain", "--", *SOURCES, *BESIDES).strip():
        print("note: uncommitted changes are left out; --working-tree takes them in", file=sys.stderr)
    try:
        made = build(given.folder, working_tree=given.working_tree)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in made:
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
