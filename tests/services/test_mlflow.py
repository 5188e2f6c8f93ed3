"""An MLflow server with PostgreSQL, and four trainings at once while it is killed and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pandas as pd
import pytest

from tests.services.servers import POSTGRESQL, ROOT, Server, mlflow_server, needs, postgresql, until
from tests.tiny import make_store
from tests.tracking.conftest import SETTINGS

pytestmark = [
    pytest.mark.service,
    needs("postgres", "initdb", modules=("mlflow", "psycopg2"), also=POSTGRESQL, target="test-services"),
]

SCRIPT = """
import json, sys, time
from pathlib import Path
from mimik.errors import UserError
from mimik.storage.files import write_json
from mimik.tracking.runs import evaluated_run, training_run
from mimik.training.runs import train_method

settings, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
result = folder / f"result {settings['seed']}"

class Slow:
    def __init__(self, logger):
        self.image, self.logger = logger.image, logger

    def scalars(self, step, values):
        time.sleep(0.3)
        self.logger.scalars(step, values)

try:
    if sys.argv[3] == "train":
        with training_run(settings, folder / "store") as (settings, logger):
            checkpoints = folder / f"checkpoints {settings['seed']}"
            train_method(settings, folder / "store", {}, result, checkpoints, Slow(logger))
    else:
        with evaluated_run(result, folder / "store"):
            write_json(result / "metrics.json", {"metrics": {"eea": {"value": settings["seed"] / 10}}})
except UserError as error:
    sys.exit(f"mimik: {error}")
"""
SEEDS = (1, 2, 3, 4)
STEPS = 300
"""One and a half minutes at least, in which the server goes and comes back."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    # PostgreSQL runs as another user where the tests run as root, and has to get through to its folder.
    for folder in (tmp_path, tmp_path.parent):
        folder.chmod(0o755)
    with postgresql(tmp_path / "postgresql") as database:
        started, address = mlflow_server(tmp_path / "server", database)
        try:
            started.start(lambda: healthy(address))
            yield started, address
        finally:
            started.stop()


def healthy(address: str) -> bool:
    try:
        with urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def jobs(folder: Path, address: str, verb: str) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """A job for every seed, all at once; they are ended with the block. Each writes what it says into its log."""
    training = {**SETTINGS["training"], "steps": STEPS, "sample_every": 25}  # type: ignore[dict-item]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": address, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    started = []
    try:
        for seed in SEEDS:
            settings = json.dumps({**SETTINGS, "seed": seed, "training": training})
            command = [sys.executable, "-c", SCRIPT, settings, str(folder), verb]
            with log(folder, verb, seed).open("wb") as said:
                started.append(subprocess.Popen(command, env=environment, stdout=said, stderr=said, cwd=folder))
        yield started
    finally:
        for job in started:
            job.kill()
            job.wait()


def log(folder: Path, verb: str, seed: int) -> Path:
    return folder / f"{verb} {seed}.log"


def all_well(folder: Path, verb: str, started: "list[subprocess.Popen[bytes]]") -> list[str]:
    """Wait for jobs, all of which have to end well; what each of them said."""
    for job in started:
        job.wait(timeout=900)
    said = [log(folder, verb, seed).read_text() for seed in SEEDS]
    for job, text in zip(started, said, strict=True):
        assert job.returncode == 0 and "Traceback" not in text, text
    return said


def runs(address: str) -> dict[int, Any]:
    """The runs of trainings by their seed."""
    from mlflow import MlflowClient

    client = MlflowClient(address)
    found = [run for e in client.search_experiments() for run in client.search_runs([e.experiment_id])]
    trained = [run for run in found if "run_key" in run.data.tags and "seed" in run.data.params]
    by_seed = {int(run.data.params["seed"]): run for run in trained}
    assert len(by_seed) == len(trained)
    return by_seed


def test_four_trainings_outlive_their_server_and_it_gets_everything(server: tuple[Server, str], tmp_path: Path) -> None:
    from mlflow import MlflowClient

    killed, address = server
    make_store(tmp_path / "store", size=16)
    with jobs(tmp_path, address, "train") as trainings:

        def all_sent() -> bool:
            for seed, training in zip(SEEDS, trainings, strict=True):
                assert training.poll() is None, f"ended too early: {log(tmp_path, 'train', seed).read_text()}"
            found = [run for run in runs(address).values() if "training/" in " ".join(run.data.metrics)]
            return len(found) == len(SEEDS)

        until(all_sent, "all have sent losses", seconds=400)
        killed.stop(signal.SIGKILL)
        time.sleep(30)  # longer than a training waits for an answer
        killed.start(lambda: healthy(address))
        said = all_well(tmp_path, "train", trainings)
    told = [text.count("The training continues without it") + text.count("MLflow answers again") for text in said]
    assert told == [2] * len(SEEDS), said
    with jobs(tmp_path, address, "evaluate") as evaluations:
        all_well(tmp_path, "evaluate", evaluations)
    client, found = MlflowClient(address), runs(address)
    assert sorted(found) == list(SEEDS)
    for seed, run in found.items():
        assert run.info.status == "FINISHED"
        history = pd.read_csv(tmp_path / f"result {seed}" / "history.csv").set_index("step")
        assert len(history) == STEPS
        for name in history:
            values = client.get_metric_history(run.info.run_id, f"training/{name}")
            assert {value.step: value.value for value in values} == pytest.approx(history[name].dropna().to_dict())
            assert len(values) == history[name].count()  # none twice
        assert run.data.metrics["evaluation/eea"] == seed / 10
        assert run.data.params["config.conv_dim"] == "4"
        assert len(run.inputs.dataset_inputs) == 1
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert {"metrics.json", "config.json", "history.csv", "samples.png", "images"} <= files
        pictures = [Path(file.path).name for file in client.list_artifacts(run.info.run_id, "images")]
        steps = {int(name.split("+")[2]) for name in pictures if name.startswith("samples+")}
        assert steps == set(range(25, STEPS + 1, 25))
    assert len(client.search_model_versions("name = 'stargan-tiny'")) == len(SEEDS)
    parents = {run.data.tags["mlflow.parentRunId"] for run in found.values()}
    assert len(parents) == 1
    assert client.get_run(parents.pop()).data.metrics["evaluation/eea"] == pytest.approx(0.25)
