"""Local data: inferred schemas tell little, reading refuses what breaks them, checks hide small cells."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium_client.data import Column, Schema, is_held_out, read_images, read_table
from collegium_client.data.checking import check_data
from collegium_client.data.inferring import infer_images, infer_table, round_outward
from collegium_client.data.suppression import suppress
from collegium_client.errors import DataMismatch, DataUnreadable, SchemaInvalid


def make_csv(path: Path, rows: int = 400, **changes: Any) -> Path:
    random = np.random.default_rng(1)
    frame = pandas.DataFrame(
        {
            "patient_id": [f"P{at // 2:05d}" for at in range(rows)],
            "name": ["Wilhelmina Zyx"] * rows,
            "age": random.integers(20, 90, rows),
            "crp (mg/L)": np.round(random.gamma(2, 10, rows), 1),
            "sex": random.choice(["F", "M"], rows),
            "ward": random.choice(["A", "B"], rows),
            "outcome": random.choice(["no", "yes"], rows, p=[0.7, 0.3]),
        }
    )
    for name, value in changes.items():
        frame[name] = value(frame) if callable(value) else value
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return path


class TestInferring:
    def test_a_table(self, tmp_path: Path) -> None:
        found = infer_table(make_csv(tmp_path / "a.csv"), "outcome")
        schema = found.schema
        types = {column.name: column.type for column in schema.columns}
        assert types == {"patient_id": "ignored", "name": "ignored", "age": "number", "crp (mg/L)": "number",
                         "sex": "category", "ward": "category", "outcome": "category"}  # fmt: skip
        assert schema.group == "patient_id" and schema.labels == ("no", "yes") and schema.problem == "binary"
        assert schema.column("crp (mg/L)").unit == "mg/L" and schema.column("age").range == (0, 90)
        assert schema.width == 6

    def test_what_is_written_holds_no_row(self, tmp_path: Path) -> None:
        ward = lambda frame: ["ICU Zyxville" if at < 9 else "A" for at in range(len(frame))]  # noqa: E731
        crp = lambda frame: [83.7531 if at == 3 else 12.25 for at in range(len(frame))]  # noqa: E731
        found = infer_table(make_csv(tmp_path / "a.csv", ward=ward, **{"crp (mg/L)": crp}), "outcome")
        text = found.schema.to_toml() + "\n".join(found.notes)
        for secret in ("Zyx", "83.7", "12.25", "P000"):
            assert secret not in text
        assert found.schema.column("ward").other

    def test_codes_for_missing_values_are_seen(self, tmp_path: Path) -> None:
        age = lambda frame: [-999 if at % 50 == 0 else 40 + at % 30 for at in range(len(frame))]  # noqa: E731
        column = infer_table(make_csv(tmp_path / "a.csv", age=age), "outcome").schema.column("age")
        assert "-999" in column.missing and column.optional and column.range == (0, 70)

    def test_csv_and_parquet_read_the_same(self, tmp_path: Path) -> None:
        changes = {"grade": lambda frame: [None if at % 7 == 0 else float(at % 2) for at in range(len(frame))]}
        paths = [make_csv(tmp_path / f"a{suffix}", **changes) for suffix in (".csv", ".parquet")]
        schema = infer_table(paths[0], "outcome").schema
        assert infer_table(paths[1], "outcome").schema == schema
        csv, parquet = (read_table(path, schema) for path in paths)
        assert (csv.features == parquet.features).all() and (csv.targets == parquet.targets).all()
        assert csv.keys == parquet.keys

    def test_the_file_reads_back(self, tmp_path: Path) -> None:
        schema = infer_table(make_csv(tmp_path / "a.csv"), "outcome").schema
        (tmp_path / "schema.toml").write_text(schema.to_toml("Read me."))
        assert Schema.read(tmp_path / "schema.toml") == schema

    def test_a_target_must_be_learnable(self, tmp_path: Path) -> None:
        path = make_csv(tmp_path / "a.csv")
        for target in ("nothing", "name"):
            with pytest.raises(SchemaInvalid):
                infer_table(path, target)

    @given(low=st.floats(-1e6, 1e6), length=st.floats(0, 1e6))
    def test_ranges_hold_what_they_were_made_from(self, low: float, length: float) -> None:
        bottom, top = round_outward(low, low + length)
        assert bottom <= low <= low + length <= top and bottom < top


class TestReading:
    def test_normalization_rests_on_the_schema_alone(self, tmp_path: Path) -> None:
        schema = infer_table(make_csv(tmp_path / "a.csv"), "outcome").schema
        whole = read_table(tmp_path / "a.csv", schema)
        half = read_table(make_csv(tmp_path / "b.csv", rows=400).rename(tmp_path / "c.csv"), schema)
        assert (whole.features == half.features).all()
        pandas.read_csv(tmp_path / "a.csv", dtype=str).head(20).to_csv(tmp_path / "d.csv", index=False)
        assert (read_table(tmp_path / "d.csv", schema).features == whole.features[:20]).all()
        assert abs(whole.features).max() <= 1

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"age": 400}, "outside"),
            ({"age": "elderly"}, "no number"),
            ({"age": ""}, "lacks values"),
            ({"sex": "X"}, "not listed"),
            ({"surprise": 1}, "not in the schema"),
        ],
    )
    def test_what_breaks_the_schema_is_refused_without_values(
        self, tmp_path: Path, changes: dict[str, Any], said: str
    ) -> None:
        schema = infer_table(make_csv(tmp_path / "a.csv"), "outcome").schema
        with pytest.raises(DataMismatch, match=said) as refused:
            read_table(make_csv(tmp_path / "b.csv", **changes), schema)
        assert "400" not in refused.value.message and "elderly" not in refused.value.message
        assert refused.value.exit_code == 4

    @pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
    def test_separators_are_found(self, tmp_path: Path, separator: str) -> None:
        text = f'\ufeff"x, y; z"{separator}label{separator}note\n1{separator}a{separator}-\n2{separator}b{separator}-\n'
        (tmp_path / "a.csv").write_text(text, encoding="utf-8")
        columns = (
            Column("x, y; z", "number", range=(0, 2)),
            Column("label", "category", values=("a", "b")),
            Column("note", "ignored"),
        )
        cases = read_table(tmp_path / "a.csv", Schema("table", target="label", columns=columns))
        assert cases.features.ravel().tolist() == [0, 1]

    @pytest.mark.parametrize(
        "cells", [("1", "0"), ("1.0", "0.0"), ("True", "False"), (True, False), (1.0, 0.0), (1, 0)]
    )
    def test_codes_read_alike_however_they_are_stored(self, tmp_path: Path, cells: tuple[Any, Any]) -> None:
        frame = pandas.DataFrame({"x": [0.1, 0.2] * 20, "label": list(cells) * 20})
        frame.to_parquet(tmp_path / "a.parquet")
        frame.to_csv(tmp_path / "a.csv", index=False)
        fixed = Schema("table", target="label", columns=(
            Column("x", "number", range=(0, 1)), Column("label", "category", values=("0", "1"))))  # fmt: skip
        for path in (tmp_path / "a.csv", tmp_path / "a.parquet"):
            for schema in (fixed, infer_table(path, "label").schema):
                assert read_table(path, schema).targets[:2].tolist() == [1, 0]

    def test_an_absent_column_is_named(self, tmp_path: Path) -> None:
        schema = infer_table(make_csv(tmp_path / "a.csv"), "outcome").schema
        pandas.read_csv(tmp_path / "a.csv").drop(columns="age").to_csv(tmp_path / "b.csv", index=False)
        with pytest.raises(DataMismatch, match="'age' is absent"):
            read_table(tmp_path / "b.csv", schema)

    def test_rows_of_a_patient_stay_together(self, tmp_path: Path) -> None:
        schema = infer_table(make_csv(tmp_path / "a.csv"), "outcome").schema
        cases = read_table(tmp_path / "a.csv", schema)
        sides: dict[bytes, set[bool]] = {}
        for key in cases.keys:
            sides.setdefault(key, set()).add(is_held_out(key))
        assert len(sides) == 200 and all(len(side) == 1 for side in sides.values())
        assert 0.15 < np.mean([is_held_out(key) for key in cases.keys]) < 0.35

    def test_missing_numbers_become_the_middle_and_a_flag(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text("x,y\n10,a\nNA,b\n")
        columns = (Column("x", "number", range=(0, 10), optional=True), Column("y", "category", values=("a", "b")))
        cases = read_table(path, Schema("table", target="y", columns=columns))
        assert cases.features.tolist() == [[1, 0], [0, 1]] and cases.targets.tolist() == [0, 1]

    def test_no_table(self, tmp_path: Path) -> None:
        schema = Schema("table", target="y", columns=(Column("y", "category", values=("a", "b")),))
        for name in ("absent.csv", "a.xlsx"):
            (tmp_path / "a.xlsx").write_bytes(b"PK")
            with pytest.raises(DataUnreadable):
                read_table(tmp_path / name, schema)


class TestSchema:
    @pytest.mark.parametrize(
        "text",
        ["", 'format = "collegium.data/9"', 'format = "collegium.data/1"\nkind = "table"\ntarget = "y"',
         'format = "collegium.data/1"\nkind = "images"\nclasses = ["a"]',
         'format = "collegium.data/1"\nkind = "images"\nclasses = ["a", "b"]\nsize = [1, 2]',
         'format = "collegium.data/1"\nkind = "images"\nclasses = ["a", "b"]\nsurprise = 1',
         'format = "collegium.data/1"\nkind = "dicom"\nclasses = ["a", "b"]\nwindow = [0, 0]',
         'format = "collegium.data/1"\nkind = "table"\ntarget = "y"\n[[columns]]\nname = "y"\ntype = "number"',
         "= nonsense"],
    )  # fmt: skip
    def test_nonsense_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "schema.toml").write_text(text)
        with pytest.raises(SchemaInvalid):
            Schema.read(tmp_path / "schema.toml")


class TestSuppression:
    @given(cells=st.lists(st.integers(0, 40), min_size=1, max_size=4), smallest=st.integers(3, 12))
    def test_no_hidden_small_cell_can_be_computed(self, cells: list[int], smallest: int) -> None:
        """Whoever knows the rule and the total finds more than one possible value for every hidden small cell."""
        shown = suppress(dict(enumerate(cells)), smallest)
        total = sum(cells)
        hidden = [at for at, value in shown.items() if value is None]
        assert all(cells[at] == 0 or cells[at] >= smallest or at in hidden for at in shown)
        left = total - sum(value for value in shown.values() if value is not None)
        possible: dict[int, set[int]] = {at: set() for at in hidden}
        for guess in itertools.product(range(left + 1), repeat=max(0, len(hidden) - 1)):
            last = left - sum(guess)
            if hidden and last >= 0:
                whole = dict(zip(hidden, (*guess, last), strict=True))
                if suppress({**{at: cells[at] for at in shown}, **whole}, smallest) == shown:
                    for at, value in whole.items():
                        possible[at].add(value)
        for at in hidden:
            if 0 < cells[at] < smallest <= total:
                assert len(possible[at]) > 1, (cells, shown)

    def test_zero_and_large_cells_stay(self) -> None:
        assert suppress({"a": 100, "b": 0, "c": 50}) == {"a": 100, "b": 0, "c": 50}
        assert suppress({"a": 100, "b": 3, "c": 50}) == {"a": None, "b": None, "c": None}
        assert suppress({"a": 100, "b": 3, "c": 0}) == {"a": None, "b": None, "c": 0}
        assert suppress({"a": 4, "b": 0}) == {"a": None, "b": None}


class TestCheck:
    def test_good_data_have_no_problem_and_show_no_value(self, tmp_path: Path) -> None:
        path = make_csv(tmp_path / "a.csv")
        schema = infer_table(path, "outcome").schema
        found = check_data(path, schema)
        assert found.problems == () and found.data["rows"] == 400
        target = next(row for row in found.data["columns"] if row["name"] == "outcome")
        assert sum(target["labels"].values()) == 400
        text = json.dumps(found.data) + "".join(found.notes)
        assert "Zyx" not in text and "P000" not in text

    def test_labels_and_missing_labels_cannot_be_subtracted(self, tmp_path: Path) -> None:
        outcome = lambda frame: ["" if at < 5 else "yes" if at % 2 else "no" for at in range(len(frame))]  # noqa: E731
        path = make_csv(tmp_path / "a.csv")
        schema = infer_table(path, "outcome").schema
        found = check_data(make_csv(tmp_path / "b.csv", outcome=outcome), schema)
        target = next(row for row in found.data["columns"] if row["name"] == "outcome")
        assert target["missing"] is None and "good" not in target
        assert set(target["labels"].values()) == {None}

    def test_problems_are_told(self, tmp_path: Path) -> None:
        path = make_csv(tmp_path / "a.csv")
        schema = infer_table(path, "outcome").schema
        found = check_data(make_csv(tmp_path / "b.csv", age=400, extra=1), schema)
        assert len(found.problems) == 2
        row = next(row for row in found.data["columns"] if row["name"] == "age")
        assert (row["good"], row["outside"]) == (0, 400)

    def test_repetitions_are_counted(self, tmp_path: Path) -> None:
        path = make_csv(tmp_path / "a.csv")
        schema = infer_table(path, "outcome").schema
        frame = pandas.read_csv(path, dtype=str)
        pandas.concat([frame, frame.head(30)]).to_csv(tmp_path / "b.csv", index=False)
        found = check_data(tmp_path / "b.csv", schema)
        assert found.data["rows_by_repetition"] == {"first": 400, "repeated": 30}


class TestImages:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        from PIL import Image

        random = np.random.default_rng(2)
        for at in range(24):
            path = tmp_path / "images" / ("benign", "malignant")[at % 2] / f"doe_john_{at}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (40, 50), dtype=np.uint8)).save(path)
        return tmp_path / "images"

    def test_a_folder_per_class(self, folder: Path) -> None:
        schema = infer_images(folder, "images").schema
        assert schema.classes == ("benign", "malignant") and schema.problem == "binary"
        cases = read_images(folder, schema)
        assert cases.pixels.shape == (24, 1, 64, 64) and cases.pixels.dtype == np.float32
        assert abs(cases.pixels).max() <= 1 and cases.targets.sum() == 12

    def test_a_table_of_labels(self, folder: Path) -> None:
        rows = [f"{path.relative_to(folder)},{path.parent.name},{at // 4}\n"
                for at, path in enumerate(sorted(folder.rglob("*.png")))]  # fmt: skip
        (folder / "labels.csv").write_text("file,label,patient\n" + "".join(rows))
        cases = read_images(folder, infer_images(folder, "images").schema)
        assert len(set(cases.keys)) == 6

    def test_a_table_of_labels_stays_in_its_folder(self, folder: Path) -> None:
        schema = infer_images(folder, "images").schema
        (folder / "labels.csv").write_text("file,label\n../../etc/passwd,benign\n")
        with pytest.raises(DataUnreadable, match="outside"):
            read_images(folder, schema)

    def test_damaged_files_are_counted_and_never_named(self, folder: Path) -> None:
        schema = infer_images(folder, "images").schema
        (folder / "benign" / "doe_jane.png").write_bytes(b"no image")
        found = check_data(folder, schema)
        assert found.data["refused"] == {"unreadable": None} and found.data["used"] == 24
        assert "doe" not in json.dumps(found.data) + "".join(found.notes)
        assert len(read_images(folder, schema).targets) == 24

    def test_unknown_labels_are_refused(self, folder: Path) -> None:
        schema = infer_images(folder, "images").schema
        (folder / "benign").rename(folder / "other")
        with pytest.raises(DataMismatch, match="not classes"):
            read_images(folder, schema)
