"""The papers' tables in MLflow: one run for each table, and under it one for each row, with its numbers.

They stand in the experiment `papers`: a row may average several trainings, and one training may be in several tables.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mimik.errors import UserError
from mimik.reporting.tabular import Table
from mimik.storage.files import digest
from mimik.tracking.content import send_metrics
from mimik.tracking.parents import PARENT
from mimik.tracking.server import alone, connected, faults, installed, open_store, reason, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from mimik.reporting.papers.pages import Shown

EXPERIMENT = "papers"

OURS = "_ours"
"""What the keys of columns end with that hold what was measured here."""

SENT = "sent_digest"
"""Tag of a table's run: what it got."""


def mirror_tables(shown: Sequence["Shown"]) -> None:
    """Send tables to MLflow.

    What MLflow does not take is printed, and nothing fails by it: report/papers is complete.

    Args:
        shown: the items of report/papers; tables with a number of our own are sent.

    Raises:
        UserError: MLFLOW_TRACKING_URI is set and MLflow not installed.
    """
    ours = {item.name: item.table for item in shown if item.table is not None and _measured(item.table)}
    if not ours or not installed():
        return
    failures: tuple[type[Exception], ...] = (UserError, *faults())
    try:
        open_store()
        client = connected()
        with alone():
            found = client.get_experiment_by_name(EXPERIMENT)
            experiment = client.create_experiment(EXPERIMENT) if found is None else found.experiment_id
            for item, table in ours.items():
                _send(client, experiment, item, table)
    except failures as error:
        print(f"mimik: MLflow ({tracking_uri()}) lacks tables of the papers: {reason(error)}", file=sys.stderr)


def _measured(table: Table) -> bool:
    """Whether anything in it was measured here."""
    own = [number for number, column in enumerate(table.columns) if column.key.endswith(OURS)]
    return any(line.cells[number].number is not None for line in table.lines for number in own)


def _send(client: "MlflowClient", experiment: str, item: str, table: Table) -> None:
    content = digest(table.to_csv())
    parent = _run(client, experiment, item, item, {"paper": item.partition("/")[0]})
    if parent.data.tags.get(SENT) == content:
        return
    for number, line in enumerate(table.lines):
        row = _run(client, experiment, f"{item}/{number}", line.name, {PARENT: parent.info.run_id, "table": item})
        cells = {_name(column.key): cell for column, cell in zip(table.columns, line.cells, strict=True)}
        numbers = {name: float(cell.number) for name, cell in cells.items() if cell.number is not None}
        send_metrics(client, row.info.run_id, numbers)
        for name, cell in cells.items():
            if told := cell.print if name in numbers else cell.text:
                client.set_tag(row.info.run_id, name, told)
    client.set_tag(parent.info.run_id, SENT, content)


def _run(client: "MlflowClient", experiment: str, key: str, name: str, tags: Mapping[str, str]) -> Any:
    """The run of a table or of a row; made where there is none."""
    found = client.search_runs([experiment], f"tags.run_key = '{key}'", max_results=1)
    if found:
        return found[0]
    run = client.create_run(experiment, run_name=name, tags={"run_key": key, **tags})
    client.set_terminated(run.info.run_id)
    return run


def _name(key: str) -> str:
    """A column's key with the characters that MLflow takes."""
    return re.sub(r"_+", "_", re.sub(r"[^\w\-. /]", "", key))
