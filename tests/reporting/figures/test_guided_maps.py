import json
from pathlib import Path

import numpy as np
import pytest

from mimik.errors import UserError
from mimik.reporting.figures.guided_maps import CAPTION, draw
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings, Result
from tests.results_world import SIZE, embedded_images, make

COLUMNS = [64, 196, 328, 328 + 142, 328 + 142 + 132]
"""Columns of pixels through the middle of input, true map, map, edit and its map."""


def add_maps(result: Result) -> None:
    """Of faces 4 (to anger) and 2 (to neutral): flat maps, 100 * map + 10 * face."""
    greys = np.array([[[0], [10]], [[100], [110]], [[200], [210]]])[..., None, None]
    images = np.broadcast_to(greys, (3, 2, SIZE, SIZE, 3)).astype(np.uint8)
    np.save(result.directory / "translations" / "guided_maps.npy", images)
    path = result.directory / "translations" / "manifest.json"
    panels = [
        {"guide": "depth", "of": "input", "name": "true depth"},
        {"guide": "depth", "of": "edit", "name": "depth of edit"},
        {"guide": "depth", "of": "input", "name": "depth of input"},
    ]
    maps = {"rows": [4, 2], "targets": [2, 0], "panels": panels}
    path.write_text(json.dumps({**json.loads(path.read_text()), "guided_maps": maps}))


def test_the_edit_stands_between_its_own_map_and_those_of_the_input(tmp_path: Path) -> None:
    result = make(tmp_path)
    add_maps(result)
    made = draw([result], ReportSettings())
    assert isinstance(made, Drawing)
    # Face 4 is of the grey 40, its edit to class 2 of 40 + 2 * 40; face 2 of 20, its edit to class 0 of 20.
    assert [[int(row[64, x, 0]) for x in COLUMNS] for row in embedded_images(made.svg)] == [
        [40, 0, 200, 120, 100], [20, 10, 210, 20, 110],
    ]  # fmt: skip
    texts = ("input", "true depth", "depth of input", "edit", "depth of edit", "happiness → anger", "anger → neutral")
    assert all(f">{text}</text>" in made.svg for text in texts)
    caption = CAPTION.format(**made.facts)
    assert "2 test faces" in caption and "(depth)" in caption and "'true depth' is what the dataset has" in caption


def test_rows_are_limited(tmp_path: Path) -> None:
    result = make(tmp_path)
    add_maps(result)
    made = draw([result], ReportSettings(rows=1))
    assert isinstance(made, Drawing) and len(embedded_images(made.svg)) == 1


def test_a_result_without_maps_says_so(tmp_path: Path) -> None:
    """One of an earlier version, and one of a method without guidance."""
    result = make(tmp_path)
    made = draw([result], ReportSettings())
    assert isinstance(made, Absent) and "no maps of edits by stargan" in made.reason
    np.save(result.directory / "translations" / "guided_maps.npy", np.zeros((0, 2, SIZE, SIZE, 3), np.uint8))
    result.manifest["guided_maps"] = {"rows": [4, 2], "targets": [2, 0], "panels": []}
    assert isinstance(draw([result], ReportSettings()), Absent)


def test_a_file_that_does_not_fit_its_manifest_is_refused(tmp_path: Path) -> None:
    result = make(tmp_path)
    add_maps(result)
    result.manifest["guided_maps"]["panels"].pop()
    with pytest.raises(UserError, match=r"guided_maps\.npy: holds uint8"):
        draw([result], ReportSettings())
