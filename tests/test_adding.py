"""docs/adding.md, carried out as it stands: its files are written, its commands run, its claims checked."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mimik import cli, tracking
from mimik.settings import params, stages

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adding.md").read_text(encoding="utf-8")
AT = {"dataset": "portraits", "method": "residual"}
RESULT = Path("results/portraits/residual")


def blocks() -> Iterator[tuple[str, str, str]]:
    """Every block of the page: language, content, and the last file of its kind that the text before it names."""
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        name = r"(?:in|to)\s+`(params[\w/]*\.yaml)`:" if found[1] == "yaml" else r"(?:Write|as)\s+`([\w/]+\.py)`"
        written = re.findall(name, PAGE[: found.start()])
        yield found[1], found[2], written[-1] if written else ""


def merge(values: dict[str, Any], added: dict[str, Any]) -> None:
    """Entries of the page into those of a file; in a list `...` stands for what is there."""
    for key, value in added.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            merge(values[key], value)
        elif isinstance(value, list) and "..." in value:
            values[key] = [*values[key], *(item for item in value if item != "...")]
        else:
            values[key] = value


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project in which everything on the page has been done."""
    folder = tmp_path_factory.mktemp("adding") / "project"
    folder.mkdir()
    for name in ("workflow", "profiles", "src"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy2(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "params", folder / "params")
    path, modules = list(sys.path), set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(tracking, "_installed", lambda: False)  # MLflow's database takes longer than all the rest
        for language, content, file in blocks():
            if language == "python":
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_text(content, encoding="utf-8")
            elif language == "yaml":
                values = yaml.safe_load((folder / file).read_text(encoding="utf-8"))
                merge(values, yaml.safe_load(content))
                (folder / file).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
            elif language == "sh":
                for line in content.splitlines():
                    run(shlex.split(line))
        yield folder
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] == "lab":
            del sys.modules[name]


def run(command: list[str]) -> None:
    if command[0] == "mimik":
        cli.main(command[1:])
        return
    program = [sys.executable] if command[0] == "python" else [sys.executable, "-m", command[0]]
    done = subprocess.run([*program, *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_result_is_the_page_s_own(project: Path) -> None:
    manifest = json.loads((project / "data/prepared/portraits/manifest.json").read_text(encoding="utf-8"))
    assert (manifest["faces"], manifest["importer"]["module"]) == (24, "lab.datasets.portraits")
    config = json.loads((project / RESULT / "config.json").read_text(encoding="utf-8"))
    assert (config["module"], config["config"]) == ("lab.methods.residual", {"width": 8, "lambda_change": 10.0})
    entry = json.loads((project / RESULT / "metrics.json").read_text(encoding="utf-8"))["metrics"]["brightness_change"]
    assert 0 < entry["value"] < 1 and entry["ci"][0] <= entry["value"] <= entry["ci"][1]
    assert entry["n"] == 4  # two people, two expressions: each asked for the other
    page = (project / RESULT / "report.html").read_text(encoding="utf-8")
    assert "Brightness change" in page
    assert f"{entry['value']:.4f}" in page
    assert "lambda_change" not in page.partition("What differs from the published settings")[2]  # it is the default
    assert "width" in page.partition("What differs from the published settings")[2]


def test_an_edit_of_the_metric_evaluates_again_and_trains_nothing(project: Path) -> None:
    values, package = params.load(), ROOT / "src" / "mimik"

    def digests() -> dict[str, str]:
        rules = ("prepare", "train", "translate", "evaluate")
        return {rule: stages.code_digest(values, rule, AT, package) for rule in rules}

    before = digests()
    file = project / "lab/metrics/brightness.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text + "\n# edited\n", encoding="utf-8")
    changed = {rule for rule, digest in digests().items() if digest != before[rule]}
    file.write_text(text, encoding="utf-8")
    assert changed == {"evaluate"}
    assert stages.folders_of(values, project) == {"lab": "lab"}


def test_an_option_that_the_dataset_does_not_read_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(kept.replace("test_people", "test_persons"), encoding="utf-8")
    with pytest.raises(SystemExit):
        cli.main(["params"])
    (project / "params.yaml").write_text(kept, encoding="utf-8")
    assert "datasets.portraits.test_persons: nothing that prepares this dataset reads it" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["methods", "metrics"])
def test_a_module_moves_into_mimik_as_it_is(project: Path, kind: str, tmp_path: Path) -> None:
    """What the page says under 'Into mimik itself': one file and its entry."""
    folder = {"methods": "methods/residual.py", "metrics": "evaluation/metrics/brightness.py"}[kind]
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(project / "lab" / kind / Path(folder).name, tmp_path / "src/mimik" / folder)
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    values = params.load(project / "params.yaml")
    moved = {"methods": ("lab.methods.residual", "residual"), "metrics": ("lab.metrics.brightness", "brightness")}
    text = yaml.safe_dump(values, sort_keys=False).replace(*moved[kind])
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "lab").symlink_to(project / "lab")
    done = subprocess.run(
        [sys.executable, "-m", "mimik.cli", "params", "portraits", "residual"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["module"] == ("residual" if kind == "methods" else "lab.methods.residual")
