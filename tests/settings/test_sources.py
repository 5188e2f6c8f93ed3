import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mimik.settings import params, stages
from mimik.settings.sources import NEUTRAL, source_files

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mimik"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_imports_are_followed_to_any_depth_and_in_functions(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "start.py": "from mimik.room import thing\nimport os, json.decoder\n",
            "room/thing.py": "def f():\n    from mimik.deep import g\n",
            "deep.py": "import mimik.start\nfrom mimik.errors import UserError\n",
            "errors.py": "",
            "unused.py": "",
        },
    )
    found = [file.relative_to(tmp_path).as_posix() for file in source_files(tmp_path, "mimik.start").values()]
    assert found == ["deep.py", "room/thing.py", "start.py"]


def test_a_package_and_a_function_of_it(tmp_path: Path) -> None:
    files = {"start.py": "from mimik.room import act\n", "room/__init__.py": "import mimik.other\n", "other.py": ""}
    write(tmp_path, files)
    found = [file.relative_to(tmp_path).as_posix() for file in source_files(tmp_path, "mimik.start").values()]
    assert found == ["other.py", "room/__init__.py", "start.py"]


def test_data_beside_a_module_decides_as_well(tmp_path: Path) -> None:
    write(tmp_path, {"start.py": "import mimik.room.map\n", "room/map.py": "", "room/map.json": "{}", "other.json": ""})
    found = [file.relative_to(tmp_path).as_posix() for file in source_files(tmp_path, "mimik.start").values()]
    assert found == ["room/map.json", "room/map.py", "start.py"]


def test_a_start_that_does_not_exist_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        source_files(tmp_path, "mimik.nothing")


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """For every rule: the files of mimik that Python loads when the job's modules are imported."""
    values = params.load(ROOT / "params.yaml")
    at = {"dataset": "synthetic", "method": "hier_seg", "segmenter": "unet", "classifier": "small", "reader": "r"}
    starts = {rule: stages._modules(values, rule, at, PACKAGE) for rule in stages.START}
    code = """
import importlib, json, os, sys
import torch, pandas, scipy.ndimage, PIL.Image, matplotlib.figure, jinja2, tqdm, filelock, safetensors.torch
result = {}
for rule, modules in json.loads(sys.argv[1]).items():
    read, write = os.pipe()
    if os.fork() == 0:
        for module in modules:
            importlib.import_module(module)
        files = [m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "mimik" and m.__file__]
        os.write(write, json.dumps(files).encode()); os._exit(0)
    os.close(write); result[rule] = json.loads(os.fdopen(read).read() or "null"); os.wait()
print(json.dumps(result))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(starts)], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("rule", sorted(stages.START))
def test_what_a_job_really_imports_is_watched(rule: str, loaded: dict[str, list[str]]) -> None:
    values = params.load(ROOT / "params.yaml")
    at = {"dataset": "synthetic", "method": "hier_seg", "segmenter": "unet", "classifier": "small", "reader": "r"}
    watched = set(stages.code(values, rule, at, PACKAGE).values())
    assert loaded[rule], f"the modules of {rule} cannot be imported"
    unwatched = {Path(file) for file in loaded[rule]} - watched
    # A package's file that holds nothing but its docstring decides nothing; nor do the modules that never change one.
    empty = {file for file in unwatched if file.name == "__init__.py" and "import" not in file.read_text()}
    places = [PACKAGE / name.replace(".", "/") for name in NEUTRAL]
    neutral = {file for place in places for file in (place.with_suffix(".py"), *place.rglob("*.py"))}
    assert unwatched - empty - neutral == set()


def test_one_methods_training_does_not_watch_the_other_method() -> None:
    values = params.load(ROOT / "params.yaml")
    watched = stages.code(values, "train", {"dataset": "synthetic", "method": "stargan"}, PACKAGE)
    names = set(watched)
    assert "methods/stargan.py" in names
    assert "training/loop.py" in names
    assert names.isdisjoint(
        {"methods/hier_seg.py", "evaluation/evaluate.py", "reporting/report.py", "tracking/runs.py", "cli.py"}
    )
