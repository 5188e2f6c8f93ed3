"""Computes the updates of a task on a device: networks as configured, optimisers, moving average.

A step never waits for the GPU: updates are replayed as CUDA graphs, and whether the losses are finite is recorded on
the device and read `LAG` steps later.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mimik.components.augmentation import Augmentation
from mimik.errors import UserError
from mimik.training.batches import Batch
from mimik.training.devices import autocast_dtype, compile_network, recompute, set_arithmetic, worth_compiling
from mimik.training.processes import average_gradients, sum_over_processes
from mimik.training.replays import Computed, Replays
from mimik.training.schedule import TrainingConfig, Update

LAG = 3
"""Number of steps that a GPU may lag behind, after which a loss that is not finite is noticed."""

SOUND = 2**62
"""Recorded on the device while every loss was finite; a smaller number identifies the update whose loss was not."""


class Source(Protocol):
    """Where batches come from, see `mimik.training.feed.Feed`."""

    def at(self, position: int) -> Batch:
        """The batch at a position of the stream."""


class NotFiniteError(Exception):
    """The loss of an update was not finite.

    Attributes:
        update: its name.
        position: position of its batch in the stream.
        terms: detached scalars by name, if available.
    """

    def __init__(self, update: str, position: int, terms: dict[str, Tensor]) -> None:
        super().__init__(f"the {update} loss is not finite")
        self.update, self.position, self.terms = update, position, terms


class Engine:
    """A task on a device, with all state that changes from step to step except the step number.

    Attributes:
        task: in training mode, on the device.
        rounds: number of batches per step.
        optimisers: optimisers by the name of the update that owns them.
        average: moving average of the result's parameters and floating-point buffers by name, or None. Statistics of
            batch normalisation are averaged like the weights: those of the last weights do not fit the averaged ones.
    """

    def __init__(
        self,
        task: Any,
        config: TrainingConfig,
        device: torch.device,
        *,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        frozen: Collection[str] = (),
    ) -> None:
        """Set up a `mimik.training.loop.Task`.

        Args:
            task: the task; changed in place.
            config: settings of the run.
            device: the device to compute on.
            seed: seed of all random numbers drawn inside losses.
            rank, processes: index of this process and number of processes that average their gradients.
            frozen: names of parameters that keep their values. Running statistics of batch normalisation go on.

        Raises:
            UserError: graphs are requested but not possible, or an update has nothing left to train.
        """
        set_arithmetic(config.precision, device, config.deterministic)
        self.task, self.config, self.device = task.to(device).train(), config, device
        self._seed, self._rank = seed, rank
        self.rounds = max(update.repeats for update in task.updates)
        task.zero_grad(set_to_none=True)
        if config.channels_last:
            task.to(memory_format=torch.channels_last)
        compiles = worth_compiling(config.compile, config.steps, device) and not config.recompute
        for module in task.compiled if compiles or config.recompute else ():
            if compiles:
                compile_network(module)
            else:
                recompute(module)
        self._dtype = autocast_dtype(config.precision, device)
        owners = [update.name for update in task.updates if update.shares is None]
        self._groups = {name: self._trained(name, frozen) for name in owners}
        self._parameters = {
            name: [p for group in groups for p in group["params"]] for name, groups in self._groups.items()
        }
        self.optimisers = {name: self._optimiser(groups) for name, groups in self._groups.items()}
        self.average: dict[str, Tensor] | None = None
        if task.averaged is not None and config.ema:
            self.average = {name: value.clone() for name, value in self._averaged().items()}
        # Augmentations whose probability follows what critics think of real faces, of all processes.
        self._adaptive = [part for part in task.modules() if isinstance(part, Augmentation) and part.adaptive]
        self._stream: torch.cuda.Stream | None = None
        self._replays: Replays | None = None
        self._reports: deque[tuple[torch.cuda.Event, Tensor]] = deque()
        if device.type == "cuda":
            self._start_on_gpu(processes)

    def _trained(self, update: str, frozen: Collection[str]) -> list[dict[str, Any]]:
        """The parameter groups of an update without what is frozen, which takes no gradient either."""
        groups: list[dict[str, Any]] = getattr(self.task, f"{update}_parameters")()
        if not frozen:
            return groups
        held = {id(parameter) for name, parameter in self.task.named_parameters() if name in frozen}
        for group in groups:
            for parameter in group["params"]:
                if id(parameter) in held:
                    parameter.requires_grad_(False)
        groups = [{**group, "params": [p for p in group["params"] if id(p) not in held]} for group in groups]
        groups = [group for group in groups if group["params"]]
        if not groups:
            raise UserError(f"freeze: nothing is left for the update of the {update} to train. Freeze less.")
        return groups

    def _start_on_gpu(self, processes: int) -> None:
        config = self.config
        self._stream = torch.cuda.Stream(self.device)
        recorded = getattr(self.task, "capturable", True) and processes == 1 and not config.recompute
        if config.graphs is True and not recorded:
            raise UserError(
                "training.graphs: graphs cannot record several processes, recomputed features (training.recompute), or "
                "a method that branches on values on the device. Set training.graphs: auto."
            )
        if config.graphs and recorded:
            self._replays = Replays(self._stream)
        self._fault = torch.full((), SOUND, dtype=torch.int64, device=self.device)
        self._place = torch.zeros_like(self._fault)

    def _optimiser(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        config = self.config
        arguments: list[dict[str, Any]] = [
            {key: group[key] for key in ("params", "weight_decay") if key in group} for group in groups
        ]
        if config.optimiser == "adam":
            betas = (config.betas[0], config.betas[1])
            return torch.optim.Adam(
                arguments,
                lr=config.learning_rate,
                betas=betas,
                weight_decay=config.weight_decay,
                fused=True,
                capturable=self.device.type == "cuda",
            )
        return torch.optim.SGD(
            arguments,
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """The context in which steps run: all work goes to one stream of the GPU, on which graphs are recorded."""
        if self._stream is None:
            yield
            return
        usual = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            yield
        usual.wait_stream(self._stream)

    def run_step(self, step: int, feed: Source) -> Iterator[Computed]:
        """All updates of a step and the moving average; yields the terms of each, to be used before the next one runs.

        Args:
            step: number of the step.
            feed: source of the batches.

        Raises:
            NotFiniteError: a loss is not finite; on a GPU it may be one of `LAG` steps ago.
        """
        rate = self.config.rate(step)
        for turn in range(self.rounds):
            position = step * self.rounds + turn
            batch = feed.at(position)
            for index, update in enumerate(self.task.updates):
                if not update.due(step) or turn < self.rounds - update.repeats:
                    continue
                # Random numbers inside a loss depend only on (seed, position, update), never on history.
                entropy = (self._seed, position, index, self._rank)
                torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]) >> 1)
                self._set_rate(update, rate)
                if self._stream is not None:
                    self._place.fill_(position * len(self.task.updates) + index)
                yield self._update(update, batch, step, position)
        self._update_average(step)
        self._watch()

    def _set_rate(self, update: Update, rate: float) -> None:
        owner = update.shares or update.name
        for group, given in zip(self.optimisers[owner].param_groups, self._groups[owner], strict=True):
            wanted = rate * given.get("learning_rate", 1.0)
            if self._stream is None:
                group["lr"] = wanted
            elif group.get("set") != wanted:
                # In a tensor, so that graphs read its current value.
                if not isinstance(group["lr"], Tensor):
                    group["lr"] = torch.empty((), device=self.device)
                group["lr"].fill_(wanted)
                group["set"] = wanted

    def _update(self, update: Update, batch: Batch, step: int, position: int) -> Computed:
        if self._replays is None:
            self._choose_parameters(update)
            return self._compute(update, batch, step, position)
        return self._replays.run(
            update.name,
            step,
            batch,
            lambda: self._choose_parameters(update),
            lambda seen, watched: self._compute(update, seen, watched, position),
        )

    def _choose_parameters(self, update: Update) -> None:
        """Networks that an update does not train take no gradient."""
        owner = update.shares or update.name
        for other, theirs in self._parameters.items():
            for parameter in theirs:
                parameter.requires_grad_(other == owner)

    def _compute(self, update: Update, batch: Batch, step: Any, position: int) -> Computed:
        """Losses, gradients, and a step of the optimiser."""
        name, owner = update.name, update.shares or update.name
        optimiser = self.optimisers[owner]
        parts = self.config.accumulate
        size = len(batch["image"]) // parts
        found: Computed = []
        for part in range(parts):
            piece = batch if parts == 1 else {k: v[part * size : (part + 1) * size] for k, v in batch.items()}
            with torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype is not None):
                total, terms = getattr(self.task, f"{name}_loss")(piece, step)
            values = {term: value.detach() for term, value in terms.items()}
            if self._stream is not None:
                place = torch.where(torch.isfinite(total.detach()), SOUND, self._place)
                self._fault.copy_(torch.minimum(self._fault, place))
            elif not torch.isfinite(total):
                raise NotFiniteError(name, position, values)
            (total / parts).backward()
            found.append({f"{name}/{term}": value.float() for term, value in values.items()})
        average_gradients(self._parameters[owner])
        optimiser.step()
        sum_over_processes([augmentation.fresh for augmentation in self._adaptive])
        for augmentation in self._adaptive:
            augmentation.adapt()
        # Gradients kept until their next update would add to the memory of all others.
        optimiser.zero_grad(set_to_none=True)
        return found

    def _watch(self) -> None:
        """Check what the GPU reported `LAG` steps ago."""
        if self._stream is None:
            return
        if len(self._reports) == LAG:
            event, report = self._reports.popleft()
            event.synchronize()
            self._look(int(report))
        report = torch.empty((), dtype=torch.int64, pin_memory=True).copy_(self._fault, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._reports.append((event, report))

    def check(self) -> None:
        """Wait for all computations. Raises `NotFiniteError` if one of their losses was not finite."""
        if self._stream is not None:
            self._look(int(self._fault))

    def _look(self, report: int) -> None:
        if report != SOUND:
            position, index = divmod(report, len(self.task.updates))
            raise NotFiniteError(self.task.updates[index].name, position, {})

    def _update_average(self, step: int) -> None:
        if self.average is None:
            return
        # Early in a run the average covers the steps so far instead of remembering the random start.
        decay = min(self.config.ema, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.values()), list(self._averaged().values()), 1 - decay)

    def _averaged(self) -> dict[str, Tensor]:
        """What the moving average covers, by name."""
        module = self.task.averaged
        buffers = {name: value for name, value in module.named_buffers() if value.is_floating_point()}
        return {name: value.detach() for name, value in (*module.named_parameters(), *buffers.items())}

    def load_average(self) -> dict[str, Tensor]:
        """Put the averaged weights and buffers in place, if there is an average; returns the replaced ones."""
        return {} if self.average is None else self.load_weights(self.average)

    @torch.no_grad()
    def load_weights(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put weights and buffers of the averaged module in place by name; returns the replaced ones."""
        replaced = {}
        for name, value in self._averaged().items() if weights else ():
            replaced[name] = value.clone()
            value.copy_(weights[name])
        return replaced

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, except its number, as tensors, numbers and strings."""
        return {
            "task": self.task.state_dict(),
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()},
            "average": self.average,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state()`, possibly of another device, before the first step is run."""
        self.task.load_state_dict(state["task"])
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
            for group in optimiser.param_groups:
                # How a rate is stored depends on the device, which may have changed.
                group["lr"] = self.config.learning_rate
                group.pop("set", None)
                if "capturable" in group:
                    group["capturable"] = self._stream is not None
        if self.average is not None:
            # In a checkpoint of an earlier version buffers are not averaged: their average starts with the last values.
            buffers = {name for name, _ in self.task.averaged.named_buffers()}
            now = {name: value.clone() for name, value in self._averaged().items() if name in buffers}
            self.average = {name: (now | state["average"])[name] for name in self.average}
