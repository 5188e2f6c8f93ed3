"""Settings with all their defaults, lengths in epochs, image sizes of datasets, and the two protocols."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from mimik.components.conditions import ConditionConfig
from mimik.settings import params
from mimik.settings.checks import check_settings
from mimik.settings.complete import complete, published_network
from mimik.settings.modules import named
from mimik.training.schedule import TrainingConfig

ROOT = Path(__file__).parents[2]
SHIPPED = params.load(ROOT / "params.yaml")


@pytest.mark.parametrize("scale", ["paper", "smoke"])
@pytest.mark.parametrize("method", ["hier_seg_depth_au", "secgan_attgan", "cascade_ef_gan", "icgan"])
def test_nothing_is_missing_and_overrides_win(method: str, scale: str) -> None:
    settings = complete(SHIPPED, "synthetic", method, scale)
    module = named("methods", settings["module"], "")
    assert set(settings["config"]) == {field.name for field in dataclasses.fields(module.Config)}
    assert set(settings["training"]) == {field.name for field in dataclasses.fields(TrainingConfig)}
    assert set(settings["condition"]) == {field.name for field in dataclasses.fields(ConditionConfig)}
    for guide, values in settings["guidance"].items():
        assert set(values) == {field.name for field in dataclasses.fields(named("guidance", guide, "").Config)}
    overrides = params.resolve(SHIPPED, "synthetic", method, scale)
    flat = params.flatten(settings)
    for key, value in params.flatten(overrides).items():
        if value not in ({}, None):
            assert flat[key] == (tuple(value) if isinstance(value, list) else value), key
    assert set(settings["networks"]) == set(settings["pretrained"])
    assert set(settings["judges"]) == {"classifier", "reader"}


def test_networks_have_their_published_schedules_and_details() -> None:
    bisenet, unet = (published_network("segmenters", name) for name in ("bisenet", "unet"))
    assert (bisenet["training"]["batch_size"], bisenet["training"]["steps"]) == (32, 80_000)
    assert (unet["training"]["batch_size"], unet["training"]["steps"]) == (8, 1_000_000)
    assert bisenet["config"]["ohem"] and not unet["config"]["ohem"]
    assert published_network("depth_networks", "depth_network")["training"]["batch_size"] == 15


def test_a_length_in_steps_takes_the_place_of_one_in_epochs() -> None:
    published = {"epochs": 30, "steps": 900, "decay_every": "epoch", "batch_size": 4}
    assert params.merged_training(published, {"steps": 5}) == {"steps": 5, "batch_size": 4}
    assert params.merged_training(published, {"epochs": 2}) == {**published, "epochs": 2}
    assert params.merged_training({"steps": 5}, {"epochs": 2, "steps": 1}) == {"epochs": 2, "steps": 1}
    # Through all places where a training may be overridden.
    smoke = complete(SHIPPED, "synthetic", "ganimation", "smoke")["training"]
    assert (smoke["steps"], smoke["epochs"]) == (6, None)
    paper = complete(SHIPPED, "affectnet", "ganimation", "paper")["training"]
    assert (paper["epochs"], paper["decay_every"]) == (30, "epoch")


def test_a_dataset_has_its_own_image_size_for_everything_that_is_trained_on_it() -> None:
    for dataset, size in {
        "affectnet": 256,
        "affectnet200k": 128,
        "rafd90_basic": 128,
        "rafd3": 128,
        "rafd_d": 256,
        "cfee": 128,
        "celeba": 128,
        "celeba_hq": 256,
        "celeba_hq_128": 128,
    }.items():
        settings = complete(SHIPPED, dataset, "stargan", "paper")
        assert settings["image_size"] == size
        assert settings["judges"]["classifier"]["image_size"] == size
        assert params.resolve_segmenter(SHIPPED, dataset, "unet", "paper")["image_size"] == size
        assert params.resolve(SHIPPED, dataset, "stargan", "demo")["image_size"] == 64
        assert "image_size" not in params.resolve_dataset(SHIPPED, dataset, "paper")["options"]


def test_under_the_protocol_equal_all_systems_are_trained_for_equally_many_steps_in_equal_batches() -> None:
    equal = {**SHIPPED, "protocol": "equal"}
    seen = {"published": set(), "equal": set()}
    for protocol, values in (("published", SHIPPED), ("equal", equal)):
        for method in SHIPPED["systems"]:
            settings = complete(values, "affectnet", method, "paper")
            training = settings["training"]
            assert settings["protocol"] == protocol
            updates = settings["config"].get("critic_updates")
            seen[protocol].add((training["steps"], training["batch_size"], training["epochs"]))
            assert protocol == "published" or updates in (5, None)
    assert seen["equal"] == {(40_000, 16, None)}
    assert len(seen["published"]) > 5


@pytest.mark.parametrize("scale", ["paper", "laptop", "demo", "smoke"])
@pytest.mark.parametrize("protocol", params.PROTOCOLS)
def test_icgan_has_steps_left_for_its_encoders(protocol: str, scale: str) -> None:
    settings = complete({**SHIPPED, "protocol": protocol}, "synthetic", "icgan", scale)
    assert settings["config"]["gan_steps"] < settings["training"]["steps"]


def test_results_of_a_scale_without_equal_lengths_are_not_called_equal() -> None:
    values = {**copy.deepcopy(SHIPPED), "protocol": "equal"}
    del values["scales"]["demo"]["equal"]
    assert complete(values, "synthetic", "icgan", "demo") == complete(SHIPPED, "synthetic", "icgan", "demo")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"training": {"epoch": 3}}, "scales.smoke.equal.training: unknown setting epoch"),
        ({"methods": {"relative_au": {"critic_update": 5}}}, "scales.smoke.equal.methods.relative_au: unknown setting"),
    ],
)
def test_faults_of_a_protocol_are_told(change: dict[str, Any], told: str) -> None:
    values = copy.deepcopy(SHIPPED)
    values["scales"]["smoke"]["equal"] = change
    with pytest.raises(params.UserError, match=told):
        check_settings(values)
