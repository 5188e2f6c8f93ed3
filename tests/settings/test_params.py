import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mimik.errors import UserError
from mimik.settings import params
from mimik.settings.configuration import build

ROOT = Path(__file__).parents[2]
SHIPPED = params.load(ROOT / "params.yaml")
SMALL = yaml.safe_load((ROOT / "tests/workflow/params.yaml").read_text(encoding="utf-8"))


def faults(change: Any) -> str:
    values = copy.deepcopy(SMALL)
    change(values)
    with pytest.raises(UserError) as failure:
        params.validate(values, ROOT / params.SCHEMA)
    return str(failure.value)


def test_the_method_wins_over_the_scale_and_groups_are_merged() -> None:
    values = copy.deepcopy(SMALL)
    values["scales"]["demo"]["training"] = {"steps": 2, "batch_size": 8, "learning_rate": 0.1}
    values["scales"]["demo"]["methods"] = {
        "stargan": {"width": 4, "critic": {"layers": 2, "width": 8}, "training": {"batch_size": 16}}
    }
    values["methods"]["stargan"] = {
        "method": "stargan", "critic": {"layers": 3}, "training": {"learning_rate": 0.5}
    }  # fmt: skip
    settings = params.resolve(values, "synthetic", "stargan")
    assert settings["config"] == {"width": 4, "critic": {"layers": 3, "width": 8}}
    assert settings["training"] == {"steps": 2, "batch_size": 16, "learning_rate": 0.5}
    assert (settings["module"], settings["pretrained"], settings["scale"]) == ("stargan", {}, "demo")


def test_an_entry_may_have_another_schedule_at_one_scale() -> None:
    values = copy.deepcopy(SMALL)
    values["methods"]["stargan"]["scales"] = {"demo": {"training": {"steps": 7}, "width": 3}}
    settings = params.resolve(values, "synthetic", "stargan")
    assert settings["training"] == {"steps": 7, "learning_rate": 0.001} and settings["config"] == {"width": 3}
    smoke = params.resolve(values, "synthetic", "stargan", "smoke")
    assert smoke["training"] == {"steps": 1, "learning_rate": 0.001} and smoke["config"] == {}
    assert "'huge' is not under 'scales'" in faults(lambda v: v["methods"]["stargan"].update(scales={"huge": {}}))
    belongs = {"scales": {"demo": {"starts_from": "hier_seg"}}}
    assert "belongs to the whole entry" in faults(lambda v: v["methods"]["stargan"].update(belongs))


def test_what_a_method_starts_from_and_is_told_is_no_part_of_its_config() -> None:
    values = copy.deepcopy(SMALL)
    values["methods"]["hier_seg"] |= {
        "starts_from": "stargan", "condition": {"form": "relative"}, "guidance": {"depth": {"weight": 0.1}}, "phi": 3.0
    }  # fmt: skip
    values["scales"]["demo"]["guidance"] = {"depth": {"weight": 0.5, "width": 8}, "semantic": {"width": 4}}
    settings = params.resolve(values, "synthetic", "hier_seg")
    assert settings["pretrained"] == {"segmenter": "bisenet"} and settings["starts_from"] == "stargan"
    assert settings["condition"] == {"form": "relative"} and settings["freeze"] is None
    assert settings["guidance"] == {"depth": {"weight": 0.1, "width": 8}}
    assert settings["config"] == {"phi": 3.0}
    values["methods"]["hier_seg"] |= {"starts_from": "affectnet/stargan", "freeze": ["generator.*"]}
    assert params.starts_from(values, "synthetic", "hier_seg") == ("affectnet", "stargan")
    settings = params.resolve(values, "synthetic", "hier_seg")
    assert settings["starts_from"] == "affectnet/stargan" and settings["freeze"] == ["generator.*"]
    assert params.resolve(values, "affectnet", "hier_seg")["starts_from"] == "stargan"


def test_the_scale_is_the_argument_then_the_command_line_then_the_datasets_own() -> None:
    assert params.scale_of(SMALL, "synthetic") == "demo"
    assert params.scale_of({**SMALL, "scale": "smoke"}, "synthetic") == "smoke"
    assert params.scale_of({**SMALL, "scale": "smoke"}, "synthetic", "demo") == "demo"
    assert params.resolve({**SMALL, "scale": "smoke"}, "synthetic", "stargan")["training"]["steps"] == 1


def test_a_preparation_sees_nothing_of_training_or_evaluation() -> None:
    values = copy.deepcopy(SMALL)
    values["datasets"]["synthetic"] |= {"evaluation": {"bootstrap": 3}, "scales": {"smoke": {"sizes": [64, 32]}}}
    assert params.resolve_dataset(values, "synthetic") == {
        "dataset": "synthetic",
        "module": "synthetic",
        "seed": 0,
        "options": {"ground_truth": True, "classes": ["neutral", "happiness"], "sizes": [64], "name": "synthetic"},
    }
    assert params.resolve_dataset(values, "synthetic", "smoke")["options"]["sizes"] == [64, 32]
    assert params.resolve_evaluation(values, "synthetic", "stargan")["evaluation"]["bootstrap"] == 3


def test_an_entry_may_be_another_selection_of_a_modules_archive() -> None:
    values = copy.deepcopy(SMALL)
    values["datasets"]["few"] = {**values["datasets"]["affectnet"], "dataset": "affectnet", "per_class": 5}
    params.validate(values, ROOT / params.SCHEMA)
    assert params.dataset_module(values, "few") == params.dataset_module(values, "affectnet") == "affectnet"
    settings = params.resolve_dataset(values, "few")
    assert (settings["dataset"], settings["module"]) == ("few", "affectnet")
    assert settings["options"]["name"] == "few"
    assert settings["options"]["per_class"] == 5
    assert "dataset" not in settings["options"]
    assert params.resolve(values, "few", "stargan")["dataset"] == "few"


def test_no_training_mirrors_a_dataset_whose_sides_differ() -> None:
    values = copy.deepcopy(SMALL)
    values["methods"]["stargan"]["training"]["flip"] = True
    for flip in (True, False):
        values["datasets"]["synthetic"]["flip"] = flip
        assert params.resolve(values, "synthetic", "stargan")["training"]["flip"] is flip
        for group, name in (("segmenter", "bisenet"), ("classifier", "small"), ("reader", "face_reader")):
            training = getattr(params, f"resolve_{group}")(values, "synthetic", name)["training"]
            assert training == ({} if flip else {"flip": False}), group
        assert "flip" not in params.resolve_dataset(values, "synthetic")["options"]
    assert SHIPPED["datasets"]["synthetic"]["flip"] is False
    assert "expected true or false" in faults(lambda v: v["datasets"]["synthetic"].update(flip="no"))


def test_an_automatic_segmenter_is_the_scales() -> None:
    values = copy.deepcopy(SMALL)
    values["segmenters"]["unet"] = {"network": "unet"}
    values["scales"]["smoke"]["segmenter"] = "unet"
    values["methods"]["hier_seg"]["segmenter"] = "auto"
    for scale, name in (("demo", "bisenet"), ("smoke", "unet")):
        assert params.pretrained_of(values, "synthetic", "hier_seg", scale) == {"segmenter": ("synthetic", name)}
        assert params.resolve(values, "synthetic", "hier_seg", scale)["pretrained"] == {"segmenter": name}
    assert params.pretrained_of(values, "synthetic", "stargan") == {}
    assert "scales.demo.segmenter: 'unet'" in faults(lambda v: v["scales"]["demo"].update(segmenter="unet"))


def test_a_segmenter_may_be_trained_on_another_dataset() -> None:
    values = copy.deepcopy(SMALL)
    values["segmenters"]["unet"] = {"network": "unet"}
    values["scales"]["demo"]["segmenter"] = "affectnet/bisenet"
    entry = values["methods"]["hier_seg"]
    expected = {
        "unet": ("synthetic", "unet"),
        "affectnet/unet": ("affectnet", "unet"),
        "synthetic/unet": ("synthetic", "unet"),
        "auto": ("affectnet", "bisenet"),
        "auto/unet": ("affectnet", "unet"),
    }
    for reference, network in expected.items():
        entry["segmenter"] = reference
        params.validate(values, ROOT / params.SCHEMA)
        assert params.pretrained_of(values, "synthetic", "hier_seg") == {"segmenter": network}
        name = network[1] if network[0] == "synthetic" else "/".join(network)
        for settings in (params.resolve, params.resolve_evaluation):
            assert settings(values, "synthetic", "hier_seg")["pretrained"] == {"segmenter": name}, reference
    # A dataset may insist on its own, at all scales or at one; its preparation does not see that.
    prepared = params.resolve_dataset(values, "synthetic")
    for own in ({"own_segmenter": True}, {"scales": {"demo": {"own_segmenter": True}}}):
        theirs = {**values, "datasets": {**values["datasets"], "synthetic": {**values["datasets"]["synthetic"], **own}}}
        params.validate(theirs, ROOT / params.SCHEMA)
        assert params.resolve_dataset(theirs, "synthetic") == prepared
        for reference, network in expected.items():
            entry["segmenter"] = reference
            wanted = ("synthetic", network[1]) if reference.startswith("auto") else network
            assert params.pretrained_of(theirs, "synthetic", "hier_seg") == {"segmenter": wanted}, reference


@pytest.mark.parametrize("dataset", ["affectnet", "affectnet_d", "rafd90", "rafd3", "celeba", "celeba_hq"])
def test_the_published_segmenters_learn_from_celebamask_hq(dataset: str) -> None:
    networks = {
        "hier_seg": "bisenet", "hier_seg_frozen": "bisenet", "hier_seg_unet": "unet", "hier_seg_unet_frozen": "unet",
        "hier_seg_pretrain_10": "bisenet_10", "hier_seg_pretrain_20": "bisenet_20",
        "hier_seg_pretrain_50": "bisenet_50",
        "hier_seg_no_mouth": "bisenet", "hier_seg_w_5_0_5": "bisenet", "secgan": "bisenet", "secgan_attgan": "bisenet",
        "secgan_attributes": "bisenet", "stargan_concat_attributes": "bisenet", "attgan_concat": "bisenet",
    }  # fmt: skip
    for method, name in networks.items():
        settings = params.resolve(SHIPPED, dataset, method, "paper")
        assert settings["pretrained"] == {"segmenter": f"celebamask_hq/{name}"}, method
    assert params.resolve(SHIPPED, "celebamask_hq", "hier_seg", "paper")["pretrained"] == {"segmenter": "bisenet"}


def test_datasets_that_anybody_has_need_no_other_for_their_segmenter() -> None:
    for dataset in ("synthetic", "synthetic_evening", "open_faces", "folder"):
        for scale, name in (("paper", "bisenet"), ("demo", "unet"), ("smoke", "unet")):
            assert params.resolve(SHIPPED, dataset, "hier_seg", scale)["pretrained"] == {"segmenter": name}


def test_only_a_dataset_with_ground_truth_has_a_reader() -> None:
    assert params.reader_of(SMALL, "synthetic") == "face_reader"
    assert params.reader_of(SMALL, "affectnet") is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v.pop("seed"), "missing: seed. Each has to be in params.yaml or in a .yaml file of"),
        (lambda v: v.update(sede=1), "sede: nothing reads this. Nearest of 22: seed."),
        (lambda v: v.update(seed=-1), "seed: expected a whole number from 0 to 9223372036854775807; it is -1"),
        (lambda v: v.update(seed=10**30), "seed: expected a whole number from 0 to"),
        (lambda v: v["methods"]["stargan"]["training"].update(steps=10**400), "steps: expected a whole number from 1"),
        (lambda v: v.update(experiments=[]), "at least one {dataset: NAME, method: NAME}"),
        (lambda v: v["experiments"].append(dict(v["experiments"][0])), "none of them twice"),
        (lambda v: v["experiments"][0].update(dataset="sintetic"), "experiments.0.dataset: 'sintetic'"),
        (
            lambda v: v["datasets"]["affectnet"].update(label_quality={"classifier": "smal"}),
            "datasets.affectnet.label_quality.classifier: 'smal' is not under 'classifiers'",
        ),
        (lambda v: v["methods"]["hier_seg"].update(segmenter="unet"), "methods.hier_seg.segmenter: 'unet'"),
        (lambda v: v["methods"]["hier_seg"].update(segmenter="affectnet/unet"), "hier_seg.segmenter: 'unet' is not"),
        (lambda v: v["methods"]["hier_seg"].update(segmenter="celeba/bisenet"), "'celeba' is not under 'datasets'. "),
        (lambda v: v["methods"]["hier_seg"].update(segmenter="/bisenet"), "'' is not under 'datasets'"),
        (lambda v: v["scales"]["demo"].update(segmenter="auto"), "scales.demo.segmenter: 'auto' is not under"),
        (lambda v: v["scales"]["demo"].update(segmenter="celeba/bisenet"), "scales.demo.segmenter: 'celeba' is not"),
        (lambda v: v["scales"]["demo"].update(methods={"stargan": {"segmenter": "celeba/bisenet"}}), "'celeba' is not"),
        (lambda v: v["methods"]["hier_seg"].update(depth_network="affectnet/depth"), "'affectnet/depth' is not under"),
        (lambda v: v["datasets"].update(auto={**v["datasets"]["affectnet"], "dataset": "affectnet"}), "datasets.auto"),
        (
            lambda v: (
                v["datasets"]["affectnet"].update(annotations=["landmarks"])
                or v["methods"]["hier_seg"].update(segmenter="affectnet/bisenet")
            ),
            "a segmenter of 'affectnet' learns from its masks",
        ),
        (lambda v: v["methods"]["hier_seg"].update(starts_from="stargun"), "methods.hier_seg.starts_from: 'stargun'"),
        (lambda v: v["methods"]["hier_seg"].update(starts_from="face/stargan"), "starts_from: 'face' is not under 'da"),
        (lambda v: v["methods"]["hier_seg"].update(starts_from="stargan"), "expected another entry of the method 'hi"),
        (lambda v: v["methods"]["stargan"].update(starts_from="stargan"), "cannot start from itself. To train on"),
        (lambda v: v["methods"]["stargan"].update(starts_from="affectnet/stargan"), "cannot start from itself"),
        (
            lambda v: v["methods"].update(
                stargan={"method": "stargan", "starts_from": "affectnet/c"},
                b={"method": "stargan", "starts_from": "stargan"},
                c={"method": "stargan", "starts_from": "b"},
            ),
            "methods.b.starts_from: b starts from stargan starts from c starts from b. Take one of these out of the",
        ),
        (lambda v: v["methods"]["stargan"].update(freeze="generator.*"), "methods.stargan.freeze: expected a list of"),
        (lambda v: v["methods"]["stargan"].update(scales={"demo": {"freeze": [1]}}), "demo.freeze.0: expected a text"),
        (lambda v: v["methods"]["hier_seg"].update(guidance={"dept": {}}), "no module 'dept' in mimik.guidance"),
        (lambda v: v["scales"]["demo"].update(classifier="vgg"), "Known: attributes, small"),
        (lambda v: v["scales"]["demo"].update(attribute_classifier="small"), "demo.attribute_classifier: expected a"),
        (lambda v: v["scales"]["demo"].update(classifier="attributes"), "'attributes' predicts attributes"),
        (lambda v: v["scales"]["demo"].update(methods={"hier_sge": {}}), "Known: hier_seg, stargan"),
        (lambda v: v["scales"]["demo"].update(segmenters={"unet": {}}), "Known: bisenet"),
        (lambda v: v["scales"]["smoke"].update(image_size=128) or v.update(scale="smoke"), "Add 128 to the sizes"),
        (lambda v: v["datasets"]["synthetic"].update(sizes=[62]), "multiple of 4"),
        (lambda v: v["datasets"]["synthetic"].update(dataset="sintetic"), "datasets.synthetic: there is no module"),
        (lambda v: v["datasets"].update(few=dict(v["datasets"]["affectnet"])), "its `dataset` has to name the module"),
        (lambda v: v["datasets"]["synthetic"].update(name="x"), "datasets.synthetic.name: expected no such setting"),
        (lambda v: v["methods"]["stargan"]["training"].update(learning_rate="1e-4"), "write 1.0e-4"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place(change: Any, told: str) -> None:
    assert told in faults(change)


@pytest.mark.parametrize(
    ("masks", "told"),
    [
        ({}, "datasets.synthetic.masks_from: expected DATASET/NAME"),
        (
            {"masks_from": "nothing/bisenet"},
            "datasets.synthetic.masks_from: 'nothing' is not under 'datasets'. Known: ",
        ),
        (
            {"masks_from": "affectnet/resnet"},
            "datasets.synthetic.masks_from: 'resnet' is not under 'segmenters'. Known",
        ),
        ({"masks_from": "affectnet"}, "it is 'affectnet'"),
        ({"masks_from": "auto/bisenet"}, "datasets.synthetic.masks_from: 'auto' is not under 'datasets'"),
        ({"masks_from": "synthetic/bisenet"}, "the masks of 'synthetic' are themselves made by a segmenter"),
        ({"masks_from": "affectnet/bisenet", "masks_confidence": 1}, "masks_confidence: expected a number from 0 to"),
    ],
)
def test_a_segmenter_that_cannot_make_masks_is_told(masks: dict[str, Any], told: str) -> None:
    assert told in faults(lambda v: v["datasets"]["synthetic"].update({"masks": "segmenter", **masks}))


def test_the_masks_of_a_scale_may_come_from_a_segmenter() -> None:
    values = copy.deepcopy(SMALL)
    own = {"masks": "segmenter", "masks_from": "affectnet/bisenet"}
    values["datasets"]["synthetic"]["scales"] = {"smoke": own}
    params.validate(values, ROOT / params.SCHEMA)
    assert params.masks_of(values, "synthetic") is None
    assert params.masks_of(values, "synthetic", "smoke") == ("affectnet", "bisenet")
    assert "scales.smoke.masks_from" in faults(
        lambda v: v["datasets"]["synthetic"].update({"scales": {"smoke": {**own, "masks_from": "x/y"}}})
    )


def test_all_faults_are_told_at_once() -> None:
    message = faults(lambda v: v.update(seed=-1, scale=3))
    assert "2 setting(s)" in message
    assert message.count("\n  ") == 2


def test_a_missing_or_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [")
    with pytest.raises(UserError, match="not readable as YAML"):
        params.load(tmp_path / "params.yaml")


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'stragan' is not in params\.yaml under 'methods'. Known: hier_seg, stargan"):
        params.resolve(SMALL, "synthetic", "stragan")
    with pytest.raises(UserError, match="Known: affectnet, synthetic"):
        params.resolve(SMALL, "sintetic", "stargan")
    with pytest.raises(UserError, match=r"is unknown\. Known: demo, smoke"):
        params.resolve(SMALL, "synthetic", "stargan", "huge")


def test_the_mirror_is_the_setting_then_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMIK_MIRROR", "/variable")
    assert params.mirror_of({"mirror": "/setting"}) == Path("/setting")
    assert params.mirror_of({"mirror": None}) == Path("/variable")
    monkeypatch.delenv("MIMIK_MIRROR")
    assert params.mirror_of({"mirror": None}) is None


@given(st.recursive(st.integers(), lambda inner: st.dictionaries(st.text("ab", min_size=1), inner, max_size=3)))
def test_flattening_keeps_every_value(tree: Any) -> None:
    def leaves(value: Any) -> int:
        return sum(map(leaves, value.values())) if isinstance(value, dict) and value else 1

    assert len(params.flatten({"top": tree})) == leaves({"top": tree})


def test_flat_names_are_dotted() -> None:
    assert params.flatten({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {"a.b.c": 1, "a.d": [2], "e": None}


@pytest.mark.parametrize("scale", sorted(SHIPPED["scales"]))
@pytest.mark.parametrize("method", sorted(SHIPPED["methods"]))
def test_every_shipped_method_can_be_configured_at_every_scale(method: str, scale: str) -> None:
    from mimik.components.conditions import ConditionConfig
    from mimik.training.loop import TrainingConfig
    from mimik.training.runs import guide_module, method_module

    settings = params.resolve(SHIPPED, "synthetic", method, scale)
    module = method_module(settings["module"])
    build(module.Config, settings["config"], method)
    build(TrainingConfig, {**module.TRAINING, **settings["training"]}, method)
    build(ConditionConfig, {**module.CONDITION, **settings["condition"]}, method)
    for guide, values in settings["guidance"].items():
        build(guide_module(guide).Config, values, guide)
    json.dumps(settings)


@pytest.mark.parametrize("scale", sorted(SHIPPED["scales"]))
def test_every_shipped_evaluation_and_report_can_be_configured(scale: str) -> None:
    from mimik.evaluation.measurements import EvaluationSettings
    from mimik.evaluation.translation import TranslationSettings
    from mimik.reporting.results import ReportSettings

    for dataset in SHIPPED["datasets"]:
        settings = params.resolve_evaluation(SHIPPED, dataset, "hier_seg", scale)
        build(EvaluationSettings, settings["evaluation"], dataset)
        build(TranslationSettings, params.resolve_translation(SHIPPED, dataset, "hier_seg", scale), dataset)
    build(ReportSettings, SHIPPED["report"], "report")


def test_the_published_variants_are_there() -> None:
    variants = {"frozen", "unet", "unet_frozen", "no_mouth", "no_nose", "no_eyes", "pretrain_10", "pretrain_20"}
    assert {f"hier_seg_{name}" for name in variants} | {"stargan", "hier_seg", "hier_rect"} <= set(SHIPPED["methods"])
    weights = [
        params.resolve(SHIPPED, "affectnet", name)["config"]
        for name in SHIPPED["methods"]
        if re.match("hier_seg_w_", name)
    ]
    assert len(weights) >= 8
    for config in weights:
        assert config["lambda_global"] + config["lambda_local"] + config["lambda_fusion"] == pytest.approx(1)


def test_the_cascades_start_from_an_ef_gan_and_are_shorter_where_it_is_trained_for_long() -> None:
    cascades = [name for name, entry in SHIPPED["methods"].items() if entry.get("starts_from") == "ef_gan"]
    assert {"cascade_ef_gan", "cascade_ef_gan_2", "cascade_ef_gan_linear"} <= set(cascades)
    for name in cascades:
        assert params.resolve(SHIPPED, "rafd", name, "paper")["training"]["learning_rate"] == 1e-5
        steps = [
            params.resolve(SHIPPED, "synthetic", method, "demo")["training"]["steps"] for method in ("ef_gan", name)
        ]
        assert steps[1] < steps[0]


def test_params_load_no_heavy_library() -> None:
    heavy = "{'torch', 'pandas', 'mlflow'}"
    names = "from mimik import cli; from mimik.settings import params, stages"
    code = f"import sys; {names}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_dataset_s_settings_are_checked_at_its_scales_too(tmp_path: Path) -> None:
    values = copy.deepcopy(SHIPPED)
    values["datasets"]["synthetic"]["scales"]["smoke"] |= {"sizes": 64, "flip": "no"}
    with pytest.raises(UserError) as caught:
        params.validate(values, ROOT / params.SCHEMA)
    assert "datasets.synthetic.scales.smoke.sizes: expected a list of image sides" in str(caught.value)
    assert "datasets.synthetic.scales.smoke.flip: expected true or false" in str(caught.value)
