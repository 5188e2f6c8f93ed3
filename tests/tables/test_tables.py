import importlib
import json
import pkgutil
from pathlib import Path

import pytest

import mimik.tables
from mimik.measures import MEASURES
from mimik.plotting import Absent
from mimik.results import ReportSettings, Result
from mimik.tables import protocols, reconstruction, results, settings
from mimik.tabular import Table
from tests.results_world import make, metric

SETTINGS = ReportSettings()
MODULES = [module.name for module in pkgutil.iter_modules(mimik.tables.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_offers_what_the_report_asks_for(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(f"mimik.tables.{name}")
    assert module.TITLE and module.CAPTION.endswith(".")
    assert module.PAGES and module.PAGES.issubset({"method", "comparison"})
    made = module.build([make(tmp_path)], SETTINGS)
    assert isinstance(made, Table | Absent)
    if isinstance(made, Table):
        assert all(len(line.cells) == len(made.columns) for line in made.lines)


def test_the_default_list_names_every_table() -> None:
    assert sorted(SETTINGS.tables) == sorted(MODULES)


def test_no_measure_is_forgotten() -> None:
    assert set(results.MEASURED) | set(reconstruction.MEASURED) | {"eea_with_self"} == set(MEASURES)


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


def configured(root: Path, name: str, config: dict[str, object], training: dict[str, object]) -> Result:
    made = make(root, name)
    path = made.directory / "config.json"
    path.write_text(json.dumps({"module": "stargan", "config": config, "training": training}))
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


def test_published_settings_need_no_table(tmp_path: Path) -> None:
    made = settings.build([configured(tmp_path, "plain", {"conv_dim": 64}, {})], SETTINGS)
    assert isinstance(made, Absent)


@pytest.mark.parametrize(
    ("value", "text"), [(True, "yes"), (None, "none"), (1e-4, "0.0001"), ([0.5, 0.99], "0.5, 0.99"), ("hinge", "hinge")]
)
def test_settings_are_written_for_readers(value: object, text: str) -> None:
    assert settings.shown(value) == text
