import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from mimik.datasets import synthetic
from mimik.ground_truth import DatasetRenderer, has_ground_truth, rendered


@pytest.mark.parametrize(("dataset", "known"), [("synthetic", True), ("open_faces", False), ("folder", False)])
def test_only_rendered_datasets_know_the_truth(dataset: str, known: bool) -> None:
    assert has_ground_truth(dataset) is known


def test_renderer_survives_the_way_to_another_process_and_draws_what_the_module_draws(tmp_path: Path) -> None:
    options = {"classes": ["neutral", "anger"], "identities": {"train": 1, "val": 1, "test": 1}}
    table = synthetic.index(tmp_path, options, seed=0).table
    renderer = pickle.loads(pickle.dumps(DatasetRenderer("synthetic")))
    angry = renderer.with_expression(table, "anger")
    expected = synthetic.render(synthetic.with_expression(table, "anger"), 16, outputs=("images",)).images
    assert (rendered(renderer, 16, angry)["images"] == expected).all()
    assert (rendered(renderer, 16, table)["images"] != expected).any()


def test_import_stays_light() -> None:
    code = "import mimik.ground_truth, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
