"""A project in an empty folder, and what its trainings are told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
