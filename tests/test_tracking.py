import json
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mimik.editing import serving
from mimik.errors import UserError
from mimik.labels import EXPRESSIONS
from mimik.reporting.papers.pages import Shown
from mimik.reporting.tabular import Cell, Column, Line, Table
from mimik.storage.files import write_json
from mimik.tracking import content, history, papers, parents, server
from mimik.tracking import runs as tracking
from mimik.training.runs import train_method
from tests.tiny import make_store

SETTINGS = {
    "dataset": "tiny",
    "method": "stargan",
    "module": "stargan",
    "scale": "smoke",
    "seed": 3,
    "image_size": 16,
    "pretrained": {},
    "starts_from": None,
    "condition": {},
    "guidance": {},
    "config": {"conv_dim": 4, "residual_blocks": 1, "adversary": {"conv_dim": 4, "layers": 2}, "critic_updates": 1},
    "training": {"steps": 2, "batch_size": 4, "log_every": 1},
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder as the current one; MLflow forgets its server afterwards."""
    import mlflow

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield tmp_path
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri("")
    mlflow.set_registry_uri("")


def test_a_training_and_its_evaluation_are_one_run_with_everything(project: Path) -> None:
    from mlflow import MlflowClient

    store = make_store(project / "store", size=16)
    result = project / "result"
    with tracking.training_run(SETTINGS, project / "store") as (settings, logger):
        assert logger is not None
        train_method(settings, project / "store", {}, result, project / "checkpoints", logger)
    Image.new("RGB", (8, 8), (255, 0, 0)).save(project / "grid.png")
    with tracking.training_run(SETTINGS, project / "store") as (_, again):  # as after a kill: the same run goes on
        assert again is not None
        again.scalars(1, {"generator/rec": -1.0})
        again.image(7, "samples", project / "grid.png")
    with tracking.evaluated_run(result, project / "store") as run_id:
        metrics = {
            "eea": {"value": 0.75, "ci": [0.5, 1.0]},
            "eea_per_class": {"value": {"neutral": 1.0, "happiness": 0.5}},
            "confusion": {"value": [[1]]},
            "fid": {"skipped": "put weights there"},
        }
        write_json(result / "metrics.json", {"metrics": metrics})

    client = MlflowClient()
    (experiment,) = [found for found in client.search_experiments() if found.name == "tiny"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == run_id
    assert run.info.status == "FINISHED"
    assert run.data.params["config.conv_dim"] == "4"
    assert run.data.params["config.lambda_reconstruction"] == "10.0"  # a default that no setting names
    assert run.data.tags["data_digest"] == store.digest
    assert run.data.tags["scale"] == "smoke"
    (read,) = run.inputs.dataset_inputs  # once, although the run was opened three times
    assert (read.dataset.name, read.dataset.digest) == ("tiny", store.digest)
    assert json.loads(read.dataset.source)["uri"] == (project / "store" / "index.csv").as_posix()
    assert json.loads(read.dataset.profile)["num_rows"] == len(store)
    assert [(tag.key, tag.value) for tag in read.tags] == [("mlflow.data.context", "training")]
    # None of its pictures or tables goes to the server with it.
    assert not [file for file in client.list_artifacts(run_id) if "index" in file.path or "store" in file.path]

    losses = pd.read_csv(result / "history.csv").set_index("step")["generator/rec"]
    logged = {m.step: m.value for m in client.get_metric_history(run_id, "training/generator/rec")}
    assert logged == pytest.approx(losses.to_dict())
    measured = sorted(name for name in run.data.metrics if not name.startswith("system/"))
    assert measured[0].startswith("test/")  # what counts comes first where names are sorted
    assert -1.0 not in logged.values()  # a step that the run has already is not sent again
    assert run.data.metrics["test/eea"] == 0.75
    assert run.data.metrics["test/eea_per_class/happiness"] == 0.5
    assert not [name for name in run.data.metrics if "fid" in name or "confusion" in name]
    files = {file.path for file in client.list_artifacts(run_id)}
    assert {"metrics.json", "config.json", "samples.png", "images"} <= files
    assert [file.path for file in client.list_artifacts(run_id, "images") if "step%7%" in file.path.replace("+", "%")]

    (version,) = client.search_model_versions("name = 'stargan-tiny'")
    assert version.run_id == run_id
    check_served_model(version.source or "", result, store.images[:3])
    # Here, as a new database takes seconds.
    check_pictures_made_elsewhere(project, client)
    check_trainings_stand_under_one_parent(project, client)
    check_tables_of_papers(client)


def check_pictures_made_elsewhere(project: Path, client: Any) -> None:
    """They are a run without losses and generator."""
    run = elsewhere(project, client, "theirs", 0.5)
    assert run.data.metrics == {"test/eea": 0.5} and run.data.params["submitted.licence"] == "MIT"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"config.json", "metrics.json"}
    assert "generator_sha256" not in run.data.tags
    assert parents.PARENT not in run.data.tags  # of one training there is nothing to average


def check_trainings_stand_under_one_parent(project: Path, client: Any) -> None:
    second = elsewhere(project, client, "theirs@2", 0.7)
    third = elsewhere(project, client, "theirs@3", 0.8, config={"conv_dim": 64})  # other settings: not of them
    parent = client.get_run(client.get_run(second.info.run_id).data.tags[parents.PARENT])
    assert parent.data.metrics["test/eea"] == pytest.approx(0.6)
    assert parent.data.metrics["test_deviation/eea"] == pytest.approx(0.1 * np.sqrt(2))
    assert parent.data.tags["trainings"] == "2" and "seed" not in parent.data.params
    under = client.search_runs([parent.info.experiment_id], f"tags.`{parents.PARENT}` = '{parent.info.run_id}'")
    assert {run.data.params["method"] for run in under} == {"theirs", "theirs@2"}
    assert parents.PARENT not in client.get_run(third.info.run_id).data.tags
    # Evaluated again, the same runs have the same parent.
    elsewhere(project, client, "theirs@2", 0.9)
    again = client.search_runs([parent.info.experiment_id], f"tags.{parents.OF} LIKE '%'")
    assert [run.info.run_id for run in again] == [parent.info.run_id]
    assert again[0].data.metrics["test/eea"] == pytest.approx(0.7)


def check_tables_of_papers(client: Any) -> None:
    def shown(ours: float | None) -> list[Shown]:
        columns = [Column("EEA_(%)_published", "EEA"), Column("EEA_(%)_ours", "EEA"), Column("protocol", "", text=True)]
        cells = [Cell("90", number=90.0), Cell("91", "88 to 92", ours), Cell("scale demo")]
        return [
            Shown("lab/table1", "", "", table=Table("row", columns, [Line("StarGAN", cells)])),
            Shown("lab/f", "", ""),
        ]

    papers.mirror_tables(shown(None))
    assert client.get_experiment_by_name(papers.EXPERIMENT) is None  # nothing was measured
    for value in (91.0, 91.0, 89.0):
        papers.mirror_tables(shown(value))
        experiment = client.get_experiment_by_name(papers.EXPERIMENT)
        row, table = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
        assert (table.info.run_name, row.info.run_name) == ("lab/table1", "StarGAN")
        assert row.data.tags[parents.PARENT] == table.info.run_id
        assert row.data.metrics == {"EEA_published": 90.0, "EEA_ours": value}
        assert (row.data.tags["EEA_ours"], row.data.tags["protocol"]) == ("88 to 92", "scale demo")


def elsewhere(project: Path, client: Any, method: str, eea: float, **more: Any) -> Any:
    """The run of a method of which only pictures are known."""
    result = project / "results" / "store" / method
    config = {
        **{"dataset": "store", "method": method, "scale": "smoke", "seed": len(method), "dataset_digest": "tiny-0"},
        **{"config": {}, "training": {}, "run_key": f"key of {method}", "config_digest": "c" * 64},
        "submitted": {"description": "A colleague's.", "licence": "MIT", "attributes": []},
        **more,
    }
    write_json(result / "config.json", config)
    if client.get_experiment_by_name("store") is None:
        # As a job leaves it that is killed after it made the run, and before it sent anything.
        client.create_run(client.create_experiment("store"), tags={"run_key": config["run_key"]})
    with tracking.evaluated_run(result, project / "store") as run_id:
        write_json(result / "metrics.json", {"metrics": {"eea": {"value": eea}}})
    run = client.get_run(run_id)
    assert len(run.inputs.dataset_inputs) == 1 and run.data.params["method"] == method
    return run


def check_served_model(source: str, result: Path, faces: np.ndarray) -> None:
    """The registered model edits like the generator it was made from, for any batch size."""
    import mlflow

    import mimik

    model = mlflow.pyfunc.load_model(source)
    targets = [2, 0, 1]
    rows = [
        {"photograph": png(face), "aligned": True, "shown": EXPRESSIONS[0], "to": EXPRESSIONS[target]}
        for face, target in zip(faces, targets, strict=True)
    ]
    served = model.predict(pd.DataFrame(rows))
    assert served["faces"].tolist() == [1, 1, 1]
    edited = np.stack([np.asarray(Image.open(BytesIO(picture))) for picture in served["photograph"]])
    own = mimik.load(result, device="cpu")
    for face, target, edit in zip(faces, targets, edited, strict=True):
        expected = own.edit_faces(np.asarray(face)[None], to=EXPRESSIONS[target], shown=EXPRESSIONS[0])
        np.testing.assert_array_equal(edit, expected[0])


def png(picture: np.ndarray) -> bytes:
    written = BytesIO()
    Image.fromarray(picture).save(written, "PNG")
    return written.getvalue()


def test_an_editor_refuses_a_folder_without_a_generator(project: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        serving.Editor(project)


def test_another_seed_or_other_data_is_another_run() -> None:
    key = tracking.run_key(SETTINGS, "a")
    assert key == tracking.run_key(dict(reversed(SETTINGS.items())), "a")
    assert key != tracking.run_key({**SETTINGS, "seed": 4}, "a")
    assert key != tracking.run_key(SETTINGS, "b")


def test_a_failure_of_mlflow_does_not_stop_a_training(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_store(project / "store", size=16)
    with tracking.training_run(SETTINGS, project / "store") as (_, logger):
        assert logger is not None
        monkeypatch.setattr(history, "SECONDS", -1.0)
        with sqlite3.connect(project / "mlflow.db") as database:
            database.execute("DROP TABLE metrics")
            database.execute("DROP TABLE latest_metrics")
        logger.scalars(0, {"generator/total": 1.0})
        logger.scalars(1, {"generator/total": 1.0})
    told = capsys.readouterr().err
    assert "The training continues without it" in told
    assert "lacks part of this training" in told


class Away:
    """A server that takes nothing while `away`, and keeps what it took."""

    def __init__(self) -> None:
        self.away, self.calls = False, 0
        self.values: list[tuple[str, int, float]] = []
        self.pictures: list[tuple[str, int]] = []

    def _asked(self) -> None:
        self.calls += 1
        if self.away:
            raise ConnectionError("nobody listens")

    def log_batch(self, run_id: str, metrics: list[Any]) -> None:
        self._asked()
        self.values += [(metric.key, metric.step, metric.value) for metric in metrics]

    def log_image(self, run_id: str, picture: Image.Image, key: str, step: int) -> None:
        self._asked()
        assert picture.getpixel((0, 0)) == (step, 0, 0)
        self.pictures.append((key, step))


def known_run(**last: int) -> Any:
    """A run that has values: the last step by name."""
    values = [SimpleNamespace(key=f"training/{name}", step=step) for name, step in last.items()]
    return SimpleNamespace(info=SimpleNamespace(run_id="r"), data=SimpleNamespace(_metric_objs=values))


def test_what_a_server_did_not_take_is_sent_when_it_answers_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And in between it is not asked at every step."""
    there, clock = Away(), [1000.0]
    monkeypatch.setattr(history, "connected", lambda: there)
    monkeypatch.setattr(history.time, "monotonic", lambda: clock[0])
    logger = history.RunLogger(known_run(loss=3))
    for step in range(1, 41):
        there.away = 10 <= step < 30
        Image.new("RGB", (4, 4), (step, 0, 0)).save(project / "grid.png")
        logger.scalars(step, {"loss": step / 10, "other": 1.0})
        if step % 8 == 0:
            logger.image(step, "samples", project / "grid.png")
        clock[0] += 11.0
    logger.close()
    told = capsys.readouterr().err
    assert told.count("The training continues without it") == 1 and told.count("MLflow answers again") == 1
    assert "lacks part" not in told
    assert [step for name, step, _ in there.values if name == "training/loss"] == list(range(4, 41))
    assert [step for name, step, _ in there.values if name == "training/other"] == list(range(1, 41))
    assert there.pictures == [("samples", step) for step in range(8, 41, 8)]
    assert there.calls < 70  # 20 steps of 11 s: after 30, 60 and 120 s


def test_an_evaluation_sends_of_every_value_what_is_lacking(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a batch ended within a step, and where one value is recorded more rarely than others."""
    there = Away()
    monkeypatch.setattr(history, "connected", lambda: there)
    (project / "history.csv").write_text("step,a,b,miou\n1,0.1,0.2,\n2,0.3,0.4,0.9\n3,0.5,0.6,\n")
    history.send_history(known_run(a=2, b=1, miou=2), project / "history.csv")
    assert there.values == [("training/b", 2, 0.4), ("training/a", 3, 0.5), ("training/b", 3, 0.6)]
    there.away = True
    with pytest.raises(ConnectionError):  # told by its caller, and by nobody that all had been sent
        history.send_history(known_run(), project / "history.csv")


def test_a_dataset_that_another_job_brings_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import BAD_REQUEST, INTERNAL_ERROR

    class Racing:
        calls = 0
        code = BAD_REQUEST

        def log_inputs(self, run_id: str, inputs: list[Any]) -> None:
            self.calls += 1
            if self.calls == 1 or self.code == INTERNAL_ERROR:
                raise MlflowException("duplicate key value violates unique constraint", error_code=self.code)

    monkeypatch.setattr(tracking.time, "sleep", lambda _: None)
    server = Racing()
    tracking._log_inputs(server, "r", [])  # type: ignore[arg-type]
    assert server.calls == 2
    server.code = INTERNAL_ERROR
    with pytest.raises(MlflowException):
        tracking._log_inputs(server, "r", [])  # type: ignore[arg-type]
    assert server.calls == 3


def test_a_server_that_is_not_there_is_told_soon(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(project / "store", size=16)
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # bound, so that nobody else takes it, and not listened on
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{taken.getsockname()[1]}")
        monkeypatch.setenv(server.TRIES[0], "1")
        with pytest.raises(UserError, match="Start the server"), tracking.training_run(SETTINGS, project / "store"):
            pytest.fail("the training was started")
        monkeypatch.delenv(server.TRIES[0])
        monkeypatch.setattr("mimik.tracking.server.connected", lambda: Away())
        with pytest.raises(AttributeError):
            server.open_store()
        assert os.environ[server.TRIES[0]] == server.TRIES[1]


def test_an_evaluation_without_mlflow_stops_before_the_work(project: Path) -> None:
    (project / "mlflow.db").write_text("not a database")
    write_json(project / "config.json", {**SETTINGS, "run_key": "k", "dataset_digest": "d"})
    with pytest.raises(UserError, match=r"mlflow\.db") as failure, tracking.evaluated_run(project, project):
        pytest.fail("the evaluation was started")
    assert "move it away" in str(failure.value)


def tracked_picture(project: Path) -> str:
    """A training in a project that sends a picture to MLflow, as far as MLflow sees it. Returns the run's folder."""
    import mlflow
    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

    # What MLflow keeps of the call before, which was another process.
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    _artifact_repos_cache.clear()

    if not (project / "store").exists():
        make_store(project / "store", size=16)
        Image.new("RGB", (8, 8), (255, 0, 0)).save(project / "grid.png")
    with tracking.training_run(SETTINGS, project / "store") as (_, logger):
        assert logger is not None
        logger.image(7, "samples", project / "grid.png")
        mlflow.flush_artifact_async_logging()
        folder: str = mlflow.active_run().info.artifact_uri
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("way", ["moved", "copied"])
def test_the_files_of_a_run_follow_their_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], way: str
) -> None:
    """Neither is the old folder made again, nor does anything go into the project that stands there."""
    from mlflow import MlflowClient

    old, new = tmp_path / "My Projects" / "old's", tmp_path / "new"
    old.mkdir(parents=True)
    monkeypatch.chdir(old)
    assert Path(tracked_picture(old)).is_relative_to(old)
    client = MlflowClient()
    (experiment,) = [found for found in client.search_experiments() if found.name == "tiny"]
    client.create_experiment("elsewhere", artifact_location=str(tmp_path / "disk" / "of mine"))
    shutil.copytree(old, new)
    before = files_in(old)
    if way == "moved":
        shutil.rmtree(old.parent)

    monkeypatch.chdir(new)
    assert Path(tracked_picture(new)).is_relative_to(new)
    assert "are now read and written in" in capsys.readouterr().err
    client = MlflowClient()
    (run,) = client.search_runs([experiment.experiment_id])
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert len(pictures) >= 2  # those of before the move, and the one of after it
    locations = {found.name: found.artifact_location for found in client.search_experiments()}
    assert locations == {
        "Default": str(new / "mlruns/0"),
        "tiny": str(new / "mlruns" / experiment.experiment_id),
        "elsewhere": str(tmp_path / "disk" / "of mine"),  # as somebody chose it
    }
    tracked_picture(new)
    assert "are now read" not in capsys.readouterr().err
    if way == "moved":
        assert not old.parent.exists()
    else:
        assert files_in(old) == before


def test_a_database_that_nothing_is_wrong_with_is_not_to_be_moved_away(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the pictures of a run cannot be written. The evaluation is not taken back by it, and is sent later."""
    (project / "mlruns").write_text("a file where MLflow wants a folder")
    write_json(project / "config.json", {**SETTINGS, "run_key": "k", "dataset_digest": "d", "classes": ["neutral"]})
    write_json(project / "metrics.json", {"metrics": {}})
    (project / "history.csv").write_text("step\n")
    make_store(project / "store", size=16)
    with tracking.evaluated_run(project, project / "store"):
        pass
    told = capsys.readouterr().err
    assert "mlruns beside it are writable. Then run `mimik mlflow`" in told
    assert "The evaluation itself is complete" in told and "move it away" not in told
    with pytest.raises(UserError, match="mlruns beside it are writable"):
        tracking.send(project, project / "store")
    (project / "mlruns").unlink()
    for name in ("samples.png", "generator.safetensors"):
        (project / name).touch()
    monkeypatch.setattr(tracking, "register", lambda *_: None)
    result = project / "results" / "store" / "any"
    result.parent.mkdir(parents=True)
    result.symlink_to(project)
    assert list(tracking.send_results(project / "results", project)) == [f"{result}: MLflow has everything."]


def test_a_database_of_another_mlflow_is_brought_up_to_date_by_the_command_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "My Projects"
    project.mkdir()
    make_store(project / "store", size=16)
    with sqlite3.connect(project / "mlflow.db") as database:  # all that MLflow looks at before it refuses
        for table in ("alembic_version (version_num TEXT)", *_tables_of_mlflow()):
            database.execute(f"CREATE TABLE {table}")
        database.execute("INSERT INTO alembic_version VALUES ('acf3f17fdcc7')")
    monkeypatch.chdir(project)
    with pytest.raises(UserError) as failure, tracking.training_run(SETTINGS, project / "store"):
        pytest.fail("the training was started")
    assert f"`mlflow db upgrade 'sqlite:///{project / 'mlflow.db'}'`" in str(failure.value)
    assert "move it away" not in str(failure.value)


def _tables_of_mlflow() -> list[str]:
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.model_registry.dbmodels import models as registry  # noqa: F401
    from mlflow.store.tracking.dbmodels import models as tracked  # noqa: F401

    return [f'"{name}" (x)' for name in Base.metadata.tables]


@pytest.mark.parametrize("name", ["100%25", "what?", "a:b", "{x}", "both '\""])
def test_a_place_that_mlflow_misreads_is_refused_before_it_writes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    project = tmp_path / name
    project.mkdir()
    monkeypatch.chdir(project)
    make_store(tmp_path / "store", size=16)
    there = files_in(tmp_path)
    with pytest.raises(UserError, match="The path of the project"), tracking.training_run(SETTINGS, tmp_path / "store"):
        pytest.fail("the training was started")
    assert files_in(tmp_path) == there


def test_only_the_first_process_of_several_tracks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(project / "store", size=16)
    monkeypatch.setenv("RANK", "1")
    with tracking.training_run(SETTINGS, project / "store") as (settings, logger):
        assert logger is None
    assert settings["run_key"] == tracking.run_key(SETTINGS, "tiny-0")
    assert not (project / "mlflow.db").exists()


def test_the_server_is_the_variable_or_a_database_here(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.tracking_uri() == f"sqlite:///{project / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert server.tracking_uri() == "http://server:5000"


def test_metric_values_are_single_numbers() -> None:
    values = dict(content.metric_values(json.loads('{"a": {"value": 1}, "b": {"value": {"x": 2.5, "y": [1]}}}')))
    assert values == {"a": 1.0, "b/x": 2.5}


def test_a_full_disk_is_told_as_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def full() -> None:
        raise OperationalError("INSERT INTO runs", {}, sqlite3.OperationalError("database or disk is full"))

    write_json(project / "manifest.json", {"digest": "d"})
    monkeypatch.setattr(tracking, "open_store", full)
    with pytest.raises(UserError, match="the disk is full") as caught, tracking.training_run(SETTINGS, project):
        pass
    assert "\n" not in str(caught.value) and "move it away" not in str(caught.value)
