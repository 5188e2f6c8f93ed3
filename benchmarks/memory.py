"""Peak GPU memory of a training step of a method at its published settings.

    python benchmarks/memory.py [--methods hier_seg stargan] [--size 256] [--batch 8] [--output benchmarks/results]

A case is a step of the training engine, all of its updates, in one precision, with and without the setting
`recompute`; every update runs twice, so that Adam's moments are there. With a GPU the column `source` says `measured`:
`torch.cuda.max_memory_allocated`. Elsewhere it says `computed`: the same code runs on torch's fake tensors, which have
sizes and no values, along the paths that a GPU takes, and the bytes of all live storages are counted
(`live_bytes.py`): weights, gradients, Adam's moments, the moving average, features kept for the backward pass,
autocast's copies of weights. Not counted are what an operation needs for itself while it runs (cuDNN's workspaces),
what lies unused between the allocator's blocks, and the CUDA context. Autocast follows the CPU's list of operations,
which differs from a GPU's in a few; convolutions are bfloat16 in both.

Two facts stand for how far that can be trusted. StarGAN's step at 64 px is run on a CPU with real tensors: the most
bytes that are counted, over the same on fake tensors; and the most bytes that torch's CPU allocator held meanwhile (by
torch's profiler), over the counted ones.
"""

import argparse
import contextlib
import copy
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from step_time import ROOT, Repeated, make, random_batch

GIB = 2**30


def settings(method: str, **changes: Any) -> Any:
    """The published settings of a method's training, but for `changes`."""
    from mimik.settings import params
    from mimik.settings.configuration import build
    from mimik.training.loop import TrainingConfig
    from mimik.training.runs import method_module

    resolved = params.resolve(params.load(ROOT / "params.yaml"), "synthetic", method, "paper")
    published = {**method_module(resolved["module"]).TRAINING, **resolved["training"]}
    return build(TrainingConfig, {**published, **changes}, method)


def peaks(repeated: Any, restart: Callable[[], int], turns: int = 2) -> dict[str, int]:
    """Peak bytes of every kind of update over some steps.

    Args:
        repeated: a `step_time.Repeated`.
        restart: begins a new peak and returns the one before.
        turns: how many steps.
    """
    engine = repeated.engine
    found = {update.name: 0 for update in engine.task.updates}
    update = engine._update

    def watched(kind: Any, *arguments: Any) -> Any:
        restart()
        terms = update(kind, *arguments)
        found[kind.name] = max(found[kind.name], restart())
        return terms

    engine._update = watched
    for _ in range(turns):
        repeated.step()
    return found


def held(engine: Any) -> dict[str, list[Any]]:
    """What stays from step to step: `weights` (with buffers and the average) and `adam`."""
    states = [state for optimiser in engine.optimisers.values() for state in optimiser.state.values()]
    return {
        "weights": [*engine.task.parameters(), *engine.task.buffers(), *(engine.average or {}).values()],
        "adam": [value for state in states for value in state.values()],
    }


def measured(method: str, size: int, config: Any) -> dict[str, Any]:
    """Peaks on the GPU."""
    import torch

    device = torch.device("cuda", 0)
    repeated = Repeated(make(method, size), random_batch(config.batch_size, size, device), config, device)

    def restart() -> int:
        torch.cuda.synchronize()
        peak = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return peak

    found = peaks(repeated, restart)
    parts = {name: sum(tensor.nbytes for tensor in tensors) for name, tensors in held(repeated.engine).items()}
    return {"source": "measured", **parts, **found}


def computed(method: str, size: int, config: Any, real: bool = False) -> dict[str, Any]:
    """Peaks counted on fake tensors, or with `real` on real ones on the CPU, where the allocator is watched besides.

    A CPU's own paths through convolution and normalisation are switched off: the step that is counted is a GPU's.
    """
    import torch
    from live_bytes import LiveBytes
    from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
    from torch.profiler import ProfilerActivity, profile

    from mimik.networks import convolution, normalisation

    convolution._pays_off = lambda *_: False  # type: ignore[assignment]
    normalisation._is_channels_last = lambda *_: False  # type: ignore[assignment]
    task, fake = make(method, size).train(), FakeTensorMode()
    if config.channels_last:
        task.to(memory_format=torch.channels_last)
    if not real:
        with FakeCopyMode(fake):
            task = copy.deepcopy(task)
        # They are where they belong, and torch moves no fake ones.
        task.to = lambda *_, **__: task
    with contextlib.nullcontext() if real else fake:
        batch = random_batch(config.batch_size, size, torch.device("cpu"))
        # The weights have their format already; fake ones cannot be converted in place.
        repeated = Repeated(task, batch, replace(config, channels_last=False), torch.device("cpu"))
        counter = LiveBytes()
        before = counter.add([*held(repeated.engine)["weights"], *batch.values()])
        log = profile(activities=[ProfilerActivity.CPU], profile_memory=True) if real else contextlib.nullcontext()
        with log, counter:
            found = peaks(repeated, counter.restart)
        parts = {name: LiveBytes().add(tensors) for name, tensors in held(repeated.engine).items()}
    result = {"source": "computed", **parts, **found}
    if real:
        events = [event for event in log.profiler.kineto_results.events() if event.name() == "[memory]"]
        sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
        result["allocator"] = before + max(itertools.accumulate(sizes))
    return result


def case(method: str, size: int, real: bool, **changes: Any) -> dict[str, Any]:
    """One row of the table."""
    import torch

    config = settings(method, **changes)
    found = measured(method, size, config) if torch.cuda.is_available() else computed(method, size, config, real)
    return {
        "method": method,
        "size": size,
        "batch": config.batch_size,
        "precision": config.precision,
        "recompute": config.recompute,
        **found,
    }


def in_own_process(**arguments: Any) -> dict[str, Any]:
    """`case` with these arguments: what one leaves in memory does not count for the next."""
    command = [sys.executable, __file__, "--case", json.dumps(arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(result, file=sys.stderr)
    return result


def main() -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=["hier_seg", "stargan"], help="entries of `methods`")
    parser.add_argument("--size", type=int, default=256, help="image side")
    parser.add_argument("--batch", type=int, default=8, help="batch size")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    if arguments.case:
        print(json.dumps(case(**arguments.case)))
        return
    from machine import describe, write_table

    rows = []
    for method, precision, recompute in itertools.product(arguments.methods, ("bf16", "fp32"), (False, True)):
        found = in_own_process(
            method=method, size=arguments.size, real=False,
            batch_size=arguments.batch, precision=precision, recompute=recompute,
        )  # fmt: skip
        updates = {name: found[name] / GIB for name in ("discriminator", "generator")}
        rows.append(
            {
                **{name: found[name] for name in ("method", "size", "batch", "precision", "recompute", "source")},
                "weights_gib": found["weights"] / GIB, "adam_gib": found["adam"] / GIB,
                **{f"{name}_peak_gib": peak for name, peak in updates.items()}, "peak_gib": max(updates.values()),
            }
        )  # fmt: skip
    small = {"method": "stargan", "size": 64, "batch_size": 4, "precision": "fp32"}
    fake, real = (in_own_process(**small, real=value) for value in (False, True))
    facts = {}
    if "allocator" in real:
        counted = max(real["discriminator"], real["generator"])
        facts["StarGAN at 64 px, bytes counted on real tensors / on fake ones"] = counted / max(
            fake["discriminator"], fake["generator"]
        )
        facts["StarGAN at 64 px, most bytes held by torch's CPU allocator / counted"] = real["allocator"] / counted
    write_table(arguments.output / "memory", rows, facts, describe())


if __name__ == "__main__":
    main()
