from pathlib import Path

from mimik.reporting.figures.action_unit_edits import CAPTION, draw
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings
from tests.results_world import add_continuous, embedded_images, make

MIDDLES = [128 + 14 + column * 132 + 64 for column in range(3)]


def test_one_method_shows_every_intensity_of_every_unit(tmp_path: Path) -> None:
    result = make(tmp_path)
    add_continuous(result.directory)
    made = draw([result], ReportSettings())
    assert isinstance(made, Drawing)
    assert [[int(row[64, x, 0]) for x in MIDDLES] for row in embedded_images(made.svg)] == [
        [100, 101, 102], [105, 106, 107], [120, 121, 122], [125, 126, 127],
    ]  # fmt: skip
    assert all(f">{text}</text>" in made.svg for text in ("0.5", "AU04 brow lowerer", "AU12 lip corner puller"))
    caption = CAPTION.format(**made.facts)
    assert caption.startswith("A test face edited by stargan") and "above its column" in caption


def test_several_methods_show_the_highest_intensity_side_by_side(tmp_path: Path) -> None:
    results = [make(tmp_path, name) for name in ("weak", "labels", "strong")]
    for number, result in enumerate(results):
        add_continuous(result.directory, units=number != 1, brightness=number)
    made = draw(results, ReportSettings())
    assert isinstance(made, Drawing)
    assert [[int(row[64, x, 0]) for x in MIDDLES[:2]] for row in embedded_images(made.svg)] == [
        [102, 122], [104, 124], [107, 127],
    ]  # fmt: skip
    assert ">AU12</text>" in made.svg and ">labels<" not in made.svg
    caption = CAPTION.format(**made.facts)
    assert "by weak and strong, one action unit" in caption and "AU12 is lip corner puller." in caption


def test_methods_told_labels_have_no_units_to_show(tmp_path: Path) -> None:
    results = [make(tmp_path, name) for name in ("stargan", "attgan")]
    for result in results:
        add_continuous(result.directory, units=False)
    made = draw(results[:1], ReportSettings())
    assert isinstance(made, Absent) and made.reason == "stargan is not conditioned on action units"
    made = draw(results, ReportSettings())
    assert isinstance(made, Absent) and made.reason == "no method is conditioned on action units"
