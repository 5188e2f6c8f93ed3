"""The report: pages for a reviewer to open. Self-contained HTML; nothing is computed here, only read and drawn.

`method_report` writes `results/<dataset>/<method>/report.html`, `comparison` writes `report/index.html`. Tables and
figures are those listed under `report` in params.yaml, imported by name.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from mimik.errors import UserError
from mimik.reporting.plotting import Absent, Drawing
from mimik.reporting.results import ReportSettings, Result, read_result
from mimik.reporting.tabular import Table
from mimik.reporting.trainings import gather, told
from mimik.settings.configuration import build
from mimik.settings.modules import named
from mimik.settings.scoring import told_elsewhere
from mimik.storage.files import write_text

Page = Literal["method", "comparison"]

SCALES: Mapping[str, str] = {
    "smoke": "a handful of steps: shows that the pipeline runs, says nothing about the method",
    "demo": "small networks and short training on small faces; not comparable with published figures",
    "laptop": "small networks, an hour or more of training on faces of 128 px; not comparable with published figures",
    "paper": "resolution, networks and schedule as published",
}
"""Text beside each scale's badge."""

PROTOCOLS: Mapping[str, str] = {
    "published": "each system trained with its own length and batch size",
    "equal": "all systems trained for equally many steps with equal batches",
}
"""What the protocols of `mimik.settings.params.PROTOCOLS` mean, for the page."""

ORDER: Sequence[str] = ("paper", "laptop", "demo", "smoke")
"""Order of the groups of results on the page; other scales come between demo and smoke."""


@dataclass(frozen=True)
class Item:
    """A table or a figure on the page; `drawing` or `table` is set, or `absent` says why neither is."""

    anchor: str
    title: str
    caption: str
    drawing: Drawing | None = None
    table: Table | None = None
    absent: str = ""


@dataclass(frozen=True)
class Group:
    """Results that can be compared: one dataset, scale, protocol and size, the same classes."""

    anchor: str
    dataset: str
    scale: str
    protocol: str
    size: int
    results: Sequence[Result]
    items: Sequence[Item]
    faces: int
    identities: int

    @property
    def scale_note(self) -> str:
        """What the scale means."""
        return SCALES.get(self.scale, "a scale defined in this project's params.yaml")

    @property
    def protocol_note(self) -> str:
        """What the protocol means."""
        return f"{self.protocol}: {PROTOCOLS[self.protocol]}" if self.protocol in PROTOCOLS else self.protocol

    @property
    def trainings_note(self) -> str:
        """How often each method was trained, and what the intervals are over."""
        shown = " Pictures, confusion matrices and curves are of the first one." if _several(self.results) else ""
        return told(self.results) + shown

    @property
    def labels_note(self) -> str:
        """What became of doubted labels of the training faces, by method; empty where no labels were scored."""
        notes: dict[str, list[str]] = {}
        for result in self.results:
            if sentence := _labels(result.config):
                notes.setdefault(sentence, []).append(result.method)
        if len(notes) == 1 and len(*notes.values()) == len(self.results):
            return next(iter(notes))
        return "; ".join(f"{', '.join(methods)}: {sentence}" for sentence, methods in notes.items())


def method_report(
    result_dir: Path | str, store_dir: Path | str, output: Path | str, settings: Mapping[str, Any]
) -> None:
    """Write the page of one result.

    Args:
        result_dir: results/<dataset>/<method> with metrics.json, config.json and translations/.
        store_dir: the prepared dataset.
        output: the HTML file.
        settings: the section `report` of params.yaml.

    Raises:
        UserError: a file is missing or does not fit, or a setting, table or figure is unknown.
    """
    chosen = build(ReportSettings, settings, "report")
    result = read_result(result_dir, store_dir)
    group = _group([result], chosen, "method", "result")
    write_page("method.html.j2", Path(output), group=group, result=result)


def comparison(
    result_dirs: Sequence[Path | str], prepared_root: Path | str, output: Path | str, settings: Mapping[str, Any]
) -> None:
    """Write the page that compares results.

    Results are grouped by dataset, scale, protocol and size; only results of one group share a table or a figure.

    Args:
        result_dirs: result directories, possibly of several datasets and scales; their order is kept, and trainings of
            one method become one result.
        prepared_root: data/prepared, with one folder per dataset.
        output: the HTML file.
        settings: the section `report` of params.yaml.

    Raises:
        UserError: there is no result, a file is missing or does not fit, or a setting, table or figure is unknown.
    """
    chosen = build(ReportSettings, settings, "report")
    if not result_dirs:
        raise UserError("report: there is no result to compare. Make one first, for example with `snakemake`.")
    found = []
    for directory in result_dirs:
        dataset = read_result(directory, prepared_root).dataset
        found.append(read_result(directory, Path(prepared_root) / dataset))
    results = gather(found, chosen)
    gathered: dict[tuple[str, str, str, int, tuple[str, ...]], list[Result]] = {}
    for result in results:
        shared = (result.dataset, result.scale, result.protocol, result.size, tuple(result.classes))
        gathered.setdefault(shared, []).append(result)
    ranked = sorted(gathered.items(), key=lambda pair: _rank(pair[0][1]))
    groups = [_group(members, chosen, "comparison", f"g{number}") for number, (_, members) in enumerate(ranked, 1)]
    write_page("index.html.j2", Path(output), groups=groups)


def _rank(scale: str) -> int:
    return ORDER.index(scale) * 2 if scale in ORDER else 2 * ORDER.index("smoke") - 1


def _group(results: Sequence[Result], settings: ReportSettings, page: Page, anchor: str) -> Group:
    first = results[0]
    items = []
    tables = [(name, _module("tables", name)) for name in settings.tables]
    figures = [(name, _module("figures", name)) for name in settings.figures]
    # The first table is what readers look for, so it comes first; the other tables follow the figures.
    for name, module in [*tables[:1], *figures, *tables[1:]]:
        if page in module.PAGES:
            items.append(_item(f"{anchor}-{name}", module, results, settings))
    table = first.store.table.iloc[first.rows]
    return Group(
        anchor,
        first.dataset,
        first.scale,
        first.protocol,
        first.size,
        results,
        items,
        faces=len(first.rows),
        identities=int(table["identity"][table["identity"] != ""].nunique()),
    )


def _module(room: str, name: str) -> ModuleType:
    return named(room, name, f"params.yaml: report.{room}")


def _item(anchor: str, module: ModuleType, results: Sequence[Result], settings: ReportSettings) -> Item:
    made = module.draw(results, settings) if hasattr(module, "draw") else module.build(results, settings)
    if isinstance(made, Absent):
        return Item(anchor, module.TITLE, "", absent=made.reason)
    if isinstance(made, Drawing):
        return Item(anchor, module.TITLE, module.CAPTION.format(**made.facts), drawing=made)
    return Item(anchor, module.TITLE, module.CAPTION, table=made)


def write_page(template: str, output: Path, **content: Any) -> None:
    """Fill a template of `mimik.reporting.templates` and write it; links in it are relative to `output`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mimik.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def link(target: Path) -> str:
        return Path(os.path.relpath(target.resolve(), output.resolve().parent)).as_posix()

    environment.filters["link"] = link
    environment.filters["spans"] = _spans
    environment.filters["machine"] = _machine
    environment.filters["labels"] = _labels
    environment.filters["elsewhere"] = lambda result: told_elsewhere(result.method, result.submitted)
    page = environment.get_template(template).render(
        **content,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    )
    write_text(output, page)


def _labels(config: Mapping[str, Any]) -> str:
    """What a training made of the scores of its labels (`label_quality` of config.json) in words; empty without."""
    used = config.get("label_quality")
    if used is None:
        return ""
    doubted, faces = sum(used["doubted"].values()), sum(used["faces"].values())
    by_class = ", ".join(f"{name} {count:,}" for name, count in used["doubted"].items())
    left_out = f"{sum(used['left_out'].values()):,} of them left out"
    did = {"keep": "used like the others", "weight": "drawn less often", "leave_out": left_out}[used["action"]]
    return f"{doubted:,} of {faces:,} doubted in {used['folds']} folds ({by_class}); {did}"


def _several(results: Sequence[Result]) -> bool:
    return any(result.further for result in results)


def _machine(environment: Mapping[str, Any]) -> str:
    """The environment of a training run (config.json) in words; the device first, which needs no name."""
    words = [f"{key} {value}" for key, value in environment.items() if key != "device"]
    return ", ".join([str(environment["device"]), *words] if "device" in environment else words)


def _spans(table: Table) -> list[tuple[str, int]]:
    """Headings over columns: neighbouring columns of one group share one."""
    spans: list[tuple[str, int]] = []
    for column in table.columns:
        if spans and spans[-1][0] == column.group:
            spans[-1] = (column.group, spans[-1][1] + 1)
        else:
            spans.append((column.group, 1))
    return spans
