"""Photographs prepared per second and core: read, found, aligned at 256 px, depth, normals, masks.

python benchmarks/preparation.py [--mirror DIR] [--count 400]

Uses the open photographs (data/raw/open_faces, or their archive in the mirror); one worker process,
held to one core where the system can do that: left alone, mediapipe's threads keep a second one busy with waiting.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import ROOT, describe, write_table

from mimik.datasets import open_faces
from mimik.faces.photograph import read_photograph
from mimik.faces.reconstruction.reconstruct import Face, Reconstructor


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        core = {min(os.sched_getaffinity(0))}
        for thread in Path("/proc/self/task").iterdir():  # imports have started some already
            os.sched_setaffinity(int(thread.name), core)
    options: dict[str, Any] = {"classes": ["neutral", "happiness"], "sizes": [256], "include_rgb": False}
    annotations = ("depth", "normals", "masks")
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        open_faces.fetch(raw, options, arguments.mirror)
        table = open_faces.index(raw, options, 0).table.iloc[: arguments.count + 10]
        reconstructor = Reconstructor((256,), "mediapipe", annotations, arguments.mirror)
        for source in table["source"].iloc[:10]:
            reconstructor(read_photograph(raw / source))
        found, wall, cpu = 0, time.perf_counter(), time.process_time()
        for source in table["source"].iloc[10:]:
            found += isinstance(reconstructor(read_photograph(raw / source)), Face)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    count = len(table) - 10
    row = {
        "photographs": count,
        "found": found,
        "per_wall_s": count / wall,
        "per_cpu_s": count / cpu,
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    write_table(arguments.output / "preparation", [row], {}, describe())


if __name__ == "__main__":
    main()
