import numpy as np
import pytest
import torch

from mimik.evaluation.metrics import au_error
from mimik.evaluation.places import Extractor, Missing
from mimik.labels import ACTION_UNITS


def read(images: torch.Tensor) -> dict[str, torch.Tensor]:
    """All action units as the fixture's truth has them: class / 2, told from the brightest channel."""
    units = images.mean((2, 3)).argmax(1).float()[:, None].expand(-1, len(ACTION_UNITS)) / 2
    return {"action_units": units, "identity": units}


READER = Extractor("reader", "12", read)


def test_perfect_edits_and_truth_have_no_error_and_copies_have(measure) -> None:
    entries = au_error.compute(measure(truth=True, reader=READER))
    assert entries["au_error"]["value"] == 0.0
    assert entries["au_error_truth"]["value"] == 0.0
    # Pairs (source, target): 01 02 10 12 20 21 01 02, differences in halves.
    assert entries["au_error_copy"]["value"] == pytest.approx((0.5 + 1 + 0.5 + 0.5 + 1 + 0.5 + 0.5 + 1) / 8)
    assert entries["au_error"]["n"] == entries["au_error_copy"]["n"] == 8
    assert entries["au_error"]["extractor"] == "reader"


def test_unedited_translations_get_the_copy_baseline(measure, faces) -> None:
    copies = np.repeat(faces([0, 1, 2, 0], range(4))[:, None], 3, 1)
    entries = au_error.compute(measure(truth=True, reader=READER, translations=copies))
    assert entries["au_error"]["value"] == pytest.approx(entries["au_error_copy"]["value"])
    assert entries["au_error"]["value"] > 0
    assert au_error.HIGHER_IS_BETTER["au_error"] is False


def test_every_unit_is_reported_and_their_mean_is_the_value(measure) -> None:
    offset = torch.linspace(0, 0.4, len(ACTION_UNITS))
    reader = Extractor("reader", "12", lambda images: {"action_units": read(images)["action_units"] + offset})
    entry = au_error.compute(measure(truth=True, reader=reader))["au_error"]
    assert list(entry["per_action_unit"]) == list(ACTION_UNITS)
    assert list(entry["per_action_unit"].values()) == pytest.approx(offset.tolist(), abs=1e-6)
    assert entry["value"] == pytest.approx(0.2, abs=1e-6)


def test_what_is_missing_is_said(measure) -> None:
    without_truth = measure(reader=READER)
    assert "only datasets with ground truth" in au_error.compute(without_truth)["au_error"]["skipped"]


def test_missing_reader_is_said(measure) -> None:
    entries = au_error.compute(measure(truth=True, reader=Missing("train it.")))
    assert entries == {name: {"skipped": "train it."} for name in au_error.NAMES}


def test_action_units_of_two_extractors_are_not_compared(measure) -> None:
    measurements = measure(truth=True, reader=Extractor("reader", "12", read, "openface 2"))
    measurements.store.action_unit_extractor = "rendered"
    entries = au_error.compute(measurements)
    assert all("'openface 2'" in entry["skipped"] and "'rendered'" in entry["skipped"] for entry in entries.values())
    measurements.store.action_unit_extractor = "openface 2"
    assert au_error.compute(measurements)["au_error"]["value"] == 0.0
