"""Part (c): what making and moving the batches adds to a training step."""

import copy
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gpu_parts.accelerator import Accelerator
from gpu_parts.cases import training_config
from gpu_parts.job import Job

FACES, SIZE, BATCH = 4096, 128, 16
ROUNDS, STEPS = 9, 24


def make_store(directory: Path, count: int, size: int) -> Any:
    """A store of `count` random pictures of `size` pixels, of eight expressions."""
    import pandas as pd

    from mimik.faces.store import FaceStore
    from mimik.files import write_json
    from mimik.labels import EXPRESSIONS

    images = np.lib.format.open_memmap(directory / f"images_{size}.npy", "w+", np.uint8, (count, size, size, 3))
    random = np.random.default_rng(0)
    for start in range(0, count, 256):
        images[start : start + 256] = random.integers(0, 256, images[start : start + 256].shape, np.uint8)
    images.flush()
    table = pd.DataFrame({"id": [str(i) for i in range(count)], "split": "train", "source": "", "identity": ""})
    table["expression"] = [EXPRESSIONS[i % 8] for i in range(count)]
    table.to_csv(directory / "index.csv", index=False)
    write_json(directory / "manifest.json", {"sizes": [size], "classes": list(EXPRESSIONS), "digest": "benchmark"})
    return FaceStore(directory, size)


def run(job: Job) -> None:
    """StarGAN's steps on batches of the store and on one constant batch, in turns."""
    from step_time import engine, make, random_batch

    from mimik.devices import keep_freed_memory
    from mimik.training import _Loop

    accelerator = Accelerator(job.device)
    count, size, batch = (64, 64, 4) if job.tiny else (FACES, SIZE, BATCH)
    rounds, steps, warm = (2, 1, 2) if job.tiny else (ROUNDS, STEPS, 12)
    keep_freed_memory()
    made = make("stargan", size, "smoke" if job.tiny else "paper")
    config = training_config(batch_size=batch, betas=(0.5, 0.999), steps=100_000)
    with tempfile.TemporaryDirectory(dir=job.work) as folder:
        store = make_store(Path(folder), count, size)
        loops = {
            "store": _Loop(
                copy.deepcopy(made), store, store.rows("train"), config, 0, Path(folder), {}, accelerator.device, 0, 1
            ),
            "constant": engine(
                copy.deepcopy(made), random_batch(batch, size, accelerator.device), config, accelerator.device
            ),
        }

        def step(loop: Any) -> None:
            for _ in loop._one_step():
                pass
            loop.step += 1

        for loop in loops.values():
            for _ in range(warm):
                step(loop)
        times: dict[str, list[float]] = {name: [] for name in loops}
        for turn in range(rounds):
            if turn >= 3 and job.left() < 3:
                break
            # Who comes first changes, so that a clock that slows down slows both.
            for name in list(loops)[:: 1 if turn % 2 else -1]:
                # By the clock: the device may wait for a batch beside the stream that the events lie on.
                _, seconds = accelerator.seconds(lambda loop=loops[name]: step(loop), steps)
                times[name].append(seconds)
        shares = [
            100 * (with_store - without) / with_store
            for with_store, without in zip(times["store"], times["constant"], strict=True)
        ]
        quartiles = np.percentile(shares, [25, 75]).tolist()
        job.report(
            {
                "case": f"stargan {size}/{batch}, {count} faces",
                "rounds": len(shares),
                "steps_a_round": steps,
                "store_ms": 1e3 * statistics.median(times["store"]),
                "constant_ms": 1e3 * statistics.median(times["constant"]),
                "share_percent": statistics.median(shares),
                "quartiles_percent": quartiles,
                "range_percent": [min(shares), max(shares)],
            }
        )
