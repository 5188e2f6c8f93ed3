from pathlib import Path

from mimik.reporting.figures.comparison_grid import CAPTION, STRIPS, draw
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings
from tests.results_world import embedded_images, make, make_store


def test_methods_stand_below_each_other_for_the_same_face(tmp_path: Path) -> None:
    make_store(tmp_path, truth=True)
    results = [make(tmp_path, "weak", shift=5), make(tmp_path, "strong", shift=50)]
    made = draw(results, ReportSettings(ids=("face04",)))
    assert isinstance(made, Drawing)
    weak, strong, truth = embedded_images(made.svg)
    happy = 128 + 14 + 132 + 64
    assert [int(row[64, happy, 0]) for row in (weak, strong, truth)] == [45, 90, 197]
    assert weak[64, 64, 3] == 255 and strong[64, 64, 3] == 0  # the input is shown once
    assert made.svg.index(">weak<") < made.svg.index(">strong<") < made.svg.index(">truth<")
    assert "the edits by weak and strong" in CAPTION.format(**made.facts)


def test_many_methods_show_fewer_faces(tmp_path: Path) -> None:
    results = [make(tmp_path, f"m{index}") for index in range(6)]
    made = draw(results, ReportSettings(rows=8))
    assert isinstance(made, Drawing) and made.facts["count"] == STRIPS // 7 == 2
    assert len(embedded_images(made.svg)) == 12


def test_without_a_common_face_there_is_no_grid(tmp_path: Path) -> None:
    results = [make(tmp_path, "a"), make(tmp_path, "b")]
    results[0].manifest["rows"], results[1].manifest["rows"] = list(range(6)), list(range(6, 12))
    for result in results:
        result.manifest["source_labels"] = [0] * 6
    made = draw(results, ReportSettings())
    assert isinstance(made, Absent) and "by all methods" in made.reason
