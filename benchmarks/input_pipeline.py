"""Time of making a training batch, beside the time of the training step that uses it.

    python benchmarks/input_pipeline.py [--count 4096] [--size 128] [--batch 16]

A store of random images is made in a temporary folder; batches are drawn in random order, flipped and normalised. The
step time is that of `benchmarks/results/step_time.json`.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from gpu_parts.pipeline import make_store
from machine import ROOT, describe, write_table

from mimik.training.batches import Batches


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4096)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    count, size = arguments.count, arguments.size
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        store = make_store(directory, count, size)
        batches = Batches(store, store.rows("train"), arguments.batch, seed=0, reads={"label", "target"})
        batches.at(0)
        times = []
        for position in range(1, 400):
            start_time = time.perf_counter()
            batches.at(position)
            times.append(time.perf_counter() - start_time)
    median = statistics.median(times)
    rows = [
        {"size": size, "batch": arguments.batch, "ms_per_batch": median * 1e3, "images_per_s": arguments.batch / median}
    ]
    facts = {}
    reference = arguments.output / "step_time.json"
    if reference.exists():
        for row in json.loads(reference.read_text())["rows"]:
            if (row["case"], row["size"], row["batch"]) == ("mimik", size, arguments.batch):
                facts[f"share of a {row['method']} step (six batches), percent"] = 600 * median / row["seconds"]
    write_table(arguments.output / "input_pipeline", rows, facts, describe())


if __name__ == "__main__":
    main()
