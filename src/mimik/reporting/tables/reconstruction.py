"""What is preserved: self reconstruction, cycle reconstruction, the segmenter, and the accuracy of the judge."""

from collections.abc import Sequence

from mimik.reporting.measures import table
from mimik.reporting.plotting import Absent
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tabular import Table

TITLE = "Reconstruction, segmenter and judge"
CAPTION = (
    "Self reconstruction: with its own expression as the target, a face should stay unchanged. Cycle reconstruction: "
    "edited to a target and then back to its source. A method can score well here by hiding the original in its edit, "
    "so this does not measure the edit. Small: 95 % interval."
)
PAGES = frozenset({"method", "comparison"})

MEASURED: Sequence[str] = (
    "l1",
    "psnr",
    "ssim",
    "lpips",
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
    return table(results, MEASURED) or Absent("metrics.json contains none of the measures of this table")
