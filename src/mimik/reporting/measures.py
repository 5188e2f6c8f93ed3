"""How each measure is printed: heading, direction, unit, digits. One place, so that all tables agree.

For a metric of another package, its module says how it is printed; the evaluation records that in metrics.json.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mimik.reporting.measured import Measured, Scored
from mimik.reporting.results import BASELINES, Result
from mimik.reporting.tabular import EMPTY, Cell, Column, Direction, Line, Table
from mimik.reporting.trainings import difference, told
from mimik.settings.configuration import build


@dataclass(frozen=True)
class Measure:
    """How a metric of metrics.json is printed: its value times `factor` with `digits` decimals."""

    heading: str
    direction: Direction
    explanation: str
    unit: str = ""
    digits: int = 3
    factor: float = 1.0
    group: str = ""


def _percent(heading: str, direction: Direction, explanation: str, group: str) -> Measure:
    return Measure(heading, direction, explanation, "%", 1, 100.0, group)


def _neighbourhoods(ending: str, features: str) -> dict[str, "Measure"]:
    """Precision, recall, density and coverage on some features."""
    group = "Neighbourhoods, own classifier" if ending else "Neighbourhoods"
    told = {
        "precision": "share of edits among the real faces",
        "recall": "share of real faces among the edits",
        "density": "how many real faces an edit has around it, 1 for real faces",
        "coverage": "share of real faces with an edit nearby",
    }
    return {
        f"{name}{ending}": Measure(name.capitalize(), "up", f"{explanation}, by {features}", group=group)
        for name, explanation in told.items()
    }


MEASURES: Mapping[str, Measure] = {
    "truth_psnr_changed": Measure(
        "PSNR, changed pixels",
        "up",
        "distance to the true image of the edit, over the pixels that the true edit changes by more than 8/255",
        "dB",
        2,
        group="Distance to the true edit",
    ),
    "truth_psnr": Measure(
        "PSNR, whole face", "up", "the same over all pixels", "dB", 2, group="Distance to the true edit"
    ),
    "truth_ssim": Measure(
        "SSIM, whole face", "up", "structural similarity to the true image", group="Distance to the true edit"
    ),
    "au_error": Measure(
        "AU error",
        "down",
        "mean absolute error of the 17 action units (0 to 1) read by a reader network, against those of the true edit",
        group="Distance to the true edit",
    ),
    "eea": _percent(
        "EEA", "up", "share of edits that an independent classifier labels as the target; target ≠ source", "Expression"
    ),
    "eea_with_self": _percent("EEA with own", "up", "the same, with target = source", "Expression"),
    "preservation_error": _percent(
        "Preservation error",
        "down",
        "share of the edits to other targets that are classified as a given class, mean over the classes",
        "Expression",
    ),
    "attribute_accuracy": _percent(
        "Attribute accuracy",
        "up",
        "share of single-attribute edits in which a classifier sees the attribute reversed, mean over the attributes",
        "Attributes",
    ),
    "attribute_preservation": _percent(
        "Others kept", "up", "share of the other attributes that the classifier predicts as in the input", "Attributes"
    ),
    "expression_distance": Measure(
        "ED",
        "down",
        "distance between the 17 action units (0 to 1) read from the edit and the means of its target expression",
        group="Expression",
    ),
    "expression_distance_openface": Measure(
        "ED by OpenFace",
        "down",
        "the same with the action units that OpenFace reads; photographs only",
        group="Expression",
    ),
    "identity_loss": Measure(
        "Identity loss", "down", "distance between the identity features of edit and input", group="Person"
    ),
    "acd": Measure(
        "ACD", "down", "distance between dlib's face descriptors of edit and input; photographs only", group="Person"
    ),
    "same_person": _percent(
        "Same person", "up", "share of edits within dlib's distance for one person, 0.6, of the input", "Person"
    ),
    "outside_change": Measure(
        "Change outside",
        "down",
        "mean absolute change, on [0, 1], of the pixels outside eyes, brows, nose and mouth",
        digits=4,
        group="Person",
    ),
    "fid": Measure("FID", "down", "Fréchet distance of Inception features to real faces", digits=1, group="Realism"),
    "fid_per_target": Measure(
        "FID per target",
        "down",
        "the same for the edits to one target, mean over the targets; of fewer edits, so larger",
        digits=1,
        group="Realism",
    ),
    "kid": Measure("KID", "down", "kernel distance of Inception features to real faces", digits=4, group="Realism"),
    "inception_score": Measure(
        "IS",
        "",
        "Inception score, mean of 10 subsets; it hardly varies on faces, and differences below 0.05 mean nothing",
        digits=2,
        group="Realism",
    ),
    "fd_classifier": Measure(
        "FD, own classifier",
        "down",
        "Fréchet distance of the features of this project's classifier; not comparable with FID",
        digits=2,
        group="Realism",
    ),
    "kd_classifier": Measure(
        "KD, own classifier",
        "down",
        "kernel distance of the features of this project's classifier; not comparable with KID",
        digits=4,
        group="Realism",
    ),
    "fid_antialiased": Measure(
        "FID, antialiased",
        "down",
        "FID of images resized by clean-fid's rule; not comparable with FID",
        digits=1,
        group="Realism",
    ),
    "ssfid": Measure(
        "ssFID",
        "down",
        "Fréchet distance of the features of SwAV's ResNet-50 for the edits to one target, mean over the targets",
        digits=2,
        group="Realism",
    ),
    **_neighbourhoods("", "Inception's features"),
    **_neighbourhoods("_classifier", "the features of this project's classifier; not comparable with Inception's"),
    "vgg_face": Measure(
        "VGG-Face", "down", "distance between VGG-Face features of edit and input; photographs only", group="Person"
    ),
    "truth_lpips": Measure(
        "LPIPS", "down", "perceptual distance to the true image of the edit", group="Distance to the true edit"
    ),
    "lpips": Measure("LPIPS", "down", "", group="Self reconstruction"),
    "l1": Measure("L1", "down", "", digits=4, group="Self reconstruction"),
    "psnr": Measure("PSNR", "up", "", "dB", 2, group="Self reconstruction"),
    "ssim": Measure("SSIM", "up", "", group="Self reconstruction"),
    "cycle_l1": Measure("L1", "down", "", digits=4, group="Cycle reconstruction"),
    "cycle_psnr": Measure("PSNR", "up", "", "dB", 2, group="Cycle reconstruction"),
    "cycle_ssim": Measure("SSIM", "up", "", group="Cycle reconstruction"),
    "miou_before": _percent(
        "mIoU before", "", "pre-trained segmenter, on test faces of the dataset that it was pre-trained on", "Segmenter"
    ),
    "miou_after": _percent("mIoU after", "up", "the same after end-to-end training", "Segmenter"),
    "classifier_accuracy": _percent("Accuracy", "", "of the judging classifier on real test faces", "Judge"),
    "attribute_classifier_accuracy": _percent(
        "Accuracy, attributes", "", "of the judging classifier on real test faces, mean over the attributes", "Judge"
    ),
}

EXACT: Mapping[str, Mapping[str, str]] = {
    "Copy the input": {
        "identity_loss": "0",
        "acd": "0",
        "same_person": "100",
        "outside_change": "0",
        "attribute_preservation": "100",
    },
    "True target": {"truth_psnr": "∞", "truth_psnr_changed": "∞", "truth_ssim": "1"},
}
"""Scores that a baseline has by definition."""


PRINTED = "printed"
"""Key of an entry of metrics.json that says how to print it if it is not one of `MEASURES`."""

_FORMAT = re.compile(r"\{:(?:\.(\d))?([f%d])\}")


@dataclass(frozen=True)
class _Printed:
    """The value of `PRINTED`: direction, unit, a format such as {:.3f} or {:.1%}, and what is measured."""

    direction: Direction
    unit: str
    format: str
    explanation: str

    def __post_init__(self) -> None:
        if not _FORMAT.fullmatch(self.format):
            raise ValueError(f"expected a format such as {{:.3f}}, {{:.1%}} or {{:d}}, found {self.format!r}")

    def measure(self, name: str) -> Measure:
        found = _FORMAT.fullmatch(self.format)
        assert found is not None
        digits, kind = int(found[1] or 0), found[2]
        unit, factor = ("%", 100.0) if kind == "%" else (self.unit, 1.0)
        heading = name.replace("_", " ").capitalize()
        return Measure(heading, self.direction, self.explanation, unit, digits, factor, "Further measures")


def further(results: Sequence[Scored]) -> dict[str, Measure]:
    """Measures from other packages in these results, by name, in the order of metrics.json, without baselines.

    Raises:
        UserError: an entry that does not say how it is printed in the form that evaluation writes.
    """
    found: dict[str, Measure] = {}
    for result in results:
        for name, entry in result.record.get("metrics", {}).items():
            if name not in MEASURES and isinstance(entry, Mapping) and PRINTED in entry:
                where = f"metrics.json of {result.method} on {result.dataset}: metrics.{name}.{PRINTED}"
                found.setdefault(name, build(_Printed, entry[PRINTED], where).measure(name))
    baselines = {pattern.format(name) for patterns in BASELINES.values() for pattern in patterns for name in found}
    return {name: measure for name, measure in found.items() if name not in baselines}


def printed(measure: Measure, measured: Measured | None) -> Cell:
    """A metric as a cell: value, interval in the small line; 'skipped' with the reason when there is no value.

    A dash where there is no entry, or where the metric does not apply to this method.
    """
    if measured is None or not measured.entry.get("applies", True):
        return EMPTY
    if measured.value is None:
        return Cell("skipped", measured.skipped, muted=True)

    def text(value: float) -> str:
        return f"{value * measure.factor:.{measure.digits}f}".replace("-", "−")

    small = ""
    if measured.interval is not None:
        low, high = measured.interval
        if measure.unit == "%":  # over few trainings it can reach beyond what a share can be
            low, high = max(low, 0.0), min(high, 1.0)
        small = f"{text(low)} to {text(high)}"
    return Cell(text(measured.value), small, measured.value)


def table(results: Sequence[Result], names: Sequence[str]) -> Table | None:
    """`plain_table` of results, with the best marked, unless a measure was taken on different datasets.

    The best of every column is chosen among the results, never among the baselines. Marked are the best and those that
    print the same or are not decided to be worse (`mimik.reporting.trainings.difference`); if that is all of them, none
    is, so never one of single trainings.
    """
    made = plain_table(results, names)
    if made is None or not made.columns or len(results) < 2:
        return made
    grid = [list(line.cells) for line in made.lines[: len(results)]]
    for column, heading in enumerate(made.columns):
        if len(set(_measured_on(results, heading.key)) - {None}) < 2:
            _mark_best(results, grid, column, heading.key, heading.direction)
    lines = [replace(line, cells=cells) for line, cells in zip(made.lines[: len(results)], grid, strict=True)]
    notes = list(made.notes) if _marked(grid) else [*made.notes[:-1], made.notes[-1] + NO_BEST]
    return replace(made, lines=[*lines, *made.lines[len(results) :]], notes=tuple(notes))


def plain_table(results: Sequence[Scored], names: Sequence[str]) -> Table | None:
    """Rows: the results, then the baselines; columns: those of `names` that any result has measured.

    Names are those of `MEASURES` and of `further`.

    A note says what the intervals are over, another where a measure was taken on another dataset than the results'. A
    measure that applies to these methods but that no result has becomes a note with the reason. None when nothing was
    measured.
    """
    measures = {**MEASURES, **further(results)}
    taken = [name for name in names if any(_has_value(result.metric(name)) for result in results)]
    left_out: dict[str, list[str]] = {}
    for name in names:
        absent = [found for result in results if (found := result.metric(name)) is not None and found.skipped]
        # A measure that does not apply to these methods needs no note in their table.
        reasons = {found.skipped for found in absent if found.entry.get("applies", True)}
        for reason in sorted(reasons) if name not in taken else ():
            left_out.setdefault(reason, []).append(_full_heading(measures[name]))
    notes = [f"{', '.join(headings)} skipped: {reason}" for reason, headings in left_out.items()]
    if not taken and not notes:
        return None
    grid = [[printed(measures[name], result.metric(name)) for name in taken] for result in results]
    told_of: dict[str, list[str]] = {}
    for column, name in enumerate(taken):
        places = _measured_on(results, name)
        if len(set(places) - {None}) > 1:
            for row, place in zip(grid, places, strict=True):
                if place is not None:
                    row[column] = replace(row[column], small=f"{row[column].small} on {place[0]}".strip())
        if (place_told := _told_places(places, results[0].dataset)) is not None:
            told_of.setdefault(place_told, []).append(_full_heading(measures[name]))
    notes += [f"{', '.join(headings)}: {place}" for place, headings in told_of.items()]
    if taken:
        notes.append(told(results))
    lines = [Line(result.method, cells) for result, cells in zip(results, grid, strict=True)]
    lines += [line for name in BASELINES if (line := _baseline(results, measures, taken, name)) is not None]
    columns = [
        Column(name, m.heading, m.direction, m.unit, m.explanation, m.group)
        for name in taken
        for m in (measures[name],)
    ]
    return Table("", columns, lines, tuple(notes))


_Place = tuple[str, str]
"""A dataset by name and digest."""


def _measured_on(results: Sequence[Scored], name: str) -> list[_Place | None]:
    """Where a measure was taken, for every result that has it; all None for a measure that never names a dataset."""
    found = [result.metric(name) for result in results]
    if not any(_has_value(measured) and "dataset" in measured.entry for measured in found if measured is not None):
        return [None] * len(results)
    places: list[_Place | None] = []
    for result, measured in zip(results, found, strict=True):
        own = {"dataset": result.dataset, "dataset_digest": result.record.get("dataset_digest", "")}
        place = None if measured is None or not _has_value(measured) else {**own, **measured.entry}
        places.append(None if place is None else (str(place["dataset"]), str(place["dataset_digest"])))
    return places


def _told_places(places: Sequence[_Place | None], dataset: str) -> str | None:
    """A sentence on a measure that was not taken on one preparation of the results' own dataset; None if it was."""
    known = dict.fromkeys(place for place in places if place is not None)
    names = list(dict.fromkeys(name for name, _ in known))
    if len(names) > 1:
        return f"measured on test faces of {' and of '.join(names)}, which do not compare, so none is the best."
    if len(known) > 1:
        return f"measured on different preparations of {names[0]}, which do not compare, so none is the best."
    return None if names in ([], [dataset]) else f"measured on test faces of {names[0]}."


def _full_heading(measure: Measure) -> str:
    """The heading, with its group if several measures share the heading."""
    alone = [other for other in MEASURES.values() if other.heading == measure.heading] == [measure]
    return measure.heading if alone else f"{measure.heading} ({measure.group.lower()})"


def _has_value(measured: Measured | None) -> bool:
    return measured is not None and measured.value is not None


NO_BEST = " No difference is decided by this, so no best is marked."
"""The end of the note of a table of several methods without any bold cell."""


def _marked(grid: Sequence[Sequence[Cell]]) -> bool:
    return any(cell.best for row in grid for cell in row)


def _mark_best(results: Sequence[Result], grid: list[list[Cell]], column: int, name: str, direction: Direction) -> None:
    """Mark the cells that are not decided to be worse than the best, unless none is."""
    scores = {index: number for index, row in enumerate(grid) if (number := row[column].number) is not None}
    if not direction or len(scores) < 2:
        return
    best = (max if direction == "up" else min)(scores, key=scores.__getitem__)
    equal = [
        index
        for index in scores
        if grid[index][column].text == grid[best][column].text
        or (found := difference(results[best], results[index], name)) is None
        or not found.decided
    ]
    for index in equal if len(equal) < len(scores) else ():
        grid[index][column] = replace(grid[index][column], best=True)


def _baseline(
    results: Sequence[Scored], measures: Mapping[str, Measure], names: Sequence[str], baseline: str
) -> Line | None:
    """The row of a baseline, from the first result that measured it; values fixed by definition are marked as such.

    None when nothing was measured for it: the row would then only repeat definitions.
    """
    cells = []
    known = False
    for name in names:
        found = next((m for result in results if (m := result.baseline(baseline, name)) is not None), None)
        known = known or found is not None
        if found is not None:
            cells.append(printed(measures[name], found))
        elif name in EXACT[baseline]:
            cells.append(Cell(EXACT[baseline][name], "by definition"))
        else:
            cells.append(EMPTY)
    return Line(baseline, cells, baseline=True) if known else None
