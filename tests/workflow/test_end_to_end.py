"""The real pipeline, the real modules, at the smallest scale: from rendered faces to the report and MLflow."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from mimik.evaluation.metrics import (
    acd,
    attribute_accuracy,
    fid_antialiased,
    inception_score,
    lpips,
    precision_recall,
    ssfid,
    vgg_face,
)
from mimik.settings.params import starts_from
from mimik.settings.reading import read
from tests.workflow.conftest import ROOT, WORKFLOW, Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project with a handful of faces, hier_seg as its only experiment, and under git and DVC."""
    folder = tmp_path_factory.mktemp("real") / "project"
    folder.mkdir()
    for name in (*WORKFLOW, "src/mimik"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)  # compiled files too: compiling takes seconds
        else:
            shutil.copy2(ROOT / name, folder / name)
    values = read(ROOT / "params.yaml")[0]
    values["experiments"] = [{"dataset": "synthetic", "method": "hier_seg"}]
    values["datasets"]["synthetic"]["scales"]["smoke"]["identities"] = {"train": 4, "val": 1, "test": 1}
    # Other faces, without masks and true edits, for a method whose segmenter comes from the first.
    evening = {"dataset": "synthetic", "light": "evening", "annotations": ["landmarks"], "ground_truth": False}
    values["datasets"]["synthetic_evening"] = {**values["datasets"]["synthetic"], **evening}
    values["scale"] = "smoke"
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    project = Project(folder)
    project.must("env", "PYTHONPATH=src", "python", "-m", "mimik.cli", "params", "--stages")
    project.must("git", "init", "--quiet")
    project.must("dvc", "init", "--quiet")
    return project


def test_from_nothing_to_a_report(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "mimik: DVC is up to date" in project.must("snakemake", "--cores", "8").text

    checked, repeated = project.must("dvc", "status"), project.must("dvc", "repro")
    assert "up to date" in checked.text
    assert repeated.stages == []
    assert checked.seconds + repeated.seconds < 15  # 3 s

    result = project.folder / "results/synthetic/hier_seg"
    metrics = json.loads((result / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["dataset"], metrics["method"], metrics["scale"]) == ("synthetic", "hier_seg", "smoke")
    assert 0 <= metrics["metrics"]["eea"]["value"] <= 1
    assert metrics["metrics"]["truth_psnr"]["value"] > 0
    skipped = {name for name, entry in metrics["metrics"].items() if "skipped" in entry}
    placed = (fid_antialiased, inception_score, lpips, precision_recall, ssfid, vgg_face)
    files = {"fid", "fid_per_target", "kid", *(name for module in placed for name in module.NAMES)}
    assert skipped == files | {*attribute_accuracy.NAMES, *acd.NAMES}
    assert np.load(result / "translations/masks.npy").shape == (2, 8, 64, 64)
    for record in ("results/synthetic/hier_seg", "data/pretrained/synthetic/classifier/small"):
        settings = json.loads((project.folder / record / "config.json").read_text(encoding="utf-8"))
        assert settings["training"]["flip"] is False  # as params.yaml says of the dataset
    page = (result / "report.html").read_text(encoding="utf-8")
    assert "Masks that the segmenter of hier_seg predicts for 8 test faces" in page
    assert ">truth<" in page
    for page in (result / "report.html", project.folder / "report/index.html"):
        assert "<html" in page.read_text(encoding="utf-8")
    assert "Nothing to be done" in project.must("snakemake").text

    from mlflow import MlflowClient

    server = f"sqlite:///{project.folder / 'mlflow.db'}"
    client = MlflowClient(server, server)
    run = client.get_run(metrics["mlflow_run_id"])
    assert run.data.metrics["test/eea"] == metrics["metrics"]["eea"]["value"]
    assert any(name.startswith("generator/") for name in run.data.metrics)
    assert run.data.params["training.steps"] == "6"
    assert [version.run_id for version in client.search_model_versions("name = 'hier_seg-synthetic'")] == [
        run.info.run_id
    ]


def test_a_segmenter_of_other_faces_is_trained_and_measured_on_those(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    result = project.folder / "results/synthetic_evening/hier_seg_rendered"
    project.must(
        "snakemake", "--cores", "8", "--no-hooks", "--", str(result.relative_to(project.folder) / "metrics.json")
    )
    prepared = project.folder / "data/prepared"
    assert not (prepared / "synthetic_evening/masks_64.npy").exists()
    assert not (project.folder / "data/pretrained/synthetic_evening/segmenter").exists()
    metrics = json.loads((result / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    digest = json.loads((prepared / "synthetic/manifest.json").read_text(encoding="utf-8"))["digest"]
    for name in ("miou_before", "miou_after"):
        entry = metrics[name]
        assert (entry["dataset"], entry["dataset_digest"], entry["n"]) == ("synthetic", digest, 8)
        assert "Test split of synthetic, 64 px" in entry["protocol"]
    pretrained = project.folder / "data/pretrained/synthetic/segmenter/unet/metrics.json"
    own = json.loads(pretrained.read_text(encoding="utf-8"))["miou"]
    assert metrics["miou_before"]["value"] == pytest.approx(own, abs=1e-6)  # the same faces and masks
    assert "prepare the dataset with" in metrics["outside_change"]["skipped"]
    config = json.loads((result / "config.json").read_text(encoding="utf-8"))
    assert config["pretrained"] == {"segmenter": "synthetic/unet"} and config["config"]["end_to_end"] is True


def test_every_shipped_dataset_and_method_can_be_asked_for(tmp_path: Path) -> None:
    """A dry run of every method on a dataset of each kind, and of every dataset; faces count as prepared before."""
    values = read(ROOT / "params.yaml")[0]
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("workflow", "profiles", "params.yaml", "params", "src"):
        (folder / name).symlink_to(ROOT / name)
    for dataset in values["datasets"]:
        for name in ("manifest.json", "index.csv", "quarantine.csv"):
            file = folder / "data/prepared" / dataset / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}")
    pairs = {(dataset, method) for dataset in values["datasets"] for method in ("stargan", "cascade_ef_gan")}
    pairs |= {(dataset, method) for dataset in ("synthetic", "affectnet_d", "celeba") for method in values["methods"]}
    targets = [f"results/{dataset}/{method}/report.html" for dataset, method in sorted(pairs)]
    rules = ("report", "evaluate", "translate", "train", "segmenter", "depth_network", "classifier", "reader")
    planned = Project(folder).planned("--allowed-rules", *rules, "--", *targets)
    started = {starts_from(values, *pair) for pair in pairs} - {None}
    assert planned["report"] == len(targets)
    assert planned["train"] == len(pairs | {(other.dataset, other.name) for other in started if other})
    truth = [name for name, entry in values["datasets"].items() if entry.get("ground_truth")]
    assert planned["reader"] == len(truth)
    assert (
        planned["classifier"] == len(values["datasets"]) + 3
    )  # of expressions, and of attributes where all methods are
