"""Part (b), inside a worker: one case in one variant, timed."""

import copy
import gc
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from gpu_parts.accelerator import Accelerator
from gpu_parts.job import Job


class Case(NamedTuple):
    """An entry of `methods` at a size and batch."""

    method: str
    size: int
    batch: int

    @property
    def name(self) -> str:
        """As it stands in tables."""
        return f"{self.method} {self.size}/{self.batch}"


ENGINE: dict[str, dict[str, Any]] = {
    "auto": {},
    "eager": {"compile": False, "graphs": False},
    "graphs": {"compile": False, "graphs": True},
    "compiled": {"compile": True, "graphs": True},
}
"""What the engine is told in each variant; the other variants are `plain` and `plain strict`. `profile <variant>` and
`prime <variant>` are the same for another purpose: to see the kernels, and to have everything compiled for later."""

BLOCKS, BLOCK_SECONDS = 5, 0.4
PROFILED = 3
"""Steps that are profiled."""
ROWS = 40


LONG_RUN = 100_000
"""Steps of the runs that are stood for: what `auto` means may depend on their length."""


def auto_compiles(device: str) -> bool:
    """Whether `compile: auto` compiles on a device: then the variants `auto` and `compiled` are the same."""
    import torch

    from mimik.training.devices import worth_compiling

    return worth_compiling("auto", LONG_RUN, torch.device(device))


def rates(accelerator: Accelerator, tiny: bool) -> dict[str, float]:
    """Multiplications of bfloat16 matrices per second, and bytes per second that a copy reads and writes."""
    import torch

    side, megabytes = (256, 8) if tiny else (8192, 2048)
    generator = torch.Generator(accelerator.device).manual_seed(0)
    left, right = (torch.randn(side, side, device=accelerator.device, generator=generator).bfloat16() for _ in range(2))
    source = torch.zeros(megabytes * 2**18, device=accelerator.device)
    target = torch.empty_like(source)
    found = {}
    for name, work, amount in (
        ("bf16_flop_per_s", lambda: left @ right, 2.0 * side**3),
        ("copied_bytes_per_s", lambda: target.copy_(source), 2.0 * source.nbytes),
    ):
        accelerator.seconds(work, 3)
        count = 3 if tiny else 20
        found[name] = amount / statistics.median(accelerator.seconds(work, count)[0] for _ in range(5))
    return found


class Bench:
    """Runs variants of cases; the networks of a case are made once and copied for every variant."""

    def __init__(self, job: Job) -> None:
        """For the device and the sizes that a job tells."""
        self.job, self.accelerator = job, Accelerator(job.device)
        self.made: tuple[Case, Any] | None = None

    def run(self, case: Case, variant: str, count: bool) -> dict[str, Any]:
        """Time of a step, peak memory and, with `count`, the operations and the least bytes of a step."""
        from step_time import random_batch

        accelerator, job = self.accelerator, self.job
        *purpose, variant = variant.split(" ", 1) if variant.startswith(("profile ", "prime ")) else [variant]
        if self.made is None or self.made[0] != case:
            self.made = None
            gc.collect()
            self.made = (case, self._make(case))
        leftover = accelerator.start_over()
        begun = time.perf_counter()
        method = copy.deepcopy(self.made[1]).to(accelerator.device).train()
        batch = random_batch(case.batch, case.size, accelerator.device)
        step, loop = self._step(case, variant, method, batch)
        # Compiling and capturing happen in the first steps.
        warm = (2 if job.tiny else 4) if loop is None else (3 if job.tiny else 8)
        for _ in range(warm):
            step()
        accelerator.synchronise()
        start = time.perf_counter() - begun
        if purpose == ["prime"]:
            return {"start_s": start}
        if purpose == ["profile"]:
            return self._profiled(case, variant, step)
        # cuDNN tried its algorithms in the first steps, some with more memory than the one that it chose.
        first = accelerator.peak()
        accelerator.start_over()
        once, _ = accelerator.seconds(step, 1 if job.tiny else 2)
        blocks = 2 if job.tiny else BLOCKS
        if not job.tiny and once > 1:
            blocks = 3
        steps = 1 if job.tiny else max(1, min(50, round(BLOCK_SECONDS / max(once, 1e-4))))
        times, clocks = zip(*(accelerator.seconds(step, steps) for _ in range(blocks)), strict=True)
        median = statistics.median(times)
        found: dict[str, Any] = {
            "ms": median * 1e3,
            "clock_ms": statistics.median(clocks) * 1e3,
            "range_ms": [min(times) * 1e3, max(times) * 1e3],
            "steps": steps * blocks,
            "start_s": max(0.0, start - warm * median),
            **{name: _larger(first[name], later) for name, later in accelerator.peak().items()},
            "later_allocated_mib": accelerator.peak()["allocated_mib"],
            "leftover_mib": leftover,
            "settings": accelerator.settings(),
        }
        if loop is not None:
            found["dtype"] = str(loop.engine._dtype or "float32").removeprefix("torch.")
        if count and loop is not None:
            found |= self._operations(step, loop)
        return found

    def _make(self, case: Case) -> Any:
        from step_time import make

        return make(case.method, case.size, "smoke" if self.job.tiny else "paper")

    def _step(self, case: Case, variant: str, method: Any, batch: Any) -> tuple[Callable[[], None], Any]:
        """A function that takes one step, and what repeats it with the engine (None for the plain ones)."""
        import torch
        from step_time import Repeated, plain_stargan_step, plain_step

        if variant not in ENGINE:
            # Plain is as torch is by default: cuDNN may, matrices may not.
            self.accelerator.allow_tf32(False, variant == "plain")
            owners = [update.name for update in method.updates if update.shares is None]
            groups = {
                name: [{"params": group["params"]} for group in getattr(method, f"{name}_parameters")()]
                for name in owners
            }
            optimisers = {name: torch.optim.Adam(group, lr=1e-4, betas=(0.5, 0.999)) for name, group in groups.items()}
            taken = plain_stargan_step if case.method == "stargan" else plain_step
            return lambda: taken(method, batch, optimisers), None
        from mimik.training.devices import keep_freed_memory
        from mimik.training.loop import TrainingConfig

        keep_freed_memory()
        config = TrainingConfig(batch_size=case.batch, betas=(0.5, 0.999), steps=LONG_RUN, **ENGINE[variant])
        loop = Repeated(method, batch, config, self.accelerator.device)
        return loop.step, loop

    def _operations(self, step: Callable[[], None], loop: Any) -> dict[str, Any]:
        from mimik.training.operations import OperationCounter

        with OperationCounter() as counter:
            step()
        return {"flop": counter.total, "least_bytes": least_bytes(loop)}

    def _profiled(self, case: Case, variant: str, step: Callable[[], None]) -> dict[str, Any]:
        """Write the kernels that take longest; returns their whole time beside the time by the clock."""
        from torch.profiler import ProfilerActivity, profile

        cuda = self.accelerator.cuda
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        begun = time.perf_counter()
        with profile(activities=activities) as profiler:
            for _ in range(PROFILED):
                step()
            self.accelerator.synchronise()
            wall = time.perf_counter() - begun
        rows = _kernels(profiler.key_averages(), cuda)
        path = Path(self.job.output) / f"gpu_profile_{case.method}_{case.size}_{variant.replace(' ', '_')}.txt"
        kernels = sum(seconds for seconds, _, _ in rows)
        lines = [
            f"{case.name}, {variant}: {PROFILED} steps, {wall * 1e3:.3f} ms by the clock",
            "ms  share  calls  kernel",
        ]
        for seconds, calls, name in rows[:ROWS]:
            lines.append(f"{seconds * 1e3:.3f}  {seconds / kernels:.1%}  {calls}  {name[:160]}")
        path.write_text("\n".join(lines) + "\n")
        return {"kernel_ms": kernels / PROFILED * 1e3, "wall_ms": wall / PROFILED * 1e3, "table": path.name}


def _larger(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else max(one, other)


def _kernels(averages: Any, cuda: bool) -> list[tuple[float, int, str]]:
    """(seconds, calls, name) of what ran on the device, on a CPU of torch's functions; the longest first."""
    from torch.autograd import DeviceType

    if cuda:
        # Functions that launch kernels are charged with the same time again.
        rows = [row for row in averages if row.device_type == DeviceType.CUDA and not row.is_user_annotation]
        return sorted(((row.self_device_time_total / 1e6, row.count, row.key) for row in rows), reverse=True)
    return sorted(((row.self_cpu_time_total / 1e6, row.count, row.key) for row in averages), reverse=True)


def least_bytes(loop: Any) -> float:
    """Bytes that the optimisers' steps within one step of the loop move at least.

    Of every parameter, four bytes each: the gradient written by the backward pass and read, the weight and both moments
    read and written.
    """
    total = 0
    for update in loop.engine.task.updates:
        if update.due(loop.number):
            parameters = loop.engine._parameters[update.shares or update.name]
            total += update.repeats * sum(parameter.numel() for parameter in parameters)
    return 32.0 * total


def floor(flop: float | None, moved: float | None, measured: dict[str, float]) -> dict[str, float]:
    """Milliseconds that a step takes at least, by its operations and by its bytes, and the larger of the two."""
    if flop is None or moved is None or not measured:
        return {}
    by_flop = flop / measured["bf16_flop_per_s"] * 1e3
    by_bytes = moved / measured["copied_bytes_per_s"] * 1e3
    return {"floor_operations_ms": by_flop, "floor_bytes_ms": by_bytes, "floor_ms": max(by_flop, by_bytes)}
