"""The figures of validations while training."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.errors import UserError
from mimik.reporting.figures import validation, validation_grid
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings, Result, read_result
from mimik.storage.files import write_json
from tests import results_world as world

SETTINGS = ReportSettings()


@pytest.fixture
def result(tmp_path: Path) -> Result:
    world.make_store(tmp_path)
    folder = world.make_result(tmp_path)
    (folder / "validation").mkdir()
    entries = [
        {"step": step, "score": score, "worst": score, "eea": 0.5, "relative_distance": {"neutral": score},
         "eea_per_class": {"neutral": 0.25}}
        for step, score in ((10, 0.4), (20, 0.9))
    ]  # fmt: skip
    record = {"rule": "The rule.", "judge": "small", "best": 10, "kept": 20, "classes": world.CLASSES}
    write_json(folder / "validation" / "validation.json", {**record, "entries": entries})
    side = world.SIZE
    for step in (10, 20):
        grid = np.full((2 * side, 4 * side, 3), step, np.uint8)
        Image.fromarray(grid).save(folder / "validation" / f"grid_{step:07d}.png")
    return read_result(folder)


def test_curves_say_which_step_is_the_best_and_which_is_kept(result: Result) -> None:
    drawn = validation.draw([result], SETTINGS)
    assert isinstance(drawn, Drawing)
    assert drawn.facts == {"judge": "small", "rule": "The rule.", "best": 10, "kept": 20}
    assert "Relative kernel distance" in drawn.svg and "neutral" in drawn.svg
    assert "Change outside" not in drawn.svg  # there were no masks
    assert "step 10" in validation.CAPTION.format(**drawn.facts)


def test_grids_are_those_of_the_best_and_the_last_step(result: Result) -> None:
    drawn = validation_grid.draw([result], SETTINGS)
    assert isinstance(drawn, Drawing)
    assert drawn.facts["steps"] == "the best step (10) and the last step (20)" and drawn.facts["count"] == 2
    assert drawn.svg.index("best step, 10") < drawn.svg.index("last step, 20")
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(result.directory / "validation" / "grid_0000020.png")
    with pytest.raises(UserError, match="expected rows of 4 faces of 16 px"):
        validation_grid.draw([result], SETTINGS)
    (result.directory / "validation" / "grid_0000020.png").write_bytes(b"torn")
    with pytest.raises(UserError, match="expected a picture"):
        validation_grid.draw([result], SETTINGS)


def test_without_validation_there_is_nothing_to_draw(result: Result) -> None:
    path = result.directory / "validation" / "validation.json"
    write_json(path, {"entries": []})
    for figure in (validation, validation_grid):
        assert isinstance(figure.draw([result], SETTINGS), Absent)
    path.unlink()
    for figure in (validation, validation_grid):
        assert isinstance(figure.draw([result], SETTINGS), Absent)
