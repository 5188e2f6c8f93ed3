"""The figures that are plots: what they read, what they refuse, what stands in them."""

import importlib
import pkgutil
import re
import string
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mimik.reporting.figures
from mimik.reporting.figures import (
    confusion_matrix,
    distance_to_truth,
    identity_histogram,
    loss_curves,
    per_class_bars,
    region_change,
)
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings
from tests.results_world import CLASSES, make, metric
from tests.tasks import TASKS, stepped

SETTINGS = ReportSettings()
SHARES = re.compile("area/|replaced/")
"""Terms that are no losses: how much of a face a part covers, and how much of a part was replaced."""
MODULES = [module.name for module in pkgutil.iter_modules(mimik.reporting.figures.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_offers_what_the_report_asks_for(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"mimik.reporting.figures.{name}")
    assert module.TITLE and module.CAPTION.endswith((".", "}"))
    assert module.PAGES and module.PAGES.issubset({"method", "comparison"})
    made = module.draw([make(tmp_path)], SETTINGS)
    if isinstance(made, Drawing):
        wanted = {name for _, name, _, _ in string.Formatter().parse(module.CAPTION) if name}
        assert wanted <= set(made.facts)
    else:
        assert isinstance(made, Absent) and made.reason


def test_the_default_list_names_every_figure() -> None:
    assert sorted(SETTINGS.figures) == sorted(MODULES)


def test_distance_shows_values_intervals_and_the_copy(tmp_path: Path) -> None:
    results = [
        make(tmp_path, "near", metrics={"truth_psnr": metric(24.5), "copy_truth_psnr": metric(22)}),
        make(tmp_path, "far", metrics={"truth_psnr": metric(20.25)}),
    ]
    made = distance_to_truth.draw(results, SETTINGS)
    assert isinstance(made, Drawing)
    assert ">24.50</text>" in made.svg and ">20.25</text>" in made.svg and ">copy the input</text>" in made.svg
    assert "whole face (dB)" in made.svg and "SSIM" not in made.svg.partition("</title>")[2]
    assert isinstance(distance_to_truth.draw([make(tmp_path, "blind")], SETTINGS), Absent)


def test_per_class_bars_in_percent(tmp_path: Path) -> None:
    metrics = {
        "eea_per_class": {"value": dict(zip(CLASSES, (0.5, 0.75, 1.0), strict=True)), "ci": {}},
        "preservation_error": metric(0.1, per_class={"anger": 0.123}),
    }
    made = per_class_bars.draw([make(tmp_path, metrics=metrics)], SETTINGS)
    assert isinstance(made, Drawing)
    assert all(f">{text}</text>" in made.svg for text in ("50", "75", "100", "12.3"))


def test_per_class_bars_of_attributes(tmp_path: Path) -> None:
    values = dict(zip(CLASSES, (0.25, 0.75, 1.0), strict=True))
    shares = {"value": values, "ci": {name: [value - 0.1, value] for name, value in values.items()}}
    made = per_class_bars.draw([make(tmp_path, metrics={"attribute_accuracy_per_attribute": shares})], SETTINGS)
    assert isinstance(made, Drawing)
    assert all(f">{text}</text>" in made.svg for text in ("25", "75", "100", *CLASSES))
    caption = per_class_bars.CAPTION.format(**made.facts)
    assert "reverse each attribute" in caption and "expression" not in caption


def test_region_change_in_levels_beside_the_truth(tmp_path: Path) -> None:
    metrics = {
        "outside_change": metric(0.1, per_region={"left_eye": 0.2}),
        "outside_change_truth": metric(0.1, per_region={"left_eye": 0.1}),
    }
    made = region_change.draw([make(tmp_path, metrics=metrics)], SETTINGS)
    assert isinstance(made, Drawing)
    assert ">51.0</text>" in made.svg and ">25.5</text>" in made.svg and ">left eye</text>" in made.svg
    assert "true edit" in region_change.CAPTION.format(**made.facts)


def test_many_methods_make_tables_of_numbers(tmp_path: Path) -> None:
    metrics = {
        "eea_per_class": {"value": dict(zip(CLASSES, (0.5, 0.75, 1.0), strict=True)), "ci": {}},
        "outside_change": metric(0.1, per_region={"nose": 0.2}),
        "confusion": {"value": [[1, 0, 0]] * 3, "rows": "target", "columns": "predicted"},
    }
    results = [make(tmp_path, f"m{number}", metrics=metrics) for number in range(9)]
    for module, values in ((per_class_bars, ("50", "75", "100")), (region_change, ("51.0",))):
        few, many = module.draw(results[:8], SETTINGS), module.draw(results, SETTINGS)
        assert isinstance(few, Drawing) and isinstance(many, Drawing)
        assert all(many.svg.count(f">{value}</text>") >= 9 for value in values)
        assert ">m8</text>" in many.svg
        assert "Bars from left to right: m0" in module.CAPTION.format(**few.facts)
        assert "tinted" in module.CAPTION.format(**many.facts)
    made = confusion_matrix.draw(results, SETTINGS)
    assert isinstance(made, Drawing) and all(f">m{number}</text>" in made.svg for number in range(9))


def test_confusion_is_in_percent_of_the_row(tmp_path: Path) -> None:
    metrics = {"confusion": {"value": [[3, 1, 0], [0, 8, 0], [0, 0, 2]], "rows": "target", "columns": "predicted"}}
    made = confusion_matrix.draw([make(tmp_path, metrics=metrics)], SETTINGS)
    assert isinstance(made, Drawing)
    assert ">75</text>" in made.svg and ">25</text>" in made.svg and made.svg.count(">100</text>") == 2
    assert ">0</text>" not in made.svg


def test_confusion_of_another_shape_is_not_shown(tmp_path: Path) -> None:
    made = confusion_matrix.draw([make(tmp_path, metrics={"confusion": {"value": [[1]]}})], SETTINGS)
    assert isinstance(made, Absent)


@pytest.mark.parametrize(
    ("column", "panel"),
    [
        ("generator/mouth/adv", "Adversarial"),
        ("discriminator/gp", "Regularisation"),
        ("discriminator/left_eye/cls", "Condition"),
        ("generator/cycle", "Reconstruction and identity"),
        ("generator/per", "Reconstruction and identity"),
        ("generator/area/nose", "Other terms"),
        ("discriminator/local/p", "Probability of augmentation"),
        ("probe/miou_val", "Other terms"),
    ],
)
def test_terms_find_their_panel(column: str, panel: str) -> None:
    assert loss_curves.subject(column) == panel


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TASKS))
def test_every_term_of_every_method_has_a_panel(name: str) -> None:
    _, history = stepped(TASKS[name], 4)
    terms = {term for part in history for term in part}
    assert terms
    # How much of a face a part covers is no loss.
    assert {term for term in terms if loss_curves.subject(term) == "Other terms" and not SHARES.search(term)} == set()


def test_smoothing_is_a_centred_mean() -> None:
    values = np.array([0.0, 3.0, 0.0, 0.0, 9.0, 0.0])
    np.testing.assert_allclose(loss_curves.smoothed(values, 0.1), [1.5, 1, 1, 3, 3, 4.5])


def test_long_histories_are_averaged_not_sampled() -> None:
    steps = np.arange(4 * loss_curves.POINTS, dtype=np.float64)
    thin_steps, thin = loss_curves.thinned(steps, np.tile([0.0, 1.0, 2.0, 5.0], loss_curves.POINTS))
    assert len(thin) == loss_curves.POINTS and (thin == 2.0).all() and thin_steps[0] == 1.5


def test_loss_curves_survive_gaps(tmp_path: Path) -> None:
    result = make(tmp_path)
    history = {
        "step": [1, 2, 3, 4],
        "generator/adv": [1.0, None, 0.5, 0.2],
        "probe/miou_val": [None, 0.5, None, 0.6],
    }
    pd.DataFrame(history).to_csv(result.directory / "history.csv", index=False)
    made = loss_curves.draw([result], SETTINGS)
    assert isinstance(made, Drawing) and ">Adversarial</text>" in made.svg and "miou_val" in made.svg
    assert "nan" not in made.svg.lower()


def test_no_history_no_curves(tmp_path: Path) -> None:
    made = loss_curves.draw([make(tmp_path)], SETTINGS)
    assert isinstance(made, Absent) and "history.csv" in made.reason


def test_vgg_faces_distances_are_a_line_for_each_method_that_has_them(tmp_path: Path) -> None:
    edges = [0.0, 0.5, 1.0, 1.5]
    measured = [metric(0.4, histogram={"edges": edges, "counts": counts}) for counts in ([6, 2, 0], [1, 3, 4])]
    results = [make(tmp_path, f"m{n}", metrics={"vgg_face": entry}) for n, entry in enumerate(measured)]
    without = make(tmp_path, "rendered", metrics={"vgg_face": {"skipped": "photographs only.", "applies": False}})
    made = identity_histogram.draw([*results, without], SETTINGS)
    assert isinstance(made, Drawing) and made.facts["methods"] == "m0 and m1"
    assert "m0" in made.svg and "m1" in made.svg and "rendered" not in made.svg
    assert isinstance(identity_histogram.draw([without], SETTINGS), Absent)
