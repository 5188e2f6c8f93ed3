"""`mimik.evaluate`: arrays in, entries as in metrics.json out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimik.errors import UserError
from mimik.evaluation.arrays import evaluate
from mimik.evaluation.evaluate import metric_modules
from mimik.networks import face_classifier, face_reader
from mimik.networks.stored import save_network
from mimik.settings.modules import names

CLASSES = ["anger", "fear", "happiness"]
LABELS = [0, 1, 2, 0]
SIZE = 32


def arrays(**more: Any) -> dict[str, Any]:
    """Four faces of random pixels: asked for another class they become 10 levels brighter, for their own they stay."""
    random = np.random.default_rng(0)
    sources = random.integers(0, 200, (4, SIZE, SIZE, 3)).astype(np.uint8)
    edits = np.repeat(sources[:, None], 3, 1) + np.uint8(10)
    edits[np.arange(4), LABELS] = sources
    edits[0, 0] += 2  # something to be measured by reconstruction
    return {"edits": edits, "sources": sources, "labels": LABELS, "classes": CLASSES, "bootstrap": 20, **more}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    settings = {"network": "small", "image_size": SIZE, "width": 4}
    made = {
        "classifier": face_classifier.build({"network": "small", "width": 4}, CLASSES),
        "reader": face_reader.build({"width": 4}, 5),
    }
    for kind, network in made.items():
        config = {"kind": kind, "name": kind, "architecture": settings, "classes": CLASSES, "identity_dim": 5}
        config |= {"action_units": "renderer 1"}
        save_network(folder / kind, network, config)
    return folder


def test_what_can_be_measured_is_and_the_rest_says_why() -> None:
    entries = evaluate(**arrays())
    assert entries.keys() == {name for module in metric_modules(names("metrics")).values() for name in module.NAMES}
    assert {name for name, entry in entries.items() if "skipped" not in entry} == {"l1", "psnr", "ssim"}
    assert entries["l1"]["value"] == pytest.approx(2 / 255 / 4)
    assert entries["l1"]["n"] == 4
    assert (
        entries["l1"]["protocol"]
        == f"Translation to the source's own class against the source. Arrays, {SIZE} px, uint8."
    )
    for name, reason in {
        "eea": "no `classifier` was given.",
        "fd_classifier": "no `classifier` was given.",
        "identity_loss": "put model_ir_se50.pth into the folder `weights`",
        "fid": "put pt_inception-2015-12-05-6726825d.pth into the folder `weights`",
        "cycle_l1": "no `cycle` was given.",
        "truth_psnr": "no `truth` was given.",
        "outside_change": "no `masks` were given.",
        "au_error": "arrays contain no action units of the true targets; `mimik evaluate` measures",
        "expression_distance": "no `reader` was given.",
        "miou_after": "pictures say nothing about a segmenter",
        "attribute_accuracy": "it measures reversed attributes",
    }.items():
        assert entries[name]["skipped"].startswith(reason), name
    json.dumps(entries, allow_nan=False)


def test_everything_that_is_given_is_used(networks: Path) -> None:
    given = arrays()
    given["truth"] = np.minimum(given["edits"], 250) + np.uint8(5)
    given["cycle"] = np.repeat(given["sources"][:, None], 3, 1)
    given["masks"] = np.zeros((4, SIZE, SIZE), np.uint8)
    entries = evaluate(**given, classifier=networks / "classifier", reader=networks / "reader")
    assert entries["cycle_l1"]["value"] == 0
    assert entries["outside_change"]["value"] == pytest.approx(10 / 255, rel=1e-4)
    assert entries["outside_change_truth"]["value"] == pytest.approx(15 / 255, rel=1e-4)
    assert entries["truth_psnr"]["value"] == pytest.approx(20 * np.log10(255 / 5), rel=1e-4)
    assert entries["eea"]["extractor"] == "classifier"
    assert np.sum(entries["confusion"]["value"]) == 8  # pairs whose target is not the source
    assert 0 <= entries["identity_loss"]["value"] <= 2 and entries["identity_loss"]["extractor"] == "reader"
    assert entries["expression_distance"]["skipped"].startswith("arrays contain no action units of training faces")
    assert not any("per_face" in entry for entry in entries.values())


def test_labels_are_names_or_positions_and_metrics_are_chosen() -> None:
    named = evaluate(**arrays(labels=[CLASSES[label] for label in LABELS], metrics=["reconstruction"]))
    assert named == evaluate(**arrays(labels=np.array(LABELS), metrics=["reconstruction"]))
    assert list(named) == ["l1", "psnr", "ssim"]
    assert evaluate(**arrays(metrics=[])) == {}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"edits": arrays()["edits"] / 255}, TypeError, r"edits: expected uint8 \(4, 3, 32, 32, 3\), got float64"),
        ({"edits": arrays()["edits"][:, 0]}, ValueError, r"edits: expected uint8 .* got \(4, 32, 32, 3\)"),
        ({"edits": None}, TypeError, r"edits: expected an array, .* got NoneType"),
        ({"sources": arrays()["sources"][:, :16]}, ValueError, "sources: expected square pictures"),
        ({"sources": arrays()["sources"][:0]}, ValueError, "sources: expected square pictures of at least one face"),
        ({"classes": CLASSES[:2]}, ValueError, r"edits: expected uint8 \(4, 2, 32, 32, 3\)"),
        ({"classes": []}, ValueError, "and classes"),
        ({"classes": ["anger", "fear", "fear"]}, ValueError, "classes: expected names, each once"),
        ({"labels": [0, 1, 2]}, ValueError, r"labels: expected one for each of 4 sources, got \(3,\)"),
        ({"labels": [0, 1, 2, 3]}, ValueError, "labels: expected names, or positions 0 to 2"),
        ({"labels": [0, 1, -1, 2]}, ValueError, "labels: expected names, or positions"),
        ({"labels": [0.0, 1.0, 1.5, 2.0]}, ValueError, "labels: expected names, or positions"),
        ({"labels": ["anger", "fear", "joy", "fear"]}, ValueError, "labels: joy is not among the classes anger, fear"),
        ({"truth": arrays()["sources"]}, ValueError, "truth: expected uint8"),
        ({"cycle": arrays()["edits"].astype(int)}, TypeError, "cycle: expected uint8"),
        ({"masks": np.zeros((4, SIZE, SIZE, 1), np.uint8)}, ValueError, r"masks: expected uint8 \(4, 32, 32\)"),
        ({"landmarks": np.zeros((4, 5, 2))}, ValueError, r"landmarks: expected finite \(4, 68, 2\), got \(4, 5, 2\)"),
        ({"landmarks": np.full((4, 68, 2), np.nan)}, ValueError, "landmarks: expected finite"),
        ({"metrics": ["beauty"]}, UserError, "there is no 'beauty' in mimik.evaluation.metrics"),
        ({"bootstrap": 0}, ValueError, "bootstrap must be at least 1"),
        ({"device": "toaster"}, ValueError, "device: expected a device of this machine"),
        ({"classifier": "nowhere"}, UserError, "nowhere"),
    ],
)
def test_arrays_that_do_not_fit(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate(**arrays(**change))


def test_a_classifier_of_other_classes_is_refused(networks: Path) -> None:
    told = r"was trained on the classes \['anger', 'fear', 'happiness'\], but those of the arrays are \['a', 'b', 'c'\]"
    with pytest.raises(UserError, match=told):
        evaluate(**arrays(classes=["a", "b", "c"]), classifier=networks / "classifier")
