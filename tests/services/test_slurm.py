"""The real workflow on a Slurm cluster: profiles/slurm as it is shipped, scale smoke, and a job that is cancelled."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.services.servers import ROOT, needs, until
from tests.services.slurm import PROGRAMS, cluster

pytestmark = [
    pytest.mark.service,
    needs(*PROGRAMS, modules=("snakemake_executor_plugin_slurm",), target="test-slurm"),
]

TARGET = "results/synthetic/hier_seg/metrics.json"
PARTS = ("Snakefile", "workflow", "profiles", "params", "params.yaml", "src")
STEPS = 12
"""Of the training that is cancelled after a few of them."""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    with cluster(tmp_path / "cluster") as found:
        path = f"{Path(sys.executable).parent}{os.pathsep}{found['PATH']}"
        yield {**os.environ, **found, "PATH": path, "OMP_WAIT_POLICY": "passive"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The project as it is shipped, with a training of hier_seg that can be met in its middle."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        copy(ROOT / name, folder / name)
    params = (folder / "params.yaml").read_text(encoding="utf-8")
    entry = "\n  hier_seg: {method: hier_seg}"
    assert entry in params
    training = f"{{training: {{steps: {STEPS}, checkpoint_seconds: 0}}}}"
    params = params.replace(entry, f"\n  hier_seg: {{method: hier_seg, scales: {{smoke: {training}}}}}")
    (folder / "params.yaml").write_text(params, encoding="utf-8")
    return folder


@contextmanager
def snakemake(folder: Path, environment: dict[str, str]) -> "Iterator[subprocess.Popen[str]]":
    """The command of docs/services.md, and what a cluster without accounts and without a database of jobs needs."""
    command = [
        *("snakemake", "--workflow-profile", "profiles/slurm", TARGET, "--config", "scale=smoke"),
        *("--slurm-no-account", "--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "5"),
    ]
    running = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def asked(environment: dict[str, str], *command: str) -> str:
    """What one of Slurm's commands says."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def jobs(environment: dict[str, str], rule: str, *states: str) -> list[str]:
    """The jobs of a rule by number; the plugin puts the rule's name into the comment of a job."""
    listed = asked(environment, "squeue", "--noheader", "--states=all", "--format=%i %T %k").splitlines()
    split = [line.split(maxsplit=2) for line in listed]
    return [number for number, state, comment in split if f"rule_{rule}" in comment and (state in states or not states)]


def test_the_workflow_runs_on_slurm_and_a_cancelled_training_goes_on(environment: dict[str, str], folder: Path) -> None:
    with snakemake(folder, environment) as first:
        checkpoint = folder / "checkpoints/train/synthetic/hier_seg/last.pt"

        saved = set[int]()

        def training() -> bool:
            assert first.poll() is None, first.communicate()[0][-4000:]
            if checkpoint.exists():
                saved.add(checkpoint.stat().st_mtime_ns)
            return len(saved) > 2

        # Not within the first step, which takes the longest: Slurm waits half a minute for an answer to its SIGTERM.
        until(training, "the training has saved its state a few times", seconds=1500)
        (number,) = jobs(environment, "train", "RUNNING")
        shown = asked(environment, "scontrol", "show", "job", number)
        # As the profile asks: a GPU, and the processors, memory and time of a training.
        for part in ("TresPerJob=gres:gpu:1", "mem=32000M", "TimeLimit=3-00:00:00", "NumCPUs=8"):
            assert part in shown, shown
        asked(environment, "scancel", number)
        said, _ = first.communicate(timeout=600)
    assert first.returncode != 0 and "Error in rule train" in said and "Traceback" not in said, said[-4000:]
    assert not (folder / TARGET).exists()
    log = (folder / "logs/train/synthetic_hier_seg.log").read_text()
    stopped = re.search(rf"stopped on request at step (\d+) of {STEPS}", log)
    assert stopped, log

    with snakemake(folder, environment) as second:
        said, _ = second.communicate(timeout=1500)
    assert second.returncode == 0 and "Traceback" not in said, said[-4000:]
    assert json.loads((folder / TARGET).read_text(encoding="utf-8"))["scale"] == "smoke"
    history = (folder / "results/synthetic/hier_seg/history.csv").read_text().splitlines()
    assert history[-1].startswith(f"{STEPS}.0,")
    # Nothing was made twice, and the training was not begun anew.
    assert "3 of 3 steps (100%) done" in said, said[-4000:]
    log = (folder / "logs/train/synthetic_hier_seg.log").read_text()
    assert f"continuing at step {stopped[1]} of {STEPS}" in log, log
