import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.context import Context
from mimik.errors import UserError
from mimik.evaluation import evaluate as module
from mimik.evaluation import metrics
from mimik.evaluation.evaluate import evaluate, metric_modules
from mimik.evaluation.measurements import ClassFilter, EvaluationSettings
from mimik.evaluation.translation import TranslationSettings, translate
from mimik.labels import ACTION_UNITS, SEGMENTATION_CLASSES
from mimik.methods import stargan
from mimik.networks import face_classifier, face_reader, segmenter
from mimik.networks.stored import save_network
from mimik.settings.configuration import build
from mimik.statistics.bootstrap import grouped_mean
from mimik.storage.files import file_sha256
from tests.tiny import make_store

CLASSES = ["anger", "fear", "happiness"]
SIZE = 32
METRICS = tuple(sorted(path.stem for path in Path(metrics.__file__).parent.glob("[a-z]*.py")))
NAMES = {name for module in metric_modules(METRICS).values() for name in module.NAMES}


def flat_faces(labels: Any, levels: Any) -> np.ndarray:
    """uint8 (N, SIZE, SIZE, 3): every expression is a brightness, to which each face adds its own level."""
    values = 60 * np.asarray(labels) + np.asarray(levels)
    return np.broadcast_to(values[:, None, None, None], (len(values), SIZE, SIZE, 3)).astype(np.uint8)


@pytest.fixture
def project(tmp_path: Path) -> SimpleNamespace:
    """A prepared dataset, tiny untrained networks, a StarGAN result and its translations."""
    torch.manual_seed(0)
    store = tmp_path / "store"
    store.mkdir()
    number = 9
    table = pd.DataFrame(
        {
            "id": [f"face{index}" for index in range(number)],
            "split": ["train"] * 2 + ["test"] * 7,
            "source": "",
            "expression": [CLASSES[index % 3] for index in range(number)],
            "identity": "1",
        }
    )
    table.to_csv(store / "index.csv", index=False)
    np.save(store / f"images_{SIZE}.npy", flat_faces(np.arange(number) % 3, range(number)))
    true = np.stack([flat_faces([label] * 7, range(2, number)) for label in range(3)], 1)
    np.save(store / f"truth_{SIZE}.npy", true)
    units = np.broadcast_to(np.arange(3, dtype=np.float32)[:, None] / 2, (7, 3, len(ACTION_UNITS)))
    np.save(store / "truth_action_units.npy", units)
    np.save(store / f"masks_{SIZE}.npy", np.random.default_rng(0).integers(0, 19, (number, SIZE, SIZE), dtype=np.uint8))
    manifest = {"sizes": [SIZE], "classes": CLASSES, "digest": "abc"}
    (store / "manifest.json").write_text(json.dumps(manifest))

    networks = {
        "classifier": face_classifier.build({"network": "small", "width": 4}, CLASSES),
        "reader": face_reader.build({"width": 4}, 5),
        "segmenter": segmenter.build({"network": "unet", "image_size": SIZE, "width": 4}),
    }
    for kind, network in networks.items():
        settings = {"network": "unet" if kind == "segmenter" else "small", "image_size": SIZE, "width": 4}
        classes = list(SEGMENTATION_CLASSES) if kind == "segmenter" else CLASSES
        config = {"kind": kind, "name": f"tiny_{kind}", "architecture": settings, "classes": classes, "identity_dim": 5}
        save_network(tmp_path / kind, network, config)

    result = tmp_path / "results" / "drawn" / "stargan"
    result.mkdir(parents=True)
    overrides = {"conv_dim": 4, "residual_blocks": 1, "adversary": {"conv_dim": 4, "layers": 3}}
    method = stargan.Method(
        build(stargan.Config, overrides, "test"), Context(Condition(ConditionConfig(), CLASSES), SIZE)
    )
    save_file(method.generator_state(), result / "generator.safetensors")
    config = {
        "dataset": "drawn",
        "method": "stargan",
        "module": "stargan",
        "scale": "smoke",
        "seed": 3,
        "image_size": SIZE,
        "classes": CLASSES,
        "config": overrides,
        "condition": {},
        "attributes": [],
        "architectures": {},
        "config_digest": "cd",
    }
    (result / "config.json").write_text(json.dumps(config))
    translate(result, store, None, result / "translations", TranslationSettings(precision="fp32"))
    return SimpleNamespace(store=store, result=result, folder=tmp_path)


def run(project: SimpleNamespace, segmented_dir: Path | None = None, **settings: Any) -> dict[str, Any]:
    output = project.result / "metrics.json"
    defaults: dict[str, Any] = {"metrics": METRICS, "bootstrap": 20, "batch_size": 4, "kid_subsets": 2}
    evaluate(
        EvaluationSettings(**{**defaults, **settings}),
        project.result,
        project.store,
        project.folder / "classifier",
        project.folder / "segmenter",
        project.folder / "reader",
        project.folder / "weights",
        output,
        segmented_dir=segmented_dir,
    )
    loaded: dict[str, Any] = json.loads(output.read_text())
    return loaded


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_offers_what_tables_need(name: str) -> None:
    module = metric_modules((name,))[name]
    assert module.__doc__
    assert isinstance(module.PROTOCOL, str)
    for table in (module.HIGHER_IS_BETTER, module.UNIT, module.FORMAT):
        assert set(table) == set(module.NAMES)
    assert all(module.FORMAT[name].format(1) for name in module.NAMES)


def test_no_name_is_given_by_two_metrics() -> None:
    every = [name for module in metric_modules(METRICS).values() for name in module.NAMES]
    assert len(every) == len(set(every))


def test_record_is_complete_and_every_entry_has_a_value_or_says_why_not(project) -> None:
    record = run(project)
    assert (record["dataset"], record["method"], record["scale"], record["seed"]) == ("drawn", "stargan", "smoke", 3)
    assert record["dataset_digest"] == "abc"
    assert record["config_digest"] == "cd"
    assert record["mlflow_run_id"] is None
    assert record["classes"] == CLASSES
    assert set(record["metrics"]) == NAMES
    skipped = {name for name, entry in record["metrics"].items() if "skipped" in entry}
    distances = {"expression_distance", "expression_distance_copy", "expression_distance_truth"}
    of_photographs = {"acd", "same_person", "vgg_face"}
    of_photographs |= {"expression_distance_openface", "expression_distance_openface_copy"}
    placed = {"fid_antialiased", "ssfid", "precision", "recall", "density", "coverage"}
    placed |= {"lpips", "truth_lpips", "copy_truth_lpips"}
    of_attributes = {name for name in NAMES if name.startswith("attribute_")}
    assert (
        skipped
        == {"fid", "fid_per_target", "kid", "inception_score", "miou_before", "miou_after"}
        | distances
        | of_attributes
        | of_photographs
        | placed
    )
    assert all("edits expressions" in record["metrics"][name]["skipped"] for name in of_attributes)
    assert all("has no action units" in record["metrics"][name]["skipped"] for name in distances)
    for name in NAMES - skipped:
        entry = record["metrics"][name]
        assert {"value", "ci", "n", "extractor", "extractor_sha256", "protocol"} <= set(entry), name
    assert record["metrics"]["eea"]["extractor"] == "tiny_classifier"
    assert record["metrics"]["eea"]["extractor_sha256"] == file_sha256(project.folder / "classifier/model.safetensors")
    assert "pt_inception-2015-12-05-6726825d.pth" in record["metrics"]["fid"]["skipped"]


def test_nothing_but_the_record_is_left_behind(project) -> None:
    """Besides, what is written for DVC says the same as metrics.json."""
    before = sorted(project.result.iterdir())
    metrics = run(project)["metrics"]
    short = json.loads((project.result / "scores.json").read_text())
    assert {"eea", "truth_psnr", "l1"} <= set(short)
    assert short == {name: metrics[name]["value"] for name in short}
    rows = pd.read_csv(project.result / "by_target.csv").set_index("target")["accuracy"]
    assert rows.to_dict() == pytest.approx(metrics["eea_per_class"]["value"])
    written = [
        project.result / name for name in ("metrics.json", "per_face.safetensors", "scores.json", "by_target.csv")
    ]
    assert sorted(project.result.iterdir()) == sorted([*before, *written])


def test_what_every_face_contributes_adds_up_to_the_mean(project) -> None:
    metrics = run(project)["metrics"]
    arrays = load_file(project.result / "per_face.safetensors")
    assert {"truth_psnr/sums", "eea/counts", "l1/sums"} <= set(arrays)
    assert not any("per_face" in entry for entry in metrics.values())
    for name in {name.partition("/")[0] for name in arrays}:
        sums, counts = (arrays[f"{name}/{part}"] for part in ("sums", "counts"))
        assert len(sums) == len(counts) == 7 and grouped_mean(sums.sum(0), counts.sum(0)) == pytest.approx(
            metrics[name]["value"], rel=1e-4
        )


def test_values_do_not_depend_on_the_batch_size(project) -> None:
    first, second = run(project)["metrics"], run(project, batch_size=1000)["metrics"]
    for name in (name for name in NAMES if "skipped" not in first[name]):
        one, other = first[name]["value"], second[name]["value"]
        assert (other if name == "confusion" else pytest.approx(other, rel=1e-4, abs=1e-6)) == one, name


def test_the_seed_moves_intervals_and_not_values(project) -> None:
    first, second = run(project)["metrics"], run(project, seed=1)["metrics"]
    assert first["l1"]["value"] == second["l1"]["value"]
    assert first["l1"]["ci"] != second["l1"]["ci"]


def test_copying_the_input_equals_the_copy_baseline_end_to_end(project) -> None:
    path = project.result / "translations" / "images.npy"
    store_images = np.load(project.store / f"images_{SIZE}.npy")[2:]
    np.save(path, np.repeat(store_images[:, None], 3, 1))
    values = {name: entry.get("value") for name, entry in run(project)["metrics"].items()}
    assert values["truth_psnr"] == pytest.approx(values["copy_truth_psnr"])
    assert values["truth_ssim"] == pytest.approx(values["copy_truth_ssim"])
    assert values["au_error"] == pytest.approx(values["au_error_copy"])
    assert values["identity_loss"] == pytest.approx(0.0, abs=1e-6)
    for name in ("eea", "preservation_error", "fd_classifier", "kd_classifier"):
        assert values[name] == pytest.approx(values[f"{name}_copy"], rel=1e-4, abs=1e-6), name
    assert values["outside_change"] == 0.0
    assert values["l1"] is None  # nothing was reconstructed: the pictures are the input


def test_every_image_goes_through_the_classifier_once(project, monkeypatch) -> None:
    counts: list[int] = []
    original = face_classifier.FaceClassifier.features

    def counting(self, images):
        counts.append(len(images))
        return original(self, images)

    monkeypatch.setattr(face_classifier.FaceClassifier, "features", counting)
    run(project)
    assert sum(counts) == 7 + 7 * 3 + 7 * 3  # real faces, translations, true targets


def test_class_filter_of_the_settings_reaches_the_metrics(project) -> None:
    entries = run(project, class_filter=ClassFilter(("anger", "fear")))["metrics"]
    assert set(entries["eea_per_class"]["value"]) == {"anger", "fear"}
    assert entries["truth_psnr"]["n"] == 14
    with pytest.raises(UserError, match="sleepy"):
        run(project, class_filter=ClassFilter(("sleepy",)))


def test_unknown_metric_names_the_folder() -> None:
    with pytest.raises(UserError, match=r"no 'beauty' in mimik\.evaluation\.metrics"):
        metric_modules(("beauty",))


def test_translations_of_another_generator_are_refused(project) -> None:
    with (project.result / "generator.safetensors").open("ab") as opened:
        opened.write(b"x")
    with pytest.raises(UserError, match="Translate again"):
        run(project)


def test_translations_of_another_preparation_are_refused(project) -> None:
    path = project.store / "manifest.json"
    path.write_text(path.read_text().replace("abc", "xyz"))
    with pytest.raises(UserError, match="a different preparation"):
        run(project)


def test_truncated_translations_are_refused(project) -> None:
    path = project.result / "translations" / "cycle.npy"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"cycle\.npy"):
        run(project)


def test_a_way_back_that_was_left_out_is_skipped(project) -> None:
    path = project.result / "translations" / "manifest.json"
    path.write_text(path.read_text().replace('"cycle": true', '"cycle": false'))
    entries = run(project)["metrics"]
    assert "`cycle` of `translation`" in entries["cycle_psnr"]["skipped"]
    assert "value" in entries["psnr"]


def test_classifier_of_other_classes_is_refused(project) -> None:
    path = project.folder / "classifier" / "config.json"
    path.write_text(path.read_text().replace("happiness", "disgust"))
    with pytest.raises(UserError, match="was trained on the classes"):
        run(project)


def test_classifier_of_attributes_is_refused_where_expressions_are_asked_for(project) -> None:
    path = project.folder / "classifier" / "config.json"
    path.write_text(path.read_text().replace('"width"', '"predicts": "attributes", "width"'))
    with pytest.raises(UserError, match="predicts attributes, but this method needs a classifier of expression"):
        run(project)


def test_a_number_that_is_none_is_a_defect(project, monkeypatch) -> None:
    from mimik.evaluation.metrics import cycle

    monkeypatch.setattr(cycle, "compute", lambda _: {"cycle_l1": {"value": float("nan")}})
    with pytest.raises(ValueError, match="cycle_l1 yields nan"):
        run(project, metrics=("cycle",))


def test_datasets_without_truth_skip_what_needs_it(project) -> None:
    (project.store / f"truth_{SIZE}.npy").unlink()
    (project.store / "truth_action_units.npy").unlink()
    entries = run(project)["metrics"]
    for name in ("truth_psnr", "au_error", "identity_loss_truth", "outside_change_truth", "eea_truth"):
        assert "ground truth" in entries[name]["skipped"]
    assert "model_ir_se50.pth" in entries["identity_loss"]["skipped"]
    assert "value" in entries["eea"]


def test_segmenters_before_and_after_training_are_both_measured(project, monkeypatch) -> None:
    trained = segmenter.load(project.folder / "segmenter")
    method = SimpleNamespace(segmenter=trained, condition=Condition(ConditionConfig(), CLASSES))
    monkeypatch.setattr(module, "load_method", lambda _: (method, {}))
    same = run(project, metrics=("miou",))["metrics"]
    assert same["miou_before"]["value"] == same["miou_after"]["value"]
    assert same["miou_before"]["extractor_sha256"] == file_sha256(project.folder / "segmenter/model.safetensors")
    assert same["miou_after"]["extractor_sha256"] == file_sha256(project.result / "generator.safetensors")
    last = [module for module in trained.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    assert last.bias is not None
    with torch.no_grad():
        last.bias[SEGMENTATION_CLASSES.index("hat")] = 1e6
    other = run(project, metrics=("miou",))["metrics"]
    assert other["miou_before"]["value"] == same["miou_before"]["value"]
    assert other["miou_after"]["value"] != same["miou_after"]["value"]


def test_a_segmenter_from_elsewhere_is_measured_there_at_its_own_size(project, monkeypatch) -> None:
    trained = segmenter.load(project.folder / "segmenter")
    method = SimpleNamespace(segmenter=trained, condition=Condition(ConditionConfig(), CLASSES))
    monkeypatch.setattr(module, "load_method", lambda _: (method, {}))
    (project.store / f"masks_{SIZE}.npy").unlink()  # nothing needs masks of the translated dataset
    assert "has no masks" in run(project, metrics=("miou",))["metrics"]["miou_before"]["skipped"]
    other = make_store(project.folder / "other", size=SIZE)
    entries = run(project, metrics=("miou",), segmented_dir=other.directory)["metrics"]
    for entry in entries.values():
        assert (entry["dataset"], entry["dataset_digest"], entry["n"]) == ("other", "tiny-0", 8)
        assert "Test split of other, 32 px" in entry["protocol"]
    with pytest.raises(UserError, match="Add 32 to"):
        run(project, metrics=("miou",), segmented_dir=make_store(project.folder / "small", size=16).directory)
