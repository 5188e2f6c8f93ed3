from pathlib import Path

import pytest

from mimik.errors import UserError
from mimik.reporting.figures.strengths import CAPTION, draw
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings
from tests.results_world import add_continuous, embedded_images, make, make_result

COLUMNS = [128 + 14 + level * 132 + 64 for level in range(3)]
"""Columns of pixels through the middle of every strength (16 px faces are shown at 128 px)."""


def test_strengths_stand_beside_each_other_over_their_truth(tmp_path: Path) -> None:
    add_continuous(make_result(tmp_path))
    result = make(tmp_path, "other")
    add_continuous(result.directory)
    made = draw([result], ReportSettings())
    assert isinstance(made, Drawing)
    rows = embedded_images(made.svg)
    assert [[int(row[64, x, 0]) for x in COLUMNS] for row in rows] == [
        [0, 10, 20], [5, 15, 25], [100, 110, 120], [105, 115, 125],
    ]  # fmt: skip
    assert [int(rows[0][64, 64, 0]), int(rows[2][64, 64, 0])] == [40, 20]  # the inputs are faces 4 and 2
    assert rows[1][64, 64, 3] == 0
    assert all(f">{text}</text>" in made.svg for text in ("input", "0.5", "happiness → happiness", "anger → neutral"))
    caption = CAPTION.format(**made.facts)
    assert "2 test faces" in caption and "Row 'truth'" in caption and "Not shown" not in caption


def test_methods_share_a_face_and_those_without_are_named(tmp_path: Path) -> None:
    results = [make(tmp_path, name) for name in ("early", "weak", "strong")]
    add_continuous(results[1].directory, truth=False)
    add_continuous(results[2].directory, truth=False, brightness=7)
    made = draw(results, ReportSettings(rows=1))
    assert isinstance(made, Drawing)
    assert [[int(row[64, x, 0]) for x in COLUMNS] for row in embedded_images(made.svg)] == [[0, 10, 20], [7, 17, 27]]
    caption = CAPTION.format(**made.facts)
    assert "by weak and strong at" in caption and "Not shown: early" in caption and "truth" not in caption


def test_without_edits_the_reason_is_given(tmp_path: Path) -> None:
    made = draw([make(tmp_path)], ReportSettings())
    assert isinstance(made, Absent) and "no edits at several strengths" in made.reason


def test_a_file_that_does_not_fit_its_manifest_is_refused(tmp_path: Path) -> None:
    result = make(tmp_path)
    add_continuous(result.directory)
    result.manifest["strengths"]["levels"] = [0, 1]
    with pytest.raises(UserError, match=r"strengths\.npy: holds uint8"):
        draw([result], ReportSettings())
