"""A trained method as a folder for another place: its files, its card, and what may be done with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mimik
from mimik.cli import main
from mimik.editing import exporting
from mimik.editing.cards import Terms, terms_of
from mimik.editing.graphs import Apart, Speed
from mimik.errors import UserError
from mimik.settings.reading import read
from mimik.training.batches import to_tensor, to_uint8
from mimik.training.runs import load_method
from tests.editing.models import make_model

ROOT = Path(__file__).parents[2]
METRICS: dict[str, Any] = {
    "eea": {"value": 0.7956, "ci": [0.7674, 0.8237], "n": 1100, "protocol": "p"},
    "eea_copy": {"value": 0.0606, "ci": [0.046, 0.075], "n": 1100, "protocol": "p"},
    "fid": {"skipped": "no weights"},
    "confusion": {"value": [[1]], "ci": None},
}


@pytest.fixture(scope="module")
def params() -> Any:
    return read(ROOT / "params.yaml")[0]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A measured method in a project's place."""
    folder = tmp_path / "results" / "open_faces" / "stargan"
    folder.parent.mkdir(parents=True)
    made = make_model(folder)
    (made / "metrics.json").write_text(json.dumps({"metrics": METRICS}))
    return made


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs as `mimik.editing.graphs` makes them, without their packages."""
    monkeypatch.setattr(exporting, "program_of", lambda *_: "program")
    monkeypatch.setattr(exporting, "onnx_of", lambda program, about, name: json.dumps(about).encode())
    monkeypatch.setattr(exporting, "difference", lambda *_: Apart(1e-6, 2e-6))
    monkeypatch.setattr(exporting, "speed", lambda *_: Speed(20.0, 10.0, 2))


@pytest.mark.usefixtures("graph")
def test_a_folder_works_in_another_place_and_says_what_it_is(
    tmp_path: Path, model: Path, params: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "elsewhere" / "given"
    exporting.export(model, params, folder=folder)
    told = capsys.readouterr()
    assert "10.0 ms in onnxruntime, 20.0 ms in PyTorch" in told.out
    assert told.err.startswith("For your own use only, do not pass it on. The faces of open_faces may not be passed on")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "config.json", "generator.safetensors", "metrics.json", "model.onnx")
    ]
    assert (folder / "generator.safetensors").read_bytes() == (model / "generator.safetensors").read_bytes()
    card = (folder / "README.md").read_text()
    for words in (
        "> **Not to be passed on.** The faces of open_faces",
        "do not redistribute them",
        "| Expression: EEA, % | 79.6 | 76.7 to 82.4 | 6.1 | 1,100 |",
        "neutral, happiness, anger",
        "mimik edit me.jpg --to happiness --model FOLDER -o edited.png",
        "## Responsible use",
    ):
        assert words in card
    assert "FID" not in card and "onfusion" not in card
    about = json.loads((folder / "model.onnx").read_text())
    assert json.loads(about["states"]) == ["neutral", "happiness", "anger"] and about["restricted"] == "true"
    faces = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    first, second = (mimik.load(place, device="cpu").edit_faces(faces, to="anger") for place in (model, folder))
    np.testing.assert_array_equal(first, second)

    # What is exported again knows its terms without a project.
    exporting.export(folder, None, folder=tmp_path / "again")
    assert "> **Not to be passed on.** The faces of open_faces" in (tmp_path / "again" / "README.md").read_text()


def test_terms_are_those_of_the_faces_and_unknown_ones_are_strict(params: Any) -> None:
    config: dict[str, Any] = {"dataset": "synthetic", "method": "stargan"}
    free = terms_of(config, params)
    assert not free.restricted and not free.reason and "MIT" in free.licence
    assert terms_of({**config, "dataset": "affectnet"}, params).restricted
    assert "released by others" in terms_of({**config, "imported": {"file": "G.ckpt"}}, params).reason
    for unknown in (terms_of(config, None), terms_of({**config, "dataset": "mine"}, params)):
        assert unknown.restricted and "is not known" in unknown.reason
    known = {"restricted": False, "reason": "", "licence": "MIT", "citation": "c"}
    assert terms_of({**config, "exported": {"mimik": "1", **known}}, None) == Terms(False, "", "MIT", "c")


@pytest.mark.usefixtures("graph")
def test_nothing_is_replaced_unless_asked(tmp_path: Path, model: Path) -> None:
    onnx, folder = tmp_path / "g.onnx", tmp_path / "folder"
    exporting.export(model, None, onnx=onnx, folder=folder)
    for options, message in (
        ({"onnx": onnx}, r"g\.onnx: already exists\. Name another file, or add --overwrite"),
        ({"folder": folder}, r"folder: already holds files\. Name another folder, or add --overwrite"),
        ({"folder": model}, "is the model itself"),
        ({"folder": tmp_path, "overwrite": True}, r"already holds files\. Name a new or empty folder"),
        ({"folder": onnx}, "is a file"),
        ({"onnx": tmp_path / "g.bin"}, r"ends in \.onnx"),
        ({"program": tmp_path / "g.onnx"}, r"ends in \.pt2"),
        ({}, "name what to write"),
    ):
        with pytest.raises(UserError, match=message):
            exporting.export(model, None, **options)  # type: ignore[arg-type]
    onnx.write_text("mine")
    exporting.export(model, None, onnx=onnx, folder=folder, overwrite=True)
    assert onnx.read_text() != "mine"


@pytest.mark.usefixtures("graph")
def test_a_graph_that_differs_is_not_written(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for apart in (1.1e-4, float("nan")):
        monkeypatch.setattr(exporting, "difference", lambda *_, apart=apart: Apart(apart, apart))
        with pytest.raises(UserError, match=r"differs from PyTorch by .* Nothing was written"):
            exporting.export(model, None, onnx=tmp_path / "g.onnx", folder=tmp_path / "folder")
    assert not (tmp_path / "g.onnx").exists() and not (tmp_path / "folder").exists()


def test_a_method_without_a_graph_is_exported_without(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mimik.methods import stargan

    monkeypatch.setattr(stargan.Method, "no_graph", "it is a test", raising=False)
    with pytest.raises(UserError, match="cannot be exported as a graph: it is a test"):
        exporting.export(model, None, onnx=tmp_path / "g.onnx")
    monkeypatch.chdir(tmp_path)
    main(["export", str(model), "--folder", str(tmp_path / "folder")])
    assert "No model.onnx: " in capsys.readouterr().out
    assert "There is no model.onnx: " in (tmp_path / "folder" / "README.md").read_text()
    assert not (tmp_path / "folder" / "model.onnx").exists()


def test_the_example_of_the_docs_edits_with_onnxruntime_and_numpy_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="ONNX graphs need the extra: pip install 'mimik[export]'")
    made = make_model(tmp_path / "made")
    exporting.export(made, None, onnx=tmp_path / "stargan.onnx")
    faces = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    np.save(tmp_path / "faces.npy", faces)
    page = (ROOT / "docs" / "export.md").read_text()
    code = page.split("```python\n")[1].split("```")[0]
    assert {line.split()[1] for line in code.splitlines() if line.startswith(("import", "from"))} == {
        "json", "numpy", "onnxruntime"
    }  # fmt: skip
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code, found)
    method, _ = load_method(made)
    with torch.inference_mode():
        shown, wanted = (method.condition.of_labels(torch.tensor([label] * 2)) for label in (0, 1))
        expected = to_uint8(method.translate(to_tensor(faces), shown, wanted)).astype(int)
    assert np.abs(found["edited"].astype(int) - expected).max() <= 1
