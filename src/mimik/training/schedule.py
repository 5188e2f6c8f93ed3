"""Input of the training loop: the updates of a step, and the settings of the run."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from mimik.components.budget import Rounds
from mimik.training.devices import Precision


@dataclass(frozen=True)
class Update:
    """One kind of optimiser step: the task's `<name>_loss` and, unless it `shares` them, `<name>_parameters`.

    Attributes:
        name: name of the update.
        repeats: how often it runs within one step of the loop, each time on a new batch; updates that repeat less
            often than others run on the last batches of the step.
        start: first step that runs it (a critic may be trained alone at first).
        stop: first step that no longer runs it (networks that are trained one after the other); None: never.
        shares: name of another update whose optimiser, with all its state, this one uses; None: it has its own.
    """

    name: str
    repeats: int = 1
    start: int = 0
    stop: int | None = None
    shares: str | None = None

    def due(self, step: int) -> bool:
        """Whether a step runs it."""
        return self.start <= step and (self.stop is None or step < self.stop)


def critic_and_generator(rounds: Rounds, separate_penalty: bool = False) -> tuple[Update, ...]:
    """The updates of a critic and a generator.

    Args:
        rounds: their order.
        separate_penalty: each update of the critic is followed by one called `penalty`, of the same optimiser.
    """
    start = rounds.critic_head_start
    critic = [Update("discriminator", rounds.critic_updates)]
    if separate_penalty:
        critic.append(Update("penalty", rounds.critic_updates, start=start, shares="discriminator"))
    generator = [Update("generator", 1, start=start)]
    return tuple(generator + critic if rounds.reuse_fake else critic + generator)


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of the loop.

    Attributes:
        steps: length of the run; with `epochs` its least length.
        epochs: length of the run in passes over the training faces, counted in the batches of the update that runs most
            often within a step; none: `steps` is the length. See `TrainingConfig.counted`.
        batch_size: samples per batch, over all processes.
        learning_rate: learning rate of all updates; multiplied by the factor of a network, if it has one.
        optimiser: optimiser of all updates.
        betas: betas of Adam.
        momentum: momentum of SGD.
        weight_decay: weight decay of Adam and SGD.
        schedule: `constant`; `linear`: constant until `decay_start` (a fraction of the run), then linear to `floor`
            (a fraction of `learning_rate`); `exponential`: constant, then exponential to a hundredth; `step`: constant,
            then a tenth; `poly`: (1 - t) ** 0.9, where t counts from the end of the warm-up; `cosine`: half a cosine to
            zero.
        decay_start: where `linear`, `exponential` and `step` begin to decay, as a fraction of the run.
        decay_every: `step`: the rate follows the schedule in every step; `epoch`: it changes only between epochs.
        floor: final value of `linear`, as a fraction of `learning_rate`.
        warmup: number of steps in which the rate rises to that of the schedule.
        warmup_from: fraction of `learning_rate` at which the warm-up starts; it rises exponentially. 0: linearly.
        ema: decay per step of the moving average of the result's weights and of its batch normalisation's statistics
            (0: none); it never extends beyond the run so far.
        flip, shift, targets, balanced, stratified: see `mimik.training.batches.Batches`.
        precision: `bf16` (autocast), `tf32` (a GPU multiplies with 10 bits of mantissa), `fp32` (with all 23), or
            `auto`: bf16 if the hardware multiplies it natively, else tf32; see
            `mimik.training.devices.set_arithmetic`.
        channels_last: memory format of weights and features.
        compile: compile the modules that the task lists in `compiled`, see `mimik.training.devices.compile_network`.
            `auto`: on a GPU, if the run has at least `mimik.training.devices.STEPS_WORTH_COMPILING` steps.
        graphs: on a GPU, record every kind of update as a CUDA graph and replay it, see `mimik.training.replays`.
            `auto`: if the task allows it and a single process trains.
        deterministic: on a GPU, use only algorithms that give the same bits in every run; they are slower. On a CPU
            results are always reproducible.
        accumulate: number of parts into which every batch is split to save memory.
        recompute: do not keep features of the modules that the task lists in `compiled`; the backward pass computes
            them again: less memory, more time, the same gradients. Cannot be combined with `compile`.
        log_every: number of steps between rows of the history.
        sample_every: number of steps between sample pictures (0: only the last).
        validate_every: of a method: number of steps between validations on faces of `val`, the last step included, see
            `mimik.training.validation` (0: none). Needs the evaluating classifier before the training.
        validation_faces: number of faces that a validation edits to every class, balanced over the classes.
        keep: whose generator is the result: that of the `last` step, or of the `best` one that was validated.
        checkpoint_seconds: seconds between checkpoints.
    """

    steps: int = 1000
    epochs: float | None = None
    batch_size: int = 16
    learning_rate: float = 1e-4
    optimiser: Literal["adam", "sgd"] = "adam"
    betas: tuple[float, ...] = (0.5, 0.999)
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["constant", "linear", "exponential", "step", "poly", "cosine"] = "constant"
    decay_start: float = 0.5
    decay_every: Literal["step", "epoch"] = "step"
    floor: float = 0.0
    warmup: int = 0
    warmup_from: float = 0.0
    ema: float = 0.0
    flip: bool = True
    shift: float = 0.0
    targets: Literal["batch", "dataset"] = "batch"
    balanced: bool = False
    stratified: bool = False
    precision: Precision = "auto"
    channels_last: bool = True
    compile: Literal["auto", True, False] = "auto"
    graphs: Literal["auto", True, False] = "auto"
    deterministic: bool = False
    accumulate: int = 1
    recompute: bool = False
    log_every: int = 20
    sample_every: int = 0
    validate_every: int = 0
    validation_faces: int = 64
    keep: Literal["last", "best"] = "last"
    checkpoint_seconds: float = 120.0

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if self.steps < 1 or self.batch_size < 1 or self.accumulate < 1 or self.log_every < 1:
            raise ValueError("steps, batch_size, accumulate and log_every must be at least 1")
        if self.epochs is not None and not self.epochs > 0:
            raise ValueError("epochs must be above 0")
        if self.decay_every == "epoch" and self.epochs is None:
            raise ValueError("decay_every: epoch needs a length in epochs")
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} does not divide into {self.accumulate} parts")
        if not 0 <= self.ema < 1:
            raise ValueError("ema must be a decay in [0, 1)")
        if not 0 <= self.floor <= 1:
            raise ValueError("floor must be a fraction of learning_rate in [0, 1]")
        if not 0 <= self.warmup_from <= 1 or self.warmup < 0:
            raise ValueError("warmup must be a number of steps, and warmup_from a fraction of learning_rate in [0, 1]")
        if self.compile is True and self.recompute:
            raise ValueError("compile and recompute cannot be combined")
        if not 0 <= self.shift < 0.5:
            raise ValueError("shift must be a share of the side in [0, 0.5)")
        if self.validate_every < 0 or self.validation_faces < 2:
            raise ValueError("validate_every must not be negative, and validation_faces at least 2")
        if self.keep == "best" and not self.validate_every:
            raise ValueError("keep: best needs validate_every")
        if self.balanced and self.stratified:
            raise ValueError("balanced and stratified cannot be combined; choose one way to draw classes")
        if len(self.betas) != 2:
            raise ValueError("betas must be two numbers")

    def counted(self, faces: int, updates: Iterable[Update]) -> "TrainingConfig":
        """The same settings with the length in steps.

        Args:
            faces: number of training faces.
            updates: of the task; a step reads as many batches as its most frequent update has repeats.

        Returns:
            with `steps` as long as `epochs` demands, but not shorter than `steps` was.
        """
        if self.epochs is None:
            return self
        per_step = self.batch_size * max(update.repeats for update in updates)
        return replace(self, steps=max(self.steps, round(self.epochs * faces / per_step)))

    def rate(self, step: int) -> float:
        """Learning rate of a step (counted from 0)."""
        progress = step / self.steps
        if self.decay_every == "epoch" and self.epochs:
            # The small addition keeps 0.3 * 10 / 10 in epoch 3.
            progress = math.floor(progress * self.epochs + 1e-9) / self.epochs
        factor = 1.0
        if self.schedule == "linear":
            factor = min(1.0, (1 - progress) / max(1e-9, 1 - self.decay_start))
            factor = self.floor + (1 - self.floor) * factor
        elif self.schedule == "exponential":
            factor = 0.01 ** max(0.0, (progress - self.decay_start) / max(1e-9, 1 - self.decay_start))
        elif self.schedule == "step":
            factor = 1.0 if progress < self.decay_start else 0.1
        elif self.schedule == "poly":
            factor = (1 - max(0, step - self.warmup) / max(1, self.steps - self.warmup)) ** 0.9
        elif self.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * progress))
        if self.warmup:
            done = min(1.0, step / self.warmup)
            factor *= self.warmup_from ** (1 - done) if self.warmup_from else min(1.0, (step + 1) / self.warmup)
        return self.learning_rate * factor
