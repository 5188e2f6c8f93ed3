"""Losses and pictures that reach MLflow step by step, or later."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from mimik.tracking import history


class Away:
    """A server that takes nothing while `away`, and keeps what it took."""

    def __init__(self) -> None:
        self.away, self.calls = False, 0
        self.values: list[tuple[str, int, float]] = []
        self.pictures: list[tuple[str, int]] = []

    def _asked(self) -> None:
        self.calls += 1
        if self.away:
            raise ConnectionError("nobody listens")

    def log_batch(self, run_id: str, metrics: list[Any]) -> None:
        self._asked()
        self.values += [(metric.key, metric.step, metric.value) for metric in metrics]

    def log_image(self, run_id: str, picture: Image.Image, key: str, step: int) -> None:
        self._asked()
        assert picture.getpixel((0, 0)) == (step, 0, 0)
        self.pictures.append((key, step))


def known_run(**last: int) -> Any:
    """A run that has values: the last step by name."""
    values = [SimpleNamespace(key=f"training/{name}", step=step) for name, step in last.items()]
    return SimpleNamespace(info=SimpleNamespace(run_id="r"), data=SimpleNamespace(_metric_objs=values))


def test_what_a_server_did_not_take_is_sent_when_it_answers_again(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And in between it is not asked at every step."""
    there, clock = Away(), [1000.0]
    monkeypatch.setattr(history, "connected", lambda: there)
    monkeypatch.setattr(history.time, "monotonic", lambda: clock[0])
    logger = history.RunLogger(known_run(loss=3))
    for step in range(1, 41):
        there.away = 10 <= step < 30
        Image.new("RGB", (4, 4), (step, 0, 0)).save(project / "grid.png")
        logger.scalars(step, {"loss": step / 10, "other": 1.0})
        if step % 8 == 0:
            logger.image(step, "samples", project / "grid.png")
        clock[0] += 11.0
    logger.close()
    told = capsys.readouterr().err
    assert told.count("The training continues without it") == 1 and told.count("MLflow answers again") == 1
    assert "lacks part" not in told
    assert [step for name, step, _ in there.values if name == "training/loss"] == list(range(4, 41))
    assert [step for name, step, _ in there.values if name == "training/other"] == list(range(1, 41))
    assert there.pictures == [("samples", step) for step in range(8, 41, 8)]
    assert there.calls < 70  # 20 steps of 11 s: after 30, 60 and 120 s


def test_an_evaluation_sends_of_every_value_what_is_lacking(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a batch ended within a step, and where one value is recorded more rarely than others."""
    there = Away()
    monkeypatch.setattr(history, "connected", lambda: there)
    (project / "history.csv").write_text("step,a,b,miou\n1,0.1,0.2,\n2,0.3,0.4,0.9\n3,0.5,0.6,\n")
    history.send_history(known_run(a=2, b=1, miou=2), project / "history.csv")
    assert there.values == [("training/b", 2, 0.4), ("training/a", 3, 0.5), ("training/b", 3, 0.6)]
    there.away = True
    with pytest.raises(ConnectionError):  # told by its caller, and by nobody that all had been sent
        history.send_history(known_run(), project / "history.csv")
