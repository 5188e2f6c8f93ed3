"""The fixed faces of `val` that validations edit, at the best and at the last step of a training."""

from collections.abc import Sequence

from mimik.reporting.mosaics import Cell, Mosaic, Strip, enlargement_note
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.validations import not_validated, read_grid, read_validation

TITLE = "Faces of the validation"
CAPTION = (
    "The same {count} faces of the split 'val' and their edits by {method} at {steps}. They are drawn by class before "
    "the training, without regard to any score; the pictures of all steps are in the folder `validation` of the "
    "result. {pixels}."
)
PAGES = frozenset({"method"})


def draw(results: Sequence[Result], settings: ReportSettings) -> Drawing | Absent:
    """Rows are faces, first those of the best step; columns the input and the classes."""
    result = results[0]
    record = read_validation(result)
    if record is None:
        return not_validated(result)
    last = record["entries"][-1]["step"]
    steps = {"best and last" if record["best"] == last else "best": record["best"]}
    steps |= {} if last in steps.values() else {"last": last}
    mosaic = Mosaic(["input", *record["classes"]], result.size, title=f"Validation faces of {result.method}")
    count = 0
    for name, step in steps.items():
        grid = read_grid(result, step)
        count = min(settings.rows, grid.shape[0])
        for index, row in enumerate(grid[:count]):
            heading = f"{name} step, {step}" if index == 0 else ""
            mosaic.strips.append(Strip([Cell(picture) for picture in row], heading=heading))
    svg, width = mosaic.svg()
    facts = {
        "count": count,
        "method": result.method,
        "steps": " and ".join(f"the {name} step ({step})" for name, step in steps.items()),
        "pixels": enlargement_note(result.size).capitalize(),
    }
    return Drawing(svg, width, facts)
