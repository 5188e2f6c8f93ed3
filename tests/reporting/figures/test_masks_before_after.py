from pathlib import Path

import numpy as np

from mimik.faces.masks import UNKNOWN, colour
from mimik.labels import IGNORED, PALETTE
from mimik.reporting.figures.masks_before_after import changed, draw
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings
from tests.results_world import SIZE, embedded_images, make


def test_painted_and_changed() -> None:
    before = np.array([[0, 5], [IGNORED, 2]], np.uint8)
    assert colour(before)[0, 1].tolist() == list(PALETTE[5]) and colour(before)[1, 0].tolist() == list(UNKNOWN)
    after = before.copy()
    after[1, 1] = 10
    image = np.full((2, 2, 3), 100, np.uint8)
    shown = changed(before, after, image)
    assert shown[1, 1].tolist() == list(PALETTE[10])
    assert shown[0, 0].tolist() == [80, 80, 80]  # 0.4 * 100 + 40


def test_rows_of_the_figure(tmp_path: Path) -> None:
    result = make(tmp_path)
    before = np.zeros((2, SIZE, SIZE), np.uint8)
    after = before.copy()
    after[1] = 4
    np.save(result.directory / "translations" / "masks.npy", np.stack([before, after]))
    made = draw([result], ReportSettings())
    assert isinstance(made, Drawing)
    rows = embedded_images(made.svg)
    second = 132 + 64
    assert [row[64, second, :3].tolist() for row in rows] == [
        [50, 50, 50],  # mask_rows[1] is row 5 of the store
        list(PALETTE[1]),
        list(PALETTE[0]),
        list(PALETTE[4]),
        list(PALETTE[4]),
    ]
    assert ">l_eye</text>" in made.svg and ">hat</text>" not in made.svg


def test_without_masks_the_reason_is_given(tmp_path: Path) -> None:
    result = make(tmp_path)
    made = draw([result], ReportSettings())
    assert isinstance(made, Absent) and "no masks from before and after" in made.reason
    np.save(result.directory / "translations" / "masks.npy", np.zeros((2, 0, SIZE, SIZE), np.uint8))
    made = draw([result], ReportSettings())
    assert isinstance(made, Absent) and "no masks from before and after" in made.reason
