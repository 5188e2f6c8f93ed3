"""An MLflow server with PostgreSQL, and four trainings at once while it is killed and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pandas as pd
import pytest

from mimik.storage.files import write_json
from tests.services.servers import POSTGRESQL, ROOT, Server, mlflow_server, needs, postgresql, until
from tests.test_tracking import SETTINGS
from tests.tiny import make_store

pytestmark = [
    pytest.mark.service,
    needs("postgres", "initdb", modules=("mlflow", "psycopg2"), also=POSTGRESQL, target="test-services"),
]

SCRIPT = """
import json, sys
from pathlib import Path
from mimik.errors import UserError
from mimik.storage.files import write_json
from mimik.tracking import evaluated_run, training_run
from mimik.training.runs import train_method

settings, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
result = folder / f"result {settings['seed']}"
try:
    if sys.argv[3] == "train":
        with training_run(settings, folder / "store") as (settings, logger):
            train_method(settings, folder / "store", {}, result, folder / f"checkpoints {settings['seed']}", logger)
    else:
        with evaluated_run(result, folder / "store"):
            write_json(result / "metrics.json", {"metrics": {"eea": {"value": settings["seed"] / 10}}})
except UserError as error:
    sys.exit(f"mimik: {error}")
"""
SEEDS = (1, 2, 3, 4)
STEPS = 400


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, str]]:
    # PostgreSQL runs as another user where the tests run as root, and has to get through to its folder.
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    with postgresql(tmp_path / "postgresql") as database:
        started, address = mlflow_server(tmp_path / "server", database)
        try:
            yield started, address
        finally:
            started.stop()


def healthy(address: str) -> bool:
    try:
        with urlopen(f"{address}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def job(folder: Path, address: str, seed: int, verb: str) -> "subprocess.Popen[str]":
    training = {**SETTINGS["training"], "steps": STEPS, "sample_every": 50}  # type: ignore[dict-item]
    settings = {**SETTINGS, "seed": seed, "training": training}
    arguments = [sys.executable, "-c", SCRIPT, __import__("json").dumps(settings), str(folder), verb]
    paths = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "MLFLOW_TRACKING_URI": address, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(jobs: "list[subprocess.Popen[str]]", seconds: float = 600) -> list[str]:
    """What jobs said, all of which have to end well."""
    deadline = time.monotonic() + seconds
    said = [started.communicate(timeout=deadline - time.monotonic())[0] for started in jobs]
    for started, text in zip(jobs, said, strict=True):
        assert started.returncode == 0, text
        assert "Traceback" not in text, text
    return said


def runs(address: str) -> dict[int, Any]:
    """The runs of the server by their seed; none is there twice."""
    from mlflow import MlflowClient

    client = MlflowClient(address)
    found = [run for e in client.search_experiments() for run in client.search_runs([e.experiment_id])]
    by_seed = {int(run.data.params["seed"]): run for run in found if "seed" in run.data.params}
    assert len(by_seed) == len(found)
    return by_seed


def test_four_trainings_outlive_their_server_and_it_gets_everything(
    server: tuple[Server, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    killed, address = server
    make_store(tmp_path / "store", size=16)
    killed.start(lambda: healthy(address))
    trainings = [job(tmp_path, address, seed, "train") for seed in SEEDS]
    checkpoints = [tmp_path / f"checkpoints {seed}" for seed in SEEDS]
    until(lambda: len([r for r in runs(address).values() if r.data.metrics]) == len(SEEDS), "all have sent losses")
    killed.stop(signal.SIGKILL)
    gone = time.monotonic()
    assert all(training.poll() is None for training in trainings), "they ended before the server did"
    time.sleep(20)
    killed.start(lambda: healthy(address))
    back = time.monotonic()
    said = finished(trainings)
    print(f"server away {back - gone:.0f} s, trainings ended {time.monotonic() - back:.0f} s later")
    print("\n----\n".join(said))
    assert not [folder for folder in checkpoints if (folder / "last.pt").exists()]

    for run in runs(address).values(): print(run.info.status, len(run.data.metrics), [m for m in run.data.metrics if not m.startswith("system")][:3])
    said = finished([job(tmp_path, address, seed, "evaluate") for seed in SEEDS])
    print("\n----\n".join(said))
    client = MlflowClient(address)
    found = runs(address)
    assert sorted(found) == list(SEEDS)
    for seed, run in found.items():
        assert run.info.status == "FINISHED"
        history = pd.read_csv(tmp_path / f"result {seed}" / "history.csv").set_index("step")
        for name in history:
            values = client.get_metric_history(run.info.run_id, name)
            assert {value.step: value.value for value in values} == pytest.approx(history[name].dropna().to_dict())
            assert len(values) == history[name].count(), (name, seed)  # and none twice
        assert run.data.metrics["test/eea"] == seed / 10
        assert run.data.params["config.conv_dim"] == "4"
        assert len(run.inputs.dataset_inputs) == 1
        assert {"metrics.json", "config.json", "history.csv", "samples.png", "images"} <= {
            file.path for file in client.list_artifacts(run.info.run_id)
        }
        print([f.path for f in client.list_artifacts(run.info.run_id, "images")])
    assert len(client.search_model_versions("name = 'stargan-tiny'")) == len(SEEDS)
