"""Made-up data of a schema's form, for tests of a task: seeded, learnable, nobody's."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from collegium.extras import require

from .schema import Column, Schema

__all__ = ["write_examples"]


def write_examples(folder: Path, schema: Schema, *, cases: int, seed: int = 0) -> Path:
    """Write a table or a folder of images that the schema accepts; returns what `[data] path` names."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    if schema.kind == "table":
        return _write_table(folder / "examples.csv", schema, cases, random)
    for at in range(cases):
        label = at % len(schema.classes)
        target = folder / schema.classes[label]
        target.mkdir(exist_ok=True)
        pixels = _draw(schema, label, random)
        if schema.kind == "dicom":
            _write_dicom(target / f"{at:05d}.dcm", pixels, schema, at)
        else:
            require("data", "PIL")
            from PIL import Image

            Image.fromarray(pixels).save(target / f"{at:05d}.png")
    return folder


def _write_table(path: Path, schema: Schema, cases: int, random: np.random.Generator) -> Path:
    drawn = {column.name: _draw_column(column, cases, random) for column in schema.columns}
    # The target follows the first features, with noise, so that there is something to learn.
    signal = np.zeros(cases)
    for column in schema.features[:3]:
        order = np.array([column.values.index(v) if v in column.values else 0 for v in drawn[column.name]]
                         if column.type == "category" else drawn[column.name], dtype=np.float64)  # fmt: skip
        signal += (order - order.mean()) / (order.std() or 1)
    signal += random.normal(0, 0.3, cases)
    target = schema.column(schema.target)
    ranks = signal.argsort().argsort() / cases
    if target.values:
        drawn[target.name] = [target.values[int(rank * len(target.values))] for rank in ranks]
    else:
        low, high = target.range or (0.0, 1.0)
        drawn[target.name] = [float(low + rank * (high - low)) for rank in ranks]
    if schema.group:
        drawn[schema.group] = [f"patient-{at // 2}" for at in range(cases)]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(drawn)
        rows.writerows(zip(*drawn.values(), strict=True))
    return path


def _draw_column(column: Column, cases: int, random: np.random.Generator) -> list[Any]:
    if column.type == "number":
        low, high = column.range or (0.0, 1.0)
        return [float(value) for value in random.uniform(low, high, cases)]
    if column.type == "category":
        return [str(value) for value in random.choice(list(column.values), cases)]
    return [f"row {at}" for at in range(cases)]


def _draw(schema: Schema, label: int, random: np.random.Generator) -> Any:
    """uint8 [height, width]: noise, and a disc that is brighter the higher the label."""
    height, width = schema.size
    rows, columns = np.mgrid[:height, :width]
    center = random.uniform(0.35, 0.65, 2) * (height, width)
    disc = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < (min(height, width) / 5) ** 2
    pixels = random.normal(90, 20, (height, width)) + disc * (100.0 * label / (len(schema.classes) - 1))
    return pixels.clip(0, 255).astype(np.uint8)


def _write_dicom(path: Path, pixels: Any, schema: Schema, number: int) -> None:
    require("data", "pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[f"collegium example {number}"])
    made = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    made.Modality = schema.modalities[0] if schema.modalities else "CT"
    made.PatientID, made.PatientName = f"example-{number}", "Example^Nobody"
    made.BurnedInAnnotation = "NO"
    made.Rows, made.Columns = pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 16, 12, 11, 0
    center, width = schema.window or (128.0, 256.0)
    made.RescaleSlope, made.RescaleIntercept = round(width / 256, 6), round(center - width / 2, 6)
    made.PixelData = pixels.astype("<u2").tobytes()
    made.save_as(path, enforce_file_format=True)
