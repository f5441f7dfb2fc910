"""The same pages as a folder of files, for any web server or none.

Interrupt it and run it again: what is written stays, and only pages whose content changed are written. A page says up
to which block it was made; a page that is left alone is still right, for nothing that it shows has changed since.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from collegium.errors import PreconditionError
from collegium.explorer.site import list_pages, read_page
from collegium.explorer.source import Source
from collegium.files import write_atomically

from .render import ASSETS, Renderer, read_asset

__all__ = ["Built", "build_site"]

MANIFEST = "site.json"
SCHEMA = "collegium.site/1"
_SAVE_EVERY = 200


@dataclass
class Built:
    """How many files were written, left alone and removed. lacking: blobs that no store gave."""

    written: int = 0
    unchanged: int = 0
    removed: int = 0
    blobs: int = 0
    lacking: list[str] = field(default_factory=list)


def build_site(
    source: Source,
    renderer: Renderer,
    folder: Path,
    *,
    blobs: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Built:
    """Write every page. blobs: also those that the pages name, so that a browser can verify them.

    Raises:
        PreconditionError: the folder holds other things.
    """
    folder.mkdir(parents=True, exist_ok=True)
    site = _Site(folder)
    built = Built()
    paths = list(list_pages(source))
    wanted = {f"{path}.{suffix}" for path in paths for suffix in ("html", "json")} | {"status.json"}
    for name in ASSETS:
        site.put(f"assets/{name}", read_asset(name), "", built)
    for done, path in enumerate(paths, 1):
        try:
            # As of the last block: with the time of day, pages would change without a reason.
            page = read_page(source, path, now=source.as_of.time)
        except LookupError:
            continue
        digest, as_of = renderer.digest(page), source.as_of
        if site.has(f"{path}.html", digest) and site.has(f"{path}.json", digest):
            built.unchanged += 2
        else:
            site.put(f"{path}.json", renderer.json(page, as_of), digest, built)
            site.put(f"{path}.html", renderer.html(page, as_of), digest, built)
        if progress:
            progress(done, len(paths))
    if blobs:
        wanted |= _put_blobs(source, site, built)
    as_of = source.as_of
    status = {"block": as_of.block, "time": as_of.time, "changed_at": as_of.changed_at, "error": as_of.error}
    site.put("status.json", json.dumps(status).encode(), "", built)
    site.prune(wanted | {f"assets/{name}" for name in ASSETS}, built)
    site.save()
    return built


def _put_blobs(source: Source, site: _Site, built: Built) -> set[str]:
    """Blobs are named by their content, so one that is there need not be fetched again."""
    with source.reading() as replay:
        cids = list(replay.blobs)
    wanted = set()
    for cid in cids:
        name = f"blobs/{cid}"
        wanted.add(name)
        if site.has(name, cid):
            built.unchanged += 1
            continue
        content = source.blob(cid)
        if content is None:
            built.lacking.append(cid)
        else:
            site.put(name, content, cid, built)
            built.blobs += 1
    return wanted


class _Site:
    """The folder and its manifest: name to (digest of what it shows, digest of the file)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / MANIFEST
        self._files: dict[str, list[str]] = {}
        self._unsaved = 0
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            if content.get("schema") != SCHEMA:
                raise ValueError("another schema")
            self._files = {name: _entry(name, both) for name, both in content["files"].items()}
        except FileNotFoundError:
            if any(folder.iterdir()):
                raise PreconditionError(
                    f"{folder} holds files that no site of ours put there.", hint="Name an empty folder."
                ) from None
            self.save()
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise PreconditionError(
                f"{self._path} is not the list of a site's files: {error}.", hint="Name an empty folder."
            ) from error

    def has(self, name: str, digest: str) -> bool:
        """Whether the file shows this and is whole."""
        entry = self._files.get(name)
        if entry is None or entry[0] != digest:
            return False
        try:
            return _hash((self._folder / name).read_bytes()) == entry[1]
        except OSError:
            return False

    def put(self, name: str, content: bytes, digest: str, built: Built) -> None:
        path, entry = self._folder / name, [digest, _hash(content)]
        if self._files.get(name) == entry and self.has(name, digest):
            built.unchanged += 1
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not flushed to the disk one by one: a file that a crash cut short differs from its entry and is written again.
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(content)
        temporary.replace(path)
        self._files[name] = entry
        built.written += 1
        self._unsaved += 1
        if self._unsaved >= _SAVE_EVERY:
            self.save()

    def prune(self, wanted: set[str], built: Built) -> None:
        """Remove what an earlier build put there and nothing names any more, such as rounds that were reorganized."""
        for name in sorted(set(self._files) - wanted):
            if name.startswith("blobs/") and not any(each.startswith("blobs/") for each in wanted):
                continue
            (self._folder / name).unlink(missing_ok=True)
            del self._files[name]
            built.removed += 1

    def save(self) -> None:
        content = {"schema": SCHEMA, "files": dict(sorted(self._files.items()))}
        write_atomically(self._path, (json.dumps(content, indent=0) + "\n").encode(), mode=0o644)
        self._unsaved = 0


def _entry(name: str, both: list[str]) -> list[str]:
    """A line of the manifest. Raises ValueError when it names anything that is not below the folder."""
    shown, content = both
    if name.startswith("/") or ".." in name.split("/") or not isinstance(shown, str) or not isinstance(content, str):
        raise ValueError(f"{name!r} is no file of a site")
    return [shown, content]


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
