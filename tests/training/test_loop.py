from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.training.batches import Batches, to_tensor
from mimik.training.engine import Engine
from mimik.training.loop import History, TrainingConfig, Update, train
from tests.tiny import make_store


class Colour(nn.Module):
    """A small classifier with an averaged result, a helper network updated twice per step, and drawn noise."""

    updates = (Update("helper", 2), Update("model", 1, start=2))
    reads: frozenset[str] = frozenset({"label"})

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
        self.helper = nn.Linear(4, 4)

    @property
    def averaged(self) -> nn.Module:
        return self.net

    def model_parameters(self) -> list[dict[str, Any]]:
        return [{"params": list(self.net.parameters())}]

    def helper_parameters(self) -> list[dict[str, Any]]:
        return [{"params": list(self.helper.parameters()), "learning_rate": 0.1}]

    def model_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        noisy = batch["image"] + 0.1 * torch.randn_like(batch["image"])
        loss = nn.functional.cross_entropy(self.helper(self.net(noisy)), batch["label"])
        assert not self.helper.weight.requires_grad
        return loss, {"cls": loss}

    def helper_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            features = self.net(batch["image"])
        loss = nn.functional.cross_entropy(self.helper(features), batch["label"])
        return loss, {"cls": loss}


SETTINGS = {"steps": 14, "batch_size": 8, "learning_rate": 0.01, "ema": 0.9, "log_every": 4, "schedule": "linear"}


def run(store: FaceStore, directory: Path, task: nn.Module | None = None, **changes: Any) -> tuple[nn.Module, History]:
    task = task or Colour()
    config = TrainingConfig(**{**SETTINGS, **changes})  # type: ignore[arg-type]
    history = train(
        task, store, store.rows("train"), config, seed=1, checkpoint_dir=directory, fingerprint={}, label="test"
    )
    return task, history


def assert_same_bits(one: nn.Module, other: nn.Module) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_the_loss_falls_and_the_history_is_complete(tmp_path: Path) -> None:
    _, history = run(make_store(tmp_path / "s"), tmp_path / "c", steps=60)
    assert [row["step"] for row in history] == [float(s) for s in range(4, 61, 4)]
    assert history[-1]["model/cls"] < 0.5 * history[0]["model/cls"]
    assert "helper/cls" in history[0]


def test_same_seed_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    first, _ = run(store, tmp_path / "a")
    second, _ = run(store, tmp_path / "b")
    assert_same_bits(first, second)
    config = TrainingConfig(**SETTINGS)  # type: ignore[arg-type]
    third = Colour()
    train(third, store, store.rows("train"), config, seed=2, checkpoint_dir=tmp_path / "c", fingerprint={}, label="t")
    assert not torch.equal(first.net[0].weight, third.net[0].weight)  # type: ignore[union-attr, index]


def stepped(engine: Engine, store: FaceStore, steps: int, each: Callable[[int], None] | None = None) -> None:
    batches = Batches(store, store.rows("train"), 8, seed=1, reads=Colour.reads)
    for step in range(steps):
        for _ in engine.run_step(step, batches):
            pass
        if each:
            each(step)


def test_the_average_is_that_of_weights_and_statistics(tmp_path: Path) -> None:
    """By its recursion; the count of batches is that of the run, not an average."""
    task, store = Colour(), make_store(tmp_path / "s")
    config = TrainingConfig(**SETTINGS)  # type: ignore[arg-type]
    engine = Engine(task, config, torch.device("cpu"), seed=1)
    expected = {name: value.clone() for name, value in task.net.state_dict().items() if value.is_floating_point()}

    def follow(step: int) -> None:
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in expected.items():
            value.mul_(decay).add_(task.net.state_dict()[name], alpha=1 - decay)

    stepped(engine, store, 6, follow)
    last = {name: value.clone() for name, value in task.net.state_dict().items()}
    replaced = engine.load_average()
    for name, value in task.net.state_dict().items():
        if name in expected:
            torch.testing.assert_close(value, expected[name])
            assert not torch.equal(value, last[name])
        else:
            assert torch.equal(value, last[name])
    engine.load_weights(replaced)
    for name, value in task.net.state_dict().items():
        assert torch.equal(value, last[name])


def test_averaged_statistics_fit_the_averaged_weights_and_the_last_ones_do_not(tmp_path: Path) -> None:
    task, store = Colour(), make_store(tmp_path / "s")
    config = TrainingConfig(**{**SETTINGS, "ema": 0.99, "schedule": "constant"})  # type: ignore[arg-type]
    engine = Engine(task, config, torch.device("cpu"), seed=1)
    # Long enough for the average to reach further back than the statistics, which forget after ten steps.
    stepped(engine, store, 300)
    last = task.net.state_dict()["1.running_mean"].clone()
    engine.load_average()
    with torch.no_grad():
        true = task.net[0](to_tensor(store.images[store.rows("train")])).mean((0, 2, 3))
    assert (task.net.state_dict()["1.running_mean"] - true).norm() < 0.5 * (last - true).norm()


def test_a_checkpoint_without_averaged_statistics_goes_on_with_the_last_ones(tmp_path: Path) -> None:
    store, config = make_store(tmp_path / "s"), TrainingConfig(**SETTINGS)  # type: ignore[arg-type]
    engine = Engine(Colour(), config, torch.device("cpu"), seed=1)
    stepped(engine, store, 4)
    state = engine.state()
    names = [name for name in state["average"] if "running" in name]
    assert len(names) == 2
    earlier = {**state, "average": {name: v for name, v in state["average"].items() if name not in names}}
    other = Engine(Colour(), config, torch.device("cpu"), seed=1)
    other.load_state(earlier)
    assert other.average is not None and list(other.average) == list(state["average"])
    for name, value in other.average.items():
        kept = engine.task.net.state_dict() if name in names else state["average"]
        assert torch.equal(value, kept[name])


class Shared(nn.Module):
    """One weight, moved by two losses through one optimiser."""

    updates = (Update("first"), Update("second", start=1, shares="first"))
    reads: frozenset[str] = frozenset({"label"})
    averaged = None
    compiled: tuple[nn.Module, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))

    def first_parameters(self) -> list[dict[str, Any]]:
        return [{"params": [self.weight]}]

    def first_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (self.weight**2).sum()
        return loss, {"a": loss}

    def second_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = 3 * self.weight[0]
        return loss, {"b": loss}


def test_two_updates_may_step_one_optimiser(tmp_path: Path) -> None:
    task, history = run(make_store(tmp_path / "s"), tmp_path / "c", Shared(), steps=4, schedule="constant", ema=0.0)
    other = Shared()
    optimiser = torch.optim.Adam([other.weight], lr=0.01, betas=(0.5, 0.999), fused=True)
    for step in range(4):
        for loss in (other.first_loss, other.second_loss)[: 2 if step else 1]:
            optimiser.zero_grad()
            loss({}, step)[0].backward()
            optimiser.step()
    assert_same_bits(task, other)
    assert {"first/a", "second/b"} <= set(history[-1])


class Normalised(Colour):
    """Its network, with batch normalisation, is one that may be computed again."""

    @property
    def compiled(self) -> list[nn.Module]:
        return [self.net]


def test_features_computed_again_give_the_same_bits(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    kept, _ = run(store, tmp_path / "a", Normalised())
    forgot, _ = run(store, tmp_path / "b", Normalised(), recompute=True)
    assert_same_bits(kept, forgot)  # running statistics too
    with pytest.raises(ValueError, match="cannot be combined"):
        TrainingConfig(recompute=True, compile=True)


class Dropping(Normalised):
    """Its network drops features at random."""

    def __init__(self) -> None:
        super().__init__()
        self.net.insert(3, nn.Dropout(0.5))


def test_features_computed_again_are_dropped_again(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    kept, _ = run(store, tmp_path / "a", Dropping())
    forgot, _ = run(store, tmp_path / "b", Dropping(), recompute=True)
    assert_same_bits(kept, forgot)


def test_the_listed_networks_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[nn.Module] = []
    monkeypatch.setattr("mimik.training.engine.compile_network", seen.append)
    task, _ = run(make_store(tmp_path / "s"), tmp_path / "c", Normalised(), steps=1, compile=True)
    assert seen == task.compiled


def test_no_gradient_waits_for_the_next_step(tmp_path: Path) -> None:
    task, _ = run(make_store(tmp_path / "s"), tmp_path / "c", steps=3)
    assert all(parameter.grad is None for parameter in task.parameters())


class Failing(Colour):
    """Breaks down at a step, the first time."""

    def model_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        if step == 9:
            raise RuntimeError("power cut")
        return super().model_loss(batch, step)


def test_an_interrupted_run_ends_with_the_bits_of_an_undisturbed_one(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    undisturbed, history = run(store, tmp_path / "a")
    with pytest.raises(RuntimeError, match="power cut"):
        run(store, tmp_path / "b", Failing(), checkpoint_seconds=0.0)
    assert (tmp_path / "b" / "last.pt").exists()
    resumed, again = run(store, tmp_path / "b")
    assert_same_bits(undisturbed, resumed)
    assert history == again
    assert not (tmp_path / "b" / "last.pt").exists()


class Judging(Colour):
    """Is shown the target of every face as well."""

    reads = frozenset({"label", "target"})

    def model_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        total, _ = super().model_loss(batch, step)
        total = total + nn.functional.cross_entropy(self.net(batch["image"]), batch["target"])
        return total, {"cls": total}


class FailingJudge(Failing, Judging):
    """The same, in a power cut."""


def test_shifts_and_targets_of_the_whole_set_count_and_survive_an_interruption(tmp_path: Path) -> None:
    store, changes = make_store(tmp_path / "s"), {"shift": 1 / 8, "targets": "dataset"}
    undisturbed, history = run(store, tmp_path / "a", Judging(), **changes)
    with pytest.raises(RuntimeError, match="power cut"):
        run(store, tmp_path / "b", FailingJudge(), checkpoint_seconds=0.0, **changes)
    resumed, again = run(store, tmp_path / "b", Judging(), **changes)
    assert_same_bits(undisturbed, resumed)
    assert history == again
    for name, value in {"shift": 0.0, "targets": "batch"}.items():
        _, other = run(store, tmp_path / name, Judging(), **{**changes, name: value})
        assert other != history, name


def test_a_changed_setting_starts_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "s")
    with pytest.raises(RuntimeError):
        run(store, tmp_path / "c", Failing(), checkpoint_seconds=0.0)
    changed, _ = run(store, tmp_path / "c", learning_rate=0.02)
    assert "starting over" in capsys.readouterr().err
    fresh, _ = run(store, tmp_path / "d", learning_rate=0.02)
    assert_same_bits(changed, fresh)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"last\.pt"):
        run(store, tmp_path / "c")


class Random(Colour):
    """What torch says where an operation of a GPU has no deterministic form."""

    def model_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        raise RuntimeError("some_backward_cuda does not have a deterministic implementation, but you set ...")


def test_what_is_not_deterministic_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"training\.deterministic: some_backward_cuda.* Set it to false"):
        run(make_store(tmp_path / "s"), tmp_path / "c", Random(), deterministic=True)


class Exploding(Colour):
    """Its loss is not finite from a step on."""

    def model_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        total, terms = super().model_loss(batch, step)
        return (total / 0.0 if step >= 5 else total), terms


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_samples(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not finite at step 5.*last good state.*f0\d\d"):
        run(make_store(tmp_path / "s"), tmp_path / "c", Exploding(), checkpoint_seconds=0.0)
    state = torch.load(tmp_path / "c" / "last.pt", weights_only=True)
    assert state["step"] == 5


def test_accumulation_gives_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    """Without noise and batch norm, two halves make the same update as the whole."""

    class Plain(Colour):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(), nn.Linear(128, 4))

        def model_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
            loss = nn.functional.cross_entropy(self.net(batch["image"]), batch["label"])
            return loss, {"cls": loss}

    store = make_store(tmp_path / "s")
    settings = {"optimiser": "sgd", "precision": "fp32", "steps": 6}
    whole, _ = run(store, tmp_path / "a", Plain(), **settings)
    halves, _ = run(store, tmp_path / "b", Plain(), accumulate=2, **settings)
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_an_update_runs_from_its_first_step_until_it_stops() -> None:
    assert [Update("a", start=2, stop=5).due(step) for step in range(7)] == [False] * 2 + [True] * 3 + [False] * 2
    assert all(Update("a").due(step) for step in (0, 10**6))


def test_schedules() -> None:
    linear = TrainingConfig(steps=100, learning_rate=1.0, schedule="linear", decay_start=0.5)
    assert linear.rate(0) == linear.rate(50) == 1.0 and abs(linear.rate(75) - 0.5) < 1e-9
    low = TrainingConfig(steps=100, learning_rate=1.0, schedule="linear", decay_start=0.6, floor=0.1)
    assert low.rate(60) == 1.0 and abs(low.rate(80) - 0.55) < 1e-9 and abs(low.rate(100) - 0.1) < 1e-9
    warm = TrainingConfig(steps=100, learning_rate=1.0, warmup=10)
    assert warm.rate(0) == 0.1 and warm.rate(9) == 1.0
    assert abs(TrainingConfig(steps=100, learning_rate=1.0, schedule="cosine").rate(50) - 0.5) < 1e-9
    assert abs(TrainingConfig(steps=100, learning_rate=2.0, schedule="poly").rate(50) - 2 * 0.5**0.9) < 1e-9
    # SeCGAN's for AttGAN: 2e-4, down to 2e-6 exponentially over the second half; AttGAN's code: a tenth at the half.
    exponential = TrainingConfig(steps=200, learning_rate=2e-4, schedule="exponential", decay_start=0.5)
    assert exponential.rate(0) == exponential.rate(100) == 2e-4
    assert exponential.rate(150) == pytest.approx(2e-5) and exponential.rate(200) == pytest.approx(2e-6)
    parser = TrainingConfig(
        steps=80_000, learning_rate=1e-2, schedule="poly", warmup=1000, warmup_from=1e-3
    )  # the public code of the face parser: 1e-5 to 1e-2, then (1 - t) ** 0.9 over the remaining 79,000
    assert parser.rate(0) == pytest.approx(1e-5) and parser.rate(500) == pytest.approx(1e-2 * 10**-1.5)
    assert parser.rate(1000) == pytest.approx(1e-2) and parser.rate(40_500) == pytest.approx(1e-2 * 0.5**0.9)
    step = TrainingConfig(steps=200, learning_rate=2e-4, schedule="step", decay_start=0.5)
    assert step.rate(99) == 2e-4 and step.rate(100) == step.rate(199) == pytest.approx(2e-5)
