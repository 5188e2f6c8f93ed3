"""OpenFace's CSV files, sound and faulty, and which image each row belongs to."""

from pathlib import Path

import numpy as np
import pytest

from mimik.errors import UserError
from mimik.faces.action_units import openface
from mimik.labels import ACTION_UNITS


def table(rows: list[dict[str, object]], *, leave: str = "", blanks: bool = True) -> str:
    """A CSV like OpenFace's: columns in an order of its own, some that nobody asked for, a blank after each comma."""
    names = [*rows[0].keys(), *reversed(openface.INTENSITIES), "AU28_c"]
    names = [name for name in dict.fromkeys(names) if name != leave]
    lines = [(", " if blanks else ",").join(names)]
    lines += [", ".join(str(row.get(name, 2.5 if name.endswith("_r") else 0)) for name in names) for row in rows]
    return "\n".join(lines) + "\n"


def face(image: str, **values: object) -> dict[str, object]:
    return {"image": image, "confidence": 0.98, "success": 1, "x_0": 210.5, **values}


def write(path: Path, rows: list[dict[str, object]], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table(rows, **options))  # type: ignore[arg-type]
    return path


def test_columns_are_found_by_name_and_intensities_scaled(tmp_path: Path) -> None:
    path = write(tmp_path / "all.csv", [face("a.jpg", AU12_r=5.0, AU01_r=0.5), face("b.v2", AU45_r=1)])
    readings = openface.read(path, 0.8)
    assert set(readings.units) == {"a", "b.v2"} and not readings.faults
    expected = np.full(17, 0.5)
    expected[[ACTION_UNITS.index("AU12"), ACTION_UNITS.index("AU01")]] = 1.0, 0.1
    assert np.allclose(readings.units["a"], expected)
    assert readings.units["b.v2"][-1] == pytest.approx(0.2)
    assert readings.units["a"].dtype == np.float32
    again = write(tmp_path / "all.csv", [face("a.jpg", AU12_r=4.9)])
    assert openface.read(again, 0.8).sha256 != readings.sha256


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"AU06_r": "nan"}, "AU06_r is 'nan'"),
        ({"AU06_r": ""}, "AU06_r is ''"),
        ({"AU06_r": "5.01"}, "from 0 to 5"),
        ({"AU06_r": "-0.1"}, "from 0 to 5"),
        ({"confidence": 0.5}, "confidence 0.5 is below 0.8"),
        ({"confidence": "nan"}, "confidence is 'nan'"),
        ({"success": 0}, "no success"),
        ({"AU28_c": "0, 7"}, "more or fewer fields"),
    ],
)
def test_a_faulty_row_costs_its_image_only(tmp_path: Path, fault: dict[str, object], told: str) -> None:
    path = write(tmp_path / "all.csv", [face("good.png"), face("bad.png", **fault), face("fine.png")])
    readings = openface.read(path, 0.8)
    assert set(readings.units) == {"good", "fine"}
    assert list(readings.faults) == ["bad"]
    assert told in readings.faults["bad"] and "all.csv, line 3" in readings.faults["bad"]


def test_two_rows_for_one_image_are_a_fault(tmp_path: Path) -> None:
    readings = openface.read(write(tmp_path / "all.csv", [face("a.png"), face("a.jpg"), face("b.png")]), 0.8)
    assert set(readings.units) == {"b"} and "2 rows" in readings.faults["a"]


def test_a_folder_has_a_csv_for_every_image_without_success(tmp_path: Path) -> None:
    row = {"face": 0, "confidence": 0.9}
    write(tmp_path / "out" / "a.csv", [{**row, "AU04_r": 5}])
    write(tmp_path / "out" / "x" / "b.csv", [row, row])
    (tmp_path / "out" / "c.csv").write_text(table([row]).splitlines()[0] + "\n")
    readings = openface.read(tmp_path / "out", 0.8)
    assert set(readings.units) == {"a"} and readings.units["a"][ACTION_UNITS.index("AU04")] == 1
    assert "2 rows" in readings.faults["x/b"] and "found no face" in readings.faults["c"]


@pytest.mark.parametrize("column", ["AU45_r", "confidence", "image"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    with pytest.raises(UserError, match=f"all.csv: the column '{column}'"):
        openface.read(write(tmp_path / "all.csv", [face("a")], leave=column), 0.8)


def test_another_scale_is_not_taken_for_openfaces(tmp_path: Path) -> None:
    small = dict.fromkeys(openface.INTENSITIES, 0.7)
    rows = [face(f"{number}.jpg", **small) for number in range(openface.ENOUGH)]
    with pytest.raises(UserError, match="scale of 0 to 5"):
        openface.read(write(tmp_path / "all.csv", rows), 0.8)
    rows[7]["AU12_r"] = 1.4
    assert len(openface.read(write(tmp_path / "all.csv", rows), 0.8).units) == openface.ENOUGH


def test_nothing_to_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        openface.read(tmp_path / "missing.csv", 0.8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains no CSV"):
        openface.read(tmp_path / "empty", 0.8)
    (tmp_path / "header.csv").write_text(table([face("a")]).splitlines()[0])
    with pytest.raises(UserError, match="names no image"):
        openface.read(tmp_path / "header.csv", 0.8)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="UTF-8"):
        openface.read(tmp_path / "binary.csv", 0.8)


def test_rows_find_their_images_by_path_and_by_name(tmp_path: Path) -> None:
    rows = [
        face("x/one.jpg", AU01_r=5),
        face("two", AU01_r=4),
        face(r"z\three.png", AU01_r=3),
        face("twin", AU01_r=2),
        face("nobody"),
        face("bad", success=0),
    ]
    readings = openface.read(write(tmp_path / "all.csv", rows), 0.8)
    sources = ["z/three.png", "x/one.jpg", "y/two.png", "x/twin.jpg", "y/twin.jpg", "q/bad.jpg", "q/unseen.jpg"]
    matched = openface.match(readings, sources)
    assert np.allclose(matched.units[:3, 0], [0.6, 1.0, 0.8])
    assert np.isnan(matched.units[3:]).all()
    assert set(matched.faults) == {3, 4, 5, 6}
    assert "2 images have this name" in matched.faults[3] and "no success" in matched.faults[5]
    assert matched.faults[6] == "OpenFace has no row for the image"
    assert matched.unused == ["nobody"]
