"""Training, translation and evaluation where only torch and the usual packages are installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import make_store
from tests.tracking.conftest import SETTINGS

pytestmark = pytest.mark.slow

ABSENT = (
    *("mlflow", "snakemake", "dvc", "mediapipe", "face_alignment", "matplotlib", "jsonschema", "cv2", "torchvision"),
    "numba",
)

BLOCKER = f"""
import sys

class Blocker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker)
"""


def run(code: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program in a folder, with the packages of `ABSENT` not to be found."""
    import os

    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"} | variables
    command = [sys.executable, "-c", BLOCKER + code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def test_the_blocker_blocks(tmp_path: Path) -> None:
    done = run("import mlflow", tmp_path)
    assert "No module named 'mlflow'" in done.stderr


def test_a_method_is_trained_translated_and_evaluated(tmp_path: Path) -> None:
    make_store(tmp_path / "store", size=16)
    done = run(
        f"""
from mimik.tracking import runs as tracking
from mimik.evaluation import evaluate, measurements, translation
from mimik.training import runs
with tracking.training_run({SETTINGS!r}, "store") as (settings, logger):
    assert logger is None
    runs.train_method(settings, "store", {{}}, "result", "checkpoints", logger)
translation.translate("result", "store", None, "result/translations", translation.TranslationSettings())
with tracking.evaluated_run("result", "store") as run_id:
    chosen = measurements.EvaluationSettings(metrics=("reconstruction",), bootstrap=2)
    evaluate.evaluate(chosen, "result", "store", None, None, None, "weights", "result/metrics.json", None, run_id)
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("mimik: MLflow is not installed, so nothing is mirrored to it.") == 1
    assert '"mlflow_run_id": null' in (tmp_path / "result" / "metrics.json").read_text()
    assert not list(tmp_path.glob("mlflow*"))


def test_faces_are_rendered_and_pretrainings_and_methods_imported(tmp_path: Path) -> None:
    done = run(
        """
import importlib, pathlib, pkgutil
import mimik.methods, mimik.guidance, mimik.evaluation.metrics, mimik.pretraining, mimik.networks
for package in (mimik.methods, mimik.guidance, mimik.evaluation.metrics, mimik.pretraining, mimik.networks):
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
from mimik.faces.prepared.prepare import prepare
path = pathlib.Path
options = {"sizes": [16], "annotations": ["masks"], "identities": {"train": 1, "val": 1, "test": 1},
           "classes": ["neutral", "anger"]}
prepare("synthetic", options, path("raw"), path("store"), seed=0, workers=1, mirror=None, work=path("work"),
        progress=False)
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "store" / "manifest.json").exists()


def test_a_named_server_is_not_passed_over(tmp_path: Path) -> None:
    make_store(tmp_path / "store", size=16)
    code = f"""
from mimik.tracking import runs as tracking
from mimik.errors import UserError
try:
    with tracking.training_run({SETTINGS!r}, "store"):
        raise SystemExit("the training began")
except UserError as error:
    print(error)
"""
    done = run(code, tmp_path, MLFLOW_TRACKING_URI="http://server")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "MLFLOW_TRACKING_URI is http://server, but MLflow is not installed. Run `pip install mlflow`, or unset the "
        "variable to continue without it.\n"
    )


def test_params_cannot_be_checked_without_jsonschema_and_say_so(tmp_path: Path) -> None:
    params = Path(__file__).parents[1] / "params.yaml"
    code = f"""
from mimik.settings import params
from mimik.errors import UserError
try:
    params.load({str(params)!r})
except UserError as error:
    print(error)
"""
    done = run(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "cannot be checked because jsonschema is not installed. Run `pip install jsonschema`.\n"
    )
