from pathlib import Path

from mimik.reporting.figures.translation_grid import CAPTION, draw
from mimik.reporting.plotting import Drawing
from mimik.reporting.results import ReportSettings
from tests.results_world import CLASSES, embedded_images, make, make_store

MIDDLES = [64, *(128 + 14 + t * 132 + 64 for t in range(len(CLASSES)))]
"""Columns of pixels through the middle of the input and of every target (16 px faces are shown at 128 px)."""


def test_rows_are_inputs_and_columns_targets(tmp_path: Path) -> None:
    made = draw([make(tmp_path, shift=40)], ReportSettings(ids=("face03", "face07")))
    assert isinstance(made, Drawing)
    rows = embedded_images(made.svg)
    assert [[int(row[64, x, 0]) for x in MIDDLES] for row in rows] == [[30, 30, 70, 110], [70, 70, 110, 150]]
    assert all(f">{name}</text>" in made.svg for name in ("input", *CLASSES))
    assert "chosen by id" in CAPTION.format(**made.facts)


def test_own_target_is_framed_once_per_face(tmp_path: Path) -> None:
    made = draw([make(tmp_path)], ReportSettings(rows=5))
    assert isinstance(made, Drawing) and made.svg.count("stroke-dasharray") == 5
    assert "drawn with seed 0" in CAPTION.format(**made.facts)


def test_truth_stands_below(tmp_path: Path) -> None:
    make_store(tmp_path, truth=True)
    made = draw([make(tmp_path)], ReportSettings(ids=("face05", "face09")))
    assert isinstance(made, Drawing)
    rows = embedded_images(made.svg)
    assert len(rows) == 4
    assert [int(rows[1][64, x, 0]) for x in MIDDLES[1:]] == [195, 196, 197]
    assert rows[1][64, MIDDLES[0], 3] == 0  # nothing under the input
    assert "rendered" in CAPTION.format(**made.facts)
