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
from mimik.training.batches import to_tensor
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
for place, steps in zip(sys.argv[2::2], sys.argv[3::2]):
    task = Colour()
    config = TrainingConfig(**{**SETTINGS, "steps": int(steps), "checkpoint_seconds": 0.0})
    train(task, store, store.rows("train"), config, seed=1, checkpoint_dir=place, fingerprint={}, label="child")
    if int(__import__("os").environ.get("RANK", "0")) == 0:
        torch.save(task.state_dict(), f"{place}.pt")
"""


def child(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
    script = Path(arguments[1]).with_suffix(".py")
    script.parent.mkdir(exist_ok=True, parents=True)
    script.write_text(SCRIPT)
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *prefix, str(script), *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)


def saved_anew(checkpoint: Path, since: bytes | None = None) -> None:
    """Wait until there is a checkpoint, of another content than `since`."""
    deadline = time.monotonic() + 60
    while not (checkpoint.exists() and checkpoint.read_bytes() != since) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert checkpoint.exists() and checkpoint.read_bytes() != since


@pytest.mark.slow
def test_sigterm_and_kill_minus_9_then_the_same_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, steps = make_store(tmp_path / "s"), 150  # enough for both to come in the middle
    checkpoint = tmp_path / "k" / "last.pt"
    arguments = (str(store.directory), str(tmp_path / "k"), str(steps))
    victim = child(*arguments)
    saved_anew(checkpoint)
    victim.terminate()
    _, errors = victim.communicate(timeout=30)
    assert victim.returncode != 0 and b"same command again to continue" in errors, errors.decode()
    stopped = checkpoint.read_bytes()
    assert 0 < torch.load(checkpoint, weights_only=True)["step"] < steps
    victim = child(*arguments)
    saved_anew(checkpoint, stopped)
    victim.send_signal(signal.SIGKILL)
    _, errors = victim.communicate()
    assert b"continuing at step" in errors, errors.decode()
    assert checkpoint.exists() and not (tmp_path / "k.pt").exists(), "the run ended before it was killed"
    resumed, _ = run(store, tmp_path / "k", steps=steps)
    assert "continuing at step" in capsys.readouterr().err
    undisturbed, _ = run(store, tmp_path / "f", steps=steps)
    assert_same_bits(undisturbed, resumed)


def test_a_second_trainer_is_refused(tmp_path: Path) -> None:
    from filelock import FileLock

    store = make_store(tmp_path / "s")
    (tmp_path / "c").mkdir()
    with FileLock(tmp_path / "c" / "lock"), pytest.raises(UserError, match="another process"):
        run(store, tmp_path / "c")


LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def end_one(pair: "subprocess.Popen[bytes]", checkpoint: Path, how: signal.Signals, rank: int = 1) -> bytes:
    """Send one of two processes that train a signal; what they say until both have ended, which takes no time."""
    saved_anew(checkpoint, checkpoint.read_bytes() if checkpoint.exists() else None)
    workers = psutil.Process(pair.pid).children()
    assert len(workers) == 2
    next(worker for worker in workers if worker.environ()["RANK"] == str(rank)).send_signal(how)
    begun = time.monotonic()
    _, errors = pair.communicate(timeout=60)
    # torchrun ends a process that goes on alone after half a minute.
    assert time.monotonic() - begun < 20 and pair.returncode != 0, errors.decode()
    assert torch.load(checkpoint, weights_only=True)["step"] > 0
    return errors


@pytest.mark.slow
def test_two_processes_train_like_one_and_stop_together(tmp_path: Path) -> None:
    """torchrun with gloo: gradients are averaged, both processes end with the same weights as the reference.

    Then they train again, and one of them is asked to stop.
    """
    store = make_store(tmp_path / "s")
    pair = child(str(store.directory), str(tmp_path / "d"), "14", str(tmp_path / "e"), "1000000", prefix=LAUNCH)
    errors = end_one(pair, tmp_path / "e" / "last.pt", signal.SIGTERM)
    assert errors.count(b"same command again to continue") == 2, errors.decode()
    state = torch.load(tmp_path / "d.pt", weights_only=True)
    alone, _ = run(store, tmp_path / "a")
    # Batch norm sees half batches and each process draws its own noise, so equality is not to be had; the run must
    # still have learnt the same thing.
    task = Colour()
    task.load_state_dict(state)
    rows = store.rows("test")
    images, labels = to_tensor(store.images[rows]), torch.from_numpy(store.labels()[rows])
    with torch.no_grad():
        pair_loss = nn.functional.cross_entropy(task.eval().helper(task.net(images)), labels)
        alone_loss = nn.functional.cross_entropy(alone.eval().helper(alone.net(images)), labels)  # type: ignore
    assert abs(pair_loss - alone_loss) < 0.5


@pytest.mark.slow
def test_a_process_without_the_other_ends(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    pair = child(str(store.directory), str(tmp_path / "d"), "1000000", prefix=LAUNCH)
    errors = end_one(pair, tmp_path / "d" / "last.pt", signal.SIGKILL)
    assert errors.count(b"lost the connection to another one") == 1, errors.decode()
    assert b"same command again to continue" not in errors


@pytest.mark.service
def test_either_of_two_processes_is_killed_and_the_same_command_ends_with_the_same_bits(tmp_path: Path) -> None:
    """The third time the pair is left alone, and then trains undisturbed elsewhere."""
    store, checkpoint = make_store(tmp_path / "s"), tmp_path / "d" / "last.pt"
    arguments = (str(store.directory), str(tmp_path / "d"), "300")  # enough for both to come in the middle
    for rank in (1, 0):
        errors = end_one(child(*arguments, prefix=LAUNCH), checkpoint, signal.SIGKILL, rank)
        assert errors.count(b"lost the connection to another one") == 1, errors.decode()
        assert b"same command again to continue" not in errors
    pair = child(*arguments, str(tmp_path / "u"), "300", prefix=LAUNCH)
    _, errors = pair.communicate(timeout=300)
    assert pair.returncode == 0 and b"continuing at step" in errors, errors.decode()
    resumed, undisturbed = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in "du")
    for name, value in undisturbed.items():
        assert torch.equal(resumed[name], value), name


def test_gradients_travel_in_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimik.training.processes.BUCKET_BYTES", 100)
    sizes = [10, 20, 5, 40, 1]
    gradients = [torch.zeros(size) for size in sizes]
    gradients[2] = gradients[2].bfloat16()
    buckets = [[len(gradient) for gradient in bucket] for bucket in _buckets(gradients)]
    assert buckets == [[10, 20], [5], [40], [1]]
