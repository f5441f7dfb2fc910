"""The file of an export: a ZIP of uncompressed parts, a manifest with the digest of each, and a seal over every byte.

The same parts give the same bytes. Any tool opens it; `unzip -p FILE blobs.car | ipfs dag import` gives the blobs to
a daemon. The seal, the last 64 characters of the file, is the SHA-256 of everything before them: it shows damage,
not who made the file. What the file says is proven by the audit, from the hash of its last block.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium.audit.errors import ExportDamagedError, NotAnExportError
from collegium.files import sync_folder

__all__ = ["MANIFEST", "SCHEMA", "Bundle", "open_bundle", "write_bundle"]

SCHEMA = "collegium.audit-export/1"
MANIFEST = "manifest.json"
MAX_MANIFEST = 64 << 20
MAX_PARTS = 4096

_SEAL = b"collegium audit export; SHA-256 of every byte before these 64 digits: "
_PIECE = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-zA-Z0-9][a-zA-Z0-9._-]*)*\Z")
_AGAIN = "It was cut short or altered on its way; get it again."
_BROKEN = (zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, KeyError, TypeError, AttributeError, EOFError,
           OverflowError, NotImplementedError, RuntimeError, RecursionError)  # fmt: skip
"""What zipfile and json raise on bytes that they do not understand."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Bundle:
    """An export whose every part was compared with its digest. folder: holds the parts as files."""

    path: Path
    folder: Path
    manifest: Mapping[str, Any]

    def part(self, name: str) -> Path | None:
        """The file of a part; None when the export has none of that name."""
        return self.folder / name if name in self.manifest["parts"] else None

    def read(self, name: str) -> bytes:
        """A small part. Raises ExportDamagedError when it is not there."""
        path = self.part(name)
        if path is None:
            raise ExportDamagedError(f"{self.path.name} has no part {name}.", hint=_AGAIN, part=name)
        return path.read_bytes()

    def json(self, name: str) -> Any:
        """A part as JSON. Raises ExportDamagedError."""
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise ExportDamagedError(f"{name} is not JSON: {error}.", hint=_AGAIN, part=name) from error


def write_bundle(path: Path, parts: Mapping[str, Path], manifest: Mapping[str, Any], progress: Progress) -> None:
    """Write the parts and a manifest over them; the file is there whole or not at all. Streams."""
    listed = {}
    for name in sorted(parts):
        digest = hashlib.sha256()
        with parts[name].open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        listed[name] = {"bytes": parts[name].stat().st_size, "sha256": digest.hexdigest()}
    content = (json.dumps({**manifest, "parts": listed}, indent=1, sort_keys=True) + "\n").encode()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_STORED, strict_timestamps=True) as archive:
            archive.comment = _SEAL + b"0" * 64
            archive.writestr(_entry(MANIFEST, len(content)), content)
            for done, name in enumerate(sorted(parts)):
                progress("file", done, len(parts))
                entry = _entry(name, parts[name].stat().st_size)
                with parts[name].open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, _PIECE)
        with temporary.open("r+b") as file:
            sealed = _digest_before_seal(file, temporary.stat().st_size)
            file.seek(-64, os.SEEK_END)
            file.write(sealed.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    progress("file", len(parts), len(parts))


def open_bundle(path: Path, folder: Path, progress: Progress) -> Bundle:
    """Check every byte of an export and unpack it into a folder.

    Raises:
        NotAnExportError: the file is not there or is something else.
        ExportDamagedError: it was cut short or altered, or its parts are not those of its manifest.
    """
    _check_seal(path, progress)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _read_manifest(archive)
            _check_names(archive, manifest)
            for done, (name, expected) in enumerate(manifest["parts"].items()):
                progress("file", done, len(manifest["parts"]))
                _unpack(archive, name, folder / name, expected)
    except _BROKEN as error:
        raise ExportDamagedError(f"{path.name} is damaged: {error}.", hint=_AGAIN, path=str(path)) from error
    return Bundle(path, folder, manifest)


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    """The same header for the same part on every machine."""
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_STORED, 3, 0o100644 << 16
    entry.file_size = size
    return entry


def _digest_before_seal(file: Any, size: int) -> str:
    digest, left = hashlib.sha256(), size - 64
    file.seek(0)
    while left > 0 and (piece := file.read(min(_PIECE, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


def _check_seal(path: Path, progress: Progress) -> None:
    progress("seal", 0, 1)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(4)
            file.seek(max(0, size - 64 - len(_SEAL)))
            tail = file.read()
            sealed = tail[:-64] == _SEAL
            if start != b"PK\x03\x04" and not sealed:
                raise NotAnExportError(
                    f"{path} is not an export of an audit.", hint="Make one: collegium audit export --study N -o FILE."
                )
            if not sealed:
                raise ExportDamagedError(
                    f"{path.name} is cut short or altered: it does not end with its seal.", hint=_AGAIN, path=str(path)
                )
            digest = _digest_before_seal(file, size)
    except OSError as error:
        raise NotAnExportError(
            f"{path} cannot be read: {error.strerror}.", hint="Name the file that `collegium audit export` wrote."
        ) from error
    if tail[-64:] != digest.encode():
        raise ExportDamagedError(
            f"{path.name} was altered: its bytes have SHA-256 {digest}, its seal says otherwise.",
            hint=_AGAIN, path=str(path),
        )  # fmt: skip
    progress("seal", 1, 1)


def _read_manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    entry = archive.getinfo(MANIFEST)
    if entry.file_size > MAX_MANIFEST or entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError("its manifest is too large or compressed")
    manifest = json.loads(archive.read(entry))
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise ValueError("its manifest has another schema; a newer version of collegium may know it")
    head, blobs = manifest["head"], manifest["blobs"]
    numbers = (manifest["study"], manifest["chain_id"], head["number"], head["time"])
    texts = (head["hash"], *blobs, *manifest["missing"])
    if not all(type(each) is int and 0 <= each < 1 << 63 for each in numbers):
        raise ValueError("its manifest names no study, chain or head")
    if not all(isinstance(each, str) for each in texts) or not isinstance(blobs, list):
        raise ValueError("its manifest lists no blobs")
    if not isinstance(manifest["parts"], dict) or len(manifest["parts"]) > MAX_PARTS:
        raise ValueError("its manifest lists no parts")
    return manifest


def _check_names(archive: zipfile.ZipFile, manifest: Mapping[str, Any]) -> None:
    names = archive.namelist()
    expected = [MANIFEST, *sorted(manifest["parts"])]
    if names != expected:
        extra, lacking = sorted(set(names) - set(expected)), sorted(set(expected) - set(names))
        raise ValueError(f"it holds {extra or 'nothing'} beyond its manifest and lacks {lacking or 'nothing'}")
    for name in manifest["parts"]:
        if not _NAME.match(name) or ".." in name:
            raise ValueError(f"part {name!r} has a name that no part has")


def _unpack(archive: zipfile.ZipFile, name: str, target: Path, expected: Mapping[str, Any]) -> None:
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != expected["bytes"]:
        raise ValueError(f"{name} has {entry.file_size} bytes, the manifest says {expected['bytes']}")
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with archive.open(entry) as source, target.open("xb") as file:
        while piece := source.read(_PIECE):
            digest.update(piece)
            file.write(piece)
    if digest.hexdigest() != expected["sha256"]:
        raise ValueError(f"{name} has SHA-256 {digest.hexdigest()}, the manifest says {expected['sha256']}")
