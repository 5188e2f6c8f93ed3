"""Views that metrics share. The metrics' own tests use them all; here what no metric would notice."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mimik.datasets import synthetic
from mimik.evaluation.measurements import ClassFilter, EvaluationSettings, Measurements, Rows
from mimik.evaluation.places import Extractor, Missing
from mimik.faces.prepared.store import FaceStore
from mimik.labels import ACTION_UNITS
from mimik.storage.files import write_json

CLASSES = ["neutral", "happiness", "anger"]
SIZE = 16


@pytest.fixture
def measurements(tmp_path: Path) -> Measurements:
    """Rendered test faces, with only some of them translated."""
    options = {"classes": CLASSES, "identities": {"train": 1, "val": 1, "test": 3}}
    table = synthetic.index(tmp_path, options, seed=0).table
    table.to_csv(tmp_path / "index.csv", index=False)
    np.save(tmp_path / f"images_{SIZE}.npy", synthetic.render(table, SIZE, outputs=("images",)).images)
    write_json(tmp_path / "manifest.json", {"sizes": [SIZE], "classes": CLASSES, "digest": "d"})
    faces = table[table["split"] == "test"]
    targets = [synthetic.with_expression(faces, name) for name in CLASSES]
    truth = np.stack([synthetic.render(target, SIZE, outputs=("images",)).images for target in targets], 1)
    np.save(tmp_path / f"truth_{SIZE}.npy", truth)
    units = np.stack([target[list(ACTION_UNITS)].to_numpy(np.float32) for target in targets], 1)
    np.save(tmp_path / "truth_action_units.npy", units)
    store = FaceStore(tmp_path, SIZE)
    rows = store.rows("test")[[0, 2, 3, 7]]
    translations = np.random.default_rng(0).integers(0, 256, (4, 3, SIZE, SIZE, 3), dtype=np.uint8)
    (tmp_path / "scratch").mkdir()
    nothing = Missing("nothing")
    return Measurements(
        translations=translations,
        cycle=translations,
        store=store,
        rows=rows,
        settings=EvaluationSettings(metrics=(), batch_size=5),
        scratch=tmp_path / "scratch",
        segmenter_before=nothing,
        segmenter_after=nothing,
    )


def test_true_targets_are_those_of_the_translated_rows(measurements: Measurements) -> None:
    truth, units = measurements.truth, measurements.true_action_units
    assert isinstance(truth, Rows) and isinstance(units, Rows)
    for position, row in enumerate(measurements.rows):
        for target, name in enumerate(CLASSES):
            face = synthetic.with_expression(measurements.store.table.iloc[[row]], name)
            expected = synthetic.render(face, SIZE, outputs=("images",)).images[0]
            assert (truth[:][position, target] == expected).all()
            assert units[:][position, target] == pytest.approx(face[list(ACTION_UNITS)].to_numpy(float)[0])


def test_outputs_of_translations_copies_and_true_targets(measurements: Measurements) -> None:
    extractor = Extractor("mean", "00", lambda images: {"features": images.mean((2, 3))})
    seen = measurements.with_baselines(extractor, "features")
    assert list(seen) == ["", "_copy", "_truth"]
    sources = measurements.sources[slice(0, 4)]
    truth = measurements.truth
    assert isinstance(truth, Rows)
    for ending, images in (("", measurements.translations), ("_copy", sources[:, None]), ("_truth", truth[:])):
        expected = np.broadcast_to(images.mean((2, 3)) / 127.5 - 1, (4, 3, 3))
        assert seen[ending][1] == pytest.approx(expected, abs=1e-5), ending


def test_without_true_targets_the_reason_is_given(measurements: Measurements) -> None:
    measurements.store.truth = None
    extractor = Extractor("mean", "00", lambda images: {"features": images.mean((2, 3))})
    for missing in (measurements.truth, measurements.with_baselines(extractor, "features")["_truth"][1]):
        assert isinstance(missing, Missing) and "ground truth" in missing.reason and "at 16 px" in missing.reason


def test_sources_take_their_features_from_the_real_images(measurements: Measurements) -> None:
    seen: list[int] = []

    def outputs(images: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(len(images))
        return {"features": images.mean((2, 3)), "classes": torch.full((len(images),), 7, dtype=torch.uint8)}

    extractor = Extractor("mean", "00", outputs)
    features = measurements.of_sources(extractor)["features"]
    expected = measurements.store.images[measurements.rows].mean((1, 2)) / 127.5 - 1
    assert features == pytest.approx(expected, abs=1e-5)
    assert seen == [5, 4]
    measurements.of_reals(extractor)
    assert sum(seen) == 9
    assert measurements.of_translations(extractor)["features"].shape == (4, 3, 3)
    assert measurements.of_translations(extractor)["classes"].dtype == np.uint8


def test_extractors_of_one_name_and_other_weights_are_kept_apart(measurements: Measurements) -> None:
    first = Extractor("same", "1", lambda images: {"features": torch.zeros(len(images))})
    second = Extractor("same", "2", lambda images: {"features": torch.ones(len(images))})
    assert measurements.of_reals(first)["features"].max() == 0
    assert measurements.of_reals(second)["features"].min() == 1
    assert measurements.of_reals(first)["features"].max() == 0


def test_entries_say_when_not_every_face_was_translated(measurements: Measurements) -> None:
    entry = measurements.mean_entry(np.ones((4, 3)), measurements.other, None, "Ones.")
    assert entry["protocol"] == "Ones. Test split, 16 px, uint8. 4 of 9 test images."
    assert (entry["value"], entry["ci"], entry["n"]) == (1.0, [1.0, 1.0], 8)


def test_no_pair_left_is_skipped(measurements: Measurements) -> None:
    assert "skipped" in measurements.mean_entry(np.ones((4, 3)), np.zeros((4, 3), dtype=bool), None, "Ones.")


def test_macro_mean_weighs_targets_equally(measurements: Measurements) -> None:
    values = np.tile([1.0, 0.0, 0.5], (4, 1))
    keep = np.array([[True, False, False], [True, True, False], [True, False, False], [True, False, False]])
    assert measurements.mean_entry(values, keep, None, "x")["value"] == pytest.approx(4 / 5)
    assert measurements.mean_entry(values, keep, None, "x", macro=True)["value"] == pytest.approx(1 / 2)


def test_class_filter_keeps_sources_of_unknown_class_out_only_where_it_applies(measurements: Measurements) -> None:
    labels = np.array([0, 1, -1])
    for apply, kept in (("both", [True, False, False]), ("target", [True, True, True])):
        chosen = ClassFilter(("neutral",), apply)  # type: ignore[arg-type]
        measurements.settings = EvaluationSettings(metrics=(), class_filter=chosen)
        assert measurements.kept_sources(labels).tolist() == kept


@pytest.mark.parametrize("name", ["bootstrap", "kid_subsets", "kid_subset_size", "batch_size"])
def test_senseless_settings_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        EvaluationSettings(metrics=(), **{name: 0})  # type: ignore[arg-type]
