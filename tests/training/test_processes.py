"""The loop in processes of its own: killed, stopped, refused, and several that train together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from torch import nn

from mimik.errors import UserError
from mimik.training.processes import _buckets
from tests.tiny import make_store
from tests.training.test_loop import Colour, assert_same_bits, run

SCRIPT = """
import sys
from pathlib import Path
from tests.training.test_loop import Colour, SETTINGS
from mimik.faces.prepared.store import FaceStore
from mimik.training.loop import TrainingConfig, train
import torch
store = FaceStore(sys.argv[1], 16)
task = Colour()
config = TrainingConfig(**{**SETTINGS, "steps": int(sys.argv[4]), "checkpoint_seconds": 0.0})
train(task, store, store.rows("train"), config, seed=1, checkpoint_dir=sys.argv[2], fingerprint={}, label="child")
if int(__import__("os").environ.get("RANK", "0")) == 0:
    torch.save(task.state_dict(), sys.argv[3])
"""


def child(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    script = Path(arguments[1]).with_suffix(".py")
    script.parent.mkdir(exist_ok=True, parents=True)
    script.write_text(SCRIPT)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *prefix, str(script), *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)


@pytest.mark.slow
def test_kill_minus_9_then_the_same_command(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    steps = 150  # enough for the kill to come in the middle
    arguments = (str(store.directory), str(tmp_path / "k"), str(tmp_path / "killed.pt"), str(steps))
    victim = child(*arguments)
    checkpoint = tmp_path / "k" / "last.pt"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert checkpoint.exists() and not (tmp_path / "killed.pt").exists(), "the run ended before it was killed"
    again = child(*arguments)
    _, errors = again.communicate()
    assert again.returncode == 0 and b"continuing at step" in errors, errors.decode()
    undisturbed, _ = run(store, tmp_path / "f", steps=steps)
    resumed = Colour()
    resumed.load_state_dict(torch.load(tmp_path / "killed.pt", weights_only=True))
    assert_same_bits(undisturbed, resumed)


@pytest.mark.slow
def test_sigterm_saves_and_says_so(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    victim = child(str(store.directory), str(tmp_path / "t"), str(tmp_path / "t.pt"), "100000")
    checkpoint = tmp_path / "t" / "last.pt"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    victim.terminate()
    _, errors = victim.communicate(timeout=30)
    assert victim.returncode != 0 and b"same command again to continue" in errors
    assert torch.load(checkpoint, weights_only=True)["step"] > 0


def test_a_second_trainer_is_refused(tmp_path: Path) -> None:
    from filelock import FileLock

    store = make_store(tmp_path / "s")
    (tmp_path / "c").mkdir()
    with FileLock(tmp_path / "c" / "lock"), pytest.raises(UserError, match="another process"):
        run(store, tmp_path / "c")


@pytest.mark.slow
def test_two_processes_train_like_one(tmp_path: Path) -> None:
    """torchrun with gloo: gradients are averaged, both processes end with the same weights as the reference."""
    store = make_store(tmp_path / "s")
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    pair = child(str(store.directory), str(tmp_path / "d"), str(tmp_path / "pair.pt"), "14", prefix=launch)
    _, errors = pair.communicate(timeout=120)
    assert pair.returncode == 0, errors.decode()
    state = torch.load(tmp_path / "pair.pt", weights_only=True)
    alone, _ = run(store, tmp_path / "a")
    # Batch norm sees half batches and each process draws its own noise, so equality is not to be had; the run must
    # still have learnt the same thing.
    task = Colour()
    task.load_state_dict(state)
    rows = store.rows("test")
    from mimik.training.batches import to_tensor

    images, labels = to_tensor(store.images[rows]), torch.from_numpy(store.labels()[rows])
    with torch.no_grad():
        pair_loss = nn.functional.cross_entropy(task.eval().helper(task.net(images)), labels)
        alone_loss = nn.functional.cross_entropy(alone.eval().helper(alone.net(images)), labels)  # type: ignore
    assert abs(pair_loss - alone_loss) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("asked", [True, False])
def test_processes_end_together(tmp_path: Path, asked: bool) -> None:
    """One of two is asked to stop, or is gone."""
    store = make_store(tmp_path / "s")
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    pair = child(str(store.directory), str(tmp_path / "d"), str(tmp_path / "pair.pt"), "1000000", prefix=launch)
    checkpoint = tmp_path / "d" / "last.pt"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = psutil.Process(pair.pid).children()
    assert len(workers) == 2
    second = next(worker for worker in workers if worker.environ()["RANK"] == "1")
    second.send_signal(signal.SIGTERM if asked else signal.SIGKILL)
    begun = time.monotonic()
    _, errors = pair.communicate(timeout=60)
    # torchrun ends a process that goes on alone after half a minute.
    assert time.monotonic() - begun < 20 and pair.returncode != 0
    told = errors.count(b"same command again to continue"), errors.count(b"lost the connection to another one")
    assert told == ((2, 0) if asked else (0, 1)), errors.decode()
    assert torch.load(checkpoint, weights_only=True)["step"] > 0


def test_gradients_travel_in_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimik.training.processes.BUCKET_BYTES", 100)
    sizes = [10, 20, 5, 40, 1]
    gradients = [torch.zeros(size) for size in sizes]
    gradients[2] = gradients[2].bfloat16()
    buckets = [[len(gradient) for gradient in bucket] for bucket in _buckets(gradients)]
    assert buckets == [[10, 20], [5], [40], [1]]
