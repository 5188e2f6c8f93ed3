"""The papers' number tables: which dataset and method is which row, and whether its settings are the stated ones.

params/published.yaml has the tables. docs/papers/tables.md is made of it and of what params.yaml resolves to.
"""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mimik.errors import UserError, unknown_name
from mimik.settings.complete import complete
from mimik.settings.params import Params, Settings, flatten
from mimik.storage.files import write_text
from mimik.storage.records import shown

PAGE = Path("docs/papers/tables.md")
"""What `write` writes, relative to the project's folder."""

SCALE = "paper"
"""The scale at which rows are trained."""

NOT_MEASURED = "–"

_PLACES: Mapping[str, str] = {"batch_size": "training.batch_size", "learning_rate": "training.learning_rate"}
"""Where settings with a short name are in `mimik.settings.complete.complete`."""

_INTRODUCTION = """
Every row of the papers' number tables: the dataset and the method of params.yaml that it is, the settings it is trained
with at scale `paper`, and what the paper prints. `mimik params --tables` makes this page from params/published.yaml and
from what params.yaml resolves to; change these, not the page. `mimik plan TABLE` says what a table needs and how long
it takes, `snakemake results/DATASET/METHOD/metrics.json` makes a row.

A length in iterations counts updates of the critic. "No fewer than" is what a dataset gets that is smaller than the
one of the paper. Under "differs" are settings that are not those that the paper, or for a baseline its own paper or
code, states, with the reason. A column without a metric is not measured by mimik.
"""


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        name: what the paper calls it.
        dataset, method: entries of params.yaml.
        values: published numbers by column.
        stated: settings that the paper states, by name.
        differs: reasons, by the names of stated settings that are not followed.
    """

    name: str
    dataset: str
    method: str
    values: Mapping[str, float]
    stated: Mapping[str, Any]
    differs: Mapping[str, str]


class Difference(NamedTuple):
    """A stated setting that is not the resolved one; `reason` is empty where none is given."""

    setting: str
    stated: Any
    here: Any
    reason: str


def rows(params: Params, table: str) -> list[Row]:
    """The rows of one table, such as `hier_seg/table1`. Raises `UserError` for an unknown table."""
    tables = params.get("published", {})
    if table not in tables:
        raise UserError(f"{table!r} is not in params.yaml under 'published'. {unknown_name(table, tables)}")
    return [
        Row(row["row"], row["dataset"], row["method"], row["values"], row["settings"], row.get("differs", {}))
        for row in tables[table]["rows"]
    ]


def differences(params: Params, row: Row) -> list[Difference]:
    """Stated settings of a row that differ from the resolved ones at scale `paper`.

    Raises:
        UserError: the row gives a reason for a setting that does not differ, or states one that does not exist.
    """
    here = _here(complete(params, row.dataset, row.method, SCALE))
    found = []
    for name, stated in row.stated.items():
        place = _PLACES.get(name, name)
        if place not in here:
            raise UserError(f"published: {row.dataset}/{row.method} has no setting {place!r}.")
        if here[place] != stated:
            found.append(Difference(name, stated, here[place], row.differs.get(name, "")))
    if extra := set(row.differs) - {difference.setting for difference in found}:
        raise UserError(f"published: {row.name}: {', '.join(sorted(extra))} does not differ from what is stated.")
    return found


def page(params: Params) -> str:
    """The text of `PAGE`.

    Raises:
        UserError: a table is about something that params.yaml does not have.
    """
    return "\n".join(["# The papers' tables, row by row", _INTRODUCTION, *_sections(params)])


def write(params: Params, project: Path) -> bool:
    """Write `PAGE` of a project. Returns whether that changed anything."""
    path, text = project / PAGE, page(params)
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True


def _sections(params: Params) -> Iterator[str]:
    for name, table in params.get("published", {}).items():
        yield f"## {name}\n\n[The table on the paper's page]({table['page']}).\n"
        columns = list(table["measures"])
        heads = [
            f"{column} ({f'`{metric}`' if metric else 'not measured'})" for column, metric in table["measures"].items()
        ]
        yield "| row | dataset | method | side, px | batch | length | learning rate | " + " | ".join(heads) + " |"
        yield "|---" * (7 + len(columns)) + "|"
        notes = []
        for row in rows(params, name):
            settings = complete(params, row.dataset, row.method, SCALE)
            training = settings["training"]
            cells = [
                row.name,
                f"`{row.dataset}`",
                f"`{row.method}`",
                str(settings["image_size"]),
                str(training["batch_size"]),
                _length(settings),
                f"{training['learning_rate']:g}",
                *(f"{row.values[column]:g}" if column in row.values else NOT_MEASURED for column in columns),
            ]
            yield f"| {' | '.join(cells)} |"
            notes += [
                f"{row.name}: {found.setting} {_said(found.here)} instead of {_said(found.stated)}: {found.reason}."
                for found in differences(params, row)
            ]
        yield ""
        if notes:
            yield "Differs:\n"
            yield from (textwrap.fill(note, 118, initial_indent="- ", subsequent_indent="  ") for note in notes)
            yield ""


def _here(settings: Settings) -> dict[str, Any]:
    """Resolved settings by their places, with the length in iterations where it is one."""
    here = {key: list(value) if isinstance(value, tuple) else value for key, value in flatten(settings).items()}
    training = settings["training"]
    updates = settings["config"].get("critic_updates", 1)
    here["epochs"] = training["epochs"]
    here["iterations"] = None if training["epochs"] else training["steps"] * updates
    return here


def _length(settings: Settings) -> str:
    training = settings["training"]
    updates = settings["config"].get("critic_updates", 1)
    if training["epochs"] is None:
        return f"{training['steps'] * updates:,} iterations, {training['steps']:,} steps"
    least = f", no fewer than {training['steps']:,} steps" if training["steps"] > 1 else ""
    return f"{training['epochs']:g} epochs{least}"


def _said(value: Any) -> str:
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else shown(value)
