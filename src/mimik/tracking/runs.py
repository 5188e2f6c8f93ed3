"""Trainings and their evaluation as runs."""

import os
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimik.errors import UserError
from mimik.settings.params import Settings
from mimik.settings.replicates import replicate
from mimik.settings.scoring import MARK
from mimik.storage.arrays import read_table
from mimik.storage.commit import changed_since, git_commit
from mimik.storage.files import digest, file_sha256
from mimik.storage.records import command_for, read_record
from mimik.tracking.content import metric_values, send_metrics, send_params
from mimik.tracking.history import RunLogger, send_history
from mimik.tracking.models import SHA256, register
from mimik.tracking.parents import TEST, join_trainings
from mimik.tracking.server import NotStoredError, alone, connected, faults, installed, open_store, reason, told

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput


def run_key(settings: Mapping[str, Any], dataset_digest: str) -> str:
    """The identity of a run: its settings (seed included) and the data it is trained on."""
    return digest({"settings": dict(settings), "dataset": dataset_digest})[:16]


@contextmanager
def training_run(settings: Settings, store_dir: Path | str) -> Iterator[tuple[Settings, "RunLogger | None"]]:
    """A run that mirrors a training; None instead of the logger without MLflow, and in all but the first of several
    processes.

    When MLflow fails in the middle, the training continues and the failure is printed. What MLflow lacks is sent when
    it answers again, or else by the evaluation.

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
    if int(os.environ.get("RANK", "0")) != 0 or not installed():
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

    When MLflow does not take them, the failure is printed, with the command that sends them later.

    Args:
        result_dir: results/<dataset>/<method>; the block writes its metrics.json.
        store_dir: the prepared dataset.

    Yields:
        the run's id; None where MLflow is not installed.

    Raises:
        UserError: MLflow cannot be opened, or MLFLOW_TRACKING_URI is set and MLflow not installed; nothing has been
            evaluated yet then.
    """
    if not installed():
        yield None
        return
    result, config = Path(result_dir), _evaluated_config(Path(result_dir))
    with _opened(config, Path(store_dir), config["dataset_digest"]) as run:
        yield run.info.run_id
        try:
            _send_all(run, result, config)
        except NotStoredError as error:
            # Raised here it would take back the evaluation, which is complete.
            print(f"\nmimik: {error}\nThe evaluation itself is complete.", file=sys.stderr)


def send(result_dir: Path | str, store_dir: Path | str) -> None:
    """Send to MLflow what it lacks of an evaluated result: the run itself, losses, metrics, pictures, generator.

    Args:
        result_dir: results/<dataset>/<method>.
        store_dir: the prepared dataset; only read where the run is not known.

    Raises:
        UserError: MLflow cannot be opened, does not take what it is given, or is not installed.
    """
    if not installed():
        raise UserError("MLflow is not installed: `pip install mlflow`.")
    result, config = Path(result_dir), _evaluated_config(Path(result_dir))
    with _opened(config, Path(store_dir), config["dataset_digest"]) as run:
        _send_all(run, result, config)


def send_results(results: Path, prepared: Path) -> Iterator[str]:
    """`send` everything that has been evaluated; a line for each result.

    Args:
        results: folder with `<dataset>/<method>/metrics.json`.
        prepared: folder of prepared datasets.
    """
    found = sorted(file.parent for file in results.glob("*/*/metrics.json"))
    if not found:
        yield f"{results}: nothing has been evaluated."
    for result in found:
        send(result, prepared / result.parent.name)
        yield f"{result}: MLflow has everything."


def _evaluated_config(result: Path) -> Mapping[str, Any]:
    needs = ("dataset", "method", "scale", "seed", "dataset_digest", "config", "training", "run_key")
    return read_record(result / "config.json", "method", needs)


def _send_all(run: Any, result: Path, config: Mapping[str, Any]) -> None:
    with told(f"metrics, pictures or generator of {result}", "run `mimik mlflow`, which sends what MLflow lacks"):
        if MARK not in config:
            send_history(run, result / "history.csv")
        _send_result(run, result, config)
        with alone():
            join_trainings(connected(), run, config)


@contextmanager
def _opened(
    config: Mapping[str, Any], store_dir: Path, dataset_digest: str, system_metrics: bool = False
) -> Iterator[Any]:
    """The run of a configuration: found by its key, or made with parameters, tags and dataset. Ends with the block."""
    import mlflow

    with told("the run"):
        open_store()
        client = connected()
        experiment = mlflow.set_experiment(config["dataset"])
        found = client.search_runs([experiment.experiment_id], f"tags.run_key = '{config['run_key']}'", max_results=1)
        run = found[0] if found else _create(client, experiment.experiment_id, config, dataset_digest)
        _complete(client, run, config, store_dir, dataset_digest)
        run_id = run.info.run_id
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
        except faults() as error:
            # Raised here it would take back the job's result, which is complete.
            print(f"\nmimik: MLflow could not end the run: {reason(error)}", file=sys.stderr)


def _create(client: "MlflowClient", experiment_id: str, config: Mapping[str, Any], dataset_digest: str) -> Any:
    """A new run with its tags."""
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
    return client.create_run(experiment_id, run_name=f"{trained.method} seed {config['seed']}", tags=tags)


def _complete(
    client: "MlflowClient", run: Any, config: Mapping[str, Any], store_dir: Path, dataset_digest: str
) -> None:
    """Give a run the parameters and the dataset that it lacks: all, or what was not sent before a job was killed."""
    from mlflow.data.pandas_dataset import from_pandas
    from mlflow.entities import DatasetInput, InputTag

    run_id = run.info.run_id
    send_params(client, run_id, config)
    if run.inputs is not None and run.inputs.dataset_inputs:
        return
    index = store_dir / "index.csv"
    with warnings.catch_warnings():
        # MLflow registers its source for local files twice and wonders which one to take.
        warnings.filterwarnings("ignore", message="The specified dataset source can be interpreted in multiple ways")
        remedy = f"Prepare the dataset again: `{command_for(index, 'prepared')}`."
        table = read_table(index, remedy, dtype=str)
        data = from_pandas(table, source=index.as_posix(), name=config["dataset"], digest=dataset_digest[:36])
    tags = [InputTag("mlflow.data.context", "training")]
    _log_inputs(client, run_id, [DatasetInput(data._to_mlflow_entity(), tags)])


def _log_inputs(client: "MlflowClient", run_id: str, inputs: "list[DatasetInput]") -> None:
    """Give a run its dataset. Of jobs that bring a new dataset at the same moment, a server's database takes that of
    the first, and refuses the others (seen with PostgreSQL); asked again, MLflow finds it there."""
    from mlflow.exceptions import MlflowException

    for tries_left in (2, 1, 0):
        try:
            client.log_inputs(run_id, inputs)
            return
        except MlflowException as error:
            if error.error_code != "BAD_REQUEST" or not tries_left:
                raise
            time.sleep(1)


def _send_result(run: Any, result: Path, config: Mapping[str, Any]) -> None:
    import mlflow

    client, run_id = connected(), run.info.run_id
    measured = read_record(result / "metrics.json", "metrics", ("metrics",))
    send_params(client, run_id, config)  # the settings that nobody overrode are known since the training
    send_metrics(client, run_id, {f"{TEST}{name}": value for name, value in metric_values(measured["metrics"])})
    made_here = MARK not in config
    files = ("metrics.json", "config.json", *(("history.csv", "samples.png") if made_here else ()))
    for name in (*files, "validation/validation.json"):
        if "/" not in name or (result / name).exists():  # results of earlier versions have no validation
            client.log_artifact(run_id, str(result / name))
    sha256 = file_sha256(result / "generator.safetensors") if made_here else None
    if sha256 is not None and run.data.tags.get(SHA256) != sha256:
        register(result, config, run_id, sha256)
        client.set_tag(run_id, SHA256, sha256)
    mlflow.flush_artifact_async_logging()
