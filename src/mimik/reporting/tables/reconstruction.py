"""What is kept: self reconstruction, the way there and back, the segmenter, and the judge's own quality."""

from collections.abc import Sequence

from mimik.reporting.measures import table
from mimik.reporting.plotting import Absent
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tabular import Table

TITLE = "Reconstruction, segmenter and judge"
CAPTION = (
    "Self reconstruction: asked for its own expression, a face should come back unchanged. There and back: edited to a "
    "target and then to its source again; a method can do well here by hiding the original in its edit, so this is no "
    "measure of the edit. Small: bootstrap 95 % interval."
)
PAGES = frozenset({"method", "comparison"})

MEASURED: Sequence[str] = (
    "l1",
    "psnr",
    "ssim",
    "cycle_l1",
    "cycle_psnr",
    "cycle_ssim",
    "miou_before",
    "miou_after",
    "classifier_accuracy",
    "attribute_classifier_accuracy",
)


def build(results: Sequence[Result], settings: ReportSettings) -> Table | Absent:
    """Rows: methods and baselines."""
    return table(results, MEASURED) or Absent("metrics.json holds none of the measures of this table")
