"""Weights of released names and shapes become results: what these compute is what the released code would compute."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mimik import cli
from mimik.errors import UserError
from mimik.evaluation.evaluate import evaluate
from mimik.evaluation.measurements import EvaluationSettings
from mimik.evaluation.translation import TranslationSettings, translate
from mimik.faces.prepared.store import FaceStore
from mimik.labels import SECGAN_ATTRIBUTES, SEGMENTATION_CLASSES
from mimik.networks.segmenter import load as load_segmenter
from mimik.pretraining.predicted_masks import PredictedMasks
from mimik.released.importing import import_method, import_segmenter
from mimik.released.stargan import CELEBA, RAFD
from mimik.reporting.report import method_report
from mimik.settings.imported import imported_methods, imported_segmenters, is_imported
from mimik.settings.params import load, resolve, resolve_segmenter
from mimik.storage.files import read_json, write_json
from mimik.tracking.runs import evaluated_run
from mimik.training.batches import to_tensor
from mimik.training.runs import load_method
from tests.released import drawn
from tests.tiny import make_store

SIZE = 64
RELEASED_CLASSES = {
    "face_parsing": "background skin l_brow r_brow l_eye r_eye eye_g l_ear r_ear ear_r nose mouth u_lip l_lip neck "
    "neck_l cloth hair hat",
    "celebamask_hq": "background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip hair hat "
    "ear_r neck_l neck cloth",
}
OTHER_SIDE = {f"{side}_{part}": f"{other}_{part}" for side, other in ("lr", "rl") for part in ("eye", "brow", "ear")}


def store_of(folder: Path, attributes: Any = (), classes: int = 4) -> FaceStore:
    """Sixteen faces of SIZE px with the given attributes."""
    store = make_store(folder, size=SIZE, classes=classes, count=24)
    random = np.random.default_rng(5)
    rows = store.table.index[store.table["split"] == "val"]
    store.table.loc[rows[2:], "split"] = "train"  # an import draws the validation faces
    for name in attributes:
        store.table[f"attribute_{name}"] = random.integers(0, 2, len(store.table))
    store.table.to_csv(folder / "index.csv", index=False)
    return FaceStore(folder, SIZE)


def settings(module: str, condition: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": "tiny", "method": f"{module}_released", "module": module, "scale": "paper", "seed": 0,
        "image_size": SIZE, "pretrained": {}, "starts_from": None, "guidance": {}, "condition": condition,
        "config": config, "training": {}, "run_key": "0" * 16,
    }  # fmt: skip


def written(state: dict[str, Any], folder: Path, how: str = "zip") -> Path:
    """The file as one of the codes saves it."""
    if how == "safetensors":
        save_file(state, folder / "weights.safetensors")
        return folder / "weights.safetensors"
    if how == "parallel":
        state = {f"module.{name}": value for name, value in state.items()}
    torch.save(state, folder / "weights.pth", _use_new_zipfile_serialization=how != "legacy")
    return folder / "weights.pth"


def edits(method: Any, store: FaceStore, source: Tensor, target: Tensor) -> Tensor:
    with torch.inference_mode():
        result: Tensor = method.translate(to_tensor(store.images[: len(source)]), source, target)
    return result


def test_drawn_networks_have_the_released_sizes() -> None:
    assert drawn.count(drawn.stargan_shapes(5)) == 8_430_528
    assert drawn.count(drawn.attgan_shapes(13)) == 43_459_203
    assert drawn.count(drawn.attgan_shapes(13, inject=0)) == 43_352_707
    assert drawn.count(drawn.bisenet_shapes()) == 13_300_416
    assert drawn.count(drawn.unet_shapes()) == 1_944_355


@pytest.mark.parametrize("how", ["zip", "legacy", "parallel", "safetensors"])
def test_stargan_of_celeba(how: str, tmp_path: Path) -> None:
    names = ["Young", "Brown_Hair", "Male", "Black_Hair", "Blond_Hair"]  # another order than the released one
    store = store_of(tmp_path / "store", names)
    state = drawn.drawn(drawn.stargan_shapes(5, 8, 2))
    entry = settings("stargan", {"space": "attributes", "names": names}, {"conv_dim": 8, "residual_blocks": 2})
    file = written(state, tmp_path, how)
    output = tmp_path / "results" / "tiny" / "stargan_released"
    import_method(entry, file, "stargan", [], store.directory, output)
    method, config = load_method(output)
    target = torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 1.0]])
    made = edits(method, store, torch.zeros(2, 5), target)
    labels = target[:, [names.index(name) for name in CELEBA]]
    expected = drawn.stargan_forward(state, to_tensor(store.images[:2]), labels, 2)
    assert (made - expected).abs().max() < 1e-5 < expected.std()
    assert config["imported"]["repository"] == "yunjey/stargan"
    assert config["imported"]["labels"] == list(CELEBA) and config["training"] == {}


@pytest.mark.slow
def test_stargan_of_celeba_at_its_own_size_and_all_later_verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = load("params.yaml")
    monkeypatch.chdir(tmp_path)  # where MLflow puts what it is given
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    store = store_of(tmp_path / "store", CELEBA)
    state = drawn.drawn(drawn.stargan_shapes(5))
    entry = settings("stargan", {"space": "attributes", "names": list(CELEBA)}, {})
    output = tmp_path / "results" / "tiny" / "stargan_released"
    import_method(entry, written(state, tmp_path), "stargan", [], store.directory, output)
    method, _ = load_method(output)
    target = torch.eye(5)[:1]
    expected = drawn.stargan_forward(state, to_tensor(store.images[:1]), target)
    assert (edits(method, store, target, target) - expected).abs().max() < 1e-5
    assert sorted(file.name for file in output.iterdir()) == [
        "config.json", "generator.safetensors", "history.csv", "samples.png"
    ]  # fmt: skip
    translate(output, store.directory, None, output / "translations", TranslationSettings(limit=2))
    assert read_json(output / "translations" / "manifest.json")["classes"] == list(CELEBA)
    evaluation = EvaluationSettings(metrics=("cycle", "attribute_accuracy"), bootstrap=20)
    weights = tmp_path / "weights"
    evaluate(evaluation, output, store.directory, None, None, None, weights, output / "metrics.json")
    assert read_json(output / "metrics.json")["metrics"]["cycle_l1"]["n"] == 10
    method_report(output, store.directory, output / "report.html", params["report"])
    page = (output / "report.html").read_text(encoding="utf-8")
    assert "imported: weights.pth of yunjey/stargan" in page and "fewer than two rows" in page
    with evaluated_run(output, store.directory) as run:
        assert run  # MLflow takes it as any other result
    assert imported_methods(tmp_path) == ["tiny/stargan_released"]


def test_stargan_of_rafd_in_the_order_of_its_folders(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", classes=8)
    assert store.classes[:2] == ["neutral", "happiness"]
    state = drawn.drawn(drawn.stargan_shapes(8, 8, 1))
    output = tmp_path / "result"
    entry = settings("stargan", {}, {"conv_dim": 8, "residual_blocks": 1})
    for _ in range(2):  # again, over what was imported: fine
        import_method(entry, written(state, tmp_path), "stargan", [], store.directory, output)
    method, _ = load_method(output)
    for place, folder in enumerate(("angry", "contemptuous", "disgusted", "fearful", "happy", "neutral", "sad")):
        wanted = {"angry": "anger", "happy": "happiness", "fearful": "fear", "sad": "sadness"}.get(folder, folder)
        wanted = {"contemptuous": "contempt", "disgusted": "disgust"}.get(wanted, wanted)
        target = torch.eye(8)[[store.classes.index(wanted)]]
        expected = drawn.stargan_forward(state, to_tensor(store.images[:1]), torch.eye(8)[[place]], 1)
        assert (edits(method, store, target, target) - expected).abs().max() < 1e-5, folder
    assert RAFD[7] == "surprise"


def test_labels_of_a_training_of_ones_own(tmp_path: Path) -> None:
    names = ["Smiling", "Male"]
    store = store_of(tmp_path / "store", names)
    state = drawn.drawn(drawn.stargan_shapes(2, 8, 1))
    entry = settings("stargan", {"space": "attributes", "names": names}, {"conv_dim": 8, "residual_blocks": 1})
    file = written(state, tmp_path)
    with pytest.raises(UserError, match="its generator is told Smiling, Male, the weights know Black_Hair"):
        import_method(entry, file, "stargan", [], store.directory, tmp_path / "result")
    import_method(entry, file, "stargan", ["Male", "Smiling"], store.directory, tmp_path / "result")
    method, _ = load_method(tmp_path / "result")
    target = torch.tensor([[1.0, 0.0]])
    expected = drawn.stargan_forward(state, to_tensor(store.images[:1]), target.flip(1), 1)
    assert (edits(method, store, target, target) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("inject", [0, 1])
def test_attgan(inject: int, tmp_path: Path) -> None:
    names = SECGAN_ATTRIBUTES[::-1]
    store = store_of(tmp_path / "store", names)
    state = drawn.drawn(drawn.attgan_shapes(13, 8, inject))
    torch.save({"G": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "weights.199.pth")
    adversary = {"conv_dim": 4, "hidden": 4, "max_conv_dim": 8}
    config = {"conv_dim": 8, "inject_layers": inject, "adversary": adversary}
    entry = settings("attgan", {"space": "attributes", "names": list(names)}, config)
    output = tmp_path / "result"
    import_method(entry, tmp_path / "weights.199.pth", "attgan", [], store.directory, output)
    method, _ = load_method(output)
    source = torch.randint(0, 2, (2, 13), generator=torch.Generator().manual_seed(3)).float()
    bald = names.index("Bald")
    target = method.condition.asked(source, torch.full((2,), -1), torch.full((2,), bald))
    # As the released test does: half for every attribute, one for the reversed one, what contradicts it taken away.
    wanted = source.clone()
    wanted[:, bald] = 1 - wanted[:, bald]
    wanted[:, names.index("Bangs")] *= 1 - wanted[:, bald]
    told = wanted - 0.5
    told[:, bald] *= 2
    expected = drawn.attgan_forward(state, to_tensor(store.images[:2]), told.flip(1), inject)
    made = edits(method, store, source, target)
    assert (made - expected).abs().max() < 1e-5 < expected.std()


@pytest.mark.slow
def test_attgan_at_its_own_size(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", SECGAN_ATTRIBUTES)
    state = drawn.drawn(drawn.attgan_shapes(13))
    torch.save({"G": state, "optim_G": {"param_groups": [{"lr": 1e-4}]}}, tmp_path / "weights.pth")
    entry = settings("attgan", {"space": "attributes", "names": list(SECGAN_ATTRIBUTES)}, {})
    import_method(entry, tmp_path / "weights.pth", "attgan", [], store.directory, tmp_path / "result")
    method, _ = load_method(tmp_path / "result")
    source = torch.ones(1, 13)
    expected = drawn.attgan_forward(state, to_tensor(store.images[:1]), source / 2)
    assert (edits(method, store, source, source) - expected).abs().max() < 1e-5


def parser(release: str, folder: Path, **changes: Any) -> tuple[Any, dict[str, Tensor], Path]:
    """An imported face parser, the weights it was made of, and its folder."""
    shapes, network = {
        "face_parsing": (drawn.bisenet_shapes(), "bisenet"),
        "celebamask_hq": (drawn.unet_shapes(), "unet"),
    }[release]
    state = drawn.drawn(shapes)
    entry = {"dataset": "hq", "name": network, "scale": "paper", "seed": 0, "image_size": SIZE, "training": {}}
    output = folder / "data" / "pretrained" / "hq" / "segmenter" / network
    (folder / "raw").mkdir(exist_ok=True)
    file = written(state, folder / "raw")
    import_segmenter({**entry, "config": {"network": network}, **changes}, file, release, folder / "store", output)
    return load_segmenter(output), state, output


@pytest.mark.parametrize("release", ["face_parsing", "celebamask_hq"])
def test_face_parsers(release: str, tmp_path: Path) -> None:
    segmenter, state, folder = parser(release, tmp_path)
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, None, :, None, None]
    with torch.inference_mode():
        if release == "face_parsing":
            expected = drawn.bisenet_forward(state, ((images + 1) / 2 - mean) / deviation)
        else:
            expected = [drawn.unet_forward(state, images)]
        made = segmenter.all_logits(images)
    theirs = RELEASED_CLASSES[release].split()
    assert len(made) == len(expected)
    for own, other in zip(made, expected, strict=True):
        for place, name in enumerate(SEGMENTATION_CLASSES):
            # The annotation's left is the person's, which stands on the right of the image.
            released = other[:, theirs.index(OTHER_SIDE.get(name, name))]
            assert (own[:, place] - released).abs().max() < 1e-5 * max(1.0, float(released.abs().max())), name
    config = read_json(folder / "config.json")
    assert config["imported"]["file"] == "weights.pth" and config["image_size"] == 512
    assert "not prepared" in read_json(folder / "metrics.json")["skipped"]
    assert imported_segmenters(tmp_path) == [f"hq/segmenter/{folder.name}"] and is_imported(folder)


def test_an_imported_parser_is_measured_where_there_are_masks_and_makes_masks(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    segmenter, _, folder = parser("celebamask_hq", tmp_path)
    metrics = read_json(folder / "metrics.json")
    assert metrics["images"] == 8 and 0 <= metrics["miou"] <= 1
    assert read_json(folder / "config.json")["dataset_digest"] == store.digest
    predicted = PredictedMasks(folder)
    assert predicted.record["name"] == "unet"
    faces = store.images[:2]
    with torch.inference_mode():
        big = torch.nn.functional.interpolate(
            to_tensor(faces), (512, 512), mode="bilinear", align_corners=False, antialias=True
        )
        logits = torch.nn.functional.interpolate(
            segmenter(big).softmax(1), (SIZE, SIZE), mode="bilinear", align_corners=False, antialias=True
        )
    assert (predicted({SIZE: faces})[SIZE] == logits.argmax(1).numpy()).mean() > 0.99


def refused(tmp_path: Path, change: Any, match: str, **entry: Any) -> None:
    store = store_of(tmp_path / "store", CELEBA)
    state: Any = change(drawn.drawn(drawn.stargan_shapes(5, 8, 1)))
    common = settings("stargan", {"space": "attributes", "names": list(CELEBA)}, {"conv_dim": 8, "residual_blocks": 1})
    with pytest.raises(UserError, match=match) as raised:
        import_method(
            {**common, **entry}, written(state, tmp_path), "stargan", [], store.directory, tmp_path / "result"
        )
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600
    assert not (tmp_path / "result").exists()


def without(name: str) -> Any:
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without("main.3.weight"), r"lacks main\.3\.weight\. Name"),
        (lambda state: {**state, "main.99.weight": torch.zeros(1)}, r"does not have: main\.99\.weight"),
        (lambda state: {**state, "main.3.weight": torch.zeros(16, 8, 3, 3)}, r"main\.3\.weight is \(16, 8, 3, 3\) whe"),
        (lambda state: {**state, "main.3.weight": 3.5}, r"main\.3\.weight is a float where"),
        (lambda state: {**state, "main.1.bias": torch.full((8,), torch.nan)}, r"8 of the 8 numbers of main\.1\.bias"),
        (lambda state: {**state, "main.0.weight": torch.zeros(8, 11, 7, 7)}, "takes 8 labels, but 5 are named"),
        (lambda state: {"G": state}, r"lacks main\.0\.weight, main\.1\.weight, main\.1\.bias and"),
        (lambda state: list(state.values()), "but it holds a list"),
    ],
)
def test_weights_that_do_not_fit_are_one_sentence(change: Any, match: str, tmp_path: Path) -> None:
    refused(tmp_path, change, match)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, lambda state: {"main.0.weight": pytest.approx(1)}, "only tensors and plain values are read")


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        ({"module": "attgan"}, "configures attgan. Weights of StarGAN's generator need"),
        ({"guidance": {"depth": {}}}, "has guidance, or starts from other networks"),
        ({"condition": {"space": "attributes", "form": "relative", "names": CELEBA}}, "is told absolute labels"),
        (
            {"config": {"conv_dim": 16, "residual_blocks": 1}},
            r"main\.0\.weight is \(8, 8, 7, 7\) where \(16, 8, 7, 7\)",
        ),
        ({"condition": {"space": "attributes", "names": ("Bald",)}}, "this dataset has"),
    ],
)
def test_entries_that_do_not_fit_are_one_sentence(entry: dict[str, Any], match: str, tmp_path: Path) -> None:
    refused(tmp_path, lambda state: state, match, **entry)


def test_what_was_trained_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "config.json").write_text(json.dumps({"module": "stargan"}))
    store = store_of(tmp_path / "store", CELEBA)
    entry = settings("stargan", {"space": "attributes", "names": list(CELEBA)}, {})
    with pytest.raises(UserError, match="holds what was trained here"):
        import_method(entry, tmp_path / "none.pth", "stargan", [], store.directory, tmp_path / "result")


def test_attgan_without_its_generator_is_told(tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", SECGAN_ATTRIBUTES)
    entry = settings("attgan", {"space": "attributes", "names": list(SECGAN_ATTRIBUTES)}, {"conv_dim": 8})
    file = written(drawn.drawn(drawn.attgan_shapes(13, 8)), tmp_path)
    with pytest.raises(UserError, match="under `G`, found enc_layers"):
        import_method(entry, file, "attgan", [], store.directory, tmp_path / "result")


def test_a_parser_of_another_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its network is unet\. Weights of the face parser BiSeNet need"):
        parser("face_parsing", tmp_path, config={"network": "unet"})
    with pytest.raises(UserError, match=r"conv1\.conv1\.0\.weight is"):
        parser("celebamask_hq", tmp_path, config={"network": "unet", "width": 8})


@pytest.fixture
def in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", "params", "workflow"):
        (tmp_path / name).symlink_to(Path(__file__).parents[2] / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2 and told in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_for_a_method(in_a_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = ["celeba", "stargan_attributes"]
    file = written(drawn.drawn(drawn.stargan_shapes(5, 8, 1)), in_a_project)
    command = ["import", *pair, str(file), "--as", "stargan", "--scale", "smoke"]
    fails(command, "data/prepared/celeba", capsys)
    store = store_of(in_a_project / "data/prepared/celeba", CELEBA)
    manifest = store.directory / "manifest.json"
    write_json(manifest, {**read_json(manifest), "dataset": "celeba", "source": "photographs"})
    cli.main(command)
    assert "mimik translate celeba stargan_attributes" in capsys.readouterr().out
    config = read_json(in_a_project / "results/celeba/stargan_attributes/config.json")
    assert config["dataset_digest"] == store.digest and len(config["run_key"]) == 16
    cli.main(["translate", *pair, "--scale", "smoke"])
    fails(["train", *pair, "--scale", "smoke"], "holds imported weights", capsys)
    fails(["import", *pair, "none.ckpt", "--as", "stargan", "--scale", "smoke"], "none.ckpt: no such file", capsys)
    shown = ["celeba", "attgan_attributes"]
    fails(["import", *shown, str(file), "--as", "stargan", "--scale", "smoke"], "configures attgan", capsys)


def test_the_command_for_a_segmenter(in_a_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(drawn.drawn(drawn.unet_shapes()), in_a_project)
    command = ["import", "celebamask_hq", "unet", str(file), "--as", "celebamask_hq"]
    cli.main(command)
    assert "is not prepared, so the masks were not measured" in capsys.readouterr().out
    fails(["pretrain", "celebamask_hq", "segmenter", "unet"], "holds imported weights", capsys)
    fails([*command, "--labels", "Male"], "--labels: the classes of face parsers are known", capsys)
    fails(["import", "celebamask_hq", "bisenet", str(file), "--as", "celebamask_hq"], "its network is bisenet", capsys)


def test_entries_that_are_shipped_fit_the_released_weights() -> None:
    params = load("params.yaml")
    entry = resolve(params, "celeba", "stargan_attributes", "paper")
    assert entry["condition"] == {"space": "attributes", "names": list(CELEBA)} and entry["config"] == {}
    entry = resolve(params, "celeba", "attgan_attributes", "paper")
    assert entry["condition"]["names"] == list(SECGAN_ATTRIBUTES) and entry["config"] == {}
    for name in ("bisenet", "unet"):
        assert resolve_segmenter(params, "celebamask_hq", name, "paper")["config"]["network"] == name
