"""MLflow's database in a project that was moved or copied: where it looks for the files of its runs."""

import sqlite3
import sys
from pathlib import Path
from urllib.parse import unquote

ARTIFACTS = "mlruns"
"""Where MLflow keeps the files of the runs of a local database: in the current folder, under this name."""

_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's database that say where files are; not every version of MLflow has all of them."""


def settle(database: Path) -> None:
    """Let the project's own database look for the files of its runs beside it, in the project's folder.

    After a move MLflow would make the old folder again and write there, or into another project that stands there now.
    Locations that somebody chose (a server's, a bucket's, another folder's) stay as they are.
    """
    home = database.parent
    connection = sqlite3.connect(database, timeout=20)
    try:
        with connection:
            known = connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
            roots = {_made_in(experiment, location, home) for experiment, location in known}
            for before in sorted(root for root in roots if root is not None):
                for table, column in _LOCATIONS:
                    if column in [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]:
                        old, new = f"{before}/{ARTIFACTS}/", f"{home}/{ARTIFACTS}/"
                        connection.execute(
                            f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                            (new, len(old) + 1, len(old), old),
                        )
                print(
                    f"mimik: {database} was created in {before.removeprefix('file://')}; the files of its runs are now "
                    f"read and written in {home / ARTIFACTS}.",
                    file=sys.stderr,
                )
    finally:
        connection.close()


def _made_in(experiment: int, location: str | None, home: Path) -> str | None:
    """The folder where MLflow made an experiment, if that was another one than `home` and nobody chose the location."""
    root, matched, rest = (location or "").rpartition(f"/{ARTIFACTS}/{experiment}")
    folder = unquote(root.removeprefix("file://")) if root.startswith("file://") else root
    if not matched or rest or not folder.startswith("/") or folder == str(home):
        return None
    # Experiment 0 is made with the database. Any other one may have been given a folder of this form by somebody:
    # its files are then there, and not here.
    chosen = experiment != 0 and Path(folder, ARTIFACTS, str(experiment)).is_dir()
    return None if chosen and not (home / ARTIFACTS / str(experiment)).is_dir() else root
