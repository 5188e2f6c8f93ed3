"""Trainings and their evaluation as runs of MLflow."""

import json
import sqlite3
from io import BytesIO
from pathlib import Path
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
from mimik.tracking import content, history, papers, parents
from mimik.tracking import runs as tracking
from mimik.training.runs import train_method
from tests.tiny import make_store
from tests.tracking.conftest import SETTINGS


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
        again.scalars(1, {"generator/cycle": -1.0})
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

    losses = pd.read_csv(result / "history.csv").set_index("step")["generator/cycle"]
    logged = {m.step: m.value for m in client.get_metric_history(run_id, "training/generator/cycle")}
    assert logged == pytest.approx(losses.to_dict())
    measured = sorted(name for name in run.data.metrics if not name.startswith("system/"))
    assert measured[0].startswith("evaluation/")  # what counts comes first where names are sorted
    assert -1.0 not in logged.values()  # a step that the run has already is not sent again
    assert run.data.metrics["evaluation/eea"] == 0.75
    assert run.data.metrics["evaluation/eea_per_class/happiness"] == 0.5
    assert not [name for name in run.data.metrics if "fid" in name or "confusion" in name]
    files = {file.path for file in client.list_artifacts(run_id)}
    assert {"metrics.json", "config.json", "samples.png", "images"} <= files
    assert [file.path for file in client.list_artifacts(run_id, "images") if "step%7%" in file.path.replace("+", "%")]

    # As a job leaves it that is killed after it registered the generator, and before it said so.
    client.delete_tag(run_id, "generator_sha256")
    tracking.send(result, project / "store")
    (version,) = client.search_model_versions("name = 'stargan-tiny'")
    assert version.run_id == run_id and client.get_run(run_id).data.tags["generator_sha256"]
    check_served_model(version.source or "", result, store.images[:3])
    # Here, as a new database takes seconds.
    check_pictures_made_elsewhere(project, client)
    check_trainings_stand_under_one_parent(project, client)
    check_tables_of_papers(client)


def check_pictures_made_elsewhere(project: Path, client: Any) -> None:
    """They are a run without losses and generator."""
    run = elsewhere(project, client, "theirs", 0.5)
    assert run.data.metrics == {"evaluation/eea": 0.5} and run.data.params["submitted.licence"] == "MIT"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"config.json", "metrics.json"}
    assert "generator_sha256" not in run.data.tags
    assert parents.PARENT not in run.data.tags  # of one training there is nothing to average


def check_trainings_stand_under_one_parent(project: Path, client: Any) -> None:
    second = elsewhere(project, client, "theirs@2", 0.7)
    third = elsewhere(project, client, "theirs@3", 0.8, config={"conv_dim": 64})  # other settings: not of them
    parent = client.get_run(client.get_run(second.info.run_id).data.tags[parents.PARENT])
    assert parent.data.metrics["evaluation/eea"] == pytest.approx(0.6)
    assert parent.data.metrics["evaluation_deviation/eea"] == pytest.approx(0.1 * np.sqrt(2))
    assert parent.data.tags["trainings"] == "2" and "seed" not in parent.data.params
    under = client.search_runs([parent.info.experiment_id], f"tags.`{parents.PARENT}` = '{parent.info.run_id}'")
    assert {run.data.params["method"] for run in under} == {"theirs", "theirs@2"}
    assert parents.PARENT not in client.get_run(third.info.run_id).data.tags
    # Evaluated again, the same runs have the same parent.
    elsewhere(project, client, "theirs@2", 0.9)
    again = client.search_runs([parent.info.experiment_id], f"tags.{parents.OF} LIKE '%'")
    assert [run.info.run_id for run in again] == [parent.info.run_id]
    assert again[0].data.metrics["evaluation/eea"] == pytest.approx(0.7)


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


def test_an_evaluation_without_mlflow_stops_before_the_work(project: Path) -> None:
    (project / "mlflow.db").write_text("not a database")
    write_json(project / "config.json", {**SETTINGS, "run_key": "k", "dataset_digest": "d"})
    with pytest.raises(UserError, match=r"mlflow\.db") as failure, tracking.evaluated_run(project, project):
        pytest.fail("the evaluation was started")
    assert "move it away" in str(failure.value)


def test_only_the_first_process_of_several_tracks(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_store(project / "store", size=16)
    monkeypatch.setenv("RANK", "1")
    with tracking.training_run(SETTINGS, project / "store") as (settings, logger):
        assert logger is None
    assert settings["run_key"] == tracking.run_key(SETTINGS, "tiny-0")
    assert not (project / "mlflow.db").exists()


def test_metric_values_are_single_numbers() -> None:
    values = dict(content.metric_values(json.loads('{"a": {"value": 1}, "b": {"value": {"x": 2.5, "y": [1]}}}')))
    assert values == {"a": 1.0, "b/x": 2.5}
