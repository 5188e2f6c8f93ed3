"""Every number of metrics.json with what it was measured on, by which extractor and how."""

from collections.abc import Sequence

from mimik.reporting.plotting import Absent
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tabular import EMPTY, Cell, Column, Line, Table

TITLE = "Every number and its protocol"
CAPTION = "All scalars of metrics.json to five significant digits; n is the number of values averaged."
PAGES = frozenset({"method"})

COLUMNS: Sequence[Column] = (
    Column("value", "Value"),
    Column("interval", "95 % interval"),
    Column("n", "n"),
    Column("extractor", "Extractor", text=True),
    Column("protocol", "Protocol", text=True),
)


def build(results: Sequence[Result], settings: ReportSettings) -> Table | Absent:
    """Rows: scalars of the first result in the order of its file."""
    result = results[0]
    lines = []
    for name in result.record["metrics"]:
        measured = result.metric(name)
        if measured is None:
            continue
        entry = measured.entry
        sha = str(entry.get("extractor_sha256") or "")[:8]
        extractor = Cell(str(entry["extractor"]), sha) if entry.get("extractor") else EMPTY
        protocol = Cell(str(entry.get("protocol") or "–"))
        if measured.value is None:
            cells = [Cell("skipped", muted=True), EMPTY, EMPTY, extractor, Cell(measured.skipped, muted=True)]
        else:
            interval = measured.interval
            shown = EMPTY if interval is None else Cell(f"{interval[0]:.5g} to {interval[1]:.5g}")
            count = EMPTY if entry.get("n") is None else Cell(f"{entry['n']:,}", number=float(entry["n"]))
            cells = [Cell(f"{measured.value:.5g}", number=measured.value), shown, count, extractor, protocol]
        lines.append(Line(name, cells))
    return Table("Metric", COLUMNS, lines, dense=True) if lines else Absent("metrics.json contains no scalar")
