"""The papers' tables and figures as files, and their index."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.numpy import save_file

from mimik.labels import SEGMENTATION_CLASSES
from mimik.reporting.papers.pages import Shown, write_papers
from mimik.reporting.papers.plots import parts
from mimik.reporting.results import read_result
from tests.results_world import CLASSES, FACES, SIZE, make_result, make_store, metric

METHODS = ["stargan", "hier_seg", "secgan"]


def item(draws: str | list[str], methods: list[str], **options: Any) -> dict[str, Any]:
    return {"shows": "something", "draws": draws, "datasets": ["affectnet"], "methods": methods, "options": options}


PARAMS: dict[str, Any] = {
    "dataset": "rendered",
    "datasets": {"rendered": {"scale": "demo"}, "affectnet": {"scale": "paper"}, "celeba": {"scale": "paper"}},
    "scales": {"demo": {}, "paper": {}},
    "report": {"rows": 2},
    "claims": {},
    "published": {
        "lab/table1": {
            "page": "lab.md#table-1",
            "note": "Votes are people's.",
            "measures": {"EEA": "eea", "PSNR": "cycle", "FID": "fid", "votes": None},
            "entries": {"PSNR": "cycle_psnr"},
            "rows": [
                {
                    "row": "AffectNet, StarGAN",
                    "dataset": "affectnet",
                    "method": "stargan",
                    "values": {"EEA": 82.1, "FID": 16.33, "votes": 3},
                    "settings": {"iterations": 200000, "batch_size": 16},
                },
                {
                    "row": "CelebA, SeCGAN",
                    "dataset": "celeba",
                    "method": "secgan_attributes",
                    "expressions": "secgan",
                    "values": {"EEA": 50},
                    "settings": {"epochs": 20, "batch_size": 16},
                },
                {
                    "row": "AttGAN",
                    "dataset": "affectnet",
                    "method": "attgan",
                    "values": {"EEA": 60},
                    "settings": {"epochs": 20},
                },
            ],
        }
    },
    "items": {
        "lab/bars": item("bars", METHODS, measures=[["eea_per_class", ""]], axis="EEA, %"),
        "lab/sweep": item("sweep", METHODS, x=[0, 1, 2], label="weight", panels=[["eea"]], alternatives=[True]),
        "lab/map": item(
            "ternary",
            METHODS,
            metric="eea",
            corners=["global", "local", "fusion"],
            weights=[[2, 3, 5], [0, 5, 5], [8, 1, 1]],
        ),
        "lab/curves": item("curves", METHODS, terms=["generator/cls"], labels=["a", "b", "c"]),
        "lab/histogram": item(["identity_histogram", "histogram"], ["stargan", "icgan"], metric="identity_loss"),
        "lab/parts": item("parts", ["hier_seg"]),
        "lab/shape": item("geometry", ["stargan"]),
        "lab/grid": item("comparison_grid", METHODS),
        "lab/lonely": item("sweep", ["stargan", "icgan"], x=[0, 1], label="w", panels=[["eea"]], alternatives=[True]),
        "lab/none": item("comparison_grid", ["icgan"]),
        "lab/diagram": {"shows": "A diagram", "absent": "a diagram without data"},
    },
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Shown], Path]:
    root = tmp_path_factory.mktemp("world")
    store = make_store(root)
    results = []
    for number, name in enumerate(METHODS):
        by_class = dict.fromkeys(CLASSES, 0.5 + 0.1 * number)
        metrics = {
            "eea": metric(0.9 + 0.02 * number),
            "eea_per_class": {"value": by_class, "ci": {one: [0.4, 0.8] for one in CLASSES}},
            "cycle_psnr": metric(30.0),
            "fid": {"skipped": "put the weights there"},
        }
        folder = make_result(root, name, metrics=metrics)
        config = {"training": {"steps": 1000, "batch_size": 16}, "config": {"critic_updates": 5, "least_share": 0.05}}
        (folder / "config.json").write_text(json.dumps(config))
        rows = {"step": [1, 2, 3], "generator/cls": [3.0, 2.0, 1.0]}
        pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
        arrays = {
            "identity_loss/sums": np.random.default_rng(number).random((FACES, 1)).astype(np.float32),
            "identity_loss/counts": np.ones((FACES, 1), np.float32),
        }
        save_file(arrays, folder / "per_face.safetensors")
        masks = np.ones((2, 2, SIZE, SIZE), np.uint8)
        masks[:, :, 6:10, 6:10] = SEGMENTATION_CLASSES.index("nose")
        np.save(folder / "translations" / "masks.npy", masks)
        results.append(read_result(folder, store))
    (root / "report" / "papers" / "lab").mkdir(parents=True)
    (root / "report" / "papers" / "lab" / "none.png").write_bytes(b"of an earlier run")
    shown = write_papers(PARAMS, results, root / "report", {"affectnet": "obtain it"})
    return {one.name: one for one in shown}, root / "report" / "papers"


def test_every_item_is_made_or_says_why_not(written: tuple[dict[str, Shown], Path]) -> None:
    shown, room = written
    assert list(shown) == [*PARAMS["published"], *PARAMS["items"]]
    absent = {name: one.absent for name, one in shown.items() if one.absent}
    assert absent == {
        "lab/lonely": "fewer than two of its 2 points have a result",
        "lab/none": "no result of icgan on rendered",
        "lab/diagram": "a diagram without data",
    }
    for name, one in shown.items():
        kept = sorted(file.name for file in (room / "lab").glob(f"{name.partition('/')[2]}.*"))
        assert kept == sorted(Path(file).name for file in one.files)
        assert bool(kept) != bool(one.absent)
    page = (room / "index.html").read_text()
    assert all(f'id="{name}"' in page for name in shown)
    assert "Of 12 items, 7 are made in full, 2 with some of their results, and 3 are not." in page
    assert "no number is a reproduction" in page


@pytest.mark.parametrize("name", ["bars", "sweep", "map", "curves", "histogram", "shape", "parts", "grid"])
def test_figures_are_pictures_of_something(written: tuple[dict[str, Shown], Path], name: str) -> None:
    shown, room = written
    picture = np.asarray(Image.open(room / "lab" / f"{name}.png").convert("RGB"))
    assert min(picture.shape[:2]) > 100 and len(np.unique(picture[..., 0])) > 20
    assert (picture[0, 0] == 255).all()  # on white
    assert (room / "lab" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    record = json.loads((room / "lab" / f"{name}.json").read_text())
    assert record["dataset"] == "rendered" and record["scale"] == "demo" and record["methods"]
    assert "rendered in the place of affectnet" in shown[f"lab/{name}"].note and "{" not in record["caption"]


def test_a_table_has_the_printed_number_ours_and_the_difference(written: tuple[dict[str, Shown], Path]) -> None:
    shown, room = written
    rows = list(csv.DictReader(io.StringIO((room / "lab" / "table1.csv").read_text())))
    first, second, third = rows
    assert (first["EEA_published"], float(first["EEA_ours"])) == ("82.1", pytest.approx(90.0))
    assert float(first["EEA_difference"]) == pytest.approx(7.9) and first["EEA_ours_note"] == "89.0 to 91.0"
    assert float(first["PSNR_ours"]) == 30.0
    assert not {"PSNR_published", "PSNR_difference"} & set(first)  # nothing is printed to compare it with
    assert first["FID_ours"] == "not measured" and float(first["votes_published"]) == 3.0
    assert float(first["seen"]) == 80_000 and first["seen_note"] == "paper: 3.2"
    assert first["protocol"] == "rendered in the place of affectnet; scale demo; 16 px; 1 training"
    assert "expressions in the place of attributes (secgan)" in second["protocol"]
    assert float(second["EEA_ours"]) == pytest.approx(94.0) and second["seen_note"] == "paper: 20 epochs"
    assert (third["EEA_ours"], third["EEA_ours_note"]) == ("not run", "rendered/attgan")
    assert shown["lab/table1"].missing == ["attgan"]
    text = (room / "lab" / "table1.md").read_text()
    assert "put the weights there" in text and "votes is not measured by mimik" in text and "no reproduction" in text
    assert "Votes are people's." in text
    assert (room / "lab" / "table1.tex").read_text().startswith("\\begin{tabular}")


def test_without_another_dataset_a_cell_names_the_data_that_is_missing(tmp_path: Path) -> None:
    params = {**PARAMS, "dataset": None, "items": {}}
    (shown,) = write_papers(params, [], tmp_path, {"affectnet": "obtain it", "celeba": "obtain it too"})
    text = (tmp_path / "papers" / "lab" / "table1.md").read_text()
    assert "not run (data: affectnet)" in text and "not run (data: celeba)" in text and "affectnet: obtain it" in text
    assert shown.missing == ["stargan", "secgan_attributes", "attgan"]


def test_what_is_not_lit_is_dim_and_grey() -> None:
    image = np.full((8, 8, 3), (200, 100, 0), np.uint8)
    inside = np.zeros((8, 8), bool)
    inside[parts._span(2.2, 3.0, 8), parts._span(-1.4, 3.0, 8)] = True
    assert inside.nonzero()[0].tolist() == [2, 2, 3, 3, 4, 4] and inside[2:5, :2].all()
    lit = parts._lit(image, inside)
    assert (lit[inside] == (200, 100, 0)).all() and (lit[~inside] == 55).all()
