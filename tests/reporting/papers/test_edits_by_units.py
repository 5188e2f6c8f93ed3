"""Changes of single action units, and edits by example."""

from pathlib import Path

from mimik.reporting.papers.item import Item
from mimik.reporting.papers.plots import exemplars, unit_changes
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings, Result
from tests.results_world import add_continuous, embedded_images, make

MIDDLES = [64 + column * 132 for column in range(3)]


def item(results: list[Result]) -> Item:
    return Item("lab/figure", results, [*range(len(results))], {}, ReportSettings(), {}, ("rendered", []))


def pair(folder: Path) -> list[Result]:
    results = [make(folder, name) for name in ("ganimation", "labels", "relative_au")]
    for number, result in enumerate(results):
        add_continuous(result.directory, units=number != 1, brightness=number)
    return results


def test_every_change_of_every_unit_by_every_method(tmp_path: Path) -> None:
    made = unit_changes.draw(item(pair(tmp_path)))
    assert isinstance(made, Drawing)
    shown = [[int(row[64, 142 + x, 0]) for x in MIDDLES] for row in embedded_images(made.svg)]
    assert shown == [[200 + 20 * unit + more + level for level in range(3)] for unit in range(2) for more in (0, 2, 5)]
    for text in ("−1", "+1", "AU12 lip corner puller", "truth", "relative_au"):
        assert f">{text}</text>" in made.svg
    caption = unit_changes.CAPTION.format(**made.facts)
    assert "by ganimation and relative_au, one action unit" in caption and "Not shown: labels" in caption


def test_input_example_and_edit_stand_side_by_side(tmp_path: Path) -> None:
    results = pair(tmp_path)
    made = exemplars.draw(item(results))
    assert isinstance(made, Drawing)
    first, second = embedded_images(made.svg)
    store = results[0].store
    for strip, face, grey in ((first, 4, 50), (second, 2, 60)):
        own, example, *edits = (strip[64, 64 + column * 132].tolist()[:3] for column in range(5))
        assert (own, example) == (store.images[face][8, 8].tolist(), store.images[1][8, 8].tolist())
        assert edits == [[grey] * 3, [grey + 2] * 3, [grey + 5] * 3]
    assert "Column 'truth'" in exemplars.CAPTION.format(**made.facts)


def test_methods_told_labels_have_neither(tmp_path: Path) -> None:
    result = make(tmp_path)
    add_continuous(result.directory, units=False)
    for module in (unit_changes, exemplars):
        made = module.draw(item([result]))
        assert isinstance(made, Absent) and "were stored when the test split was translated" in made.reason
