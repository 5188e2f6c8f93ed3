"""Step time of every method, and of StarGAN in a plain loop, at published widths.

    python benchmarks/step_time.py [--size 128] [--batch 16] [--rounds 3] [--output benchmarks/results]
    python benchmarks/step_time.py --methods [--size 128] [--batch 4] [--rounds 1]

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
    """A batch with all that a method may read; 8 classes."""
    from mimik.training import operations

    return operations.random_batch(batch, size, device)


def read_params() -> dict[str, Any]:
    """All settings as they stand; `mimik params` checks them, for which jsonschema is needed."""
    from mimik.settings.reading import read

    return read(ROOT / "params.yaml")[0]


def make(name: str, size: int, scale: str = "paper") -> Any:
    """An entry of params.yaml's `methods`, with fresh networks to start from.

    Widths and all other settings are those of the scale, of `paper` the published ones.
    """
    import torch

    from mimik.training.untrained import untrained_method

    torch.manual_seed(0)
    return untrained_method(read_params(), "synthetic", name, scale, size)


class Repeated:
    """The training engine round a method, without a dataset: every update gets the same batch."""

    def __init__(self, method: Any, batch: dict[str, Any], config: Any, device: Any) -> None:
        """Set up a method for `config`; the first step is number 1, the first after the start."""
        from mimik.training.engine import Engine

        self.engine, self.batch, self.number = Engine(method, config, device, seed=0), batch, 1

    def at(self, _position: int) -> dict[str, Any]:
        """The batch, as `mimik.training.feed.Feed` gives it."""
        return dict(self.batch)

    def step(self) -> None:
        """One step, with all its updates."""
        with self.engine.running():
            for _ in self.engine.run_step(self.number, self):
                pass


def plain_step(method: Any, batch: dict[str, Any], optimisers: dict[str, Any]) -> None:
    """One step as a straightforward loop takes it: gradients for every parameter, no precision but fp32."""
    for update in method.updates:
        for _ in range(update.repeats if update.due(1) else 0):
            seen = dict(batch)
            total, _ = getattr(method, f"{update.name}_loss")(seen, 1)
            for optimiser in optimisers.values():
                optimiser.zero_grad()
            total.backward()
            optimisers[update.shares or update.name].step()


def plain_stargan_step(method: Any, batch: dict[str, Any], optimisers: dict[str, Any]) -> None:
    """The same for StarGAN written out, with the fake of a discriminator update made with a graph and detached."""
    from mimik.components import losses

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


def measure(case: str, method_name: str, size: int, batch_size: int, count: bool) -> dict[str, Any]:
    """Seconds of one step of one case and, with `count`, its operations; runs in the process of the case."""
    import resource

    import torch

    from mimik.training import loop
    from mimik.training.devices import autocast_dtype, keep_freed_memory, pick_device
    from mimik.training.operations import OperationCounter

    device = pick_device()
    method = make(method_name, size).to(device).train()
    batch = random_batch(batch_size, size, device)
    if case == "plain":
        names = [update.name for update in method.updates if update.shares is None]
        groups = {name: [{"params": g["params"]} for g in getattr(method, f"{name}_parameters")()] for name in names}
        optimisers = {name: torch.optim.Adam(group, lr=1e-4, betas=(0.5, 0.999)) for name, group in groups.items()}

        def step() -> None:
            (plain_stargan_step if method_name == "stargan" else plain_step)(method, batch, optimisers)
    else:
        keep_freed_memory()
        config = loop.TrainingConfig(batch_size=batch_size, betas=(0.5, 0.999))
        step = Repeated(method, batch, config, device).step

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
    with OperationCounter() as counter:
        step()
    return {**result, "gmac": counter.total / 2e9}


def run(case: tuple[str, str, int, int], count: bool) -> dict[str, Any]:
    """Measure one case in a process of its own."""
    command = [sys.executable, __file__, *(["--count"] if count else []), "--case", *map(str, case)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(result, file=sys.stderr)
    return result


def compare_methods(arguments: argparse.Namespace) -> None:
    """One row for every method: the plain loop, mimik, and their ratio.

    Rows of other methods that were measured on the same machine stay, each with its commit: all of them take long.
    """
    from machine import describe, write_table

    sys.path.insert(0, str(ROOT / "src"))
    path, machine = arguments.output / "method_steps", describe()
    commit, date = machine.pop("commit"), machine.pop("date")
    systems = read_params()["systems"]
    earlier = json.loads(path.with_suffix(".json").read_text()) if path.with_suffix(".json").exists() else {}
    kept = {row["method"]: row for row in earlier["rows"]} if earlier.get("machine") == machine else {}
    for name in arguments.methods or systems:
        seconds: dict[str, list[float]] = {"plain": [], "mimik": []}
        peaks = {}
        for _ in range(arguments.rounds):
            for case, measured in seconds.items():
                result = run((case, name, arguments.size, arguments.batch), count=False)
                measured.append(result["seconds"])
                peaks[case] = result["peak_rss_mib"]
        plain, ours = (statistics.median(measured) for measured in seconds.values())
        kept[name] = {
            "method": name, "size": arguments.size, "batch": arguments.batch,
            "plain": plain, "mimik": ours, "ratio": plain / ours,
            "plain_rss_mib": peaks["plain"], "mimik_rss_mib": peaks["mimik"],
            "commit": commit, "date": date,
        }  # fmt: skip
        order = [*systems, *sorted(kept.keys() - set(systems))]
        rows = [kept[method] for method in order if method in kept]
        write_table(path, rows, {"smallest ratio": min(row["ratio"] for row in rows)}, machine)


def main() -> None:
    """Run all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="image side of the StarGAN comparison")
    parser.add_argument("--batch", type=int, default=16, help="its batch size")
    parser.add_argument("--rounds", type=int, default=3, help="how often every case is measured")
    parser.add_argument(
        "--methods", nargs="*", help="measure these entries of `methods` (none named: `systems`), plain and mimik"
    )
    parser.add_argument("--count", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--case", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        case, method, size, batch = arguments.case
        print(json.dumps(measure(case, method, int(size), int(batch), arguments.count)))
        return
    if arguments.methods is not None:
        compare_methods(arguments)
        return
    # hier_seg is compared at its paper's 256 px (its parts are 64 px there) and batch of 8.
    cases = [
        ("plain", "stargan", arguments.size, arguments.batch),
        ("mimik", "stargan", arguments.size, arguments.batch),
        ("mimik", "stargan", 2 * arguments.size, max(1, arguments.batch // 2)),
        ("mimik", "hier_seg", 2 * arguments.size, max(1, arguments.batch // 2)),
    ]
    measured: list[list[dict[str, Any]]] = [[] for _ in cases]
    for turn in range(arguments.rounds):
        for case, results in zip(cases, measured, strict=True):
            results.append(run(case, count=turn == 0))
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
