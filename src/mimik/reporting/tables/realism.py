"""Realism in detail: more on the edits as a set beside the set of real faces, and on what is amiss with it."""

from collections.abc import Sequence

from mimik.reporting.measures import table
from mimik.reporting.plotting import Absent
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tabular import Table

TITLE = "Realism in detail"
CAPTION = (
    "Precision is low where edits look unlike any real face, recall where they show only some of what real faces show; "
    "density and coverage are the same with less weight on single odd faces. All compare sets, so none sees whether "
    "an edit shows its target or its person. Values on different features or of another resizing do not compare."
)
PAGES = frozenset({"method", "comparison"})

MEASURED: Sequence[str] = (
    "fid_antialiased",
    "ssfid",
    "precision",
    "recall",
    "density",
    "coverage",
    "precision_classifier",
    "recall_classifier",
    "density_classifier",
    "coverage_classifier",
)


def build(results: Sequence[Result], settings: ReportSettings) -> Table | Absent:
    """Rows: methods and baselines."""
    return table(results, MEASURED) or Absent("metrics.json contains none of the measures of this table")
