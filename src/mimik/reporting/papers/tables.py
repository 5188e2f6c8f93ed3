"""The papers' number tables: what is printed there, beside what was measured here, row by row.

    made = table(params, "hier_seg/table1", results)

`dataset` of params.yaml maps the papers' datasets onto another one (`mimik.settings.papers`). Such numbers are not a
reproduction, and the table says so.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mimik.reporting.measured import Measured
from mimik.reporting.measures import MEASURES, Measure
from mimik.reporting.results import Result
from mimik.reporting.tabular import EMPTY, Cell, Column, Line, Table
from mimik.reporting.trainings import told
from mimik.settings.papers import Place, place
from mimik.settings.params import Params, scale_of
from mimik.settings.published import Row, rows


class Results(NamedTuple):
    """What there is.

    Attributes:
        found: gathered results by dataset and method.
        reasons: why a dataset's results cannot be made here (data under licence that is not there), by dataset.
    """

    found: Mapping[tuple[str, str], Result]
    reasons: Mapping[str, str]

    @classmethod
    def of(cls, results: Sequence[Result], reasons: Mapping[str, str]) -> "Results":
        """From gathered results."""
        return cls({(result.dataset, result.method): result for result in results}, reasons)

    def missing(self, dataset: str, method: str) -> Cell:
        """The cell that has no result: it says what is missing."""
        return Cell("not run", f"data: {dataset}" if dataset in self.reasons else f"{dataset}/{method}", muted=True)


def table(params: Params, item: str, results: Results) -> Table:
    """One table: for every column of the paper the printed number, ours with its interval, and the difference.

    Args:
        params: validated.
        item: of `published`.
        results: what there is; a cell without a result says what is missing.
    """
    entries = {
        column: params["published"][item].get("entries", {}).get(column, metric)
        for column, metric in params["published"][item]["measures"].items()
    }
    found = rows(params, item)
    raw = params["published"][item]["rows"]
    places = [
        place(params, row.dataset, row.method, entry.get("expressions")) for row, entry in zip(found, raw, strict=True)
    ]
    printed = {name for row in found for name in row.values}
    columns = [column for name, metric in entries.items() for column in _columns(name, metric, name in printed)]
    columns += [
        Column(
            "seen",
            "images seen",
            text=True,
            explanation="by the critic, where there is one, in millions: ours (paper's)",
        ),
        Column("protocol", "how ours differs", text=True),
    ]
    lines = []
    for row, where in zip(found, places, strict=True):
        result = results.found.get((where.experiment.dataset, where.experiment.method))
        cells = [
            cell
            for name, metric in entries.items()
            for cell in _cells(row, where, result, results, name, metric)[slice(None) if name in printed else OURS]
        ]
        lines.append(Line(row.name, [*cells, _seen(row, result), _protocol(params, row, where, result)]))
    return Table("row", columns, lines, tuple(_notes(params, item, entries, places, results)))


OURS = slice(1, 2)
"""Of the cells of a metric, that of a metric which the paper does not print: there is nothing to compare with."""


def _columns(name: str, metric: str | None, printed: bool) -> Iterator[Column]:
    measure = MEASURES.get(metric or "", Measure("", "", ""))
    direction, unit = measure.direction, measure.unit
    kinds = ("published", "ours", "difference") if metric else ("published",)
    for kind in kinds if printed else kinds[OURS]:
        yield Column(f"{name} {kind}".replace(" ", "_"), f"{name}, {kind}", direction if kind == "ours" else "", unit)


def _cells(
    row: Row, where: Place, result: Result | None, results: Results, name: str, metric: str | None
) -> list[Cell]:
    printed = row.values.get(name)
    first = EMPTY if printed is None else Cell(f"{printed:g}", number=printed)
    if not metric:
        return [first]
    if result is None:
        return [first, results.missing(*where.experiment), EMPTY]
    measured, measure = result.metric(metric), MEASURES.get(metric, Measure(metric, "", ""))
    ours = None if measured is None else measured.value
    last = EMPTY if printed is None or ours is None else _difference(ours * measure.factor - printed, measure)
    return [first, _ours(measured, measure), last]


def _ours(measured: Measured | None, measure: Measure) -> Cell:
    if measured is None or not measured.entry.get("applies", True):
        return EMPTY
    if measured.value is None:
        return Cell("not measured", muted=True)
    small = "" if measured.interval is None else " to ".join(_number(end, measure) for end in measured.interval)
    return Cell(_number(measured.value, measure), small, measured.value * measure.factor)


def _number(value: float, measure: Measure) -> str:
    return f"{value * measure.factor:.{measure.digits}f}".replace("-", "−")


def _difference(value: float, measure: Measure) -> Cell:
    return Cell(f"{value:+.{measure.digits}f}".replace("-", "−"), number=value)


def _seen(row: Row, result: Result | None) -> Cell:
    """Images that the critic was shown, in millions."""
    stated = row.stated
    paper = stated["iterations"] * stated["batch_size"] if "iterations" in stated else None
    told_of = f"{stated['epochs']} epochs" if "epochs" in stated else "–"
    if paper is not None:
        told_of = f"{paper / 1e6:.3g}"
    training = {} if result is None else result.config.get("training", {})
    if result is None or not training.get("steps") or not training.get("batch_size"):
        return Cell("–", f"paper: {told_of}")
    updates = result.config.get("config", {}).get("critic_updates", 1)
    seen = training["steps"] * training["batch_size"] * updates
    return Cell(f"{seen / 1e6:.3g}", f"paper: {told_of}", seen)


def _protocol(params: Params, row: Row, where: Place, result: Result | None) -> Cell:
    scale = scale_of(params, where.experiment.dataset) if result is None else result.scale
    told_of = []
    if where.mapped:
        told_of.append(f"{where.experiment.dataset} in the place of {row.dataset}")
    if where.stand_in:
        told_of.append(f"expressions in the place of attributes ({where.experiment.method})")
    if scale != "paper":
        told_of.append(f"scale {scale}")
    if result is not None:
        told_of.append(f"{result.size} px")
        told_of.append(f"{len(result.trainings)} training{'s' if result.further else ''}")
        if result.protocol != "published":
            told_of.append(f"protocol {result.protocol}")
    if not where.mapped and scale == "paper":
        told_of += row.differs.values()
    return Cell("; ".join(told_of) or "as published")


def _notes(
    params: Params, item: str, entries: Mapping[str, Any], places: Sequence[Place], results: Results
) -> Iterator[str]:
    pairs = dict.fromkeys((where.experiment.dataset, where.experiment.method) for where in places)
    there = [results.found[pair] for pair in pairs if pair in results.found]
    if any(where.mapped for where in places):
        chosen = params["dataset"]
        yield (
            f"Ours were measured on {chosen}, not on the paper's data. The differences are for orientation and no "
            "reproduction: compare the order of the rows, not the numbers."
        )
    if there:
        yield told(there)
    if note := params["published"][item].get("note"):
        yield note
    for dataset in dict.fromkeys(where.experiment.dataset for where in places):
        if dataset in results.reasons:
            yield f"{dataset}: {results.reasons[dataset]}"
    for name, metric in entries.items():
        if metric is None:
            yield f"{name} is not measured by mimik."
            continue
        skipped = {
            found.skipped
            for result in there
            if (found := result.metric(metric)) is not None and found.skipped and found.entry.get("applies", True)
        }
        for reason in sorted(skipped):
            yield f"{name}, ours: not measured, {reason}"
        protocols = {
            str(found.entry["protocol"])
            for result in there
            if (found := result.metric(metric)) is not None and found.value is not None and "protocol" in found.entry
        }
        extractors = {
            str(found.entry["extractor"])
            for result in there
            if (found := result.metric(metric)) is not None and found.value is not None and found.entry.get("extractor")
        }
        for protocol in sorted(protocols):
            by = f" Network: {', '.join(sorted(extractors))}." if extractors else ""
            yield f"{name}, ours: {protocol}{by}"
