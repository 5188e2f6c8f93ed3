"""report/papers: every table and figure of the papers as files, and an index of them all.

    report/papers/<paper>/<table>.{md,tex,csv,json}
    report/papers/<paper>/<figure>.{png,pdf,json}
    report/papers/index.html

An item that cannot be made is on the index with the reason, and has no files.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from mimik.reporting.papers.claims import Decision
from mimik.reporting.papers.item import Item
from mimik.reporting.papers.ledger import NAMES, write_ledger
from mimik.reporting.papers.prints import printed
from mimik.reporting.papers.tables import Results, table
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.report import SCALES, write_page
from mimik.reporting.results import ReportSettings, Result, read_result
from mimik.reporting.tabular import Table
from mimik.reporting.trainings import gather
from mimik.settings import papers
from mimik.settings.configuration import build
from mimik.settings.modules import named
from mimik.settings.params import Params
from mimik.storage.files import atomic_path, write_json, write_text

SUFFIXES = (".md", ".tex", ".csv", ".json", ".png", ".pdf")
"""Of the files of an item."""


@dataclass(frozen=True)
class Shown:
    """An item on the index.

    Attributes:
        name: such as `hier_seg/table1`.
        title: what the paper shows there.
        note: on what it is made from.
        caption: of the drawing.
        table, picture: of which one is set, or neither where `absent` says why; the picture a data URI.
        files: names of its files, relative to report/papers.
        missing: methods of the item that have no result.
    """

    name: str
    title: str
    note: str
    caption: str = ""
    table: Table | None = None
    picture: str = ""
    absent: str = ""
    files: Sequence[str] = ()
    missing: Sequence[str] = ()

    @property
    def paper(self) -> str:
        """The paper's entry."""
        return self.name.partition("/")[0]


def write_papers(
    params: Params, results: Sequence[Result], folder: Path, reasons: Mapping[str, str] | None = None
) -> list[Shown]:
    """Write every item and the index, and the ledger of claims beside them.

    Args:
        params: validated; `dataset` of them maps the papers' datasets onto another one.
        results: of any datasets, not gathered.
        folder: `report`.
        reasons: why the results of a dataset cannot be made here, by dataset.

    Returns:
        all items in their order.
    """
    settings = build(ReportSettings, params["report"], "report")
    gathered = gather(results, settings)
    there = Results.of(gathered, reasons or {})
    decisions = write_ledger(params, gathered, folder)
    room = folder / "papers"
    shown = [_item(params, name, there, settings, room) for name in papers.names(params)]
    _write_index(params, shown, decisions, room)
    return shown


def write_existing(params: Params, results: Path, prepared: Path, raw: Path, folder: Path) -> list[Shown]:
    """`write_papers` of everything in `results`.

    Args:
        params: validated.
        results, prepared, raw: the folders results, data/prepared and data/raw.
        folder: report.

    Raises:
        UserError: a result cannot be read.
    """
    found = [
        read_result(file.parent, prepared / file.parent.parent.name)
        for file in sorted(results.glob("*/*/metrics.json"))
    ]
    return write_papers(params, found, folder, papers.unobtainable(params, prepared, raw))


def _item(params: Params, name: str, there: Results, settings: ReportSettings, room: Path) -> Shown:
    """Make the files of one item; those of an earlier run that are not made again are removed."""
    for suffix in SUFFIXES:
        (room / f"{name}{suffix}").unlink(missing_ok=True)
    if name in params.get("published", {}):
        made = table(params, name, there)
        missing = [
            where.experiment.method
            for where in papers.places(params, name)
            if (where.experiment.dataset, where.experiment.method) not in there.found
        ]
        files = _write_table(made, room, name)
        return Shown(name, _heading(name), "", table=made, files=files, missing=list(dict.fromkeys(missing)))
    entry = params["items"][name]
    if "absent" in entry:
        return Shown(name, entry["shows"], entry.get("note", ""), absent=entry["absent"])
    return _figure(params, name, there, settings, room)


def _figure(params: Params, name: str, there: Results, settings: ReportSettings, room: Path) -> Shown:
    entry = params["items"][name]
    dataset, methods = _chosen(params, name, there)
    found = [(number, there.found[dataset, one]) for number, one in enumerate(methods) if (dataset, one) in there.found]
    missing = [one for one in methods if (dataset, one) not in there.found]
    title, note = entry["shows"], entry.get("note", "")
    own = replace(settings, seed=entry.get("options", {}).get("seed", settings.seed))
    results = [result for _, result in found]
    item = Item(name, results, [n for n, _ in found], entry.get("options", {}), own, params, (dataset, methods))
    ways = [entry["draws"]] if isinstance(entry["draws"], str) else entry["draws"]
    if ways == ["layers"]:
        made = _plot("layers").draw(item)
        return Shown(name, title, note, _plot("layers").CAPTION, table=made, files=_write_table(made, room, name))
    told = [f"{dataset} in the place of {', '.join(entry['datasets'])}"] if params.get("dataset") else [dataset]
    if not results:
        data = there.reasons.get(dataset)
        reason = f"data: {dataset}. {data}" if data else f"no result of {', '.join(missing)} on {dataset}"
        return Shown(name, title, note, absent=reason, missing=missing)
    told.append(f"scale {results[0].scale}, {results[0].size} px")
    stand_ins = [one for one in methods if one in entry.get("expressions", ()) and one not in entry["methods"]]
    if stand_ins:
        told.append(f"expressions in the place of attributes ({', '.join(stand_ins)})")
    note = ". ".join(filter(None, ["; ".join(told), note]))
    for way in ways:
        module = _module(way)
        figure, png, pdf = printed(partial(_drawn, way, module, item))
        if not isinstance(figure, Absent):
            break
    if isinstance(figure, Absent):
        return Shown(name, title, note, absent=figure.reason, missing=missing)
    caption = module.CAPTION.format(**figure.facts)
    for suffix, printed_bytes in ((".png", png), (".pdf", pdf)):
        with atomic_path(room / f"{name}{suffix}") as temporary:
            temporary.write_bytes(printed_bytes)
    record = {"item": name, "dataset": dataset, "scale": results[0].scale, "methods": [one.method for one in results]}
    write_json(room / f"{name}.json", {**record, "missing": missing, "title": title, "caption": caption, "note": note})
    picture = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    files = [f"{name}{suffix}" for suffix in (".png", ".pdf", ".json")]
    return Shown(name, title, note, caption, picture=picture, files=files, missing=missing)


def _drawn(way: str, module: ModuleType, item: Item) -> Drawing | Absent:
    made: Drawing | Absent = module.draw(item) if way in _plots() else module.draw(item.results, item.settings)
    return made


def _chosen(params: Params, name: str, there: Results) -> tuple[str, list[str]]:
    """Of the datasets of an item, the one with the most results; the first of several."""
    sets: dict[str, list[str]] = {}
    for where in papers.places(params, name):
        sets.setdefault(where.experiment.dataset, []).append(where.experiment.method)
    return max(sets.items(), key=lambda pair: sum((pair[0], method) in there.found for method in pair[1]))


def _plots() -> list[str]:
    folder = Path(str(import_module("mimik.reporting.papers.plots").__file__)).parent
    return sorted(file.stem for file in folder.glob("*.py") if file.stem[0] != "_")


def _plot(name: str) -> ModuleType:
    return import_module(f"mimik.reporting.papers.plots.{name}")


def _module(name: str) -> ModuleType:
    return _plot(name) if name in _plots() else named("figures", name, "params.yaml: items")


def _write_table(made: Table, room: Path, name: str) -> list[str]:
    write_text(room / f"{name}.md", f"# {name}\n\n{made.to_markdown()}")
    write_text(room / f"{name}.tex", made.to_latex())
    write_text(room / f"{name}.csv", made.to_csv())
    write_json(room / f"{name}.json", _record(name, made))
    return [f"{name}{suffix}" for suffix in (".md", ".tex", ".csv", ".json")]


def _record(name: str, made: Table) -> dict[str, Any]:
    rows = [
        {
            "row": line.name,
            **{
                column.key: {"text": cell.text, "small": cell.small, "number": cell.number}
                for column, cell in zip(made.columns, line.cells, strict=True)
            },
        }
        for line in made.lines
    ]
    return {"item": name, "rows": rows, "notes": list(made.notes)}


def _heading(name: str) -> str:
    return f"the numbers of Table {name.partition('/')[2].removeprefix('table')} beside ours"


def _write_index(params: Params, shown: Sequence[Shown], decisions: Sequence[Decision], room: Path) -> None:
    counts = {
        "made": sum(not item.absent and not item.missing for item in shown),
        "in part": sum(not item.absent and bool(item.missing) for item in shown),
        "not run": sum(bool(item.absent) for item in shown),
    }
    verdicts = {
        verdict: sum(decision.verdict == verdict for decision in decisions)
        for verdict in ("holds", "does not hold", "undecided", "not run")
    }
    write_page(
        "papers.html.j2",
        room / "index.html",
        papers={paper: NAMES.get(paper, paper) for paper in dict.fromkeys(item.paper for item in shown)},
        shown=shown,
        counts=counts,
        verdicts=verdicts,
        dataset=params.get("dataset"),
        scales=SCALES,
    )
