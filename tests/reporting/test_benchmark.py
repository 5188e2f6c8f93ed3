"""The benchmark page: from results to small files to tables."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mimik.errors import UserError
from mimik.reporting.benchmark import Cost, Summary, page, read_summaries, summary
from mimik.reporting.measures import plain_table, table
from mimik.reporting.results import Result, read_result
from mimik.reporting.trainings import gather
from mimik.settings import params
from mimik.storage.files import write_json
from tests.results_world import make, metric

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))  # where the scripts find each other

PROJECT = {"environment": {"device": "CPU", "processor": "Abacus 9", "cores": "2"}}

WANTED = {("rendered", "demo"): ["stargan", "hier_seg", "icgan"], ("open_faces", "laptop"): ["stargan"]}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[Result]:
    """Two trainings of StarGAN, one of hier_seg."""
    root = tmp_path_factory.mktemp("project")
    made = []
    for number, (name, value) in enumerate((("stargan", 0.9), ("stargan@2", 0.8), ("hier_seg", 0.95))):
        measured = {"eea": metric(value), "eea_copy": metric(0.1), "fd_classifier": {"skipped": "no classifier"}}
        result = make(root, name, metrics=measured)
        (result.directory / "config.json").write_text(json.dumps(PROJECT))
        arrays = {"a": np.zeros((10, 20), np.float32), "b": np.zeros(5, np.float32)}
        save_file(arrays, result.directory / "generator.safetensors")
        log = root / "logs" / "train" / f"{result.dataset}_{name}.tsv"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"s\tmax_rss\n{60 * (number + 1)}\t1024.0\n")
        made.append(read_result(result.directory, result.store_directory))
    return gather(made)


@pytest.fixture
def kept(results: list[Result], tmp_path: Path) -> Path:
    for number, result in enumerate(results):
        cost = Cost((60.0, 120.0), (1024.0, None), 205) if number == 0 else Cost((None,), (None,), 205, 2 * 10**15)
        made = summary(result, cost)
        write_json(tmp_path / made.file, asdict(made))
    return tmp_path


def test_the_page_has_the_cells_of_the_table_of_results(results: list[Result], kept: Path) -> None:
    summaries = read_summaries(kept)
    own, again = table(results, ("eea",)), plain_table(summaries, ("eea",))
    assert own is not None and again is not None
    cells = {line.name: [(cell.text, cell.small) for cell in line.cells] for line in own.lines}
    assert {line.name: [(cell.text, cell.small) for cell in line.cells] for line in again.lines} == cells
    assert cells["stargan"][0][0] == "85.0" and cells["Copy the input"][0][0] == "10.0"
    text = page(summaries, WANTED)
    assert f"| stargan | {cells['stargan'][0][0]} ({cells['stargan'][0][1]}) |" in text
    assert text.index("| stargan |") < text.index("| hier_seg |") and "**" not in text  # the wanted order, no marks
    assert "## rendered, scale demo: Abacus 9, 2 cores" in text and "commit 0123456" in text
    assert "skipped: no classifier" in text


def test_costs_are_means_with_their_range(kept: Path) -> None:
    text = page(read_summaries(kept), WANTED)
    assert "| stargan | 2 | 1.5 (1.0 to 2.0) | 1.00 | 0.000205 | – |" in text
    assert "| hier_seg | 1 | – | – | 0.000205 | 2 |" in text


def test_what_is_missing_is_said(kept: Path) -> None:
    lines = page(read_summaries(kept), WANTED).split("## What is missing")[1].strip().splitlines()
    assert lines == [
        "- rendered, scale demo: no results of icgan; fewer than 3 seeds of stargan (2), hier_seg (1).",
        "- open_faces, scale laptop: no results of stargan.",
    ]
    complete = page(read_summaries(kept), {("rendered", "demo"): ["stargan"]}, seeds=2)
    assert complete.endswith("- rendered, scale demo: nothing.\n")


def test_other_machines_and_other_faces_have_tables_of_their_own(results: list[Result], kept: Path) -> None:
    made = summary(results[1], Cost((None,), (None,), 1))
    for changed in ({"machine": "Loom"}, {"digest": "other"}):
        write_json(kept / f"{next(iter(changed))}/hier_seg.json", {**asdict(made), **changed})
    assert page(read_summaries(kept), WANTED).count("## rendered, scale demo") == 3


def test_a_file_that_is_no_summary_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "demo" / "stargan.json", {"method": "stargan"})
    with pytest.raises(UserError, match=r"stargan\.json: lacks dataset"):
        read_summaries(tmp_path)


def test_results_are_collected_with_their_costs(results: list[Result], tmp_path: Path, monkeypatch) -> None:
    import systems

    root = results[0].directory.parents[2]
    monkeypatch.setattr(systems, "PLACES", (("rendered", "demo"),))
    values = {**params.load(ROOT / "params.yaml"), "systems": ["hier_seg", "stargan", "icgan"]}
    written = systems.collect(root, values, tmp_path)
    assert [path.name for path in written] == ["hier_seg.json", "stargan.json"]
    first, second = sorted(read_summaries(tmp_path), key=lambda one: one.method)
    assert (first.cost.seconds, second.cost.seconds) == ((180.0,), (60.0, 120.0))
    assert isinstance(second, Summary) and second.seeds == (0, 0) and second.cost.parameters == 205
    assert second.cost.memory == (1024.0, 1024.0)


def test_the_shipped_page_is_that_of_the_shipped_files() -> None:
    import systems

    wanted = dict.fromkeys(systems.PLACES, params.load(ROOT / "params.yaml")["systems"])
    assert systems.PAGE.read_text(encoding="utf-8") == page(read_summaries(systems.SYSTEMS), wanted), (
        "run `python benchmarks/systems.py`"
    )
