"""Rendered faces per second and core.

python benchmarks/renderer.py [--count 600]
"""

import argparse
import time
from pathlib import Path

import torch
from machine import ROOT, describe, write_table

from mimik.datasets import synthetic
from mimik.labels import EXPRESSIONS


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=600, help="faces of 64 px; larger ones are fewer")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    people = {"train": arguments.count // 8 + 1, "val": 1, "test": 1}
    options = {"classes": list(EXPRESSIONS), "identities": people, "sizes": [64]}
    table = synthetic.index(Path(), options, 0).table
    rows = []
    for size, share in ((64, 1), (128, 4), (256, 16)):
        some = table.iloc[: arguments.count // share]
        for outputs in (("images", "masks"), synthetic.OUTPUTS):
            synthetic.render(some.iloc[:4], size, outputs=outputs)
            start = time.process_time()
            synthetic.render(some, size, outputs=outputs)
            seconds = time.process_time() - start
            rows.append({"size": size, "outputs": " ".join(outputs), "faces_per_cpu_s": len(some) / seconds})
    write_table(arguments.output / "renderer", rows, {}, describe())


if __name__ == "__main__":
    main()
