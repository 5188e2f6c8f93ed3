"""The result table: led by the distance to the true edit where it is known, then expression, person, realism."""

from collections.abc import Sequence

from mimik.reporting.measures import further, table
from mimik.reporting.plotting import Absent
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tabular import Table

TITLE = "Results"
CAPTION = (
    "Small: 95 % interval. Bold: the best value of the column among the trained methods, and those that are "
    "not decided to be worse, by the noise of training and of test faces. Baselines (in italics) are excluded from "
    "this; 'True target' is the rendered ground truth under the same measures."
)
PAGES = frozenset({"method", "comparison"})

MEASURED: Sequence[str] = (
    "truth_psnr_changed",
    "truth_psnr",
    "truth_ssim",
    "truth_lpips",
    "au_error",
    "eea",
    "preservation_error",
    "expression_distance",
    "expression_distance_openface",
    "attribute_accuracy",
    "attribute_preservation",
    "identity_loss",
    "acd",
    "same_person",
    "vgg_face",
    "outside_change",
    "fid",
    "fid_per_target",
    "kid",
    "inception_score",
    "fd_classifier",
    "kd_classifier",
)


def build(results: Sequence[Result], settings: ReportSettings) -> Table | Absent:
    """Rows: methods and baselines; columns: `MEASURED`, then the measures of other packages."""
    made = table(results, (*MEASURED, *further(results)))
    return made or Absent("metrics.json contains none of the measures of this table")
