"""A project whose workflow is the real one and whose computing modules are stand-ins that take no time."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

from mimik.settings.params import SCHEMA
from mimik.settings.reading import read
from tests.workflow.programs import NAMES, Programs

ROOT = Path(__file__).parents[2]
STANDINS = Path(__file__).with_name("standins")
WORKFLOW = ("Snakefile", "workflow", "profiles", "dvc.yaml", ".dvcignore", ".gitignore")
LIGHT = (
    *("__init__", "cli", "console", "errors"),
    *("settings/agreement", "settings/configuration", "settings/external", "settings/imported"),
    *("settings/declarations", "settings/merging", "settings/modules", "settings/outside", "settings/papers"),
    *("settings/params", "settings/place", "settings/reading", "settings/sources", "settings/stages"),
    *("settings/references", "settings/replicates", "settings/scoring", "settings/trained"),
    *("storage/files", "storage/records", "storage/yaml_file"),
    *("verbs/__init__", "verbs/asking", "verbs/chosen", "verbs/data", "verbs/models", "verbs/project"),
    *("verbs/results", "verbs/training"),
)
"""Modules that are the real ones here too."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    status: int
    text: str
    seconds: float
    """Of the processor, for the command and what it started: a busy machine adds little to it."""

    @property
    def jobs(self) -> dict[str, int]:
        """How often each rule is to run, from Snakemake's table of jobs; without the rule `all`."""
        table = re.search(r"^job +count\n-+ +-+\n((?:\w+ +\d+\n)+)", self.text, re.MULTILINE)
        rows = re.findall(r"^(\w+) +(\d+)$", table.group(1), re.MULTILINE) if table else []
        return {name: int(count) for name, count in rows if name not in ("all", "total")}

    @property
    def stages(self) -> list[str]:
        """The stages that DVC ran, in order."""
        return re.findall(r"^Running stage '([^']+)'", self.text, re.MULTILINE)


GUESTS = {
    "dataset.py": (
        "from .shared import N\nRESTRICTED = False\nLICENCE = CITATION = ACCESS = ''\n"
        "def check(raw, options, mirror): pass\ndef fetch(raw, options, mirror): pass\n"
        "def index(raw, options, seed): pass\n"
    ),
    "method.py": "from .shared import N\n",
    "metric.py": "",
    "guide.py": "",
    "table.py": "",
    "shared.py": "N = 1\n",
    "unused.py": "",
}
"""A package beside params.yaml, of which the stand-ins import nothing but the dataset."""


class Project:
    """A folder with a workflow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *command: str, seconds: float = 240) -> Finished:
        """Run a command of the virtual environment in the project, as a person would."""
        if command[0] in NAMES:
            output = self.folder.with_name("standard output"), self.folder.with_name("standard error")
            started = programs()
            settings = environment()
            settings["PATH"] = f"{started.folder}{os.pathsep}{settings['PATH']}"
            status, used = started.run(command, self.folder, settings, output, seconds)
            return Finished(status, "".join(file.read_text(encoding="utf-8") for file in output), used)
        before = os.times()
        done = subprocess.run(
            command, cwd=self.folder, env=environment(), capture_output=True, text=True, timeout=seconds, check=False
        )
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        return Finished(done.returncode, done.stdout + done.stderr, used)

    @contextmanager
    def running(self, *command: str) -> "Iterator[subprocess.Popen[bytes]]":
        """A command that runs while the block does, and is killed with it; what it prints is lost."""
        with subprocess.Popen(
            command, cwd=self.folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as started:
            try:
                yield started
            finally:
                started.kill()

    def must(self, *command: str) -> Finished:
        """Run a command that has to succeed."""
        done = self.run(*command)
        assert done.status == 0, f"{' '.join(command)}\n{done.text[-6000:]}"
        return done

    def planned(self, *arguments: str) -> dict[str, int]:
        """What a plain `snakemake` would run."""
        return self.must("snakemake", "--dry-run", *arguments).jobs

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text that has to be there."""
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def append(self, file: str, text: str) -> None:
        with (self.folder / file).open("a", encoding="utf-8") as opened:
            opened.write(text)

    def invite(self) -> None:
        """Put `GUESTS` beside params.yaml as `guests`, and a dataset, a method, a guide, a metric and a table of it
        into params.yaml, with an experiment of both."""
        for name, text in GUESTS.items():
            (self.folder / "guests").mkdir(exist_ok=True)
            (self.folder / "guests" / name).write_text(text, encoding="utf-8")
        self.edit("params.yaml", "experiments:\n", "experiments:\n  - {dataset: faces, method: guest}\n")
        entry = "{dataset: guests.dataset, scale: demo, classes: [neutral, happiness], sizes: [64]}"
        self.edit("params.yaml", "datasets:\n", f"datasets:\n  faces: {entry}\n")
        guest = "{method: guests.method, guidance: {guests.guide: {}}}"
        self.edit("params.yaml", "\nmethods:\n", f"\nmethods:\n  guest: {guest}\n")
        self.edit("params.yaml", "metrics: [eea]", "metrics: [eea, guests.metric]")
        self.edit("params.yaml", "report: {rows: 2}", "report: {rows: 2, tables: [guests.table]}")
        self.must("env", "PYTHONPATH=src", "python", "-m", "mimik.cli", "params", "--stages")

    def copy(self, folder: Path) -> "Project":
        """The same project elsewhere, time stamps kept."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Project(folder)


def real_project(folder: Path) -> Project:
    """The real modules with a handful of faces, hier_seg as the only experiment, and under git and DVC."""
    folder.mkdir()
    for name in (*WORKFLOW, "src/mimik"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)  # compiled files too: compiling takes seconds
        else:
            shutil.copy2(ROOT / name, folder / name)
    values = read(ROOT / "params.yaml")[0]
    values["experiments"] = [{"dataset": "synthetic", "method": "hier_seg"}]
    values["datasets"]["synthetic"]["scales"]["smoke"]["identities"] = {"train": 4, "val": 1, "test": 1}
    # Its segmenter comes from other faces.
    other = {**values["datasets"]["synthetic"], "dataset": "synthetic", "light": "evening"}
    values["datasets"]["synthetic_evening"] = other
    values["methods"]["hier_seg"]["segmenter"] = "synthetic_evening/unet"
    values["scale"] = "smoke"
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    project = Project(folder)
    project.must("env", "PYTHONPATH=src", "python", "-m", "mimik.cli", "params", "--stages")
    project.must("git", "init", "--quiet")
    project.must("dvc", "init", "--quiet")
    return project


def environment() -> dict[str, str]:
    """What a program of the virtual environment is started with."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t", "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t",
        "DVC_NO_ANALYTICS": "1",
    }  # fmt: skip
    environment.pop("PYTHONPATH", None)
    return environment


def wait_for(file: Path, seconds: float = 60) -> None:
    """Until a file is there and has been written."""
    deadline = time.monotonic() + seconds
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert file.exists()


@cache
def programs() -> Programs:
    """One process for all calls of these tests."""
    return Programs(environment())


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project as cloned: nothing is made yet. Not to be changed."""
    folder = tmp_path_factory.mktemp("fresh") / "project"
    folder.mkdir()
    for name in WORKFLOW:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    shutil.copy2(Path(__file__).with_name("params.yaml"), folder)
    package = folder / "src" / "mimik"
    shutil.copytree(STANDINS, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in LIGHT:
        (package / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / "src" / "mimik" / f"{name}.py", package / f"{name}.py")
    shutil.copy2(SCHEMA, package / "settings")
    # The stages of the stand-ins' experiments, not those of the real ones.
    command = [sys.executable, "-m", "mimik.cli", "params", "--stages"]
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": "src"}, check=True, capture_output=True)
    return Project(folder)


@pytest.fixture(scope="session")
def made(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after a first `snakemake`. Not to be changed."""
    project = fresh.copy(tmp_path_factory.mktemp("made") / "project")
    project.must("snakemake", "--cores", "8")
    return project


@pytest.fixture
def project(made: Project, tmp_path: Path) -> Project:
    """A copy of the made project, to be changed at will."""
    return made.copy(tmp_path / "project")
