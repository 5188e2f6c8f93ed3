"""The one training loop: every method and every supervised network goes through it.

A step runs the task's updates; a checkpoint holds everything that the next step depends on; whatever is random is
drawn from (seed, step) alone. So a run that was killed and started again ends with the weights of an undisturbed one,
bit for bit on a CPU.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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

from mimik.batches import Batch, Batches
from mimik.devices import (
    autocast_dtype,
    average_gradients,
    compile_network,
    keep_freed_memory,
    pick_device,
    recompute,
    start_processes,
)
from mimik.errors import UserError
from mimik.faces.store import FaceStore
from mimik.files import clear_unfinished, digest
from mimik.schedule import TrainingConfig as TrainingConfig
from mimik.schedule import Update as Update
from mimik.weights import fill, read_pth, save_pth

Terms = dict[str, Tensor]
History = list[dict[str, float]]


class Task(Protocol):
    """What the loop trains; an `nn.Module` that offers this besides.

    For every update `<name>`: `<name>_loss(batch, step) -> (total, terms)` and, where it has an optimiser of its own,
    `<name>_parameters() -> groups`, a list of dicts with `params` and, where they differ from the run's setting,
    `learning_rate` (a factor) and `weight_decay`.
    """

    updates: Sequence[Update]
    reads: frozenset[str]
    """Optional entries of the batch that the losses use, see `mimik.batches.Batches`."""
    compiled: Sequence[nn.Module]
    """Modules that hold most of the work, for the settings `compile` and `recompute`; called as such, not in part."""
    averaged: nn.Module | None
    """The module whose exponential moving average is the result; None: no average."""


class Logger(Protocol):
    """Where losses and sample pictures are mirrored to while training."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record values of a step."""

    def image(self, step: int, key: str, path: Path) -> None:
        """Record a picture of a step."""


class Interrupted(UserError):
    """The run was asked to stop (SIGTERM or Ctrl-C) and has saved its state."""


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
) -> History:
    """Train `task` in place, from the last checkpoint if there is a fitting one.

    Args:
        task: a `Task` module, freshly initialised under `seed`.
        store, rows: what to train on.
        config: settings of the loop.
        seed: of order, augmentation and everything drawn inside losses.
        checkpoint_dir: where the state is kept meanwhile; locked; emptied at the end unless `keep_checkpoint`.
        fingerprint: everything else that decides the result (settings, digests); a checkpoint with another
            fingerprint is not continued.
        label: name shown at the progress bar.
        logger: mirror of losses and pictures.
        sample: called with the step at sample times with averaged weights in place; returns a picture (or None) and
            values to log.
        device: None picks one.
        keep_checkpoint: leave the last checkpoint to the caller, who removes it once the result is written.
        extras: see `mimik.batches.Batches`; what they hold has to follow from `store` and `fingerprint`.

    Returns:
        The history: one dict per logged step, `step` and `<update>/<term>` (means since the row before).

    Raises:
        UserError: a second process trains into the same folder; a loss is not finite (names step and samples; the
            last good checkpoint stays).
        Interrupted: SIGTERM or Ctrl-C; the state is saved.
    """
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
        loop = _Loop(task, store, rows, config, seed, directory, fingerprint, device, rank, processes, extras)
        history = loop.run(label, logger if rank == 0 else None, sample if rank == 0 else None)
        if rank == 0 and not keep_checkpoint:
            loop.checkpoint.unlink(missing_ok=True)
        return history
    finally:
        lock.release()


class _Loop:
    """State of one run: optimisers, average, history, step."""

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
    ) -> None:
        self.task, self.config, self.seed = task.to(device).train(), config, seed
        self.device, self.rank = device, rank
        self.checkpoint = directory / "last.pt"
        indifferent = ("log_every", "checkpoint_seconds", "compile", "recompute")
        settings = {k: v for k, v in asdict(config).items() if k not in indifferent}
        self.fingerprint = digest({"settings": settings, "seed": seed, "store": store.digest, **fingerprint})
        self.batches = Batches(
            store,
            rows,
            config.batch_size,
            seed=seed,
            reads=task.reads,
            flip=config.flip,
            balanced=config.balanced,
            stratified=config.stratified,
            rank=rank,
            processes=processes,
            extras=extras,
        )
        self._prepare()
        self.history: History = []
        # Sums of the terms since the last row of the history; part of the state, so that the history of a resumed run
        # is that of an undisturbed one.
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.step = 0

    def _prepare(self) -> None:
        """Set up the networks as the settings say, with their optimisers and average."""
        task, config = self.task, self.config
        task.zero_grad(set_to_none=True)
        if config.channels_last:
            task.to(memory_format=torch.channels_last)
        for module in task.compiled if config.compile or config.recompute else ():
            if config.compile:
                compile_network(module)
            else:
                recompute(module)
        self.dtype = autocast_dtype(config.precision, self.device)
        owners = [update.name for update in task.updates if update.shares is None]
        self.groups = {name: getattr(task, f"{name}_parameters")() for name in owners}
        self.parameters = {
            name: [p for group in groups for p in group["params"]] for name, groups in self.groups.items()
        }
        self.optimisers = {name: self._optimiser(groups) for name, groups in self.groups.items()}
        self.average = self._start_average()

    def _optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        config = self.config
        arguments: list[dict[str, Any]] = [
            {key: group[key] for key in ("params", "weight_decay") if key in group} for group in groups
        ]
        if config.optimiser == "adam":
            betas = (config.betas[0], config.betas[1])
            return torch.optim.Adam(
                arguments, lr=config.learning_rate, betas=betas, weight_decay=config.weight_decay, fused=True
            )
        return torch.optim.SGD(
            arguments,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def _start_average(self) -> dict[str, Tensor] | None:
        if self.task.averaged is None or not self.config.ema:
            return None
        return {name: p.detach().clone() for name, p in self.task.averaged.named_parameters()}

    def run(
        self,
        label: str,
        logger: Logger | None,
        sample: Callable[[int], tuple[Path | None, Mapping[str, float]]] | None,
    ) -> History:
        config = self.config
        self._restore(label)
        saved = time.monotonic()
        quiet = self.rank != 0
        bar = tqdm(
            total=config.steps,
            initial=self.step,
            desc=label,
            unit="step",
            disable=quiet,
            file=sys.stderr,
            mininterval=0.5 if sys.stderr.isatty() else 15.0,
            dynamic_ncols=True,
        )
        with bar, _stop_requests() as stop:
            while self.step < config.steps:
                for name, value in self._one_step():
                    self.sums[name] = self.sums[name] + value if name in self.sums else value
                    self.counts[name] = self.counts.get(name, 0) + 1
                self._update_average()
                self.step += 1
                last = self.step == config.steps
                if self.step % config.log_every == 0 or last:
                    means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
                    self.history.append({"step": float(self.step), **means})
                    self.sums.clear()
                    self.counts.clear()
                    if logger:
                        logger.scalars(self.step, means)
                if sample and (last or (config.sample_every and self.step % config.sample_every == 0)):
                    self._sample(sample, logger)
                bar.update()
                due = time.monotonic() - saved > config.checkpoint_seconds
                if stop.requested or due or last:
                    self._save()
                    saved = time.monotonic()
                if stop.requested and not last:
                    raise Interrupted(
                        f"{label}: stopped at step {self.step} of {config.steps} as asked; the state is in "
                        f"{self.checkpoint}. The same command goes on from there."
                    )
        if self.average is not None:
            self._load_average()
        return self.history

    def _one_step(self) -> Iterator[tuple[str, Tensor]]:
        config, task = self.config, self.task
        rate = config.rate(self.step)
        rounds = max(update.repeats for update in task.updates)
        for turn in range(rounds):
            position = self.step * rounds + turn
            batch = self.batches.at(position, self.device)
            for index, update in enumerate(task.updates):
                if not update.due(self.step) or turn < rounds - update.repeats:
                    continue
                # Everything drawn inside a loss depends on (seed, position, update) alone, never on history.
                entropy = (self.seed, position, index, self.rank)
                torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]) >> 1)
                yield from self._update(update, batch, rate)

    def _update(self, update: Update, batch: Batch, rate: float) -> Iterator[tuple[str, Tensor]]:
        name, owner = update.name, update.shares or update.name
        optimiser, parameters = self.optimisers[owner], self.parameters[owner]
        for group, given in zip(optimiser.param_groups, self.groups[owner], strict=True):
            group["lr"] = rate * given.get("learning_rate", 1.0)
        for other, theirs in self.parameters.items():
            # Networks that this update does not train take no gradient.
            for parameter in theirs:
                parameter.requires_grad_(other == owner)
        parts = self.config.accumulate
        size = len(batch["image"]) // parts
        for part in range(parts):
            piece = batch if parts == 1 else {k: v[part * size : (part + 1) * size] for k, v in batch.items()}
            with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
                total, terms = getattr(self.task, f"{name}_loss")(piece, self.step)
            if not torch.isfinite(total):
                self._report_divergence(name, piece, terms)
            (total / parts).backward()
            for term, value in terms.items():
                yield f"{name}/{term}", value.detach().float()
        average_gradients(parameters)
        optimiser.step()
        # Gradients that wait for their next update would add to the memory of all others.
        optimiser.zero_grad(set_to_none=True)

    def _report_divergence(self, name: str, batch: Batch, terms: Terms) -> None:
        values = ", ".join(f"{term} {float(value.detach()):.4g}" for term, value in terms.items())
        ids = self.batches.store.table["id"].iloc[batch["row"].cpu().numpy()].tolist()
        kept = f"the last good state is {self.checkpoint}" if self.checkpoint.exists() else "no state was saved yet"
        raise UserError(
            f"The {name} loss is not finite at step {self.step} ({values}); {kept}. Samples of the batch: "
            f"{', '.join(ids)}. Look at these samples; lower learning_rate, or set precision to fp32."
        )

    def _update_average(self) -> None:
        if self.average is None:
            return
        # A young run averages over what there is instead of remembering its random start.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        parameters = [p.detach() for p in self.task.averaged.parameters()]
        torch._foreach_lerp_(list(self.average.values()), parameters, 1 - decay)

    def _load_average(self) -> dict[str, Tensor]:
        """Put the averaged weights in place; returns the ones that were there."""
        assert self.average is not None
        replaced = {}
        with torch.no_grad():
            for name, parameter in self.task.averaged.named_parameters():
                replaced[name] = parameter.detach().clone()
                parameter.copy_(self.average[name])
        return replaced

    def _sample(self, sample: Callable[[int], tuple[Path | None, Mapping[str, float]]], logger: Logger | None) -> None:
        replaced = self._load_average() if self.average is not None else None
        path, values = sample(self.step)
        if replaced is not None:
            with torch.no_grad():
                for name, parameter in self.task.averaged.named_parameters():
                    parameter.copy_(replaced[name])
        if values and self.history and self.history[-1]["step"] == self.step:
            self.history[-1].update(values)
        if logger:
            if values:
                logger.scalars(self.step, values)
            if path:
                logger.image(self.step, "samples", path)

    def _save(self) -> None:
        if self.rank != 0:
            return
        state = {
            "fingerprint": self.fingerprint,
            "step": self.step,
            "task": self.task.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "average": self.average,
            "history": self.history,
            "sums": self.sums,
            "counts": self.counts,
        }
        save_pth(self.checkpoint, state)

    def _restore(self, label: str) -> None:
        if not self.checkpoint.exists():
            return
        state = read_pth(
            self.checkpoint, "a checkpoint of mimik", "Delete it to start the run over.", device=self.device
        )
        if state.get("fingerprint") != self.fingerprint:
            print(f"{label}: the checkpoint belongs to other settings or data; starting over.", file=sys.stderr)
            return
        fill(lambda: self._take(state), self.checkpoint, "Delete it to start the run over.")
        print(f"{label}: continuing at step {self.step} of {self.config.steps}.", file=sys.stderr)

    def _take(self, state: Mapping[str, Any]) -> None:
        self.task.load_state_dict(state["task"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.average, self.history, self.step = state["average"], state["history"], state["step"]
        self.sums, self.counts = state["sums"], state["counts"]


class _StopRequest:
    requested = False


@contextmanager
def _stop_requests() -> Iterator[_StopRequest]:
    """Turn SIGTERM and Ctrl-C into a request that the loop answers after the current step."""
    request = _StopRequest()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        request.requested = True

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
