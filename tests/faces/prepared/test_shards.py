"""Worker processes: results, interruption, and scripts without a guard."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from mimik.errors import UserError
from mimik.faces.prepared import shards
from mimik.faces.prepared.shards import Arrays, Shard, cuts, load, remove_others, run, save


def double(rows: pd.DataFrame) -> Arrays:
    return {"twice": rows["value"].to_numpy() * 2, "process": np.full(len(rows), os.getpid())}


def refuse(rows: pd.DataFrame) -> Arrays:
    raise UserError(f"row {rows['value'].iloc[0]} is wrong")


def die(rows: pd.DataFrame) -> Arrays:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def wait_forever(folder: Path, rows: pd.DataFrame) -> Arrays:
    (folder / f"pid-{os.getpid()}").touch()
    time.sleep(600)
    return {}


def pieces(folder: Path, count: int = 4) -> list[Shard]:
    table = pd.DataFrame({"value": np.arange(2 * count)})
    return [Shard(table.iloc[2 * k : 2 * k + 2], folder / f"{k}.npz") for k in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_shard_is_made_and_reported_once(tmp_path: Path, workers: int) -> None:
    todo, done = pieces(tmp_path), []
    run(todo, double, workers=workers, log=tmp_path / "log", done=done.append)
    assert sorted(shard.path.name for shard in done) == ["0.npz", "1.npz", "2.npz", "3.npz"]
    for shard in todo:
        twice, process = load(shard.path, ("twice", "process"))
        assert twice.tolist() == (shard.rows["value"] * 2).tolist()
        assert (process == os.getpid()).all() == (workers == 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_users_errors_come_through(tmp_path: Path, workers: int) -> None:
    with pytest.raises(UserError, match="is wrong"):
        run(pieces(tmp_path), refuse, workers=workers, log=tmp_path / "log", done=lambda shard: None)
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told_to_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fewer cores"):
        run(pieces(tmp_path), die, workers=2, log=tmp_path / "log", done=lambda shard: None)


def test_the_environment_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    main = sys.modules["__main__"]
    with shards._fresh_children():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "3"
    assert "MKL_NUM_THREADS" not in os.environ
    assert sys.modules["__main__"] is main


def test_nothing_is_half_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad"):
        save(tmp_path / "a.npz", {"bad": np.array([{"an": "object"}], dtype=object)})
    assert not list(tmp_path.iterdir())


SCRIPT = """
from functools import partial
from pathlib import Path
from mimik.faces.prepared.shards import run
from tests.faces.prepared.test_shards import pieces, {make}
folder = Path({folder!r})
run(pieces(folder), {call}, workers=2, log=folder / "log", done=lambda shard: None)
"""


def started(tmp_path: Path, make: Callable[..., Arrays], call: str) -> subprocess.Popen[bytes]:
    script = tmp_path / "script.py"  # no guard: like a Snakemake `script:`
    script.write_text(SCRIPT.format(make=make.__name__, call=call, folder=str(tmp_path)))
    root = Path(__file__).parents[3]
    return subprocess.Popen([sys.executable, str(script)], env=os.environ | {"PYTHONPATH": str(root)})


@pytest.mark.slow
def test_a_script_without_guard_can_use_workers(tmp_path: Path) -> None:
    assert started(tmp_path, double, "double").wait(60) == 0
    assert len(list(tmp_path.glob("*.npz"))) == 4


@pytest.mark.slow
def test_workers_leave_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = started(tmp_path, wait_forever, "partial(wait_forever, folder)")
    deadline = time.monotonic() + 60
    while len(found := list(tmp_path.glob("pid-*"))) < 2:
        assert parent.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = [psutil.Process(int(path.name.removeprefix("pid-"))) for path in found]
    parent.kill()
    parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive, [process.cmdline() for process in alive]


def test_cuts_keep_every_limit_but_leave_no_row_out() -> None:
    weights = np.array([[1, 10], [1, 99], [1, 10], [1, 10], [1, 10], [1, 10]])
    assert cuts(weights, (3, 40)) == [(0, 1), (1, 2), (2, 5), (5, 6)]
    assert cuts(weights[:0], (3, 40)) == []


def test_folders_that_programs_put_among_the_shards_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "000000-old.npz").touch()
    remove_others(tmp_path, [])
    assert [path.name for path in tmp_path.iterdir()] == ["@eaDir"]


@pytest.mark.parametrize("kind", ["text", "npy", "cut", "name", "pickle", "empty"])
def test_a_foreign_file_in_place_of_a_part_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "part.npz"
    shards.save(path, {"images": np.arange(1000)})
    assert shards.load(path, ("images",))[0][-1] == 999
    if kind == "npy":
        with path.open("wb") as opened:
            np.save(opened, np.arange(3))
    elif kind == "pickle":
        np.savez(path, images=np.array([{}], dtype=object))
    elif kind != "name":
        path.write_bytes({"text": b"hello", "cut": path.read_bytes()[:500], "empty": b""}[kind])
    with pytest.raises(UserError, match="expected a part of a preparation") as caught:
        shards.load(path, ("rows" if kind == "name" else "images",))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
