"""Part (c): what making and moving the batches adds to a training step."""

import copy
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gpu_parts.accelerator import Accelerator
from gpu_parts.job import Job

FACES, SIZE, BATCH = 4096, 128, 16
ROUNDS, STEPS = 9, 24
COMPILES = 90.0
"""Seconds with which there is time to compile the networks."""


def make_store(directory: Path, count: int, size: int) -> Any:
    """A store of `count` random pictures of `size` pixels, of eight expressions."""
    import pandas as pd

    from mimik.faces.prepared.store import FaceStore
    from mimik.labels import EXPRESSIONS
    from mimik.storage.files import write_json

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


class Constant:
    """The same batch at every position, as `mimik.training.feed.Feed` gives it."""

    def __init__(self, batch: dict[str, Any]) -> None:
        self.batch = {name: value.clone() for name, value in batch.items()}

    def at(self, _position: int) -> dict[str, Any]:
        """The batch."""
        return dict(self.batch)


def run(job: Job) -> None:
    """StarGAN's steps on batches of a store and on one constant batch, in turns, by one engine."""
    from step_time import make

    from mimik.training import feed
    from mimik.training.devices import keep_freed_memory
    from mimik.training.loop import TrainingConfig

    accelerator = Accelerator(job.device)
    count, size, batch = (64, 64, 4) if job.tiny else (FACES, SIZE, BATCH)
    keep_freed_memory()
    method = make("stargan", size, "smoke" if job.tiny else "paper")
    compiled = accelerator.cuda and job.left() > COMPILES
    config = TrainingConfig(batch_size=batch, betas=(0.5, 0.999), steps=1_000_000, compile=compiled)
    # Where a GPU would hold the whole store, reading from the disk is measured as well: larger ones have to.
    ways = {"as it chooses": feed.SHARE_HELD} | ({"store on disk": 0.0} if accelerator.cuda else {})
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=job.work) as folder:
        store = make_store(Path(folder), count, size)
        for number, (way, share) in enumerate(ways.items()):
            feed.SHARE_HELD = share
            until = job.left() / (len(ways) - number)
            measured = _compare(accelerator, copy.deepcopy(method), store, config, job.left() - until, job)
            rows.append({"way": way, "case": f"stargan {size}/{batch}", "faces": count, **measured})
            job.report({"rows": rows, "compiled": compiled})


def _compare(
    accelerator: Accelerator, method: Any, store: Any, config: Any, reserved: float, job: Job
) -> dict[str, Any]:
    """Steps with both sources in turns, until `reserved` seconds of the job's time are left."""
    from mimik.training.batches import Batches
    from mimik.training.engine import Engine
    from mimik.training.feed import Feed

    rounds, steps, warm = (2, 1, 1) if job.tiny else (ROUNDS, STEPS, 8)
    engine = Engine(method, config, accelerator.device, seed=0)
    batches = Batches(store, store.rows("train"), config.batch_size, seed=0, reads=method.reads, flip=config.flip)
    constant = Constant(batches.at(0, accelerator.device))
    times: dict[str, list[float]] = {"store": [], "constant": []}
    reached = 0

    def step(source: Any) -> None:
        nonlocal reached
        with engine.running():
            for _ in engine.run_step(reached if source is feed else 1, source):
                pass
        reached += source is feed

    with Feed(batches, accelerator.device, 0, config.steps * engine.rounds) as feed:
        for source in (constant, feed):
            for _ in range(warm):
                step(source)
        for turn in range(rounds):
            if turn >= 3 and job.left() < reserved + 2:
                break
            # Who comes first changes, so that a clock that slows down slows both.
            for name, source in (("store", feed), ("constant", constant))[:: 1 if turn % 2 else -1]:
                for _ in range(2):
                    step(source)  # uses up what was made ahead while the other source was measured
                # By the clock: the device may wait for a batch beside the stream that the events lie on.
                times[name].append(accelerator.seconds(lambda source=source: step(source), steps)[1])
    shares = [100 * (long - short) / long for long, short in zip(times["store"], times["constant"], strict=True)]
    return {
        "rounds": len(shares),
        "steps_a_round": steps,
        "store_ms": 1e3 * statistics.median(times["store"]),
        "constant_ms": 1e3 * statistics.median(times["constant"]),
        "share_percent": statistics.median(shares),
        "quartiles_percent": np.percentile(shares, [25, 75]).tolist(),
        "range_percent": [min(shares), max(shares)],
    }
