"""The real pipeline, the real modules, at the smallest scale: from rendered faces to the report and MLflow."""

import json
from pathlib import Path

import numpy as np
import pytest

from mimik.evaluation.metrics import (
    acd,
    attribute_accuracy,
    expression_distance_openface,
    fid_antialiased,
    inception_score,
    lpips,
    precision_recall,
    ssfid,
    vgg_face,
)
from mimik.settings.params import starts_from
from mimik.settings.reading import read
from tests.workflow.conftest import ROOT, Project, real_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return real_project(tmp_path_factory.mktemp("real") / "project")


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
    photographs = {*acd.NAMES, *expression_distance_openface.NAMES}
    assert skipped == files | photographs | {*attribute_accuracy.NAMES}
    assert np.load(result / "translations/masks.npy").shape == (2, 8, 64, 64)
    for record in ("data/pretrained/synthetic/classifier/small", "results/synthetic/hier_seg"):
        config = json.loads((project.folder / record / "config.json").read_text(encoding="utf-8"))
        assert config["training"]["flip"] is False  # as params.yaml says of the dataset
    assert not (project.folder / "data/pretrained/synthetic/segmenter").exists()
    faces = json.loads((project.folder / "data/prepared/synthetic_evening/manifest.json").read_text(encoding="utf-8"))
    for name in ("miou_before", "miou_after"):
        entry = metrics["metrics"][name]
        assert (entry["dataset"], entry["dataset_digest"], entry["n"]) == ("synthetic_evening", faces["digest"], 8)
        assert "Test split of synthetic_evening, 64 px" in entry["protocol"]
    pretrained = project.folder / "data/pretrained/synthetic_evening/segmenter/unet/metrics.json"
    own = json.loads(pretrained.read_text(encoding="utf-8"))["miou"]
    assert metrics["metrics"]["miou_before"]["value"] == pytest.approx(own, abs=1e-6)  # the same faces and masks
    assert config["pretrained"]["segmenter"] == "synthetic_evening/unet" and config["config"]["end_to_end"] is True
    page = (result / "report.html").read_text(encoding="utf-8")
    assert "Masks that the segmenter of hier_seg predicts for 8 test faces" in page
    assert "test faces of synthetic_evening, on which it was pre-trained" in page
    assert ">truth<" in page
    for page in (result / "report.html", project.folder / "report/index.html"):
        assert "<html" in page.read_text(encoding="utf-8")
    assert "Nothing to be done" in project.must("snakemake").text

    from mlflow import MlflowClient

    server = f"sqlite:///{project.folder / 'mlflow.db'}"
    client = MlflowClient(server, server)
    run = client.get_run(metrics["mlflow_run_id"])
    assert run.data.metrics["evaluation/eea"] == metrics["metrics"]["eea"]["value"]
    assert any(name.startswith("training/generator/") for name in run.data.metrics)
    assert run.data.params["training.steps"] == "6"
    assert [version.run_id for version in client.search_model_versions("name = 'hier_seg-synthetic'")] == [
        run.info.run_id
    ]


def test_every_shipped_dataset_and_method_can_be_asked_for(tmp_path: Path) -> None:
    """A dry run of every method on a dataset of each kind, and of every dataset; faces count as prepared before."""
    values = read(ROOT / "params.yaml")[0]
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("Snakefile", "workflow", "profiles", "params.yaml", "params", "src"):
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
