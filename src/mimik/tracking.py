"""MLflow's copy of what happens: one experiment for each dataset, one run for each method, configuration and seed.

A mirror: nothing is read back from it, and a run is found by its content (`run_key`), never by an id that some file
would have to keep. So an empty or lost database breaks nothing, a killed training that is resumed reopens its run, and
the evaluation later sends whatever the training could not deliver.

The server is MLFLOW_TRACKING_URI, or mlflow.db in the project's folder. This is the only module that imports mlflow.
Where MLflow is not installed, nothing is mirrored and one line says so; if MLFLOW_TRACKING_URI is set, that is an error
instead.

MLflow writes into its database, as absolute paths, where the files of its runs (pictures, generators) lie. The
project's own database is therefore corrected whenever it is opened (`mimik.storage.moved`): its runs are beside it,
wherever it has been moved or copied to.
"""

import csv
import logging
import os
import shlex
import sqlite3
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from mimik.errors import UserError
from mimik.settings.params import Settings, flatten
from mimik.settings.place import check_place
from mimik.settings.replicates import replicate
from mimik.settings.scoring import MARK
from mimik.storage.arrays import read_table
from mimik.storage.commit import changed_since, git_commit
from mimik.storage.files import digest, file_sha256, first_line, says_full
from mimik.storage.moved import ARTIFACTS, settle
from mimik.storage.pictures import open_picture
from mimik.storage.records import command_for, read_record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

DATABASE = "mlflow.db"

BATCH = 500
"""Values sent at once; MLflow takes at most 1000."""

SECONDS = 10.0
"""Longest time that a value waits for its batch."""

LONGEST_PARAM = 6000
"""Characters of a parameter that MLflow keeps."""


def tracking_uri(folder: Path | None = None) -> str:
    """The server: MLFLOW_TRACKING_URI, or SQLite in `folder` (default: the current one; absolute, so that a job that
    changes its folder does not start another database)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _sqlite(folder or Path.cwd())


def _sqlite(folder: Path) -> str:
    return f"sqlite:///{folder.resolve() / DATABASE}"


def run_key(settings: Mapping[str, Any], dataset_digest: str) -> str:
    """The identity of a run: its settings (seed included) and the data it is trained on."""
    return digest({"settings": dict(settings), "dataset": dataset_digest})[:16]


@contextmanager
def training_run(settings: Settings, store_dir: Path | str) -> Iterator[tuple[Settings, "RunLogger | None"]]:
    """A run that mirrors a training; None instead of the logger without MLflow, and in all but the first of several
    processes.

    When MLflow fails in the middle, the training continues, the failure is printed, and the evaluation sends the rest.

    Args:
        settings: of the training, see `mimik.settings.params.resolve`.
        store_dir: the prepared dataset.

    Yields:
        the settings with `run_key` (for config.json, by which the evaluation finds the run), and the logger.

    Raises:
        UserError: MLflow cannot be opened, or MLFLOW_TRACKING_URI is set and MLflow not installed; nothing has been
            trained yet then.
    """
    manifest = read_record(Path(store_dir) / "manifest.json", "prepared", ("digest",))
    key = run_key(settings, manifest["digest"])
    keyed = {**settings, "run_key": key}
    if int(os.environ.get("RANK", "0")) != 0 or not _installed():
        yield keyed, None
        return
    with _opened(keyed, Path(store_dir), manifest["digest"], system_metrics=True) as run:
        logger = RunLogger(run)
        try:
            yield keyed, logger
        finally:
            logger.close()


@contextmanager
def evaluated_run(result_dir: Path | str, store_dir: Path | str) -> Iterator[str | None]:
    """The run of a result while it is evaluated; when the block ends well, MLflow gets metrics, pictures and generator.

    Args:
        result_dir: results/<dataset>/<method>; the block writes its metrics.json.
        store_dir: the prepared dataset.

    Yields:
        the run's id; None where MLflow is not installed.

    Raises:
        UserError: MLflow cannot be opened, or does not take what it is given, or MLFLOW_TRACKING_URI is set and MLflow
            not installed.
    """
    if not _installed():
        yield None
        return
    result = Path(result_dir)
    needs = ("dataset", "method", "scale", "seed", "dataset_digest", "config", "training", "run_key")
    config = read_record(result / "config.json", "method", needs)
    with _opened(config, Path(store_dir), config["dataset_digest"]) as run:
        yield run.info.run_id
        with _told("metrics, pictures or generator of " + str(result)):
            if MARK not in config:
                _send_history(run, result / "history.csv")
            _send_result(run, result, config)


class RunLogger:
    """Losses and pictures of a training to its run, in batches; a `mimik.training.loop.Logger`."""

    def __init__(self, run: Any) -> None:
        """Mirror to an MLflow run (`mlflow.entities.Run`); of a run that goes on, the steps it has are left out."""
        self._run = run
        self._last_step = _last_step(run)
        self._waiting: list[Metric] = []
        self._sent = time.monotonic()
        self._failure: str | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record values of a step."""
        from mlflow.entities import Metric

        if step <= self._last_step or self._failure is not None:
            return
        now = int(time.time() * 1000)
        self._waiting += [Metric(name, float(value), now, step) for name, value in values.items()]
        if len(self._waiting) >= BATCH or time.monotonic() - self._sent > SECONDS:
            self._send()

    def image(self, step: int, key: str, path: Path) -> None:
        """Record a picture of a step; MLflow shows the pictures of one key with a slider."""
        if self._failure is None:
            with self._noted(), open_picture(path) as picture:
                _client().log_image(self._run.info.run_id, picture.convert("RGB"), key=key, step=step)

    def close(self) -> None:
        """Send what is waiting. Prints a message when MLflow lacks something."""
        if self._failure is None:
            self._send()
        if self._failure is not None:
            print(
                f"\nmimik: MLflow ({tracking_uri()}) failed and lacks part of this training: {self._failure}\n"
                "The training itself is complete and intact; its evaluation will send the losses again.",
                file=sys.stderr,
            )

    def _send(self) -> None:
        with self._noted():
            for start in range(0, len(self._waiting), BATCH):
                _client().log_batch(self._run.info.run_id, metrics=self._waiting[start : start + BATCH])
        self._waiting, self._sent = [], time.monotonic()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """A failure of MLflow is kept and reported, once now and once at the end; it never stops a training."""
        try:
            yield
        except _faults() as error:
            self._failure = _reason(error)
            print(f"\nmimik: MLflow failed: {self._failure}\nThe training continues without it.", file=sys.stderr)


@cache
def _installed() -> bool:
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


def _client() -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient()


@contextmanager
def _opened(
    config: Mapping[str, Any], store_dir: Path, dataset_digest: str, system_metrics: bool = False
) -> Iterator[Any]:
    """The run of a configuration: found by its key, or made with parameters, tags and dataset. Ends with the block."""
    import mlflow

    with _told("the run"):
        _open_store()
        client = _client()
        experiment = mlflow.set_experiment(config["dataset"])
        found = client.search_runs([experiment.experiment_id], f"tags.run_key = '{config['run_key']}'", max_results=1)
        if found:
            run_id = found[0].info.run_id
        else:
            run_id = _create(client, experiment.experiment_id, config, store_dir, dataset_digest)
        mlflow.start_run(run_id=run_id, log_system_metrics=system_metrics)
    status = "FAILED"
    try:
        yield client.get_run(run_id)
        status = "FINISHED"
    except UserError as error:
        status = "KILLED" if type(error).__name__ == "Interrupted" else "FAILED"
        raise
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        try:
            mlflow.end_run(status)
        except _faults() as error:
            # Raised here it would take back the job's result, which is complete.
            print(f"\nmimik: MLflow could not end the run: {_reason(error)}", file=sys.stderr)


def _open_store() -> None:
    """Point MLflow to its server. Two jobs that make a new database at once would break it: one after the other."""
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # its notes on itself would break up progress bars
    # It writes the traceback of every fault of its database before it raises it; `_told` and `_noted` tell it.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    uri = tracking_uri()
    own = uri == _sqlite(Path.cwd())
    if own:
        check_place(Path.cwd())
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if uri.startswith("sqlite:///"):
        database = Path(uri.removeprefix("sqlite:///"))
        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{database}.lock"):
            _client().search_experiments(max_results=1)
            if own:
                settle(database)


def _create(
    client: "MlflowClient", experiment_id: str, config: Mapping[str, Any], store_dir: Path, dataset_digest: str
) -> str:
    """A new run with its parameters (a run's parameters never change), tags and dataset."""
    from mlflow.data.pandas_dataset import from_pandas
    from mlflow.entities import DatasetInput, InputTag

    trained = replicate(config["method"])
    tags = {
        "run_key": config["run_key"],
        "method": trained.method,
        "training": str(trained.number),
        "scale": config["scale"],
        "data_digest": dataset_digest,
        "config_digest": digest({key: config[key] for key in ("config", "training")}),
        "git_commit": f"{git_commit() or 'unknown'}{' and changes' if changed_since() else ''}",
    }
    run = client.create_run(experiment_id, run_name=f"{trained.method} seed {config['seed']}", tags=tags)
    run_id: str = run.info.run_id
    _send_params(client, run_id, config)
    index = store_dir / "index.csv"
    with warnings.catch_warnings():
        # MLflow registers its source for local files twice and wonders which one to take.
        warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
        remedy = f"Prepare the dataset again: `{command_for(index, 'prepared')}`."
        table = read_table(index, remedy, dtype=str)
        data = from_pandas(table, source=index.as_posix(), name=config["dataset"], digest=dataset_digest[:36])
    client.log_inputs(run_id, [DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])])
    return run_id


def _send_params(client: "MlflowClient", run_id: str, config: Mapping[str, Any]) -> None:
    """Parameters that the run has not yet: a run's parameters never change."""
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    params = [
        Param(key, str(value)[:LONGEST_PARAM])
        for key, value in flatten(config).items()
        if key not in known and key not in ("run_key", "config_digest", "dataset_digest")
    ]
    for start in range(0, len(params), 100):
        client.log_batch(run_id, params=params[start : start + 100])


def _last_step(run: Any) -> int:
    """The last step whose losses a run has; -1 for none."""
    names = [name for name in run.data.metrics if not name.startswith(("system/", "validation/"))]
    history = _client().get_metric_history(run.info.run_id, names[0]) if names else []
    return max((metric.step for metric in history), default=-1)


def _send_history(run: Any, history: Path) -> None:
    """Losses of history.csv that the run has not: those of a training that MLflow missed."""
    logger = RunLogger(run)
    try:
        with history.open(encoding="utf-8", newline="") as opened:
            for row in csv.DictReader(opened):
                step = int(float(row.pop("step")))
                logger.scalars(step, {name: float(value) for name, value in row.items() if value})
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(
            f"{history}: expected a table of numbers with the column step, but: {first_line(error)}. Train again: "
            f"`{command_for(history, 'method')}`."
        ) from error
    logger.close()


def _send_result(run: Any, result: Path, config: Mapping[str, Any]) -> None:
    import mlflow
    from mlflow.entities import Metric

    client, run_id = _client(), run.info.run_id
    measured = read_record(result / "metrics.json", "metrics", ("metrics",))
    _send_params(client, run_id, config)  # the settings that nobody overrode are known since the training
    now = int(time.time() * 1000)
    values = list(metric_values(measured["metrics"]))
    client.log_batch(run_id, metrics=[Metric(f"test/{name}", value, now, 0) for name, value in values])
    made_here = MARK not in config
    files = ("metrics.json", "config.json", *(("history.csv", "samples.png") if made_here else ()))
    for name in (*files, "validation/validation.json"):
        if "/" not in name or (result / name).exists():  # results of earlier versions have no validation
            client.log_artifact(run_id, str(result / name))
    sha256 = file_sha256(result / "generator.safetensors") if made_here else None
    if sha256 is not None and run.data.tags.get("generator_sha256") != sha256:
        _register(result, config)
        client.set_tag(run_id, "generator_sha256", sha256)
    mlflow.flush_artifact_async_logging()


def metric_values(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every single number in `metrics` of metrics.json: (name, value); values by class as `<name>/<class>`."""
    for name, entry in metrics.items():
        value = entry.get("value") if isinstance(entry, Mapping) else None
        if isinstance(value, bool):
            continue
        if isinstance(value, int | float):
            yield name, float(value)
        elif isinstance(value, Mapping):
            yield from ((f"{name}/{key}", float(part)) for key, part in value.items() if isinstance(part, int | float))


SERVED: Mapping[str, str] = {
    "photograph": "binary", "to": "string", "strength": "double", "shown": "string", "action_units": "string",
    "has": "string", "faces": "string", "aligned": "boolean",
}  # fmt: skip
"""Columns of what a registered model is given, with MLflow's words for their types; only the first is required. See
`mimik.editing.serving.Editor.predict`, which is not imported: trainings would depend on how photographs are edited."""


def _register(result: Path, config: Mapping[str, Any]) -> None:
    """The generator as a new version of the model `<method>-<dataset>`."""
    import mlflow
    import numpy as np
    import pandas as pd
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from PIL import Image

    size, attributes = int(config["image_size"]), config["condition"]["space"] == "attributes"
    first = (config["condition"].get("names") or config["attributes"])[0] if attributes else config["classes"][0]
    grey = BytesIO()
    Image.fromarray(np.full((size, size, 3), 128, np.uint8)).save(grey, "PNG")
    example = {
        "photograph": grey.getvalue(),
        "to": first,
        "aligned": True,
        **({"has": "none"} if attributes else {"shown": config["classes"][0]}),
    }
    columns: list[Any] = [ColSpec(kind, name, required=name == "photograph") for name, kind in SERVED.items()]
    returned: list[Any] = [ColSpec("binary", "photograph"), ColSpec("long", "faces"), ColSpec("string", "refused")]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("generator.safetensors", "config.json"):
            Path(folder, name).symlink_to((result / name).resolve())
        mlflow.pyfunc.log_model(
            name="generator",
            loader_module="mimik.editing.serving",
            data_path=folder,
            registered_model_name=f"{config['method']}-{config['dataset']}",
            signature=ModelSignature(inputs=Schema(columns), outputs=Schema(returned)),
            input_example=pd.DataFrame([example]),
            pip_requirements=_requirements(torch.__version__),
        )


def _requirements(torch_version: str) -> Sequence[str]:
    from mimik import __version__

    return [f"mimik[mesh]=={__version__}", f"torch=={torch_version.partition('+')[0]}"]


def _faults() -> tuple[type[Exception], ...]:
    """What MLflow raises when its server, its database or its disk fails."""
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, CommandError, OSError


def _reason(error: Exception) -> str:
    """A fault of MLflow in one line; SQLAlchemy says pages, and what happened in the second line."""
    return "the disk is full" if says_full(error) else first_line(error)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """A failure of MLflow as a UserError that says how to go on."""
    try:
        yield
    except _faults() as error:
        uri = tracking_uri()
        if says_full(error):
            raise UserError(
                f"MLflow at {uri} could not store {what}: the disk is full. Free some room and run the same command "
                "again."
            ) from error
        advice = f"{_advice(uri, error)} Then run the same command again."
        raise UserError(f"MLflow at {uri} could not store {what}: {_reason(error)}\n{advice}") from error


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
    if not uri.startswith("sqlite:///"):
        return "Start the server, or unset MLFLOW_TRACKING_URI to use a local database."
    database = Path(uri.removeprefix("sqlite:///"))
    if "database is locked" in by_sqlite:
        return f"Another program has locked {database}: wait for it to finish, or stop it."
    if "disk is full" in said or "No space left" in said:
        return "Free some room on the disk."
    if any(part in by_sqlite for part in _DAMAGED):
        return f"If {database} is damaged, move it away: a new one will be created."
    return (
        f"The database itself may be intact: check that {database} and the folder {ARTIFACTS} beside it are writable."
    )
