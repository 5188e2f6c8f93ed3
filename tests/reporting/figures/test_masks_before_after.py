import json
from pathlib import Path

import numpy as np
import pytest

from mimik.errors import UserError
from mimik.faces.masks import UNKNOWN, colour
from mimik.labels import IGNORED, PALETTE
from mimik.reporting.figures.masks_before_after import changed, draw
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings, read_result
from tests import tiny
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


def test_masks_of_another_dataset_are_shown_on_its_faces(tmp_path: Path) -> None:
    result = make(tmp_path)
    path = result.directory / "translations" / "manifest.json"
    told = {"dataset": "other", "size": 16, "digest": "tiny-0"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "masked": told, "mask_rows": [40, 47]}))
    np.save(path.with_name("masks.npy"), np.zeros((2, 2, 16, 16), np.uint8))
    with pytest.raises(UserError, match="other"):
        draw([result], ReportSettings())
    store = tiny.make_store(tmp_path / "data" / "prepared" / "other")
    made = draw([result], ReportSettings())
    assert isinstance(made, Drawing) and made.facts["of"] == " of other, on which it was pre-trained"
    inputs = embedded_images(made.svg)[0]
    assert (inputs[64, 132 + 64, :3] == store.images[47, 8, 8]).all()

    rows = {"masked": {**told, "digest": "tiny-1"}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **rows}))
    with pytest.raises(UserError, match="a different preparation of other"):
        draw([read_result(result.directory, result.store_directory)], ReportSettings())


def test_without_masks_the_reason_is_given(tmp_path: Path) -> None:
    result = make(tmp_path)
    made = draw([result], ReportSettings())
    assert isinstance(made, Absent) and "no masks from before and after" in made.reason
    np.save(result.directory / "translations" / "masks.npy", np.zeros((2, 0, SIZE, SIZE), np.uint8))
    made = draw([result], ReportSettings())
    assert isinstance(made, Absent) and "no masks from before and after" in made.reason
