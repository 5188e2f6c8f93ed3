"""Where MLflow's server is, how it is opened, and what its faults mean.

MLflow writes into its database, as absolute paths, where the files of its runs (pictures, generators) lie. The
project's own database is therefore corrected whenever it is opened (`mimik.storage.moved`): its runs are beside it,
wherever it has been moved or copied to.
"""

import logging
import os
import shlex
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from mimik.errors import UserError
from mimik.settings.place import check_place
from mimik.storage.files import first_line, says_full
from mimik.storage.moved import ARTIFACTS, settle

if TYPE_CHECKING:
    from mlflow import MlflowClient


DATABASE = "mlflow.db"

SQLITE = "sqlite:///"
"""What the address of a database file begins with."""

TRIES = ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
"""How often MLflow repeats a request to a server that does not answer, in some 20 seconds in all. Its own
number, 7, keeps a training waiting for four minutes, and whoever forgot to start the server. The variable wins."""


def tracking_uri(folder: Path | None = None) -> str:
    """The server: MLFLOW_TRACKING_URI, or SQLite in `folder` (default: the current one; absolute, so that a job that
    changes its folder does not start another database)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_database(folder or Path.cwd())


def own_database(folder: Path) -> str:
    """The address of the database of a project's folder."""
    return f"{SQLITE}{folder.resolve() / DATABASE}"


@cache
def installed() -> bool:
    """Whether MLflow is there; says so once when it is not.

    Raises:
        UserError: it is not, although MLFLOW_TRACKING_URI names a server.
    """
    try:
        import mlflow  # noqa: F401
    except ModuleNotFoundError as error:
        # MLflow itself, not one of the packages that it needs: without these its installation is broken.
        if error.name != "mlflow":
            raise
        if uri := os.environ.get("MLFLOW_TRACKING_URI"):
            raise UserError(
                f"MLFLOW_TRACKING_URI is {uri}, but MLflow is not installed. Run `pip install mlflow`, or unset the "
                "variable to continue without it."
            ) from error
        print("mimik: MLflow is not installed, so nothing is mirrored to it.", file=sys.stderr)
        return False
    return True


def connected() -> "MlflowClient":
    """A client of the server that `open_store` has chosen."""
    from mlflow import MlflowClient

    return MlflowClient()


def open_store() -> None:
    """Point MLflow to its server. Two jobs that make a new database at once would break it: one after the other."""
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its notes on itself would break up progress bars
    # It writes the traceback of every fault of its database before it raises it; `told` and `_noted` tell it.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # A server that is away stops the recording of the machine's load, and nothing else; its loss is told elsewhere.
    for name in ("mlflow.system_metrics.system_metrics_monitor", "mlflow.utils.autologging_utils.metrics_queue"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it tells every repetition
    os.environ.setdefault(*TRIES)
    uri = tracking_uri()
    own = uri == own_database(Path.cwd())
    if own:
        check_place(Path.cwd())
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with alone():
        connected().search_experiments(max_results=1)
        if own:
            settle(Path(uri.removeprefix(SQLITE)))


@contextmanager
def alone() -> Iterator[None]:
    """Jobs that use the same database file one after the other: what one finds missing, it makes before another looks.

    A server that several machines use is not locked.
    """
    uri = tracking_uri()
    if not uri.startswith(SQLITE):
        yield
        return
    database = Path(uri.removeprefix(SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{database}.lock"):
        yield


def faults() -> tuple[type[Exception], ...]:
    """What MLflow raises when its server, its database or its disk fails."""
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, CommandError, OSError


def reason(error: Exception) -> str:
    """A fault of MLflow in one line; SQLAlchemy says pages, and what happened in the second line."""
    return "the disk is full" if says_full(error) else first_line(error)


class NotStoredError(UserError):
    """MLflow has failed, and lacks something."""


@contextmanager
def told(what: str, then: str = "run the same command again") -> Iterator[None]:
    """A failure of MLflow as a `NotStoredError` that says how to go on: what to do at first, and what `then`."""
    try:
        yield
    except faults() as error:
        uri = tracking_uri()
        if says_full(error):
            raise NotStoredError(
                f"MLflow at {uri} could not store {what}: the disk is full. Free some room, then {then}."
            ) from error
        advice = f"{_advice(uri, error)} Then {then}."
        raise NotStoredError(f"MLflow at {uri} could not store {what}: {reason(error)}\n{advice}") from error


_DAMAGED = ("not a database", "malformed", "no such table", "no such column", "already exists")
"""What SQLite says of a file that is none of its databases, is broken, or was left half made."""


def _advice(uri: str, error: BaseException) -> str:
    """What to do about a failure of MLflow. Only of a database that is damaged it says to move it away."""
    from alembic.util import CommandError

    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    said = " ".join(str(cause) for cause in causes)
    by_sqlite = " ".join(str(cause) for cause in causes if isinstance(cause, sqlite3.Error))
    if "out-of-date database schema" in said or any(isinstance(cause, CommandError) for cause in causes):
        return (
            "Another version of MLflow made this database. Copy it to a safe place, then bring it up to date: `mlflow "
            f"db upgrade {shlex.quote(uri)}`. If it reports an unknown revision, the other version is newer: install "
            "that one."
        )
    if not uri.startswith(SQLITE):
        return "Start the server, or unset MLFLOW_TRACKING_URI to use a local database."
    database = Path(uri.removeprefix(SQLITE))
    if "database is locked" in by_sqlite:
        return f"Another program has locked {database}: wait for it to finish, or stop it."
    if "disk is full" in said or "No space left" in said:
        return "Free some room on the disk."
    if any(part in by_sqlite for part in _DAMAGED):
        return f"If {database} is damaged, move it away: a new one will be created."
    return (
        f"The database itself may be intact: check that {database} and the folder {ARTIFACTS} beside it are writable."
    )
