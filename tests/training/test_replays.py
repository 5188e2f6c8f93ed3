"""Replayed updates compute what updates that run anew compute; on a CPU with a stand-in for CUDA graphs."""

from typing import Any

import pytest
import torch

from mimik.training.engine import Engine
from mimik.training.replays import WARM_UPS, Question, Replays, WatchedStep, answered
from tests import tape
from tests.tasks import TASKS, assert_same, stepped

pytestmark = pytest.mark.slow


@pytest.fixture
def taped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.CUDAGraph", tape.Graph)
    monkeypatch.setattr("torch.cuda.graph", tape.recording)
    monkeypatch.setattr("torch.cuda.graph_pool_handle", lambda: None)


def replayed(engine: Engine) -> None:
    engine._replays = Replays(None)  # type: ignore[arg-type]


@pytest.mark.usefixtures("taped")
@pytest.mark.parametrize("name", TASKS)
def test_replays_give_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not getattr(TASKS[name](), "capturable", True):
        pytest.skip("says that it cannot be recorded")
    monkeypatch.setattr("mimik.training.replays.WARM_UPS", 1)
    # Steps of these differ: lazy terms, one network after the other.
    steps = {"stargan lazy": 14, "icgan": 9}.get(name, 4)
    plain, history = stepped(TASKS[name], steps)
    engine, again = stepped(TASKS[name], steps, watch=replayed)
    assert again == history
    assert_same(plain, engine)
    assert engine._replays is not None
    graphs = [one.graph for known in engine._replays._known.values() for one in known if one.graph is not None]
    assert len(graphs) >= len(engine.task.updates)


def test_a_step_remembers_what_it_was_asked() -> None:
    answers: dict[Question, bool] = {}
    step = WatchedStep(12, answers)
    assert step % 4 == 0 and not step < 10 and step >= 12 and step % 5 != 0 and step % 8 and step > 11
    assert answers == {
        ("==", 0, 4): True, ("<", 10, 0): False, ("<", 12, 0): False, ("==", 0, 5): False, ("==", 0, 8): False,
        ("<=", 11, 0): False,
    }  # fmt: skip
    assert all(answered(question, 12) == answer for question, answer in answers.items())
    assert not answered(("==", 0, 4), 13)


@pytest.mark.parametrize("use", [lambda step: step + 1, float, int, lambda step: step < 0.5, lambda step: range(step)])
def test_a_step_is_nothing_to_compute_with(use: Any) -> None:
    with pytest.raises(TypeError):
        use(WatchedStep(3, {}))


@pytest.mark.usefixtures("taped")
def test_other_shapes_and_other_answers_are_recorded_anew() -> None:
    replays, total = Replays(None), torch.zeros(())  # type: ignore[arg-type]
    ran: list[int] = []

    def compute(batch: Any, step: Any) -> Any:
        ran.append(len(batch["x"]))
        total.add_(batch["x"].sum() * (2 if step % 2 == 0 else 1))
        batch["y"] = batch["x"] + 1
        return [{"sum": batch["x"].sum()}]

    expected = 0.0
    for step in range(20):
        for length in (2, 3):
            batch = {"x": torch.full((length,), float(step))}
            terms = replays.run("update", step, batch, lambda: None, compute)
            assert float(terms[0]["sum"]) == step * length and (batch["y"] == step + 1).all()
            expected += step * length * (1 + (step % 2 == 0))
    assert float(total) == expected
    assert len(ran) == 4 * (WARM_UPS + 1)
