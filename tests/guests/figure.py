"""A figure that always says why it is not there."""

from collections.abc import Sequence

from mimik.reporting.plotting import Absent
from mimik.reporting.results import ReportSettings, Result

TITLE = "Portrait of the guests"
CAPTION = "None."
PAGES = frozenset({"method"})


def draw(results: Sequence[Result], settings: ReportSettings) -> Absent:
    return Absent("the guests are shy")
