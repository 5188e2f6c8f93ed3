"""The papers' number tables: each row is an entry of params.yaml, with the settings that the paper states."""

import copy
from pathlib import Path
from typing import Any

import pytest

from mimik.errors import UserError
from mimik.settings import published
from mimik.settings.modules import names
from mimik.settings.params import load

ROOT = Path(__file__).parents[2]
SHIPPED = load(ROOT / "params.yaml")
TABLES = (
    *("hier_seg/table1", "hier_seg/table2", "hier_seg/table3", "hier_seg/tableA1"),
    *("depth_guided/table1", "depth_guided/table2", "depth_guided/table3", "secgan/table1"),
    *("relative_au/table1", "relative_au/table2", "relative_au/table3"),
)
"""Those with numbers; SeCGAN's tables 2 and 3 are lists of layers."""


def changed(table: str, row: int, **values: Any) -> dict[str, Any]:
    params = copy.deepcopy(SHIPPED)
    params["published"][table]["rows"][row].update(values)
    return params


def test_every_number_table_is_there_and_every_row_has_a_number_and_an_entry() -> None:
    assert set(SHIPPED["published"]) == set(TABLES)
    for table in TABLES:
        measures = SHIPPED["published"][table]["measures"]
        assert {metric for metric in measures.values() if metric} <= set(names("metrics"))
        for row in published.rows(SHIPPED, table):
            assert row.dataset in SHIPPED["datasets"] and row.method in SHIPPED["methods"]
            assert row.values and set(row.values) <= set(measures)


@pytest.mark.parametrize("table", TABLES)
def test_every_row_has_the_stated_settings_or_a_reason(table: str) -> None:
    for row in published.rows(SHIPPED, table):
        assert {"image_size", "batch_size", "learning_rate"} <= set(row.stated)
        assert {"iterations", "epochs"} & set(row.stated)
        assert any("." in setting for setting in row.stated)  # what makes it that row
        assert [found for found in published.differences(SHIPPED, row) if not found.reason] == []


def test_the_page_is_the_one_that_the_command_makes() -> None:
    text = (ROOT / published.PAGE).read_text(encoding="utf-8")
    assert text == published.page(SHIPPED), "run `mimik params --tables`"


@pytest.mark.parametrize(
    ("setting", "other"),
    [("training", {"batch_size": 4}), ("end_to_end", False), ("training", {"steps": 7}), ("segmenter", "unet")],
)
def test_a_changed_entry_is_noticed(setting: str, other: Any) -> None:
    params = copy.deepcopy(SHIPPED)
    params["methods"]["hier_seg"][setting] = other
    params["methods"]["hier_seg_unet"]["segmenter"] = params["scales"]["paper"]["segmenter"]
    tables = [row for table in ("hier_seg/table1", "hier_seg/table2") for row in published.rows(params, table)]
    noticed = {row.method for row in tables if any(not found.reason for found in published.differences(params, row))}
    assert noticed == {"hier_seg", "hier_seg_unet"}


def test_other_data_another_parser_and_another_judge_are_noticed() -> None:
    params = copy.deepcopy(SHIPPED)
    params["datasets"]["celeba"]["split"] = "official"
    params["datasets"]["affectnet"]["evaluation"] = {"class_filter": {"classes": ["neutral", "fear"], "apply": "both"}}
    params["datasets"]["rafd3"]["angles"] = [90]
    params["scales"]["paper"]["segmenter"] = "celebamask_hq/unet"
    params["scales"]["paper"]["classifier"] = "small"
    noticed = {
        (row.dataset, row.method, found.setting)
        for table in ("hier_seg/table1", "secgan/table1")
        for row in published.rows(params, table)
        for found in published.differences(params, row)
        if not found.reason
    }
    parser, judge = "networks.segmenter.config.network", "judges.classifier.config.network"
    assert {
        ("celeba", "attgan_diff_attributes", "preparation.split"),
        ("affectnet", "stargan", "evaluation.class_filter.classes"),
        ("rafd3", "secgan", "preparation.angles"),
        ("celeba", "secgan_attributes", parser),
        ("celeba", "stargan_concat_attributes", parser),
        ("rafd90", "hier_seg_frozen", parser),
        ("rafd90", "hier_seg", judge),
    } <= noticed


def test_a_changed_image_size_is_noticed() -> None:
    params = copy.deepcopy(SHIPPED)
    params["datasets"]["celeba"]["scales"]["paper"] = {"sizes": [256]}
    (first, *_) = published.rows(params, "secgan/table1")
    assert published.differences(params, first) == [published.Difference("image_size", 128, 256, "")]


def test_a_reason_without_a_difference_and_a_setting_that_is_none_are_refused() -> None:
    params = changed("hier_seg/table3", 0, differs={"batch_size": "for no reason"})
    with pytest.raises(UserError, match="all parts: batch_size does not differ"):
        published.differences(params, published.rows(params, "hier_seg/table3")[0])
    params = changed("hier_seg/table3", 0, settings={"config.endless": True})
    with pytest.raises(UserError, match=r"affectnet/hier_seg has no setting 'config\.endless'"):
        published.differences(params, published.rows(params, "hier_seg/table3")[0])
    with pytest.raises(UserError, match=r"'hier_seg/table9' is not in params\.yaml under 'published'"):
        published.rows(SHIPPED, "hier_seg/table9")
