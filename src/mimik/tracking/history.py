"""Losses and pictures of a training, step by step."""

import csv
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


class RunLogger:
    """Losses and pictures of a training to its run, in batches; a `mimik.training.loop.Logger`."""

    def __init__(self, run: Any) -> None:
        """Mirror to an MLflow run (`mlflow.entities.Run`); of a run that goes on, the steps it has are left out."""
        self._run = run
        self._last_step = last_step(run)
        self._waiting: list[Metric] = []
        self._sent = time.monotonic()
        self._failure: str | None = None

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record values of a step."""
        from mlflow.entities import Metric

        if step <= self._last_step or self._failure is not None:
            return
        now = int(time.time() * 1000)
        self._waiting += [Metric(_named(name), float(value), now, step) for name, value in values.items()]
        if len(self._waiting) >= BATCH or time.monotonic() - self._sent > SECONDS:
            self._send()

    def image(self, step: int, key: str, path: Path) -> None:
        """Record a picture of a step; MLflow shows the pictures of one key with a slider."""
        if self._failure is None:
            with self._noted(), open_picture(path) as picture:
                connected().log_image(self._run.info.run_id, picture.convert("RGB"), key=key, step=step)

    def close(self) -> None:
        """Send what is waiting. Prints a message when MLflow lacks something."""
        if self._failure is None:
            self._send()
        if self._failure is not None:
            print(
                f"\nmimik: MLflow ({tracking_uri()}) failed and lacks part of this training: {self._failure}\n"
                "The training itself is complete and intact; its evaluation will send the losses again.",
                file=sys.stderr,
            )

    def _send(self) -> None:
        with self._noted():
            for start in range(0, len(self._waiting), BATCH):
                connected().log_batch(self._run.info.run_id, metrics=self._waiting[start : start + BATCH])
        self._waiting, self._sent = [], time.monotonic()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """A failure of MLflow is kept and reported, once now and once at the end; it never stops a training."""
        try:
            yield
        except faults() as error:
            self._failure = reason(error)
            print(f"\nmimik: MLflow failed: {self._failure}\nThe training continues without it.", file=sys.stderr)


def _named(name: str) -> str:
    """The name of a value of the training in MLflow, whose pages are in the order of names: what was measured on the
    test faces (`test/`) comes before the losses, and the validation last."""
    return name if name.startswith("validation/") else f"{LOSSES}{name}"


def last_step(run: Any) -> int:
    """The last step whose losses a run has; -1 for none."""
    names = [name for name in run.data.metrics if name.startswith(LOSSES)]
    history = connected().get_metric_history(run.info.run_id, names[0]) if names else []
    return max((metric.step for metric in history), default=-1)


def send_history(run: Any, history: Path) -> None:
    """Losses of history.csv that the run has not: those of a training that MLflow missed."""
    logger = RunLogger(run)
    try:
        with history.open(encoding="utf-8", newline="") as opened:
            for row in csv.DictReader(opened):
                step = int(float(row.pop("step")))
                logger.scalars(step, {name: float(value) for name, value in row.items() if value})
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(
            f"{history}: expected a table of numbers with the column step, but: {first_line(error)}. Train again: "
            f"`{command_for(history, 'method')}`."
        ) from error
    logger.close()
