"""How many faces there are."""

from collections.abc import Sequence

from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tabular import Cell, Column, Line, Table

TITLE = "Number of guests"
CAPTION = "Test faces of every method."
PAGES = frozenset({"method"})


def build(results: Sequence[Result], settings: ReportSettings) -> Table:
    lines = [Line(result.method, [Cell(str(len(result.rows)))]) for result in results]
    return Table("Method", [Column("faces", "Faces")], lines)
