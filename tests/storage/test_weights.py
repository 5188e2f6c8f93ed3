import copy
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mimik.errors import UserError
from mimik.labels import SEGMENTATION_CLASSES
from mimik.networks import arcface, segmenter
from mimik.networks.stored import save_network
from mimik.storage import weights
from mimik.storage.files import file_sha256
from mimik.storage.weights import MOST_NUMBERS, built, read_pth, read_safetensors, save_pth, save_safetensors
from mimik.training.runs import load_method
from tests.fuzz.inputs import make_model
from tests.tiny import make_store
from tests.training.test_loop import run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "results" / "synthetic" / "stargan")


def change(path: Path, **entries: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_generator_that_is_not_finite_is_refused_by_file_and_tensor(model: Path, value: float) -> None:
    path = model / "generator.safetensors"
    load_method(model)
    state = load_file(path)
    name = next(iter(state))
    state[name].view(-1)[0] = value
    save_file(state, path)
    with pytest.raises(UserError, match="NaN or infinite") as caught:
        load_method(model)
    told = str(caught.value)
    assert told.startswith(f"{path}: 1 of the ") and name in told and "`mimik train synthetic stargan`" in told


def test_a_pretrained_network_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "synthetic" / "segmenter" / "unet"
    network = segmenter.build({"network": "unet", "image_size": 32, "width": 4})
    record = {"kind": "segmenter", "name": "unet", "architecture": network.settings}
    save_network(folder, network, {**record, "classes": list(SEGMENTATION_CLASSES)})
    segmenter.load(folder)
    state = load_file(folder / "model.safetensors")
    name = next(name for name, value in state.items() if value.is_floating_point())
    state[name][:] = float("nan")
    save_file(state, folder / "model.safetensors")
    change(folder / "config.json", model_sha256=file_sha256(folder / "model.safetensors"))
    with pytest.raises(UserError, match=rf"model\.safetensors: .* of {name} are NaN.*mimik pretrain synthetic"):
        segmenter.load(folder)


def test_a_checkpoint_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    run(store, tmp_path / "c", steps=2)
    with pytest.raises(UserError, match="stopped"):
        stop_after_a_step(store, tmp_path / "c")
    path = tmp_path / "c" / "last.pt"
    state = torch.load(path, weights_only=True)
    broken = copy.deepcopy(state)
    broken["task"]["helper.weight"][0] = float("nan")
    torch.save(broken, path)
    with pytest.raises(UserError, match=r"last\.pt: .* of task\.helper\.weight are NaN .*Delete it to start"):
        run(store, tmp_path / "c")
    torch.save({**state, "task": {}}, path)
    with pytest.raises(UserError, match=r"last\.pt: the weights do not fit"):
        run(store, tmp_path / "c")


def stop_after_a_step(store: Any, folder: Path) -> None:
    import os
    import signal

    from tests.training.test_loop import Colour

    class Stopped(Colour):
        def model_loss(self, batch: Any, step: int) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return super().model_loss(batch, step)

    run(store, folder, Stopped())


def test_published_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / arcface.WEIGHTS
    torch.save({"input_layer.0.weight": torch.full((64, 3, 3, 3), float("nan"))}, path)
    with pytest.raises(UserError, match=r"input_layer\.0\.weight are NaN"):
        arcface.load(path)


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    path = tmp_path / "generator.safetensors"
    save_safetensors(path, {"a": torch.ones(3)})
    with pytest.raises(UserError, match="1 of the 3 numbers of a are NaN"):
        save_safetensors(path, {"a": torch.tensor([1.0, 2.0, float("nan")])})
    assert read_safetensors(path, "")["a"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\x80\x02cos\nsystem\n(S'touch x'\ntR.", b"x" * 1000])
def test_what_is_no_dict_of_tensors_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_pth(tmp_path / "last.pt", "a checkpoint", "Delete it.")
    assert "\n" not in str(caught.value)
    save_pth(tmp_path / "last.pt", {"a": torch.ones(1)})
    assert read_pth(tmp_path / "last.pt", "", "")["a"] == 1
    torch.save([1, 2], tmp_path / "last.pt")
    with pytest.raises(UserError, match="holds a list"):
        read_pth(tmp_path / "last.pt", "a checkpoint", "Delete it.")


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"architectures": {"os": {}}}, "expected segmenter or depth_network; it is 'os'"),
        ({"architectures": {"segmenter": {}}}, "does not describe a network that can be built (lacks 'image_size')"),
        (
            {"architectures": {"segmenter": {"network": "unet", "image_size": 64, "width": 10**6}}},
            "its weights do not fit",
        ),
        (
            {"architectures": {"segmenter": {"network": "unet", "image_size": 64, "width": "x"}}},
            "does not describe a network",
        ),
        ({"config": {"conv_dim": 10**6}}, "its weights do not fit into this machine's memory"),
        ({"config": {"conv_dim": 4, "residual_blocks": 1, "adversary": {"conv_dim": 4, "layers": 40}}}, "40 halvings"),
        ({"config": {"conv_dim": -4}}, "does not describe a network that can be built"),
        ({"config": {"residual_blocks": 10**9, "conv_dim": 1}}, "tensors of them"),
        ({"module": "json"}, "there is no 'json' in mimik.methods"),
        ({"module": "startgan"}, "Did you mean stargan?"),
        ({"config": {"lambda_reconstruction": 1e300}}, "expected a number of at most 1e+18"),
    ],
)
def test_a_config_that_describes_no_network_is_told(model: Path, entries: dict[str, Any], told: str) -> None:
    change(model / "config.json", **entries)
    loaded = set(sys.modules)
    with pytest.raises(UserError) as caught:
        load_method(model)
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert "mimik.networks.os" not in set(sys.modules) - loaded


def test_a_folder_that_holds_no_method_says_which_do(model: Path) -> None:
    for wrong in (model / "generator.safetensors", model.parent, model.parent.parent, model.parent / "stargna"):
        with pytest.raises(UserError, match="results/DATASET/METHOD") as caught:
            load_method(wrong)
        assert str(caught.value).startswith(f"{wrong}: ") and f"nearby: {model}" in str(caught.value)
    with pytest.raises(UserError, match="File name too long"):
        load_method(model / ("x" * 300))
    shutil.rmtree(model)
    with pytest.raises(UserError, match="no such folder"):
        load_method(model)


def test_the_limit_counts_before_memory_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_NUMBERS > 2 * 422_000_000  # three EF-GANs in a cascade, at their published sizes
    monkeypatch.setattr(weights, "MOST_NUMBERS", 1000)
    with pytest.raises(UserError, match=r"here: .*more than 1,000 weights"):
        built(lambda: nn.Linear(10**3, 10**3), "here", "Train again.")
    assert isinstance(built(lambda: nn.Linear(2, 3), "here", ""), nn.Linear)
