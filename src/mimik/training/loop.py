"""The one training loop: every method and every supervised network goes through it.

A step runs the task's updates. A checkpoint contains everything that the next step depends on, and all random numbers
are drawn from (seed, step) only. A run that was killed and restarted therefore ends with the weights of an
uninterrupted one, bit for bit on a CPU, and on a GPU with `deterministic`.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from tqdm import tqdm

from mimik.errors import UserError
from mimik.faces.prepared.store import FaceStore
from mimik.storage.files import clear_unfinished, digest
from mimik.storage.weights import fill, read_pth, save_pth
from mimik.training.batches import Batches
from mimik.training.devices import keep_freed_memory, pick_device
from mimik.training.engine import Engine, NotFiniteError
from mimik.training.feed import Feed
from mimik.training.processes import StopVote, alone, start_processes
from mimik.training.replays import Computed
from mimik.training.schedule import TrainingConfig as TrainingConfig
from mimik.training.schedule import Update as Update
from mimik.training.validation import Validation, scalars

Terms = dict[str, Tensor]
History = list[dict[str, float]]


class Task(Protocol):
    """What the loop trains: an `nn.Module` with this interface.

    For every update `<name>`: `<name>_loss(batch, step) -> (total, terms)` and, if it has its own optimiser,
    `<name>_parameters() -> groups`, a list of dicts with `params` and, if they differ from the run's settings,
    `learning_rate` (a factor) and `weight_decay`.
    """

    updates: Sequence[Update]
    reads: frozenset[str]
    """Optional entries of the batch that the losses use, see `mimik.training.batches.Batches`."""
    compiled: Sequence[nn.Module]
    """Modules with most of the work, for the settings `compile` and `recompute`; called as a whole, not in parts."""
    averaged: nn.Module | None
    """The module whose exponential moving average is the result; None: no average."""
    # Optional, `capturable: bool = False`: its updates branch on values on the device or draw random numbers on the
    # host, so they cannot be replayed as graphs.


class Logger(Protocol):
    """Where losses and sample pictures are mirrored during training."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record values of a step."""

    def image(self, step: int, key: str, path: Path) -> None:
        """Record a picture of a step."""


class Interrupted(UserError):
    """The run received SIGTERM or Ctrl-C and has saved its state."""


def train(
    task: Any,
    store: FaceStore,
    rows: npt.NDArray[np.int64],
    config: TrainingConfig,
    *,
    seed: int,
    checkpoint_dir: Path | str,
    fingerprint: Mapping[str, Any],
    label: str,
    logger: Logger | None = None,
    sample: Callable[[int], tuple[Path | None, Mapping[str, float]]] | None = None,
    device: torch.device | None = None,
    keep_checkpoint: bool = False,
    extras: Mapping[str, npt.NDArray[np.float32]] | None = None,
    frozen: Collection[str] = (),
    weights: npt.NDArray[np.float64] | None = None,
    validation: Validation | None = None,
) -> History:
    """Train `task` in place, from the last checkpoint if there is one that fits.

    Args:
        task: a `Task` module, freshly initialised under `seed`.
        store, rows: what to train on.
        config: settings of the loop; a length in epochs is counted in `rows`.
        seed: seed of order, augmentation and all random numbers inside losses.
        checkpoint_dir: where the state is kept during training; locked; emptied at the end unless `keep_checkpoint`.
        fingerprint: everything else that determines the result (settings, digests); a checkpoint with a different
            fingerprint is not continued.
        label: name shown next to the progress bar.
        logger: mirror of losses and pictures.
        sample: called with the step at sample times with averaged weights in place; returns a picture (or None) and
            values to log.
        device: None selects one.
        keep_checkpoint: leave the last checkpoint to the caller, who removes it once the result is written.
        extras: see `mimik.training.batches.Batches`; their contents must be determined by `store` and `fingerprint`.
        frozen: see `mimik.training.engine.Engine`; determined by `fingerprint`.
        weights: see `mimik.training.batches.Batches`; determined by `store` and `fingerprint`.
        validation: of the method, where `validate_every` asks for it; its entries are part of the state.

    Returns:
        The history: one dict per logged step, `step` and `<update>/<term>` (means since the previous row).

    Raises:
        UserError: another process trains into the same folder; a loss is not finite (the message names step and
            samples; the last good checkpoint stays); the GPU's memory is not sufficient; `deterministic` is set but not
            possible.
        Interrupted: SIGTERM or Ctrl-C; the state is saved.
    """
    if config.validate_every and validation is None:
        raise UserError(f"{label}: training.validate_every: only methods are validated while they train. Set it to 0.")
    keep_freed_memory()
    device = device or pick_device()
    rank, processes = start_processes(device)
    directory = Path(checkpoint_dir)
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / "lock")
    if rank == 0:
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                f"{directory}: another process is training here (a killed workflow leaves its trainer running). "
                "Wait for it to end, or stop it, and run the same command again."
            ) from error
        clear_unfinished(directory)
    try:
        loop = _Loop(
            task, store, rows, config, seed, directory, fingerprint, device, rank, processes, extras, frozen, weights
        )
        loop.validation = validation
        history = loop.run(label, logger if rank == 0 else None, sample if rank == 0 else None)
        if rank == 0 and not keep_checkpoint:
            loop.checkpoint.unlink(missing_ok=True)
        return history
    except torch.OutOfMemoryError as error:
        raise _too_large(error, config, device) from error
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        raise UserError(
            f"training.deterministic: {str(error).splitlines()[0][:300]} Set it to false for this method."
        ) from error
    finally:
        lock.release()


def _too_large(error: torch.OutOfMemoryError, config: TrainingConfig, device: torch.device) -> UserError:
    total = torch.cuda.get_device_properties(device).total_memory / 2**30 if device.type == "cuda" else 0.0
    advice = [f"training.accumulate above {config.accumulate} (parts of a batch one after the other; same gradients)"]
    if not config.recompute:
        advice.append("training.recompute: true (features are computed twice; same gradients)")
    if config.precision in ("fp32", "tf32"):
        advice.append("training.precision: bf16")
    advice.append(f"a training.batch_size below {config.batch_size}, or smaller images (both change the result)")
    return UserError(
        f"The GPU's memory ({total:.1f} GiB in total) is not sufficient for a step. Try in this order: "
        f"{'; '.join(advice)}. nvidia-smi shows the memory used by other programs. "
        f"({str(error).splitlines()[0][:300]})"
    )


class _Loop:
    """State of one run: engine, history, step."""

    def __init__(
        self,
        task: Any,
        store: FaceStore,
        rows: npt.NDArray[np.int64],
        config: TrainingConfig,
        seed: int,
        directory: Path,
        fingerprint: Mapping[str, Any],
        device: torch.device,
        rank: int,
        processes: int,
        extras: Mapping[str, npt.NDArray[np.float32]] | None = None,
        frozen: Collection[str] = (),
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        config = config.counted(len(rows), task.updates)
        self.engine = Engine(task, config, device, seed=seed, rank=rank, processes=processes, frozen=frozen)
        self.config, self.device, self.rank = config, device, rank
        self.checkpoint = directory / "last.pt"
        indifferent = ("log_every", "checkpoint_seconds", "compile", "graphs", "deterministic", "recompute", "keep")
        settings = {k: v for k, v in asdict(config).items() if k not in indifferent}
        self.fingerprint = digest({"settings": settings, "seed": seed, "store": store.digest, **fingerprint})
        self.batches = Batches(
            store,
            rows,
            config.batch_size,
            seed=seed,
            reads=task.reads,
            flip=config.flip,
            shift=config.shift,
            targets=config.targets,
            balanced=config.balanced,
            stratified=config.stratified,
            rank=rank,
            processes=processes,
            extras=extras,
            weights=weights,
        )
        self.validation: Validation | None = None
        self.vote = StopVote()
        self.history: History = []
        # Sums of the terms since the last row of the history; part of the state, so that the history of a resumed run
        # equals that of an uninterrupted one.
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.step = 0

    def run(
        self,
        label: str,
        logger: Logger | None,
        sample: Callable[[int], tuple[Path | None, Mapping[str, float]]] | None,
    ) -> History:
        config = self.config
        self._restore(label)
        bar = tqdm(
            total=config.steps,
            initial=self.step,
            desc=label,
            unit="step",
            disable=self.rank != 0,
            file=sys.stderr,
            mininterval=0.5 if sys.stderr.isatty() else 15.0,
            dynamic_ncols=True,
        )
        rounds = self.engine.rounds
        feed = Feed(self.batches, self.device, self.step * rounds, config.steps * rounds)
        try:
            with self.engine.running(), feed, bar, _stop_requests() as stop:
                self._steps(feed, bar, stop, label, logger, sample)
        except NotFiniteError as error:
            raise self._divergence(error) from error
        self.engine.load_average()
        return self.history

    def _steps(
        self,
        feed: Feed,
        bar: Any,
        stop: "_StopRequest",
        label: str,
        logger: Logger | None,
        sample: Callable[[int], tuple[Path | None, Mapping[str, float]]] | None,
    ) -> None:
        config = self.config
        saved = time.monotonic()
        while self.step < config.steps:
            for terms in self.engine.run_step(self.step, feed):
                self._count(terms)
            self.step += 1
            last = self.step == config.steps
            if self.step % config.log_every == 0 or last:
                self._log(logger)
            if sample and (last or (config.sample_every and self.step % config.sample_every == 0)):
                self._sample(sample, logger)
            if self.validation and self.rank == 0 and (last or self.step % config.validate_every == 0):
                self._validate(self.validation, logger)
            bar.update()
            stopped = self.vote.stop(stop.requested)
            due = time.monotonic() - saved > config.checkpoint_seconds
            if stopped or due or last:
                self._save()
                saved = time.monotonic()
            if stopped or last:
                self.vote.settle()
            if stopped and not last:
                raise Interrupted(
                    f"{label}: stopped on request at step {self.step} of {config.steps}; the state is saved in "
                    f"{self.checkpoint}. Run the same command again to continue."
                )

    def _log(self, logger: Logger | None) -> None:
        """A row of the history: means since the previous one."""
        totals = torch.stack(list(self.sums.values())).tolist() if self.sums else []
        means = {name: total / self.counts[name] for name, total in zip(self.sums, totals, strict=True)}
        self.history.append({"step": float(self.step), **means})
        self.sums.clear()
        self.counts.clear()
        if logger:
            logger.scalars(self.step, means)

    def _count(self, terms: Computed) -> None:
        """Add terms to the sums of the next row."""
        for part in terms:
            known = [name for name in part if name in self.sums]
            if known:
                torch._foreach_add_([self.sums[name] for name in known], [part[name] for name in known])
            for name, value in part.items():
                if name not in self.sums:
                    # A copy: the memory may be a graph's.
                    self.sums[name] = value.clone()
                self.counts[name] = self.counts.get(name, 0) + 1

    def _divergence(self, error: NotFiniteError) -> UserError:
        sums = {name.partition("/")[2]: total for name, total in self.sums.items() if not torch.isfinite(total)}
        values = ", ".join(f"{term} {float(value):.4g}" for term, value in (error.terms or sums).items())
        ids = self.batches.store.table["id"].iloc[self.batches.rows_at(error.position)].tolist()
        kept = f"the last good state is {self.checkpoint}" if self.checkpoint.exists() else "no state was saved yet"
        return UserError(
            f"The {error.update} loss is not finite at step {error.position // self.engine.rounds}"
            f"{f' ({values})' if values else ''}; {kept}. Samples of the batch: {', '.join(ids)}. "
            "Check these samples; lower learning_rate, or set precision to fp32."
        )

    def _sample(self, sample: Callable[[int], tuple[Path | None, Mapping[str, float]]], logger: Logger | None) -> None:
        replaced = self.engine.load_average()
        path, values = sample(self.step)
        self.engine.load_weights(replaced)
        if values and self.history and self.history[-1]["step"] == self.step:
            self.history[-1].update(values)
        if logger:
            if values:
                logger.scalars(self.step, values)
            if path:
                logger.image(self.step, "samples", path)

    def _validate(self, validation: Validation, logger: Logger | None) -> None:
        replaced = self.engine.load_average()
        entry = validation(self.step)
        self.engine.load_weights(replaced)
        if logger:
            logger.scalars(self.step, scalars(entry))
            logger.image(self.step, "validation", validation.grid(self.step))

    def _save(self) -> None:
        self.engine.check()
        if self.rank != 0:
            return
        state = {
            "fingerprint": self.fingerprint,
            "step": self.step,
            **self.engine.state(),
            "history": self.history,
            "sums": self.sums,
            "counts": self.counts,
            "validations": self.validation.entries if self.validation else [],
        }
        save_pth(self.checkpoint, state)
        if self.validation:
            self.validation.saved()

    def _restore(self, label: str) -> None:
        if not self.checkpoint.exists():
            return
        state = read_pth(
            self.checkpoint, "a checkpoint of mimik", "Delete it to start the run over.", device=self.device
        )
        if state.get("fingerprint") != self.fingerprint:
            print(f"{label}: the checkpoint is from other settings or data; starting over.", file=sys.stderr)
            return
        fill(lambda: self._take(state), self.checkpoint, "Delete it to start the run over.")
        print(f"{label}: continuing at step {self.step} of {self.config.steps}.", file=sys.stderr)

    def _take(self, state: Mapping[str, Any]) -> None:
        self.engine.load_state(state)
        self.history, self.step = state["history"], state["step"]
        self.sums, self.counts = state["sums"], state["counts"]
        if self.validation:
            self.validation.entries[:] = state["validations"]


class _StopRequest:
    requested = False


@contextmanager
def _stop_requests() -> Iterator[_StopRequest]:
    """Turn SIGTERM and Ctrl-C into a request that the loop handles after the current step."""
    request = _StopRequest()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        request.requested = True

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    except BaseException:
        # torchrun ends all of its processes when one has ended; the others still have to say why they end as well.
        if alone():
            _handle(before)
        raise
    _handle(before)


def _handle(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
