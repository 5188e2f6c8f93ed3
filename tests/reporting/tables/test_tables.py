import importlib
import json
import pkgutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import mimik.reporting.tables
from mimik.reporting.measures import MEASURES
from mimik.reporting.plotting import Absent
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tables import paired, protocols, realism, reconstruction, results, settings
from mimik.reporting.tabular import EMPTY, Table
from tests.results_world import make, metric

SETTINGS = ReportSettings()
MODULES = [module.name for module in pkgutil.iter_modules(mimik.reporting.tables.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_offers_what_the_report_asks_for(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"mimik.reporting.tables.{name}")
    assert module.TITLE and module.CAPTION.endswith(".")
    assert module.PAGES and module.PAGES.issubset({"method", "comparison"})
    made = module.build([make(tmp_path)], SETTINGS)
    assert isinstance(made, Table | Absent)
    if isinstance(made, Table):
        assert all(len(line.cells) == len(made.columns) for line in made.lines)


def test_the_default_list_names_every_table() -> None:
    assert sorted(SETTINGS.tables) == sorted(MODULES)


def test_no_measure_is_forgotten() -> None:
    shown = {*results.MEASURED, *realism.MEASURED, *reconstruction.MEASURED}
    assert shown | {"eea_with_self"} == set(MEASURES)


def test_the_result_table_leads_with_the_distance_to_the_truth(tmp_path: Path) -> None:
    metrics = {"eea": metric(0.99), "fd_classifier": metric(3), "truth_psnr_changed": metric(21)}
    made = results.build([make(tmp_path, metrics=metrics)], SETTINGS)
    assert isinstance(made, Table)
    assert [column.key for column in made.columns] == ["truth_psnr_changed", "eea", "fd_classifier"]


def test_protocols_list_every_scalar(tmp_path: Path) -> None:
    metrics = {
        "own_metric": metric(0.123456789, extractor="small", extractor_sha256="ab" * 32),
        "fid": {"skipped": "get weights"},
        "confusion": {"value": [[1]]},
    }
    made = protocols.build([make(tmp_path, metrics=metrics)], SETTINGS)
    assert isinstance(made, Table)
    assert [line.name for line in made.lines] == ["own_metric", "fid"]
    value, interval, number, extractor, protocol = made.lines[0].cells
    assert (value.text, interval.text, number.text) == ("0.12346", "0.11346 to 0.13346", "24")
    assert (extractor.text, extractor.small, protocol.text) == ("small", "abababab", "by hand")
    assert made.lines[1].cells[0].text == "skipped" and made.lines[1].cells[-1].text == "get weights"


def configured(
    root: Path, name: str, config: dict[str, object], training: dict[str, object], **groups: object
) -> Result:
    made = make(root, name)
    path = made.directory / "config.json"
    path.write_text(json.dumps({"module": "stargan", "config": config, "training": training, **groups}))
    return Result(made.directory, made.store_directory, made.record, json.loads(path.read_text()))


def test_settings_name_what_is_not_published(tmp_path: Path) -> None:
    demo = configured(
        tmp_path,
        "demo",
        {"conv_dim": 16, "head": "masked", "residual_blocks": 6, "adversary": {"objective": "hinge", "layers": 6}},
        {"steps": 1200, "learning_rate": 1e-4, "betas": [0.5, 0.999], "log_every": 3},
    )
    plain = configured(tmp_path, "plain", {"conv_dim": 16, "head": "direct"}, {"steps": 40_000})
    made = settings.build([demo, plain], SETTINGS)
    assert isinstance(made, Table)
    rows = {line.name: [(cell.text, cell.small) for cell in line.cells] for line in made.lines}
    assert rows == {
        "head": [("method", ""), ("masked", "default direct"), ("as published", "")],
        "adversary.objective": [("method", ""), ("hinge", "default wgan-gp"), ("as published", "")],
        "conv_dim": [("size or length", ""), ("16", "default 64"), ("16", "default 64")],
        "training.steps": [("size or length", ""), ("1200", "default 40000"), ("as published", "")],
    }
    assert list(rows)[:2] == ["head", "adversary.objective"]  # what is more than a size comes first


def test_settings_of_guides_and_conditions_are_named_too(tmp_path: Path) -> None:
    guided = configured(
        tmp_path,
        "guided",
        {},
        {},
        condition={"form": "relative", "space": "expression"},
        guidance={"depth": {"weight": 0.5, "adversary": {"layers": 3}}},
    )
    made = settings.build([guided, configured(tmp_path, "plain", {"conv_dim": 8}, {})], SETTINGS)
    assert isinstance(made, Table)
    rows = {line.name: [cell.text for cell in line.cells] for line in made.lines}
    assert rows["condition.form"] == ["method", "relative", "as published"]
    assert rows["guidance.depth.weight"] == ["method", "0.5", EMPTY.text]
    assert rows["guidance.depth.adversary.layers"] == ["size or length", "3", EMPTY.text]
    assert "condition.space" not in rows


def test_settings_of_the_networks_that_a_run_started_from_are_named_too(tmp_path: Path) -> None:
    network = {
        "dataset": "faces",
        "name": "unet",
        "config": {"network": "unet", "width": 8, "jitter": 0.0},
        "training": {"steps": 800, "batch_size": 8, "learning_rate": 2e-4, "log_every": 1},
    }
    other = {**network, "config": {"network": "bisenet"}, "training": {"batch_size": 32}}
    runs = [
        configured(tmp_path, name, {}, {}, networks={"segmenter": made})
        for name, made in (("small", network), ("whole", other))
    ]
    made = settings.build(runs, SETTINGS)
    assert isinstance(made, Table)
    rows = {line.name: [(cell.text, cell.small) for cell in line.cells[1:]] for line in made.lines}
    assert rows == {
        "segmenter.config.width": [("8", "default none"), ("as published", "")],
        "segmenter.training.steps": [("800", "default 1000000"), ("as published", "")],
    }
    foreign = {**network, "config": {"network": "elsewhere.network"}}
    made = settings.build([*runs, configured(tmp_path, "far", {}, {}, networks={"segmenter": foreign})], SETTINGS)
    assert isinstance(made, Table) and made.notes[0].startswith("far left out: ")
    assert "elsewhere.network" in made.notes[0]


def test_what_a_run_started_from_and_what_it_froze_are_named(tmp_path: Path) -> None:
    tuned = configured(tmp_path, "tuned", {}, {}, starts_from="synthetic/stargan", freeze=["generator.down*"])
    made = settings.build([tuned, configured(tmp_path, "plain", {}, {}, starts_from=None, freeze=None)], SETTINGS)
    assert isinstance(made, Table)
    assert {line.name: [cell.text for cell in line.cells] for line in made.lines} == {
        "starts_from": ["method", "synthetic/stargan", EMPTY.text],
        "freeze": ["method", "generator.down*", EMPTY.text],
    }


def test_a_length_in_epochs_is_compared_as_such(tmp_path: Path) -> None:
    groups = {"module": "ganimation"}
    longer = configured(tmp_path, "longer", {}, {"epochs": 30.0, "steps": 51_234}, **groups)
    shorter = configured(tmp_path, "shorter", {}, {"epochs": 3.0, "steps": 5_123}, **groups)
    made = settings.build([longer, shorter], SETTINGS)
    assert isinstance(made, Table)
    assert {line.name: [cell.text for cell in line.cells[1:]] for line in made.lines} == {
        "training.epochs": ["as published", "3"],
        "training.steps": ["as published", "5123"],
    }


def test_a_guide_of_an_unknown_package_leaves_its_run_out_and_says_what_to_do(tmp_path: Path) -> None:
    plain = configured(tmp_path, "plain", {"conv_dim": 8}, {})
    guided = configured(tmp_path, "guided", {}, {}, guidance={"elsewhere.guide": {"weight": 1.0}})
    made = settings.build([plain, guided], SETTINGS)
    assert isinstance(made, Table)
    assert [column.key for column in made.columns] == ["kind", "plain"]
    assert len(made.notes) == 1 and made.notes[0].startswith("guided left out: ")
    assert "`methods: NAME: {guidance: {elsewhere.guide: {}}, ...}`" in made.notes[0]


def test_published_settings_need_no_table(tmp_path: Path) -> None:
    made = settings.build([configured(tmp_path, "plain", {"conv_dim": 64}, {})], SETTINGS)
    assert isinstance(made, Absent)


@pytest.mark.parametrize(
    ("value", "text"), [(True, "yes"), (None, "none"), (1e-4, "0.0001"), ([0.5, 0.99], "0.5, 0.99"), ("hinge", "hinge")]
)
def test_settings_are_written_for_readers(value: object, text: str) -> None:
    assert settings.shown(value) == text


def add_per_face(result: Result, metric: str, values: np.ndarray) -> Result:
    """One group, every face counted once."""
    arrays = {f"{metric}/sums": values[:, None].astype(np.float32), f"{metric}/counts": np.ones((12, 1), np.float32)}
    save_file(arrays, result.directory / "per_face.safetensors")
    return result


def test_paired_differences_see_what_overlapping_intervals_hide(tmp_path: Path) -> None:
    """Faces differ by tens of decibels, the methods by about one on every face."""
    faces, noise = np.linspace(10, 40, 12), np.tile([0.5, -0.5], 6)
    measured = {"truth_psnr": metric(25.0, 5.0)}
    one = add_per_face(make(tmp_path, "stargan", metrics=measured), "truth_psnr", faces)
    better = add_per_face(make(tmp_path, "hier_seg", metrics=measured), "truth_psnr", faces + 1 + noise)
    alike = add_per_face(make(tmp_path, "hier_rect", metrics=measured), "truth_psnr", faces + noise)
    made = paired.build([one, better, alike], SETTINGS)
    assert isinstance(made, Table)
    assert [line.name for line in made.lines] == ["hier_seg", "hier_rect"]
    clear, unclear = (line.cells[0] for line in made.lines)
    assert (clear.text, clear.best, clear.muted) == ("+1.00", False, False)  # one training each decides nothing
    low, high = (float(text.replace("−", "-")) for text in clear.small.split(" to "))
    assert 0.5 < low < 1 < high < 1.5
    assert (unclear.text, unclear.best, unclear.muted) == ("+0.00", False, True)


def test_lower_is_better_where_the_measure_says_so_and_other_faces_are_not_compared(tmp_path: Path) -> None:
    measured = {"identity_loss": metric(0.3)}
    one = add_per_face(make(tmp_path, "stargan", metrics=measured), "identity_loss", np.linspace(0.3, 0.4, 12))
    worse = add_per_face(make(tmp_path, "hier_seg", metrics=measured), "identity_loss", np.linspace(0.5, 0.6, 12))
    made = paired.build([one, worse], SETTINGS)
    assert isinstance(made, Table)
    assert (made.lines[0].cells[0].best, made.lines[0].cells[0].muted) == (False, False)
    made = paired.build([worse, one], SETTINGS)
    assert isinstance(made, Table) and made.lines[0].cells[0].text.startswith("−")
    other = make(tmp_path, "hier_rect", metrics=measured)
    other.manifest["rows"] = list(range(1, 13))
    assert isinstance(paired.build([one, other], SETTINGS), Absent)
