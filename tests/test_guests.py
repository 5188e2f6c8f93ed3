"""A package that is none of mimik's (tests/guests), from its dataset to the report, and who may name it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mimik import cli, tracking
from mimik.errors import UserError
from mimik.faces.prepared import prepare
from mimik.faces.prepared.rendered import with_units
from mimik.faces.prepared.store import FaceStore
from mimik.networks import segmenter
from mimik.settings import params, stages
from mimik.settings.modules import CONTRACTS
from mimik.settings.outside import VARIABLE, modules_of
from mimik.training.runs import load_method

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ENTRIES: dict[str, Any] = {
    "datasets": {
        "drawn": {
            "dataset": "guests.dataset",
            "scale": "smoke",
            "classes": ["neutral", "anger"],
            "sizes": [64],
            "identities": {"train": 6, "val": 1, "test": 2},
        }
    },
    "segmenters": {"guest": {"network": "guests.network", "training": {"steps": 4}}},
    "classifiers": {"guest": {"network": "guests.network", "training": {"steps": 4}}},
    "methods": {
        "guest": {"method": "guests.method", "guidance": {"guests.guide": {"weight": 0.5}}},
        "seeing": {"method": "stargan", "see_masks": True, "segmenter": "guest"},
    },
}
COMMANDS = """
data prepare drawn
pretrain drawn segmenter guest
pretrain drawn classifier guest
train drawn guest
train drawn seeing
translate drawn guest
evaluate drawn guest
report drawn guest
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where everything of the package has been run."""
    folder = tmp_path_factory.mktemp("guests") / "project"
    folder.mkdir()
    for name in ("workflow", "profiles", "src"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "tests/guests", folder / "guests", ignore=shutil.ignore_patterns("__pycache__"))
    values = params.load(ROOT / "params.yaml")
    for group, entries in ENTRIES.items():
        values[group].update(entries)
    smoke = values["scales"]["smoke"]
    smoke["classifier"] = smoke["segmenter"] = "guest"
    smoke["guidance"]["guests.guide"] = {"weight": 2.0}
    smoke["methods"]["guests.method"] = {"strength": 0.5}
    values["evaluation"] = {"metrics": ["eea", "guests.metric"], "bootstrap": 10}
    values["report"] |= {"tables": ["results", "settings", "guests.table"], "figures": ["guests.figure"]}
    values["experiments"] = [{"dataset": "drawn", "method": "guest"}]
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    path = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv(VARIABLE, raising=False)
        patch.setattr(tracking, "_installed", lambda: False)
        for command in COMMANDS.strip().splitlines():
            cli.main(command.split())
        yield folder
    sys.path[:] = path
    for name in [name for name in sys.modules if name.partition(".")[0] == "guests"]:
        del sys.modules[name]


def test_the_method_and_its_guide_are_in_the_result(project: Path) -> None:
    config = json.loads((project / "results/drawn/guest/config.json").read_text(encoding="utf-8"))
    assert config["module"] == "guests.method"
    assert config["config"] == {"strength": 0.5}
    assert config["guidance"] == {"guests.guide": {"weight": 0.5}}
    history = (project / "results/drawn/guest/history.csv").read_text(encoding="utf-8")
    assert "guests.guide" in history.splitlines()[0]
    method, _ = load_method(project / "results/drawn/guest")
    assert type(method).__module__ == "guests.method"


def test_a_network_of_the_package_is_built_again_from_its_record(project: Path) -> None:
    network = segmenter.load(project / "data/pretrained/drawn/segmenter/guest")
    assert type(network.network).__module__ == "guests.network"
    assert network.settings["network"] == "guests.network"
    load_method(project / "results/drawn/seeing")  # which sees the masks of that segmenter


def test_the_report_shows_the_package_s_metric_table_and_figure(project: Path) -> None:
    metrics = json.loads((project / "results/drawn/guest/metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert list(metrics) == [*metrics_of_eea(), "black_share", "black_share_copy"]
    assert "printed" not in metrics["eea"]
    page = (project / "results/drawn/guest/report.html").read_text(encoding="utf-8")
    assert "Black share" in page and "Black share copy" not in page  # which is the row of a baseline
    assert f"{100 * metrics['black_share']['value']:.1f}" in page
    assert "Number of guests" in page and "the guests are shy" in page
    settings = page.partition("What differs from the published settings")[2]
    assert "strength" in settings and "default 0.25" in settings


def metrics_of_eea() -> list[str]:
    from mimik.evaluation.metrics import eea

    return list(eea.NAMES)


def test_its_truth_is_rendered_by_its_own_renderer(project: Path) -> None:
    store = FaceStore(project / "data/prepared/drawn", 64)
    units = store.action_units()
    assert units is not None
    rows = store.rows("test")[:1]
    made = with_units(store, rows, units[rows])
    assert made is not None and (made == store.images[rows]).all()


@pytest.mark.parametrize(
    ("file", "rules"),
    [
        ("guests/scaling.py", {"train", "translate", "evaluate"}),
        ("guests/guide.py", {"train", "translate"}),
        ("guests/metric.py", {"evaluate"}),
        ("guests/network.py", {"classifier", "evaluate", "segmenter"}),
        ("guests/dataset.py", {"prepare", "translate"}),
        ("guests/table.py", {"report", "compare"}),
        ("guests/figure.py", {"report", "compare"}),
        ("guests/__init__.py", set(stages.START) - {"reader", "depth_network", "label_quality", "papers"}),
    ],
)  # fmt: skip
def test_an_edit_changes_the_digests_of_the_jobs_that_use_the_file(project: Path, file: str, rules: set[str]) -> None:
    values = params.load()
    at = {"dataset": "drawn", "method": "guest", "classifier": "guest", "segmenter": "guest", "reader": "face_reader"}

    def digests() -> dict[str, str]:
        used = set(stages.START) - {"depth_network"}
        return {rule: stages.code_digest(values, rule, at, ROOT / "src/mimik") for rule in used}

    before, text = digests(), (project / file).read_text(encoding="utf-8")
    (project / file).write_text(text + "\n# an edit\n", encoding="utf-8")
    changed = {rule for rule, digest in digests().items() if digest != before[rule]}
    (project / file).write_text(text, encoding="utf-8")
    assert changed == rules


def test_what_is_read_of_the_settings_imports_nothing_heavy(project: Path) -> None:
    code = "import sys; from mimik import cli; cli.main(['params']); print({'torch', 'guests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_every_kind_is_listed_once(project: Path) -> None:
    found = modules_of(params.load())
    assert found == {
        kind: [f"guests.{name}"]
        for kind, name in {
            "datasets": "dataset", "methods": "method", "guidance": "guide", "networks": "network",
            "metrics": "metric", "tables": "table", "figures": "figure",
        }.items()
    }  # fmt: skip
    assert found.keys() == CONTRACTS.keys()


def test_worker_processes_find_it_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "SHARD_ROWS", 8)  # several shards, so that there is work for two processes
    manifest = project / "data/prepared/drawn/manifest.json"
    before = manifest.read_bytes()
    cli.main(["data", "prepare", "drawn", "--workers", "2"])
    assert manifest.read_bytes() == before


def render_truth() -> None:
    store = FaceStore("data/prepared/drawn", 64)
    units = store.action_units()
    assert units is not None
    with_units(store, store.rows("test"), units[store.rows("test")])


@pytest.mark.parametrize(
    ("group", "read"),
    [
        ("methods", lambda: load_method(Path("results/drawn/guest"))),
        ("datasets", render_truth),
        ("segmenters", lambda: segmenter.load("data/pretrained/drawn/segmenter/guest")),
    ],
)
def test_a_file_cannot_have_imported_what_params_does_not_name(
    project: Path, group: str, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of this project, seen from one whose params.yaml does not know the package."""
    text = (project / "params.yaml").read_text(encoding="utf-8")
    kind = {"segmenters": "networks"}.get(group, group)
    name = modules_of(params.load())[kind][0]
    other = yaml.safe_dump(params.load(ROOT / "params.yaml"), sort_keys=False)
    (project / "params.yaml").write_text(other, encoding="utf-8")
    try:
        with pytest.raises(UserError, match=f"names '{name}', a module of another package") as caught:
            read()
        assert f"{VARIABLE}={name}" in str(caught.value)
        assert f"{group}" in str(caught.value)
        monkeypatch.setenv(VARIABLE, f"other.thing, {name}")
        read()
    finally:
        (project / "params.yaml").write_text(text, encoding="utf-8")
