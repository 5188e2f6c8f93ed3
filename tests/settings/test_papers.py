"""The papers' items: all are declared, and which trainings they need on which dataset."""

import copy
from pathlib import Path
from typing import Any

import pytest

from mimik.errors import UserError
from mimik.settings import papers
from mimik.settings.modules import names
from mimik.settings.params import SCHEMA, Experiment, load, validate

ROOT = Path(__file__).parents[2]
SHIPPED = load(ROOT / "params.yaml")
PLOTS = {file.stem for file in (ROOT / "src/mimik/reporting/papers/plots").glob("[a-z]*.py")}
ITEMS = {
    "hier_seg": [
        *("table1", "table2", "table3", "tableA1", "fig1", "fig2", "fig3a", "fig3b", "fig4", "fig5", "fig6", "fig7"),
        *("fig8", "figA1", "figA2", "figA3"),
    ],
    "secgan": ["table1", "table2", "table3", *(f"fig{number}" for number in range(1, 9)), "alg1"],
    "relative_au": ["table1", "table2", "table3", *(f"fig{number}" for number in range(1, 10))],
    "ef_gan": [f"fig{number}" for number in range(1, 7)],
    "depth_guided": ["table1", "table2", "table3", *(f"fig{number}" for number in range(1, 7))],
}
"""Every table, figure and algorithm of the five papers."""


def on(dataset: str | None) -> dict[str, Any]:
    return {**SHIPPED, "dataset": dataset}


def test_every_item_of_the_papers_is_there() -> None:
    assert sorted(papers.names(SHIPPED)) == sorted(f"{paper}/{one}" for paper, own in ITEMS.items() for one in own)
    for entry in SHIPPED["items"].values():
        ways = entry.get("draws", [])
        assert set([ways] if isinstance(ways, str) else ways) <= {*names("figures"), *PLOTS}


def test_on_rendered_faces_everything_is_about_expressions() -> None:
    wanted = papers.wanted(on("synthetic"))
    assert {found.dataset for found in wanted} == {"synthetic"} and len(wanted) == len(set(wanted))
    methods = {found.method for found in wanted}
    assert not any(name.endswith("_attributes") for name in methods)
    assert {"hier_rect", "secgan", "cascade_ef_gan", "ef_gan_no_attention", "hier_seg_w_8_1_1"} <= methods
    assert "hier_seg_rendered" not in methods  # its claim is about faces in another light
    assert "hier_seg_rendered" in {found.method for found in papers.wanted(on("synthetic_evening"))}


def test_places_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    first = papers.places(on("celeba_hq"), "secgan/table1")[0]
    assert first == papers.Place(Experiment("celeba_hq", "stargan_diff_attributes"), True, False)
    first = papers.places(on("synthetic"), "secgan/table1")[0]
    assert first == papers.Place(Experiment("synthetic", "stargan_diff"), True, True)
    first = papers.places(on(None), "secgan/table1")[0]
    assert first == papers.Place(Experiment("celeba", "stargan_diff_attributes"), False, False)
    assert papers.places(SHIPPED, "hier_seg/fig2") == []
    with pytest.raises(UserError, match="hier_seg/table9"):
        papers.places(SHIPPED, "hier_seg/table9")


def test_every_training_of_an_item_is_needed() -> None:
    found = papers.experiments({**on("synthetic"), "replicates": 2}, ["hier_seg/fig3a", "hier_seg/fig3b"])
    assert [method for _, method in found] == ["stargan", "stargan@2", "hier_seg", "hier_seg@2"]


def test_what_cannot_be_had_is_told(tmp_path: Path) -> None:
    found = papers.unobtainable(SHIPPED, tmp_path / "prepared", tmp_path / "raw")
    assert "mimik data check affectnet" in found["affectnet"]
    assert papers.unobtainable(on("synthetic"), tmp_path / "prepared", tmp_path / "raw") == {}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"better": "hier_sg"}, "'hier_sg' is not under 'methods'"),
        ({"metric": "eeea"}, "'eeea' is not under 'least_differences'"),
        ({"better": ["hier_seg", "stargan"]}, "a pair of methods on both sides"),
    ],
)
def test_a_claim_that_names_nothing_is_refused(change: dict[str, Any], told: str) -> None:
    params = copy.deepcopy(SHIPPED)
    params["claims"]["hier_seg/accuracy_stargan"]["tests"][0].update(change)
    with pytest.raises(UserError, match=told):
        validate(params, SCHEMA)
