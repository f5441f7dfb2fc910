"""Folders of images as arrays: PNG, JPEG, TIFF, BMP by pillow, DICOM by pydicom.

A case's label comes from `labels.csv` (columns `file`, `label`, and optionally `patient`) or, without it, from the
folder the file lies in. File names are never printed: they often hold names of patients.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collegium.extras import require
from collegium_client.errors import DataMismatch, DataUnreadable

from .schema import Schema
from .tables import named_path

__all__ = ["ImageCases", "ImageFile", "Refused", "list_images", "read_gray", "read_images"]

SUFFIXES = {"images": (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"), "dicom": (".dcm", ".dicom", ".ima", "")}
LABELS = "labels.csv"
MAX_PIXELS = 64 << 20
Gray = NDArray[np.float32]


class Refused(Exception):
    """A file that is not used; `reason` is one of a few fixed words, never text out of the file."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ImageFile:
    """A file with its label. patient: out of labels.csv, empty when unknown."""

    path: Path
    label: str
    patient: str = ""


@dataclass(frozen=True)
class ImageCases:
    """pixels float32 [n, 1, height, width] in [-1, 1]; targets int64 [n]; keys for `is_held_out`."""

    pixels: Gray
    targets: NDArray[np.int64]
    keys: tuple[bytes, ...]
    refused: Counter[str] = field(default_factory=Counter)
    """How many files were left out, by reason."""


def list_images(folder: Path, schema: Schema) -> list[ImageFile]:
    """Labeled files below a folder, sorted by name. Raises `DataUnreadable`, or `DataMismatch` for odd labels."""
    if not folder.is_dir():
        raise DataUnreadable(f"There is no folder {folder}.", hint="Name the folder of images.")
    table = folder / LABELS
    files = list(_from_table(table) if table.is_file() else _from_folders(folder, schema))
    if not files:
        wanted = ", ".join(suffix or "no suffix" for suffix in SUFFIXES[schema.kind])
        raise DataUnreadable(
            f"{folder} holds no labeled {schema.kind} ({wanted}).",
            hint=f"Put them into one folder per class ({', '.join(schema.classes)}), or write {LABELS}.",
        )
    odd = len({file.label for file in files} - set(schema.classes))
    if odd:
        raise DataMismatch(
            f"{odd} labels are not classes of the schema.", hint=f"Known are {', '.join(schema.classes)}."
        )
    return files


def _from_folders(folder: Path, schema: Schema) -> Iterator[ImageFile]:
    for label in sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for path in sorted((folder / label).rglob("*")):
            if path.is_file() and path.suffix.lower() in SUFFIXES[schema.kind] and not path.name.startswith("."):
                yield ImageFile(path, label)


def _from_table(table: Path) -> Iterator[ImageFile]:
    root = table.parent.resolve()
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                path = (root / row["file"]).resolve()
                if root not in path.parents:
                    raise DataUnreadable(f"{LABELS} names a file outside its folder.", hint="Write relative paths.")
                yield ImageFile(path, row["label"].strip(), (row.get("patient") or "").strip())
    except (OSError, KeyError, UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise DataUnreadable(
            f"{LABELS} cannot be read ({type(error).__name__}).", hint="Its header is: file,label or file,label,patient"
        ) from None


def read_images(folder: str | Path, schema: Schema) -> ImageCases:
    """Read every image that is not refused. Raises as `list_images`, and `DataMismatch` when none is left."""
    found: list[tuple[Gray, int, bytes]] = []
    refused: Counter[str] = Counter()
    for file in list_images(named_path(folder), schema):
        try:
            pixels, key = read_gray(file, schema)
        except Refused as error:
            refused[error.reason] += 1
            continue
        found.append((pixels, schema.classes.index(file.label), key))
    if not found:
        reasons = ", ".join(sorted(refused))
        raise DataMismatch(f"Every file was refused: {reasons}.", hint="Run `collegium data check` with the schema.")
    pixels = np.stack([each[0] for each in found])[:, None]
    targets = np.array([each[1] for each in found], dtype=np.int64)
    return ImageCases(pixels, targets, tuple(each[2] for each in found), refused)


def read_gray(file: ImageFile, schema: Schema) -> tuple[Gray, bytes]:
    """Pixels [height, width] in [-1, 1] and the key that the split goes by. Raises `Refused`."""
    if schema.kind == "dicom":
        from .dicom import read_slice

        found = read_slice(file.path, schema)
        return resize(found.pixels, schema.size), file.patient.encode() or found.patient_key
    pixels = _read_picture(file.path)
    return resize(pixels, schema.size), file.patient.encode() or hashlib.sha256(pixels.tobytes()).digest()


def _read_picture(path: Path) -> Gray:
    """Gray values in [-1, 1], black to white of the file's own depth."""
    require("data", "PIL")
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Refused("too large")
            deep = image.mode.startswith("I")
            values = np.asarray(image if deep else image.convert("L"), dtype=np.float32)
    except Refused:
        raise
    except Exception as error:
        # Decoders raise whatever they like on damaged files.
        raise Refused("unreadable") from error
    scaled: Gray = values / np.float32(65535 if deep else 255) * 2 - 1
    return scaled.clip(-1, 1)


def resize(pixels: Gray, size: tuple[int, int]) -> Gray:
    """Bilinear to [height, width]."""
    require("data", "PIL")
    from PIL import Image

    if pixels.shape == tuple(size):
        return pixels
    image: Any = Image.fromarray(np.ascontiguousarray(pixels, dtype=np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR), dtype=np.float32)
