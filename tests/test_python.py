"""`import mimik`: its names, what importing it costs, and docs/python.md, run as it stands."""

import ast
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import mimik
from mimik.evaluation.evaluate import evaluate
from mimik.evaluation.measurements import EvaluationSettings
from mimik.evaluation.translation import TranslationSettings, translate
from mimik.networks import face_classifier
from mimik.networks.stored import save_network
from mimik.training.runs import train_method
from tests.test_architecture import MODULES, imported
from tests.tiny import make_store

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
SIZE = 64
METRICS = ("eea", "reconstruction", "cycle", "outside_change", "fid", "fd_classifier")


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a prepared dataset and two methods, trained for two steps; one is evaluated."""
    root = tmp_path_factory.mktemp("project")
    store = root / "data" / "prepared" / "synthetic"
    classes = make_store(store, size=SIZE).classes
    torch.manual_seed(0)
    settings = {"network": "small", "image_size": SIZE, "width": 4}
    judge = root / "data" / "pretrained" / "synthetic" / "classifier" / "small"
    config = {"kind": "classifier", "name": "small", "architecture": settings, "classes": classes}
    save_network(judge, face_classifier.build({"network": "small", "width": 4}, classes), config)
    for method, condition in (("stargan", {}), ("stargan_au", {"space": "action_units"})):
        chosen = {
            "dataset": "synthetic", "method": method, "module": "stargan", "scale": "smoke", "seed": 3,
            "image_size": SIZE, "pretrained": {}, "starts_from": None, "condition": condition, "guidance": {},
            "config": {"conv_dim": 4, "residual_blocks": 1, "adversary": {"conv_dim": 4, "layers": 3}},
            "training": {"steps": 2, "batch_size": 4, "log_every": 1},
        }  # fmt: skip
        train_method(chosen, store, {}, root / "results" / "synthetic" / method, root / "checkpoints" / method)
    result = root / "results" / "synthetic" / "stargan"
    translate(result, store, None, result / "translations", TranslationSettings(precision="fp32"))
    evaluated = EvaluationSettings(METRICS, bootstrap=20)
    evaluate(evaluated, result, store, judge, None, None, root / "weights", result / "metrics.json")
    return root


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of `trained` with photographs, as the current folder."""
    from skimage.data import astronaut

    folder = tmp_path / "project"
    shutil.copytree(trained, folder)
    Image.fromarray(astronaut()).save(folder / "me.jpg")
    (folder / "holiday").mkdir()
    Image.fromarray(astronaut()).save(folder / "holiday" / "beach.jpg")
    (folder / "holiday" / "notes.txt").write_text("sun")
    monkeypatch.chdir(folder)
    yield folder


def test_importing_it_loads_nothing_else(tmp_path: Path) -> None:
    code = "import sys; before = set(sys.modules); import mimik; print(*sorted(set(sys.modules) - before))"
    loaded = set(run(code, tmp_path).stdout.split())
    assert {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names} == {"mimik"}


def test_every_name_is_there_documented_and_on_the_page() -> None:
    assert set(mimik.__all__) <= set(dir(mimik))
    for name in mimik.__all__:
        thing = getattr(mimik, name)
        assert f"`mimik.{name}" in PAGE, f"docs/python.md does not say what mimik.{name} is"
        if not name.startswith("__"):
            assert inspect.getdoc(thing), name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        mimik.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_the_names_for_type_checkers_are_those_that_are_looked_up() -> None:
    tree = ast.parse((ROOT / "src" / "mimik" / "__init__.py").read_text())
    told = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mimik.")
        for alias in node.names
    }
    assert told == mimik._HOMES
    assert {*told, "__version__"} == set(mimik.__all__)
    assert (ROOT / "src" / "mimik" / "py.typed").read_text() == ""


def test_mimik_itself_takes_names_from_where_they_stand() -> None:
    """The sources of a job are found by its import statements; they say nothing of names that are looked up."""
    lazy = {f"mimik.{name}" for name in mimik._HOMES}
    assert {name: lazy & imported(path) for name, path in MODULES.items() if lazy & imported(path)} == {}


def test_the_page_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mediapipe")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) > 8
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
    photograph = np.asarray(Image.open("me.jpg"))
    for name in ("edited", "sadder", "first_only", "smile"):
        assert names[name].shape == photograph.shape and names[name].dtype == np.uint8
        assert (names[name] != photograph).any(), name
    assert names["happy"].shape == (8, SIZE, SIZE, 3)
    assert Path("happy.png").is_file() and Path("happy/beach.jpg").is_file()
    printed = capsys.readouterr().out
    assert "holiday/notes.txt" in printed and "expected a photograph" in printed
    assert "mimik.Model('results/synthetic/stargan': stargan trained on synthetic, scale smoke, 64 px, cpu)" in printed
    assert names["of_each_face"].shape == (len(names["result"].rows),)
    assert isinstance(names["result"].history, pd.DataFrame)
    assert names["entries"]["eea"]["value"] == names["accuracy"].value


def test_the_example_of_the_readme_runs(project: Path) -> None:
    pytest.importorskip("mediapipe")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(block.replace("open_faces/hier_seg", "synthetic/stargan"), names)
    assert names["edited"].shape == np.asarray(Image.open("me.jpg")).shape


def test_arrays_are_measured_as_the_result_they_come_from(project: Path) -> None:
    result = mimik.read_result("results/synthetic/stargan")
    store, rows = result.store, result.rows
    assert store.masks is not None
    measured = mimik.evaluate(
        result.translations,
        store.images[rows],
        [store.classes[label] for label in result.source_labels],
        result.classes,
        cycle=result.optional("cycle.npy"),
        masks=store.masks[rows],
        classifier="data/pretrained/synthetic/classifier/small",
        metrics=METRICS,
        bootstrap=20,
    )
    recorded = result.record["metrics"]
    assert measured.keys() == recorded.keys()
    for name, entry in recorded.items():
        for key in ("value", "ci", "n", "extractor_sha256"):
            assert measured[name].get(key) == entry.get(key), name
        assert "skipped" not in entry or measured[name]["skipped"]
    assert measured["outside_change"]["protocol"].endswith(f"Arrays, {SIZE} px, uint8.")


def test_a_result_finds_its_dataset_and_names_its_metrics(project: Path) -> None:
    result = mimik.read_result(project / "results" / "synthetic" / "stargan")
    assert result.store.directory == project / "data" / "prepared" / "synthetic"
    metrics = result.metrics
    assert metrics["eea"].n == result.record["metrics"]["eea"]["n"]
    assert metrics["fid"].n is None and "put pt_inception" in metrics["fid"].skipped
    assert "confusion" not in metrics  # a table, not a number
    with pytest.raises(mimik.UserError, match=r"stargan_au/metrics\.json"):
        mimik.read_result("results/synthetic/stargan_au")
    with pytest.raises(mimik.UserError, match=r"nowhere/metrics\.json: no such file"):
        mimik.read_result("nowhere")
