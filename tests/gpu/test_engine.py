"""The engine on a GPU: what it computes is what a CPU computes, and no step waits for it."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mimik.errors import UserError
from mimik.training.batches import Batches, to_tensor
from mimik.training.engine import LAG, Engine
from mimik.training.feed import Feed
from mimik.training.loop import TrainingConfig, train
from tests.tasks import PLAIN, TASKS, Drawn, assert_same, flat, stepped
from tests.tiny import make_store
from tests.training.test_loop import SETTINGS, Colour
from tests.training.test_processes import child

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda", 0)


class HostRandom(TorchFunctionMode):
    """Random numbers are drawn on the CPU wherever they are wanted: the same ones on both."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.rand, torch.randn, torch.randint, torch.randperm):
            device = kwargs.pop("device", None)
            made = func(*args, **kwargs)
            return made if device is None else made.to(device)
        if func in (torch.rand_like, torch.randn_like):
            made = getattr(torch, func.__name__.removesuffix("_like"))(args[0].shape)
            return made.to(args[0].device, kwargs.get("dtype") or args[0].dtype)
        return func(*args, **kwargs)


def apart(one: Engine, other: Engine, start: Engine) -> float:
    """How far apart two trained tasks are, as a share of how far they have come from the start."""
    begin = dict(start.task.named_parameters())
    pairs = zip(one.task.named_parameters(), other.task.parameters(), strict=True)
    way = gap = 0.0
    for (name, a), b in pairs:
        first = begin[name].detach().cpu().double()
        moved = a.detach().cpu().double() - first
        way += float(moved.square().sum())
        gap += float((b.detach().cpu().double() - first - moved).square().sum())
    return (gap / way) ** 0.5


def close(one: list[dict[str, float]], other: list[dict[str, float]], share: float) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name, value in a.items():
            assert abs(b[name] - value) <= share * max(0.1, abs(value)), (name, value, b[name])


@pytest.mark.parametrize("name", TASKS)
def test_losses_and_a_step_are_those_of_a_cpu(name: str) -> None:
    settings = {"optimiser": "sgd", "momentum": 0.0, "learning_rate": 1e-3, "graphs": False}
    with HostRandom():
        cpu, expected = stepped(TASKS[name], 1, **settings)
        gpu, found = stepped(TASKS[name], 1, CUDA, **settings)
    start, _ = stepped(TASKS[name], 0)
    close(expected, found, 1e-2)
    assert apart(cpu, gpu, start) < 2e-2


@pytest.mark.parametrize("name", TASKS)
def test_translations_are_those_of_a_cpu(name: str) -> None:
    engine, _ = stepped(TASKS[name], 2)
    method = getattr(engine.task, "method", engine.task).eval()
    batch = Drawn(engine.task, torch.device("cpu")).at(0)
    given = batch["image"], method.condition.source(batch), method.condition.target(batch)
    with torch.no_grad():
        expected = method.translate(*given)
        found = method.to(CUDA).translate(*(value.to(CUDA) for value in given))
    assert (found.cpu() - expected).abs().max() < 5e-3


@pytest.mark.parametrize("name", TASKS)
def test_graphs_compute_the_same_bits(name: str) -> None:
    eager, expected = stepped(TASKS[name], 14, CUDA, graphs=False)
    if not getattr(eager.task, "capturable", True):
        pytest.skip("says that it cannot be recorded")
    graphs, found = stepped(TASKS[name], 14, CUDA, graphs=True)
    assert found == expected
    assert_same(eager, graphs)


@pytest.mark.parametrize("graphs", [False, "auto"])
@pytest.mark.parametrize("name", TASKS)
def test_no_step_waits_for_the_gpu(name: str, graphs: Any) -> None:
    task = TASKS[name]()
    if not getattr(task, "capturable", True):
        pytest.skip("says that it decides by what is on the device")
    engine = Engine(task, TrainingConfig(**{**PLAIN, "graphs": graphs}), CUDA, seed=0)
    batches = [Drawn(task, CUDA).at(position) for position in range(4)]
    feed = type("Same", (), {"at": lambda _, position: dict(batches[position % 4])})()
    with engine.running():
        for step in range(14):
            # The first steps try out, record and make what stays.
            torch.cuda.set_sync_debug_mode("error" if step >= 12 else "default")
            try:
                for _ in engine.run_step(step, feed):
                    pass
            finally:
                torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["stargan", "stargan demo", "hier_seg", "attgan"])
def test_bf16_is_near_fp32(name: str) -> None:
    _, expected = stepped(TASKS[name], 2, CUDA, graphs=False)
    _, found = stepped(TASKS[name], 2, CUDA, precision="bf16")
    close(expected, found, 0.1)


@pytest.mark.parametrize("name", ["stargan", "hier_seg"])
def test_compiled_networks_compute_the_same(name: str) -> None:
    settings = {"optimiser": "sgd", "momentum": 0.0, "learning_rate": 1e-3}
    eager, expected = stepped(TASKS[name], 5, CUDA, **settings)
    compiled, found = stepped(TASKS[name], 5, CUDA, compile=True, **settings)
    start, _ = stepped(TASKS[name], 0)
    close(expected[:6], found[:6], 2e-2)
    assert apart(eager, compiled, start) < 0.1


@pytest.mark.parametrize("name", ["stargan", "hier_seg", "ganimation"])
def test_features_computed_again_give_the_same_bits(name: str) -> None:
    kept, expected = stepped(TASKS[name], 3, CUDA, graphs=False)
    again, found = stepped(TASKS[name], 3, CUDA, recompute=True)
    assert found == expected
    assert_same(kept, again)


@pytest.mark.parametrize("held", [True, False])
def test_the_feed_gives_the_batches_of_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool) -> None:
    monkeypatch.setattr("mimik.training.feed.SHARE_HELD", 1.0 if held else 0.0)
    store = make_store(tmp_path)
    reads, more = {"label", "target", "mask", "action_units"}, {"shift": 1 / 8, "targets": "dataset"}
    expected = Batches(store, store.rows("train"), 8, seed=2, reads=reads, **more)  # type: ignore[arg-type]
    fed = Batches(store, store.rows("train"), 8, seed=2, reads=reads, **more)  # type: ignore[arg-type]
    with Feed(fed, CUDA, 5, 40) as feed:
        assert bool(fed._held) == held
        for position in range(5, 40):
            batch = feed.at(position)
            for name, value in expected.at(position).items():
                # A GPU divides bytes by multiplying with the inverse.
                torch.testing.assert_close(batch[name].cpu(), value, atol=1e-6, rtol=0.0)


def run(store: Any, folder: Path, task: Any, **changes: Any) -> Any:
    settings: dict[str, Any] = {**SETTINGS, "deterministic": True, **changes}
    config = TrainingConfig(**settings)
    rows = store.rows("train")
    train(task, store, rows, config, seed=1, checkpoint_dir=folder, fingerprint={}, label="gpu", device=CUDA)
    return task


def test_an_interrupted_run_ends_with_the_bits_of_an_undisturbed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path / "s")
    whole = run(store, tmp_path / "a", Colour())
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        patch.setattr("mimik.training.engine.Engine._watch", failing_at(9))
        run(store, tmp_path / "b", Colour(), checkpoint_seconds=0.0)
    assert (tmp_path / "b" / "last.pt").exists()
    resumed = run(store, tmp_path / "b", Colour())
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def failing_at(step: int) -> Callable[[Engine], None]:
    """A `_watch` that fails when it is called for the step."""
    calls: list[Engine] = []

    def watch(engine: Engine) -> None:
        calls.append(engine)
        if len(calls) > step:
            raise RuntimeError("power cut")

    return watch


def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu(tmp_path: Path) -> None:
    engine, _ = stepped(TASKS["stargan"], 3, CUDA)
    torch.save(engine.state(), tmp_path / "state.pt")
    other, _ = stepped(TASKS["stargan"], 0)
    other.load_state(torch.load(tmp_path / "state.pt", map_location="cpu", weights_only=True))
    for step in range(3, 5):
        for _ in other.run_step(step, Drawn(other.task, torch.device("cpu"))):
            pass
    assert all(torch.isfinite(value).all() for value in flat(other.state()).values())


class Exploding(Colour):
    """Its loss is not finite from the 11th step on, without a decision on the host."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def model_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        total, terms = super().model_loss(batch, step)
        self.passes.add_(1)
        # The model's update begins at step 2.
        return total + torch.where(self.passes > 8, torch.inf, 0.0), terms


def test_a_loss_that_is_not_finite_is_noticed_and_its_samples_named(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    steps: list[int] = []
    with watched_steps(steps), pytest.raises(UserError, match=r"model loss is not finite at step 10.*f0\d\d"):
        run(store, tmp_path / "c", Exploding(), steps=60, log_every=50)
    assert max(steps) <= 10 + LAG
    expected = Batches(store, store.rows("train"), 8, seed=1).rows_at(2 * 10 + 1)
    with pytest.raises(UserError) as caught:
        run(store, tmp_path / "d", Exploding(), steps=60)
    assert all(f"f{row:03d}" in str(caught.value) for row in expected)


@contextmanager
def watched_steps(steps: list[int]) -> Iterator[None]:
    """Write down the steps that are run."""
    plain = Engine.run_step

    def run_step(engine: Engine, step: int, feed: Any) -> Any:
        steps.append(step)
        return plain(engine, step, feed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "run_step", run_step)
        yield


class Greedy(Colour):
    """Wants more memory than there is."""

    def model_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        torch.empty(2**50, dtype=torch.uint8, device=batch["image"].device)
        return super().model_loss(batch, step)


def test_too_little_memory_says_which_settings_help(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"accumulate.*recompute.*batch_size below 8"):
        run(make_store(tmp_path / "s"), tmp_path / "c", Greedy())


def test_two_processes_share_a_gpu_and_train_like_one(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    pair = child(str(store.directory), str(tmp_path / "d"), str(tmp_path / "pair.pt"), "60", prefix=launch)
    _, errors = pair.communicate(timeout=120)
    assert pair.returncode == 0, errors.decode()
    task = Colour()
    task.load_state_dict(torch.load(tmp_path / "pair.pt", weights_only=True, map_location="cpu"))
    rows = store.rows("test")
    with torch.no_grad():
        logits = task.eval().helper(task.net(to_tensor(store.images[rows])))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(store.labels()[rows]))
    assert loss < 0.5 * math.log(4)
