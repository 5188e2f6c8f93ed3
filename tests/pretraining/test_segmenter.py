import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.networks.segmenter import build
from mimik.pretraining.segmenter import (
    CONFIG,
    TRAINING,
    SegmenterConfig,
    SegmenterTask,
    class_weights,
    cross_entropy,
    load,
    nested_fraction,
    ohem_cross_entropy,
    pretrain_segmenter,
    segmentation_confusion,
)
from mimik.settings.configuration import build as build_config
from mimik.settings.params import load as load_params
from mimik.settings.params import resolve_segmenter
from mimik.statistics.confusion import intersection_over_union
from mimik.storage.files import file_sha256, read_json
from mimik.training.loop import TrainingConfig

TRAIN = {"steps": 30, "batch_size": 8, "learning_rate": 3e-3, "betas": [0.9, 0.999], "log_every": 10}
PLAIN = {"jitter": 0.1, "scales": [1.0], "crop": 1.0}


def two_class_logits(losses):
    """Logits (1, 2, 1, n) whose cross-entropy with class 0 is `losses`."""
    p = torch.tensor(losses).neg().exp()
    return torch.stack([p.log(), (1 - p).log()])[None, :, None, :].requires_grad_()


def test_ohem_takes_the_hard_pixels_when_there_are_enough():
    logits = two_class_logits([0.1, 0.2, 1.0, 2.0])  # -log 0.7 = 0.357: two hard ones
    truth = torch.zeros(1, 1, 4, dtype=torch.long)
    assert ohem_cross_entropy(logits, truth, 0.7, least=1).item() == pytest.approx(1.5)


def test_ohem_takes_the_worst_pixels_when_few_are_hard():
    logits = two_class_logits([0.1, 0.2, 0.3, 2.0])
    truth = torch.zeros(1, 1, 4, dtype=torch.long)
    loss = ohem_cross_entropy(logits, truth, 0.7, least=3)
    assert loss.item() == pytest.approx((2.0 + 0.3 + 0.2) / 3)
    loss.backward()
    moved = logits.grad.abs().sum(1).flatten() > 0
    assert moved.tolist() == [False, True, True, True]


def test_ohem_agrees_with_a_sort_of_all_pixels():
    torch.manual_seed(0)
    for scale in (0.5, 8.0):
        logits, truth = torch.randn(2, 5, 8, 8) * scale, torch.randint(5, (2, 8, 8))
        losses = -logits.log_softmax(1).gather(1, truth[:, None]).flatten()
        ordered = losses.sort(descending=True).values
        least = 128 // 16
        hard = -math.log(0.7)
        expected = ordered[ordered > hard] if ordered[least] > hard else ordered[:least]
        assert ohem_cross_entropy(logits, truth).item() == pytest.approx(expected.mean().item(), rel=1e-5)


def test_ohem_follows_the_counts_whatever_they_are():
    torch.manual_seed(0)
    for scale, unknown, least in itertools.product((0.1, 2.0, 20.0), (0.0, 0.5, 0.97), (0, 1, 8, 64, 1000)):
        logits = (torch.randn(2, 5, 8, 8) * scale).requires_grad_()
        truth = torch.randint(5, (2, 8, 8)).where(torch.rand(2, 8, 8) >= unknown, 255)
        losses = F.cross_entropy(logits, truth, ignore_index=255, reduction="none").flatten()
        hard = losses[losses > -math.log(0.7)]
        worst = losses.topk(min(least, int((truth != 255).sum()))).values
        expected = hard.mean() if len(hard) > least else worst.sum() / max(1, len(worst))
        found = ohem_cross_entropy(logits, truth, 0.7, least)
        torch.testing.assert_close(found, expected)
        gradients = [torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (found, expected)]
        torch.testing.assert_close(*gradients)


def test_unknown_pixels_count_in_neither_loss():
    logits = two_class_logits([0.1, 0.2, 1.0, 2.0])
    truth = torch.tensor([[[0, 255, 0, 255]]])
    assert cross_entropy(logits, truth).item() == pytest.approx(0.55)
    assert ohem_cross_entropy(logits, truth, 0.7, least=0).item() == pytest.approx(1.0)
    assert ohem_cross_entropy(logits, truth, 0.7, least=4).item() == pytest.approx(0.55)
    nothing = torch.full((1, 1, 4), 255)
    for loss in (cross_entropy(logits, nothing), ohem_cross_entropy(logits, nothing)):
        assert loss.item() == 0
        loss.backward()


def test_class_weights_by_hand():
    masks = np.array([[[0] * 9, [0] * 7 + [1, 255]]], np.uint8)  # 16 pixels of class 0, one of class 1
    weights = class_weights(masks, 0.5)
    assert (weights[1] / weights[0]).item() == pytest.approx(4.0)
    assert (16 * weights[0] + weights[1]).item() == pytest.approx(17.0)
    assert class_weights(masks, 0.0).tolist() == pytest.approx([1.0] * 19)


def test_weighted_cross_entropy_by_hand():
    logits = two_class_logits([0.5, 1.0, 2.0])
    truth = torch.tensor([[[0, 1, 255]]])
    second = -math.log(1 - math.exp(-1.0))
    expected = (0.5 * 1 + second * 3) / 4
    assert cross_entropy(logits, truth, torch.tensor([1.0, 3.0])).item() == pytest.approx(expected)


def test_fractions_are_nested_and_depend_on_the_seed():
    rows = np.arange(100, 300)
    parts = [set(nested_fraction(rows, fraction, 0)) for fraction in (0.1, 0.2, 0.5, 1.0)]
    assert [len(part) for part in parts] == [20, 40, 100, 200]
    assert parts[0] < parts[1] < parts[2] < parts[3] == set(rows)
    assert set(nested_fraction(rows, 0.1, 1)) != parts[0]


def test_published_schedule_of_bisenet():
    config = SegmenterConfig(network="bisenet", **CONFIG["bisenet"])
    assert (config.jitter, config.crop, config.ohem, config.initial_weights) == (0.5, 448 / 512, True, "imagenet")
    training = TRAINING["bisenet"]
    assert (training["steps"], training["batch_size"], training["weight_decay"]) == (80_000, 32, 5e-4)


def test_parameter_groups_of_bisenet():
    segmenter = build({"network": "bisenet", "image_size": 32, "width": 8})
    groups = SegmenterTask(segmenter, SegmenterConfig()).segmenter_parameters()
    assert sum(len(group["params"]) for group in groups) == len(list(segmenter.parameters()))
    found = {(g["learning_rate"], g.get("weight_decay")): {id(p) for p in g["params"]} for g in groups}
    network = segmenter.network
    assert id(network.main[1].weight) in found[10.0, None]
    assert id(network.fusion.conv[1].bias) in found[10.0, 0.0]
    assert id(network.context.resnet.conv1.weight) in found[1.0, None]
    assert id(network.context.refine16.attention[2].weight) in found[1.0, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "config, least",
    [
        ({"network": "bisenet", "width": 8, "upscale": 2, **PLAIN}, 0.7),
        ({"network": "unet", "width": 4}, 0.7),
        ({"network": "bisenet", "width": 8, "jitter": 0.2, "scales": [0.75, 1.5], "crop": 0.875}, 0.5),
    ],
)
def test_training_learns_and_writes_its_folder(squares, settings, tmp_path, config, least):
    training = {**TRAIN, "schedule": "cosine", "optimiser": "adam", "weight_decay": 0.0, "warmup": 0}
    if config["network"] == "unet":
        training |= {"steps": 90, "log_every": 30, "learning_rate": 1e-2}
    given = {**settings, "config": config, "training": training}
    pretrain_segmenter(given, squares, tmp_path / "out", tmp_path / "state")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "config.json",
        "history.csv",
        "metrics.json",
        "model.safetensors",
    ]
    history = pd.read_csv(tmp_path / "out/history.csv")
    assert len(history) == 3
    assert history["segmenter/main"].iloc[-1] < 0.8 * history["segmenter/main"].iloc[0]
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["miou"] > least and metrics["images"] == 30
    assert metrics["iou_per_class"]["hair"] is None
    assert np.sum(metrics["confusion"]) == 30 * 32 * 30  # two rows of every mask are unknown
    assert metrics["miou"] == pytest.approx(
        np.mean([metrics["iou_per_class"]["background"], metrics["iou_per_class"]["skin"]]), abs=0.25
    )
    # What is loaded again is what was measured.
    store = FaceStore(squares, 32)
    mean, _ = intersection_over_union(segmentation_confusion(load(tmp_path / "out"), store, store.rows("test")))
    assert mean == pytest.approx(metrics["miou"], abs=1e-9)
    assert not (tmp_path / "state/last.pt").exists()


class Stopped(Exception):
    pass


class StopAt:
    """A logger that breaks the run off, as a crash would."""

    def __init__(self, step):
        self.step = step

    def scalars(self, step, values):
        if step == self.step:
            raise Stopped

    def image(self, step, key, path):
        raise AssertionError("no pictures here")


def test_interrupted_run_ends_with_the_same_weights(squares, settings, tmp_path):
    config = {"network": "unet", "width": 4, "jitter": 0.3, "scales": [1.0, 1.5], "crop": 0.5}
    training = {**TRAIN, "steps": 8, "log_every": 1, "checkpoint_seconds": 0.0}
    given = {**settings, "config": config, "training": training}
    pretrain_segmenter(given, squares, tmp_path / "whole", tmp_path / "state_whole")
    with pytest.raises(Stopped):
        pretrain_segmenter(given, squares, tmp_path / "cut", tmp_path / "state_cut", StopAt(5))
    assert (tmp_path / "state_cut/last.pt").exists() and not (tmp_path / "cut").exists()
    pretrain_segmenter(given, squares, tmp_path / "cut", tmp_path / "state_cut")
    for name in ("model.safetensors", "history.csv", "metrics.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    "config, training, message",
    [
        ({"network": "unet", "fraction": 0}, {}, "fraction"),
        ({"network": "unet", "ohem": True, "class_balance": 0.5}, {}, "set only one of them"),
        ({"network": "unet", "colour": 1}, {}, "unknown setting colour"),
        ({"network": "unet"}, {"ema": 0.9}, "ema must be 0"),
        ({"network": "bisenet", "initial_weights": "nowhere.pth"}, {}, r"nowhere\.pth does not exist"),
        ({"network": "unet", "initial_weights": "nowhere.pth"}, {}, "for BiSeNet"),
    ],
)
def test_impossible_settings_are_refused(squares, settings, tmp_path, config, training, message):
    given = {**settings, "config": config, "training": training}
    with pytest.raises(UserError, match=message):
        pretrain_segmenter(given, squares, tmp_path / "out", tmp_path / "state")


def test_imagenet_weights_start_the_context_path(squares, settings, tmp_path):
    state = build({"network": "bisenet", "image_size": 32}).network.context.resnet.state_dict()
    torch.save({**state, "fc.weight": torch.zeros(1000, 512)}, tmp_path / "resnet18.pth")
    config = {"network": "bisenet", "initial_weights": str(tmp_path / "resnet18.pth"), **PLAIN}
    training = {"steps": 1, "batch_size": 2, "learning_rate": 1e-9, "weight_decay": 0.0, "warmup": 0}
    given = {**settings, "config": config, "training": training}
    pretrain_segmenter(given, squares, tmp_path / "out", tmp_path / "state")
    trained = load(tmp_path / "out").network.context.resnet
    torch.testing.assert_close(trained.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet18.pth")
    with pytest.raises(UserError, match="not the weights of ResNet-18"):
        pretrain_segmenter(given, squares, tmp_path / "out2", tmp_path / "state2")


def test_published_start_is_imagenet_where_the_file_is_placed(squares, settings, tmp_path, monkeypatch, capsys):
    state = build({"network": "bisenet", "image_size": 32}).network.context.resnet.state_dict()
    # As old as the file: the counter of batch normalisation was not stored then.
    old = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    torch.save({**old, "fc.weight": torch.zeros(1000, 512)}, mirror / "resnet18-5c106cde.pth")
    training = {"steps": 1, "batch_size": 2, "learning_rate": 1e-9, "weight_decay": 0.0, "warmup": 0}
    config = {key: value for key, value in PLAIN.items() if key != "initial_weights"}
    given = {**settings, "config": {"network": "bisenet", **config}, "training": training, "mirror": str(mirror)}
    with pytest.raises(UserError, match="does not begin with 5c106cde"):
        pretrain_segmenter(given, squares, tmp_path / "out", tmp_path / "state")
    sha256 = file_sha256(mirror / "resnet18-5c106cde.pth")
    monkeypatch.setattr("mimik.pretraining.segmenter.RESNET18", f"resnet18-{sha256[:8]}.pth")
    (mirror / "resnet18-5c106cde.pth").rename(mirror / f"resnet18-{sha256[:8]}.pth")
    pretrain_segmenter(given, squares, tmp_path / "out", tmp_path / "state")
    trained = load(tmp_path / "out").network.context.resnet
    torch.testing.assert_close(trained.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    assert read_json(tmp_path / "out" / "config.json")["config"]["initial_weights"] == sha256
    capsys.readouterr()
    pretrain_segmenter({**given, "mirror": None}, squares, tmp_path / "out2", tmp_path / "state2")
    assert read_json(tmp_path / "out2" / "config.json")["config"]["initial_weights"] == "random"
    assert "starts from random weights and not, as published, from those of ImageNet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("bisenet", {"steps": 80_000, "batch_size": 32, "learning_rate": 1e-2, "schedule": "poly", "warmup": 1000}),
        ("unet", {"steps": 1_000_000, "batch_size": 8, "learning_rate": 2e-4, "schedule": "constant"}),
    ],
)
def test_what_params_resolve_to_at_scale_paper_is_the_published_schedule(name: str, published: dict[str, Any]) -> None:
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    settings = resolve_segmenter(params, "celebamask_hq", name, "paper")
    training = build_config(TrainingConfig, {**TRAINING[name], **settings["training"]}, name)
    assert {key: getattr(training, key) for key in published} == published
