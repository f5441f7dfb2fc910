"""One DICOM file as gray values, and nothing else of it.

Only pixels, the modality and a digest that keeps one patient's images together come out; every other attribute stays
unread or is dropped at once, which is stricter than the basic profile of DICOM PS3.15 Annex E. Pixels that may show
names (burned-in annotations, secondary captures) are refused unless the schema allows them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from collegium.extras import require

from .images import MAX_PIXELS, Gray, Refused
from .schema import Schema

__all__ = ["Slice", "read_modality", "read_slice"]

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage; its multi-frame kinds continue this UID."""
BURNED_IN_UNLESS_DENIED = ("SC", "OT", "XC", "ES", "DOC")
"""Modalities whose pixels are taken to show text unless the file says NO."""
HEADER = (
    "SOPClassUID", "Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "BurnedInAnnotation",
    "NumberOfFrames", "PhotometricInterpretation", "Rows", "Columns",
)  # fmt: skip
PIXELS = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelData", "RescaleSlope", "RescaleIntercept", "NumberOfFrames", "PlanarConfiguration",
)  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """pixels float32 [rows, columns] in [-1, 1]; patient_key: digest of the patient's id."""

    pixels: Gray
    modality: str
    patient_key: bytes


def read_modality(path: Path, schema: Schema) -> str:
    """Check a file by its header alone and return its modality. Raises `Refused`."""
    return _check(_read(path, HEADER, pixels=False), schema)


def read_slice(path: Path, schema: Schema) -> Slice:
    """Read one image. Raises `Refused`."""
    header = _read(path, HEADER, pixels=False)
    modality = _check(header, schema)
    # A second reading that never sees any attribute but those the decoder needs.
    values = _decode(_read(path, PIXELS, pixels=True))
    pixels = _apply_window(values, schema.window)
    # White is low in this interpretation.
    is_inverted = str(header.get("PhotometricInterpretation")) == "MONOCHROME1"
    return Slice(-pixels if is_inverted else pixels, modality, _patient_key(header, values))


def _patient_key(header: Any, values: Gray) -> bytes:
    """By the patient's id; where that was removed by the study or series, at last by the image itself."""
    names = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
    known = next((str(header.get(name)).strip() for name in names if str(header.get(name) or "").strip()), "")
    return hashlib.sha256(b"collegium.patient\0" + (known.encode() or values.tobytes())).digest()


def _read(path: Path, names: tuple[str, ...], *, pixels: bool) -> Any:
    require("data", "pydicom")
    import pydicom

    try:
        return pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=list(names))
    except Exception as error:
        # A damaged or foreign file makes the parser raise whatever it met.
        raise Refused("unreadable") from error


def _check(header: Any, schema: Schema) -> str:
    try:
        modality, kind = str(header.get("Modality", "")), str(header.get("SOPClassUID", ""))
        frames, rows, columns = (int(header.get(name) or 0) for name in ("NumberOfFrames", "Rows", "Columns"))
    except (TypeError, ValueError) as error:
        raise Refused("unreadable") from error
    burned = str(header.get("BurnedInAnnotation", "")).upper()
    if not schema.allow_burned_in:
        if kind == SECONDARY_CAPTURE or kind.startswith(SECONDARY_CAPTURE + "."):
            raise Refused("secondary capture")
        if burned == "YES" or (burned != "NO" and modality in BURNED_IN_UNLESS_DENIED):
            raise Refused("burned-in annotation possible")
    if schema.modalities and modality not in schema.modalities:
        raise Refused("another modality")
    if not rows or not columns:
        raise Refused("no image")
    if rows * columns > MAX_PIXELS:
        raise Refused("too large")
    if frames > 1:
        raise Refused("several frames")
    if str(header.get("PhotometricInterpretation")) not in ("MONOCHROME1", "MONOCHROME2"):
        raise Refused("not grayscale")
    return modality


def _decode(dataset: Any) -> Gray:
    try:
        values = np.asarray(dataset.pixel_array, dtype=np.float32)
        slope, intercept = float(dataset.get("RescaleSlope", 1) or 1), float(dataset.get("RescaleIntercept", 0) or 0)
    except Exception as error:
        # Compressed kinds need decoders that are not part of pydicom.
        raise Refused("undecodable") from error
    if values.ndim != 2 or not np.isfinite(values).all():
        raise Refused("no image")
    return values * np.float32(slope) + np.float32(intercept)


def _apply_window(values: Gray, window: tuple[float, float] | None) -> Gray:
    """To [-1, 1]: the same window everywhere, or from the 1st to the 99th percentile of this image alone."""
    if window is None:
        low, high = (float(end) for end in np.percentile(values, (1, 99)))
        window = ((low + high) / 2, max(high - low, 1e-6))
    center, width = window
    scaled: Gray = (values - np.float32(center)) / np.float32(width / 2)
    return scaled.clip(-1, 1)
