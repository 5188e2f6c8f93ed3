"""Step time of every method, and of StarGAN in a plain loop, at published widths.

    python benchmarks/step_time.py [--size 128] [--batch 16] [--rounds 3] [--output benchmarks/results]

A step is five discriminator updates and one generator update. Each case runs in a process of its own, because the
settings of malloc belong to a process. Every round runs all cases, so that a machine that slows down slows all of them;
a process measures one step after two that are not counted, in which memory finds its place.

- `plain`: StarGAN as a straightforward loop writes it: fp32, eager, default malloc, the fake of a discriminator update
  made with a graph and detached, gradients of a generator update also taken for the discriminator, Adam of torch's
  default. Same networks and losses as mimik's, taken from mimik.
- `mimik`: the training engine at its automatic settings.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def random_batch(batch: int, size: int, device: Any) -> dict[str, Any]:
    """Random images and labels of 8 classes, in the form of `mimik.batches.Batches.at`."""
    import torch

    generator = torch.Generator().manual_seed(0)
    label = torch.randint(8, (batch,), generator=generator)
    return {
        "image": (torch.rand(batch, 3, size, size, generator=generator) * 2 - 1).to(device),
        "label": label.to(device),
        "target": label[torch.randperm(batch, generator=generator)].to(device),
        "row": torch.arange(batch),
    }


def make(method: str, size: int) -> Any:
    """A method at its published settings, with a fresh segmenter where it has one."""
    import importlib

    import torch

    from mimik.conditions import Condition, ConditionConfig
    from mimik.configuration import build as build_config
    from mimik.context import Context
    from mimik.labels import EXPRESSIONS

    torch.manual_seed(0)
    module = importlib.import_module(f"mimik.methods.{method}")
    pretrained = {}
    if method == "hier_seg":
        from mimik.networks.segmenter import build

        pretrained["segmenter"] = build({"network": "bisenet", "image_size": size})
    condition = Condition(build_config(ConditionConfig, module.CONDITION, method), EXPRESSIONS)
    return module.Method(module.Config(), Context(condition, size, pretrained))


def plain_step(method: Any, batch: dict[str, Any], optimisers: dict[str, Any]) -> None:
    """One step of StarGAN without any of the engine's levers."""
    from mimik import losses

    image = batch["image"]
    source, target = method.condition.source(batch), method.condition.target(batch)
    for _ in range(method.config.critic_updates):
        fake = method.generator(image, target)
        total, _ = method.discriminator.discriminator_loss(image, fake.detach(), source, target, 0)
        optimisers["discriminator"].zero_grad()
        total.backward()
        optimisers["discriminator"].step()
    fake = method.generator(image, target)
    total, _ = method.discriminator.generator_loss(fake, target)
    cycled = method.generator(fake, source)
    total = total + 10 * losses.reconstruction(image, cycled).mean()
    for optimiser in optimisers.values():
        optimiser.zero_grad()
    total.backward()
    optimisers["generator"].step()


def backward_operations(
    gradient: list[int],
    features: list[int],
    weight: list[int],
    _bias: Any,
    _stride: Any,
    _padding: Any,
    _dilation: Any,
    transposed: bool,
    _output_padding: Any,
    _groups: int,
    wanted: list[bool],
    **_: Any,
) -> int:
    """Operations of a convolution's backward pass; torch's own count takes grouped convolutions for dense ones."""
    import math

    pixels = math.prod((features if transposed else gradient)[2:]) * gradient[0]
    return 2 * pixels * math.prod(weight) * (wanted[0] + wanted[1])


def measure(case: str, method_name: str, size: int, batch_size: int, count: bool) -> dict[str, Any]:
    """Seconds of one step of one case and, with `count`, its operations; runs in the process of the case."""
    import resource
    import types

    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mimik import training
    from mimik.devices import autocast_dtype, keep_freed_memory, pick_device

    device = pick_device()
    method = make(method_name, size).to(device).train()
    batch = random_batch(batch_size, size, device)
    if case == "plain":
        names = [update.name for update in method.updates]
        groups = {name: [{"params": g["params"]} for g in getattr(method, f"{name}_parameters")()] for name in names}
        optimisers = {name: torch.optim.Adam(group, lr=1e-4, betas=(0.5, 0.999)) for name, group in groups.items()}

        def step() -> None:
            plain_step(method, batch, optimisers)
    else:
        keep_freed_memory()
        config = training.TrainingConfig(batch_size=batch_size, betas=(0.5, 0.999))
        loop = object.__new__(training._Loop)
        loop.task, loop.config, loop.seed, loop.device, loop.rank, loop.step = method, config, 0, device, 0, 1
        if config.channels_last:
            method.to(memory_format=torch.channels_last)
        loop.batches = types.SimpleNamespace(at=lambda position, where: batch)  # type: ignore[assignment]
        loop.dtype = autocast_dtype("auto", device)
        loop.groups = {u.name: getattr(method, f"{u.name}_parameters")() for u in method.updates}
        loop.parameters = {name: [p for g in groups for p in g["params"]] for name, groups in loop.groups.items()}
        loop.optimisers = {name: loop._optimiser(groups) for name, groups in loop.groups.items()}

        def step() -> None:
            for _ in loop._one_step():
                pass

    def timed() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    for _ in range(2):
        timed()
    seconds = timed()
    result = {
        "case": case,
        "method": method_name,
        "size": size,
        "batch": batch_size,
        "seconds": seconds,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "dtype": "bf16" if case == "mimik" and autocast_dtype("auto", device) else "fp32",
    }
    if not count:
        return result
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: backward_operations})
    with counter:
        step()
    return {**result, "gmac": counter.get_total_flops() / 2e9}


def main() -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="image side of the StarGAN comparison")
    parser.add_argument("--batch", type=int, default=16, help="its batch size")
    parser.add_argument("--rounds", type=int, default=3, help="how often every case is measured")
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        case, method, size, batch = arguments.case
        print(json.dumps(measure(case, method, int(size), int(batch), arguments.count)))
        return
    # hier_seg is compared at the paper's 256 px (its parts are 64 px there), with a quarter of the batch.
    cases = [
        ("plain", "stargan", arguments.size, arguments.batch),
        ("mimik", "stargan", arguments.size, arguments.batch),
        ("mimik", "stargan", 2 * arguments.size, max(1, arguments.batch // 4)),
        ("mimik", "hier_seg", 2 * arguments.size, max(1, arguments.batch // 4)),
    ]
    measured: list[list[dict[str, Any]]] = [[] for _ in cases]
    for turn in range(arguments.rounds):
        for case, results in zip(cases, measured, strict=True):
            command = [sys.executable, __file__, *(["--count"] if turn == 0 else []), "--case", *map(str, case)]
            environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
            print(results[-1], file=sys.stderr)
    rows = []
    for results in measured:
        seconds = [result["seconds"] for result in results]
        rows.append({**results[0], "seconds": statistics.median(seconds), "range": [min(seconds), max(seconds)]})
    from machine import describe, write_table

    plain, ours, whole, parts = rows
    facts = {
        "StarGAN, plain loop / mimik, time": plain["seconds"] / ours["seconds"],
        "hier_seg / StarGAN at the same size, time": parts["seconds"] / whole["seconds"],
        "hier_seg / StarGAN at the same size, operations": parts["gmac"] / whole["gmac"],
    }
    write_table(arguments.output / "step_time", rows, facts, describe())


if __name__ == "__main__":
    main()
