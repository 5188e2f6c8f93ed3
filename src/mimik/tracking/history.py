"""Losses and pictures of a training, step by step."""

import csv
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mimik.errors import UserError
from mimik.storage.files import first_line
from mimik.storage.pictures import open_picture
from mimik.storage.records import command_for
from mimik.tracking.server import connected, faults, reason, tracking_uri

if TYPE_CHECKING:
    from mlflow.entities import Metric

BATCH = 500
"""Values sent at once; MLflow takes at most 1000."""

LOSSES = "training/"
"""What the names of losses begin with."""

SECONDS = 10.0
"""Longest time that a value waits for its batch."""


PAUSES = (30.0, 600.0)
"""Seconds until a training turns again to an MLflow that failed: at first, and at most."""

PICTURES = 100
"""Pictures that wait for an MLflow that failed; of more, the oldest are dropped."""


class RunLogger:
    """Losses and pictures of a training to its run, in batches; a `mimik.training.loop.Logger`.

    What MLflow does not take waits, and is sent when MLflow answers again.
    """

    def __init__(self, run: Any) -> None:
        """Mirror to an MLflow run (`mlflow.entities.Run`); of a run that goes on, the steps it has are left out."""
        self._run_id: str = run.info.run_id
        self._last = last_steps(run)
        self._waiting: list[Metric] = []
        self._pictures: deque[tuple[int, str, bytes]] = deque(maxlen=PICTURES)
        self._due = time.monotonic() + SECONDS
        self._pause = PAUSES[0]
        self._failure: str | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record values of a step."""
        self._waiting += _metrics(step, values, self._last)
        if time.monotonic() > self._due or (len(self._waiting) >= BATCH and self._failure is None):
            self._send()

    def image(self, step: int, key: str, path: Path) -> None:
        """Record a picture of a step; MLflow shows the pictures of one key with a slider."""
        self._pictures.append((step, key, path.read_bytes()))  # the next one takes the place of the file
        if self._failure is None or time.monotonic() > self._due:
            self._send()

    def close(self) -> None:
        """Send what is waiting. Prints a message when MLflow lacks something."""
        self._send()
        if self._failure is not None:
            print(
                f"\nmimik: MLflow ({tracking_uri()}) failed and lacks part of this training: {self._failure}\n"
                "The training itself is intact; its evaluation will send the losses again.",
                file=sys.stderr,
            )

    def _send(self) -> None:
        """Send what waits; what MLflow has taken waits no longer, even if it fails at the next."""
        with self._noted():
            while self._waiting:
                connected().log_batch(self._run_id, metrics=self._waiting[:BATCH])
                del self._waiting[:BATCH]
            while self._pictures:
                step, key, content = self._pictures[0]
                with open_picture(BytesIO(content)) as picture:
                    connected().log_image(self._run_id, picture.convert("RGB"), key=key, step=step)
                self._pictures.popleft()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """A failure of MLflow never stops a training. It is told once, and so is its end."""
        try:
            yield
        except faults() as error:
            if self._failure is None:
                print(
                    f"\nmimik: MLflow failed: {reason(error)}\n"
                    "The training continues without it, and sends what MLflow lacks when it answers again.",
                    file=sys.stderr,
                )
            self._failure = reason(error)
            self._due, self._pause = time.monotonic() + self._pause, min(2 * self._pause, PAUSES[1])
            return
        if self._failure is not None:
            print("\nmimik: MLflow answers again, and has everything of this training so far.", file=sys.stderr)
        self._failure, self._pause = None, PAUSES[0]
        self._due = time.monotonic() + SECONDS


def _metrics(step: int, values: Mapping[str, float], last: Mapping[str, int]) -> "list[Metric]":
    """Values of a step for MLflow, without those that come no later than the last one of the same name."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    named = {_named(name): float(value) for name, value in values.items()}
    return [Metric(name, value, now, step) for name, value in named.items() if step > last.get(name, -1)]


def _named(name: str) -> str:
    """The name of a value of the training in MLflow, whose pages are in the order of names: what was measured on the
    test faces (`evaluation/`) comes before the losses, and the validation last."""
    return name if name.startswith("validation/") else f"{LOSSES}{name}"


def last_steps(run: Any) -> dict[str, int]:
    """The last step of every value that a run has, by its name in MLflow.

    By name, as a batch may end within a step, and not every value is recorded as often as others.
    """
    # A run comes with the last value of each name; the entities that have its step are no public attribute, and the
    # way to them that is one reads every value of every step.
    return {metric.key: int(metric.step) for metric in run.data._metric_objs}


def send_history(run: Any, history: Path) -> None:
    """Losses of history.csv that the run has not: those of a training that MLflow missed.

    Raises:
        UserError: history.csv is damaged.
        Exception: one of `mimik.tracking.server.faults`.
    """
    last = last_steps(run)
    lacking: list[Metric] = []
    try:
        with history.open(encoding="utf-8", newline="") as opened:
            for row in csv.DictReader(opened):
                step = int(float(row.pop("step")))
                lacking += _metrics(step, {name: float(value) for name, value in row.items() if value}, last)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(
            f"{history}: expected a table of numbers with the column step, but: {first_line(error)}. Train again: "
            f"`{command_for(history, 'method')}`."
        ) from error
    for start in range(0, len(lacking), BATCH):
        connected().log_batch(run.info.run_id, metrics=lacking[start : start + BATCH])
