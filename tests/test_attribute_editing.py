"""Methods that are told attributes, from training to metrics.json: every column reverses one attribute."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

import mimik
from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.context import Context
from mimik.editing.serving import Editor
from mimik.errors import UserError
from mimik.evaluation.evaluate import evaluate, metric_modules
from mimik.evaluation.measurements import EvaluationSettings
from mimik.evaluation.translation import TranslationSettings, translate
from mimik.faces.prepared.store import FaceStore
from mimik.labels import EXPRESSIONS, SECGAN_ATTRIBUTES
from mimik.methods import attgan
from mimik.networks.face_classifier import load as load_classifier
from mimik.pretraining.classifier import pretrain_classifier
from mimik.reporting.report import method_report
from mimik.settings.params import classifier_of, load, resolve, resolve_classifier
from mimik.storage.files import read_json
from mimik.training.batches import to_tensor
from mimik.training.runs import load_method, method_module, train_method
from tests.tiny import make_store

KNOWN = ("Bald", "Smiling", "Young")
TOLD = ("Young", "Bald")
METRICS = ("classifier_accuracy", "eea", "preservation_error", "attribute_accuracy", "truth", "au_error",
           "expression_distance", "reconstruction", "cycle", "outside_change", "miou")  # fmt: skip


def store_with_attributes(folder: Path, *, labelled: bool = True) -> FaceStore:
    """A tiny store whose faces have three attributes; some test faces without an expression."""
    store = make_store(folder)
    table = store.table.copy()
    random = np.random.default_rng(0)
    for name in KNOWN:
        table[f"attribute_{name}"] = random.integers(0, 2, len(table))
    if not labelled:
        table.loc[40:43, "expression"] = ""
    table.to_csv(folder / "index.csv", index=False)
    return FaceStore(folder, store.size)


def png(picture: np.ndarray) -> bytes:
    written = BytesIO()
    Image.fromarray(picture).save(written, "PNG")
    return written.getvalue()


def settings(module: str, **changes: Any) -> dict[str, Any]:
    config: dict[str, Any] = {"conv_dim": 4, "adversary": {"conv_dim": 4, "layers": 2}}
    config |= {"residual_blocks": 1} if module == "stargan" else {"layers": 3}
    return {
        "dataset": "tiny", "method": f"{module}_attributes", "module": module, "scale": "smoke", "seed": 0,
        "image_size": 16, "pretrained": {}, "starts_from": None, "guidance": {},
        "condition": {"space": "attributes", "form": "relative", "names": list(TOLD)},
        "config": config, "training": {"steps": 2, "batch_size": 4, "precision": "fp32"}, **changes,
    }  # fmt: skip


def test_every_attribute_is_reversed_alone() -> None:
    condition = Condition(ConditionConfig(space="attributes", form="relative", names=TOLD), EXPRESSIONS, KNOWN)
    assert condition.edits == TOLD
    source = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    nobody = torch.tensor([-1, -1])
    assert condition.asked(source, nobody, torch.tensor([0, 0])).tolist() == [[1.0, 1.0], [0.0, 1.0]]
    target = condition.asked(source, nobody, torch.tensor([1, 1]))
    assert target.tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert condition.told(source, target).tolist() == [[0.0, -1.0], [0.0, -1.0]]


ALL = (*SECGAN_ATTRIBUTES, "Gray_Hair", "Receding_Hairline", "Straight_Hair", "Wavy_Hair")
COLOURS = {"Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair"}


def by_the_rules(own: dict[str, int], name: str, reversal: str) -> dict[str, int]:
    """What a face is asked to be, by rules written out one by one."""
    wanted = dict(own)
    if reversal == "hair_colour" and name in COLOURS:
        return wanted | dict.fromkeys(COLOURS, 0) | {name: 1}
    wanted[name] = 1 - own[name]
    if reversal != "exclusive" or not wanted[name]:
        return wanted
    if name in COLOURS:
        wanted |= dict.fromkeys(COLOURS - {name}, 0)
    if name in ("Bald", "Receding_Hairline"):
        wanted["Bangs"] = 0
    if name == "Bangs":
        wanted |= {"Bald": 0, "Receding_Hairline": 0}
    other = {"Straight_Hair": "Wavy_Hair", "Wavy_Hair": "Straight_Hair", "Mustache": "No_Beard", "No_Beard": "Mustache"}
    return wanted | ({other[name]: 0} if name in other else {})


@pytest.mark.parametrize("reversal", ["alone", "exclusive", "hair_colour"])
def test_reversals_by_the_rules(reversal: Any) -> None:
    names = ALL[::-1]
    condition = Condition(ConditionConfig(space="attributes", names=names, reversal=reversal), EXPRESSIONS, ALL)
    source = torch.randint(0, 2, (200, len(names)), generator=torch.Generator().manual_seed(1)).float()
    for column, name in enumerate(names):
        asked = condition.asked(source, torch.full((200,), -1), torch.full((200,), column))
        for own, wanted in zip(source.tolist(), asked.tolist(), strict=True):
            assert wanted == list(by_the_rules(dict(zip(names, own, strict=True)), name, reversal).values())


def test_only_the_reversed_attribute_goes_further() -> None:
    config = ConditionConfig(space="attributes", names=("Bald", "Bangs"), reversal="exclusive", intensity=1.5)
    condition = Condition(config, EXPRESSIONS, SECGAN_ATTRIBUTES)
    source = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    asked = condition.asked(source, torch.tensor([-1, -1]), torch.tensor([0, 0]))
    assert asked.tolist() == [[1.5, 0.0], [-0.5, 0.0]]
    with pytest.raises(ValueError, match="intensity"):
        ConditionConfig(space="attributes", intensity=0.0)


def test_the_released_attgan_is_told_one_for_the_edited_attribute_and_a_half_for_the_others() -> None:
    config = ConditionConfig(**{**attgan.CONDITION, "space": "attributes"})
    condition = Condition(config, EXPRESSIONS, SECGAN_ATTRIBUTES)
    method = attgan.Method(attgan.Config(conv_dim=2, layers=2), Context(condition, 32))
    bald, bangs = SECGAN_ATTRIBUTES.index("Bald"), SECGAN_ATTRIBUTES.index("Bangs")
    source = torch.zeros(1, 13)
    source[0, bangs] = 1
    told = method.told(source, condition.asked(source, torch.tensor([-1]), torch.tensor([bald])))
    expected = torch.full((1, 13), -0.5)
    expected[0, bald] = 1.0  # Bangs, which contradict it, are taken away at the strength of training
    assert torch.equal(told, expected)
    assert method.told(source, source).abs().unique().tolist() == [0.5]  # the reconstruction


def test_published_reversals() -> None:
    params = load("params.yaml")
    expected = {
        "attgan_attributes": ("exclusive", 1.5),
        "attgan_diff_attributes": ("alone", 1.0),
        "secgan_attgan_attributes": ("alone", 1.0),
        "stargan_diff_attributes": ("alone", 1.0),
        "secgan_attributes": ("alone", 1.0),
    }
    for entry, (reversal, intensity) in expected.items():
        settings = resolve(params, "celeba", entry, "paper")
        published = method_module(settings["module"]).CONDITION
        condition = ConditionConfig(**{**published, **settings["condition"]})
        assert (condition.reversal, condition.intensity) == (reversal, intensity), entry
    assert ConditionConfig(**method_module("stargan").CONDITION).reversal == "hair_colour"


def test_edits_of_other_conditions_are_the_classes() -> None:
    for space in ("expression", "action_units"):
        assert Condition(ConditionConfig(space=space), EXPRESSIONS).edits == tuple(EXPRESSIONS)  # type: ignore[arg-type]


@pytest.mark.parametrize("module", ["stargan", "attgan"])
def test_from_training_to_metrics(module: str, tmp_path: Path) -> None:
    store = store_with_attributes(tmp_path / "store", labelled=False)
    result = tmp_path / "result"
    train_method(settings(module), store.directory, {}, result, tmp_path / "checkpoints")
    translate(result, store.directory, None, result / "translations", TranslationSettings(precision="fp32"))
    manifest = read_json(result / "translations" / "manifest.json")
    images = np.load(result / "translations" / "images.npy")
    # Faces without an expression are edited as well, and no column is a face's own.
    assert manifest["classes"] == list(TOLD) and manifest["source_labels"] == [-1] * 8
    assert manifest["rows"] == list(range(40, 48)) and images.shape == (8, 2, 16, 16, 3)

    method, config = load_method(result)
    assert config["condition"]["names"] == list(TOLD)
    has = store.attributes()[manifest["rows"]]  # type: ignore[index]
    editor = Editor(result)
    for column, name in enumerate(TOLD):
        told = torch.zeros(8, 2)
        told[:, column] = (1.5 if module == "attgan" else 1.0) * (1 - 2 * torch.from_numpy(has[:, KNOWN.index(name)]))
        faces = torch.from_numpy(store.images[manifest["rows"]]).permute(0, 3, 1, 2) / 127.5 - 1
        with torch.inference_mode():
            own = torch.zeros_like(told)
            expected = method.translate(faces, own, told)
        levels = ((expected + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
        assert np.abs(images[:, column].astype(float) - levels).max() <= 1
        rows = [
            {
                "photograph": png(face),
                "aligned": True,
                "to": name,
                "has": ",".join(known for known, value in zip(KNOWN, own_values, strict=True) if value) or "none",
            }
            for face, own_values in zip(store.images[manifest["rows"]], has, strict=True)
        ]
        served = np.stack([np.asarray(Image.open(BytesIO(edit))) for edit in editor.predict(rows)["photograph"]])
        own = mimik.load(result).edit_faces(store.images[manifest["rows"]], to=name, measured=has)
        np.testing.assert_array_equal(served, own)

    evaluation = EvaluationSettings(metrics=METRICS, bootstrap=20)
    weights, judge = tmp_path / "weights", tmp_path / "judge"
    evaluate(evaluation, result, store.directory, None, None, None, weights, result / "metrics.json")
    assert "attribute_classifier" in read_json(result / "metrics.json")["metrics"]["attribute_accuracy"]["skipped"]
    judged = {"network": "small", "width": 4, "predicts": "attributes"}
    common = {"dataset": "tiny", "name": "judge", "seed": 0, "image_size": 16}
    training = {"steps": 2, "batch_size": 4}
    pretrain_classifier({**common, "config": judged, "training": training}, store.directory, judge, tmp_path / "state")
    evaluate(evaluation, result, store.directory, judge, None, None, weights, result / "metrics.json")
    record = read_json(result / "metrics.json")
    assert record["classes"] == list(TOLD)
    for name in ("eea", "confusion", "preservation_error", "l1"):
        assert "attributes" in record["metrics"][name]["skipped"], name
    assert "attributes" in record["metrics"]["truth_psnr"]["skipped"]
    measured = record["metrics"]["attribute_accuracy"]
    assert (measured["n"], measured["extractor"]) == (16, "judge")
    # The judge knows three attributes in another order; two of them, by name, are looked at.
    looked = load_classifier(judge)
    with torch.inference_mode():
        logits = torch.stack([looked(to_tensor(images[:, column])) for column in range(2)], 1)
    for column, name in enumerate(TOLD):
        seen = (logits[:, column, KNOWN.index(name)] > 0).numpy()
        share = (seen != (has[:, KNOWN.index(name)] > 0)).mean()
        assert record["metrics"]["attribute_accuracy_per_attribute"]["value"][name] == pytest.approx(share)
    assert {"attribute_accuracy/sums", "attribute_preservation/sums"} <= set(load_file(result / "per_face.safetensors"))
    for name in ("cycle_l1", "outside_change"):
        assert record["metrics"][name]["n"] == 16, name

    if module == "stargan":
        page = tmp_path / "report.html"
        method_report(result, store.directory, page, load("params.yaml")["report"])
        written = page.read_text(encoding="utf-8")
        assert "it measures expressions" in written and all(name in written for name in TOLD)
        assert "Attribute accuracy, %" in written and "Accuracy, attributes" in written


def test_a_judge_of_expressions_or_of_other_attributes_is_refused(tmp_path: Path) -> None:
    store = store_with_attributes(tmp_path / "store")
    result, judge = tmp_path / "result", tmp_path / "judge"
    train_method(settings("stargan"), store.directory, {}, result, tmp_path / "checkpoints")
    translate(result, store.directory, None, result / "translations", TranslationSettings(precision="fp32"))
    common = {"dataset": "tiny", "name": "judge", "seed": 0, "image_size": 16}
    for config, message in (
        ({}, "predicts expression, but this method needs a classifier of attributes"),
        ({"predicts": "attributes", "names": ["Young", "Smiling"]}, "was not trained on Bald"),
    ):
        given = {**common, "config": {"network": "small", "width": 4, **config}, "training": {"steps": 1}}
        pretrain_classifier(given, store.directory, judge, tmp_path / "state")
        with pytest.raises(UserError, match=message):
            evaluate(
                EvaluationSettings(metrics=METRICS, bootstrap=20), result, store.directory, judge, None, None,
                tmp_path / "weights", result / "metrics.json",
            )  # fmt: skip


def test_metrics_of_expressions_say_so() -> None:
    needing = {name for name, module in metric_modules(METRICS).items() if getattr(module, "NEEDS_EXPRESSIONS", False)}
    assert needing == {
        "classifier_accuracy", "eea", "preservation_error", "au_error", "expression_distance", "reconstruction"
    }  # fmt: skip


def test_a_dataset_without_the_attributes_is_named(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store")
    with pytest.raises(UserError, match=r"stargan_attributes\.condition.*Young"):
        train_method(settings("stargan"), store.directory, {}, tmp_path / "r", tmp_path / "c")


def test_the_entries_are_told_the_13_attributes() -> None:
    params = load("params.yaml")
    for scale, judge in (("paper", "attributes"), ("demo", "small_attributes"), ("smoke", "small_attributes")):
        assert classifier_of(params, "celeba", "secgan_attributes", scale) == judge
        assert classifier_of(params, "celeba", "secgan", scale) == params["scales"][scale]["classifier"] != judge
        told = resolve_classifier(params, "celeba", judge, scale)
        assert told["config"]["predicts"] == "attributes" and not told["training"].get("balanced")
    for name in ("stargan_diff_attributes", "secgan_attributes", "secgan_attgan_attributes", "attgan_attributes"):
        told = resolve(params, "celeba", name)["condition"]
        assert tuple(told["names"]) == SECGAN_ATTRIBUTES and told["space"] == "attributes"
