"""DICOM files: gray values come out, names do not, and pixels that may show names are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from collegium_client.data import Schema, read_images
from collegium_client.data.checking import check_data
from collegium_client.data.dicom import read_modality, read_slice
from collegium_client.data.images import Refused
from collegium_client.data.inferring import infer_images

CT = Schema("dicom", classes=("a", "b"), modalities=("CT",), window=(40.0, 400.0))
CT_FOLDERS = Schema("dicom", classes=("healthy", "sick"), window=(40.0, 400.0))
ANY = Schema("dicom", classes=("a", "b"))


def sample(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert isinstance(found, str)
    return Path(found)


@pytest.fixture
def ct(tmp_path: Path) -> Any:
    """A changeable copy of a CT slice; `save(**attributes)` gives its path."""
    dataset = pydicom.dcmread(sample("CT_small.dcm"))

    def save(**changes: Any) -> Path:
        for name, value in changes.items():
            setattr(dataset, name, value)
        dataset.save_as(tmp_path / "slice.dcm")
        return tmp_path / "slice.dcm"

    return save


class TestReading:
    def test_ct_is_windowed_in_hounsfield_units(self) -> None:
        dataset = pydicom.dcmread(sample("CT_small.dcm"))
        hounsfield = dataset.pixel_array.astype(np.float64) * dataset.RescaleSlope + dataset.RescaleIntercept
        found = read_slice(sample("CT_small.dcm"), CT)
        assert found.modality == "CT"
        assert np.allclose(found.pixels, ((hounsfield - 40) / 200).clip(-1, 1), atol=1e-6)

    def test_mr_is_scaled_by_itself(self) -> None:
        found = read_slice(sample("MR_small.dcm"), ANY)
        assert (found.pixels.min(), found.pixels.max()) == (-1, 1)

    def test_compressed_files_read_like_plain_ones(self) -> None:
        packed, flat = (read_slice(sample(name), ANY).pixels for name in ("MR_small_RLE.dcm", "MR_small.dcm"))
        assert (packed == flat).all()

    def test_inverted_grays_are_turned(self, ct: Any) -> None:
        before = read_slice(sample("CT_small.dcm"), CT).pixels
        turned = read_slice(ct(PhotometricInterpretation="MONOCHROME1"), CT).pixels
        assert np.allclose(turned, -before, atol=1e-6)

    def test_one_patient_has_one_key_that_is_not_its_id(self, ct: Any) -> None:
        first = read_slice(ct(PatientID="Zyxwvu-1"), CT).patient_key
        assert first == read_slice(ct(PatientID="Zyxwvu-1", InstanceNumber=9), CT).patient_key
        assert first != read_slice(ct(PatientID="Zyxwvu-2"), CT).patient_key and b"Zyx" not in first


    def test_without_an_id_the_study_and_then_the_image_decides(self, ct: Any) -> None:
        """The folder never does: it is the label's."""
        bare = {"PatientID": "", "SeriesInstanceUID": ""}
        keys = [read_slice(ct(StudyInstanceUID=uid, **bare), CT).patient_key for uid in ("1.2.3", "1.2.3", "1.2.4", "")]
        assert keys[0] == keys[1] and len(set(keys)) == 3
        other = bytes(pydicom.dcmread(sample("CT_small.dcm")).PixelData)[::-1]
        assert read_slice(ct(StudyInstanceUID="", PixelData=other, **bare), CT).patient_key not in keys


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"BurnedInAnnotation": "YES"}, "burned-in annotation possible"),
            ({"Modality": "OT"}, "burned-in annotation possible"),
            ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "secondary capture"),
            ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "secondary capture"),
            ({"Modality": "MR"}, "another modality"),
            ({"NumberOfFrames": 3}, "several frames"),
            ({"PhotometricInterpretation": "PALETTE COLOR"}, "not grayscale"),
            ({"Rows": 0}, "no image"),
            ({"Rows": 65535, "Columns": 65535}, "too large"),
            ({"PixelData": b"\x00\x01"}, "undecodable"),
        ],
    )
    def test_by_what_the_file_says(self, ct: Any, changes: dict[str, Any], reason: str) -> None:
        with pytest.raises(Refused) as refused:
            read_slice(ct(**changes), CT)
        assert refused.value.reason == reason

    def test_a_schema_may_accept_captures(self, ct: Any) -> None:
        path = ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.7", BurnedInAnnotation="YES")
        allowed = Schema("dicom", classes=("a", "b"), modalities=("CT",), allow_burned_in=True)
        assert read_modality(path, allowed) == "CT"

    def test_no_dicom_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "x.dcm").write_bytes(b"Canaria Zyxwvu")
        with pytest.raises(Refused, match="unreadable"):
            read_slice(tmp_path / "x.dcm", ANY)


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path, ct: Any) -> Path:
        folder = tmp_path / "series"
        for at in range(24):
            target = folder / ("healthy", "sick")[at % 2] / f"ZYXWVU_{at}.dcm"
            target.parent.mkdir(parents=True, exist_ok=True)
            burned = "YES" if at > 20 else "NO"
            path = ct(PatientID=f"P{at // 2}", PatientName="Zyxwvu^Canaria", BurnedInAnnotation=burned)
            shutil.copy(path, target)
        return folder

    def test_counts_by_reason_without_names(self, folder: Path) -> None:
        schema = infer_images(folder, "dicom").schema
        assert schema.modalities == ("CT",) and schema.window == (40.0, 400.0)
        found = check_data(folder, schema)
        assert found.data["used"] == 21 and found.data["refused"] == {"burned-in annotation possible": None}
        assert found.data["modalities"] == {"CT": 21} and found.data["patients"] == 11
        assert "zyx" not in (json.dumps(found.data) + "".join(found.notes) + schema.to_toml()).lower()

    def test_one_id_for_all_is_told(self, folder: Path, ct: Any) -> None:
        for path in folder.rglob("*.dcm"):
            shutil.copy(ct(PatientID="ANON", BurnedInAnnotation="NO"), path)
        assert any("same patient id" in note for note in check_data(folder, CT_FOLDERS).notes)

    def test_cases_are_arrays_and_nothing_else(self, folder: Path) -> None:
        cases = read_images(folder, infer_images(folder, "dicom").schema)
        assert cases.pixels.shape == (21, 1, 64, 64) and cases.refused == {"burned-in annotation possible": 3}
        assert len(set(cases.keys)) == 11 and all(len(key) == 32 for key in cases.keys)
        for value in vars(cases).values():
            assert "zyx" not in repr(value).lower()
