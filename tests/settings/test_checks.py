import copy
import dataclasses
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from mimik.errors import UserError
from mimik.settings import params
from mimik.settings.checks import check_settings
from mimik.settings.configuration import build
from mimik.settings.modules import names

ROOT = Path(__file__).parents[2]
SHIPPED = params.load(ROOT / "params.yaml")
DECLARED = [
    *((f"methods.{name}", "Config") for name in names("methods")),
    *((f"guidance.{name}", "Config") for name in names("guidance")),
    ("pretraining.segmenter", "SegmenterConfig"),
    ("pretraining.depth_network", "DepthNetworkConfig"),
    ("pretraining.classifier", "ClassifierConfig"),
    ("pretraining.reader", "ReaderConfig"),
    ("training.schedule", "TrainingConfig"),
    ("components.conditions", "ConditionConfig"),
    ("evaluation.translation", "TranslationSettings"),
    ("evaluation.measurements", "EvaluationSettings"),
    ("reporting.results", "ReportSettings"),
]


def test_the_shipped_settings_are_all_read_by_something() -> None:
    check_settings(SHIPPED)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda v: v["methods"]["hier_seg"].update(end_to_endd=1), "methods.hier_seg: unknown setting end_to_endd. N"),
        (lambda v: v["methods"]["hier_seg"].update(training={"learning_rat": 1}), "methods.hier_seg.training: unknown"),
        (lambda v: v["methods"]["hier_seg"].update(phi=-1.0), "methods.hier_seg: phi must be positive"),
        (lambda v: v["methods"]["hier_seg"].update(adversary={"layer": 1}), "methods.hier_seg.adversary: unknown"),
        (lambda v: v["methods"]["hier_seg"].update(method="hierseg"), "hier_seg.method: there is no 'hierseg'"),
        (lambda v: v["methods"]["stargan"].update(condition={"from": 1}), "methods.stargan.condition: unknown"),
        (lambda v: v["methods"]["stargan"].update(guidance={"depth": {"wieght": 1}}), "guidance.depth: unknown set"),
        (lambda v: v["methods"]["stargan"].update(scales={"smoke": {"conv_dm": 1}}), "methods.stargan: unknown"),
        (lambda v: v["scales"]["smoke"]["training"].update(step=1), "scales.smoke.training: unknown setting step"),
        (lambda v: v["scales"]["paper"].update(methods={"stargan": {"conv": 1}}), "scales.paper.methods.stargan: unk"),
        (lambda v: v["scales"]["paper"].update(guidance={"dept": {}}), "scales.paper.guidance: there is no 'dept'"),
        (lambda v: v["scales"]["demo"]["readers"]["face_reader"].update(x=1), "demo.readers.face_reader: unknown"),
        (lambda v: v["segmenters"]["unet"].update(fracton=1.0), "segmenters.unet: unknown setting fracton"),
        (lambda v: v["classifiers"]["small"].update(width=0), "classifiers.small: width is for the small network, at"),
        (lambda v: v["readers"]["face_reader"].update(training={"schedule": "x"}), "training.schedule: expected one"),
        (lambda v: v["translation"].update(batch=1), "translation: unknown setting batch. "),
        (lambda v: v["evaluation"].update(metrics=["beauty"]), "evaluation.metrics: there is no 'beauty'"),
        (lambda v: v["datasets"]["rafd90"].update(evaluation={"bootstra": 1}), "evaluation: unknown setting bootstra"),
        (lambda v: v["report"].update(row=1), "report: unknown setting row. "),
        (lambda v: v["report"].update(figures=["portrait"]), "report.figures: there is no 'portrait'"),
        (lambda v: v["datasets"]["rafd90"].update(angels=[90]), "rafd90.angels: nothing that prepares this dataset"),
        (lambda v: v["datasets"]["folder"].update(scales={"smoke": {"pth": 1}}), "datasets.folder.scales.smoke.pth"),
        (lambda v: v["datasets"]["synthetic"].update(label_quality={"action": "drop"}), "label_quality.action: "),
        (
            lambda v: v["datasets"]["rafd"].update(scales={"demo": {"label_quality": {"fold": 2}}}),
            "datasets.rafd.scales.demo.label_quality: unknown setting fold",
        ),
        (lambda v: v["methods"]["hier_seg"].update(phi=float("nan")), "hier_seg.phi: expected a number of at most"),
        (lambda v: v["methods"]["hier_seg"].update(phi=10**400), "hier_seg.phi: expected a number of at most"),
    ],
)  # fmt: skip
def test_a_setting_that_nobody_reads_or_takes_is_told_with_its_place(change: Any, told: str) -> None:
    values = copy.deepcopy(SHIPPED)
    change(values)
    with pytest.raises(UserError, match=r"^params\.yaml: \d+ setting\(s\) cannot be used") as caught:
        check_settings(values)
    assert told in str(caught.value)


def test_a_fault_of_all_entries_is_told_once() -> None:
    values = copy.deepcopy(SHIPPED)
    values["scales"]["demo"]["methods"]["stargan"]["conv_dimm"] = 8
    with pytest.raises(UserError, match="1 setting") as caught:
        check_settings(values)
    assert "scales.demo.methods.stargan: unknown setting conv_dimm. " in str(caught.value)
    assert str(caught.value).endswith("Did you mean conv_dim?")


def test_what_is_taken_from_the_source_is_what_the_module_has() -> None:
    """In a process that has not imported the modules, and must not."""
    program = f"""
import dataclasses
import sys
from mimik.settings.declarations import declared
for module, name in {DECLARED!r}:
    cls = declared(module, name)
    print(module, name, [(field.name, str(field.type)) for field in dataclasses.fields(cls)])
print(sorted({{"torch", "numpy", "pandas"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    *lines, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    for (module, name), line in zip(DECLARED, lines, strict=True):
        cls = getattr(import_module(f"mimik.{module}"), name)
        assert dataclasses.is_dataclass(cls)
        told = line.split(" ", 2)[2].replace("class 'mimik.", "class '")
        real = [(field.name, str(field.type)) for field in dataclasses.fields(cls)]
        assert told == str(real).replace("class 'mimik.", "class '")


WRONG: list[dict[str, Any]] = [
    {"critic_updates": 0}, {"reconstruction_every": 0}, {"lambda_change": 0.1}, {"segmenter_every": 0},
]  # fmt: skip
"""Each is refused by another one of the classes whose options hier_seg's Config inherits, or by itself."""


def test_defaults_and_refusals_are_those_of_the_module() -> None:
    program = f"""
from mimik.settings.configuration import build
from mimik.settings.declarations import declared
from mimik.errors import UserError
from mimik.methods import __path__
print(build(declared("methods.hier_seg", "Config"), {{"adversary": {{"layers": 3}}}}, "here"))
try:
    build(declared("pretraining.depth_network", "DepthNetworkConfig"), {{"perceptual_layers": ["x"]}}, "here")
except UserError as error:
    print(error)
for wrong in {WRONG!r}:
    try:
        build(declared("methods.hier_seg", "Config"), wrong, "here")
    except UserError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    from mimik.methods import hier_seg
    from mimik.pretraining.depth_network import DepthNetworkConfig

    made = build(hier_seg.Config, {"adversary": {"layers": 3}}, "here")
    refusals = []
    wrong = [(DepthNetworkConfig, {"perceptual_layers": ["x"]}), *((hier_seg.Config, values) for values in WRONG)]
    for cls, values in wrong:
        with pytest.raises(UserError) as caught:
            build(cls, values, "here")
        refusals.append(str(caught.value))
    assert done.stdout.splitlines() == [str(made), *refusals]
    assert len(set(refusals)) == len(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("command", [["snakemake", "--dry-run", "--quiet"], ["mimik", "params"]])
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("end_to_end: false", "end_to_endd: false", "unknown setting end_to_endd"),
        ("seed: 0\n", "seed: 0\nseed: 1\n", "the key 'seed' occurs twice in its group"),
    ],
)
def test_no_job_is_planned_with_a_setting_that_nobody_reads(
    tmp_path: Path, command: list[str], old: str, new: str, told: str
) -> None:
    for name in ("workflow", "params", "src"):
        (tmp_path / name).symlink_to(ROOT / name)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "params.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([program, *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert told in done.stderr and "Traceback" not in done.stderr
