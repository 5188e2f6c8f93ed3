"""The table of measures in docs/papers/metrics.md and the modules of mimik.evaluation.metrics say the same."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mimik.evaluation.evaluate import metric_modules
from tests.evaluation.test_evaluate import METRICS

PAGE = Path(__file__).parents[2] / "docs" / "papers" / "metrics.md"
COLUMNS = ("measure", "entries of metrics.json", "range", "better", "extractor", "printed in", "compared with")


def rows() -> Iterator[dict[str, str]]:
    lines = PAGE.read_text(encoding="utf-8").split("\n\n## Conventions")[0].splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert tuple(table[0]) == COLUMNS
    yield from (dict(zip(COLUMNS, cells, strict=True)) for cells in table[2:])


def entries(row: dict[str, str]) -> list[str]:
    return re.findall(r"`(\w+)`", row["entries of metrics.json"])


def test_every_entry_stands_in_one_row_and_every_row_is_measured() -> None:
    listed = [name for row in rows() for name in entries(row)]
    measured = [name for module in metric_modules(METRICS).values() for name in module.NAMES]
    assert sorted(listed) == sorted(measured)


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: entries(row)[0])
def test_rows_are_complete_and_name_the_direction_of_the_code(row: dict[str, str]) -> None:
    assert row["range"] and row["extractor"] and row["compared with"]
    text = PAGE.read_text(encoding="utf-8")
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    linked = re.search(r"\(#([\w-]+)\)", row["measure"])
    assert linked is not None and linked[1] in anchors
    told = {"higher": True, "lower": False}
    directions = [told[word] for word in re.findall("higher|lower", row["better"])]
    modules = metric_modules(METRICS).values()
    better = {name: module.HIGHER_IS_BETTER[name] for module in modules for name in module.NAMES}
    known = {better[name] for name in entries(row)} - {None}
    if directions:  # none: the judge's own accuracy and the like, where neither is better
        assert known == set(directions)
