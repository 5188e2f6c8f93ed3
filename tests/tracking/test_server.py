"""Where MLflow's server is, how it is opened, and what its faults mean."""

import os
import shutil
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from mimik.errors import UserError
from mimik.storage.files import write_json
from mimik.tracking import runs as tracking
from mimik.tracking import server
from tests.tiny import make_store
from tests.tracking.conftest import SETTINGS
from tests.tracking.test_history import Away


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


def test_the_server_is_the_variable_or_a_database_here(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.tracking_uri() == f"sqlite:///{project / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert server.tracking_uri() == "http://server:5000"


def test_a_full_disk_is_told_as_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def full() -> None:
        raise OperationalError("INSERT INTO runs", {}, sqlite3.OperationalError("database or disk is full"))

    write_json(project / "manifest.json", {"digest": "d"})
    monkeypatch.setattr(tracking, "open_store", full)
    with pytest.raises(UserError, match="the disk is full") as caught, tracking.training_run(SETTINGS, project):
        pass
    assert "\n" not in str(caught.value) and "move it away" not in str(caught.value)
