"""Preparing a dataset of AffectNet's size: time of every stage, memory over time, restart after a kill.

    python benchmarks/scale.py [--rows 450000] [--size 16] [--workers 2] [--folder DIR]

An archive in the layout of AffectNet's CSV release is made in a temporary folder (below DIR, which needs about 2 GB for
the defaults): its photographs are hard links to a few rendered faces of 32 px, each row with its 68 landmarks. Then
`mimik.faces.prepared.prepare.prepare` runs on it in a process of its own, is killed with SIGKILL when half of the
shards are there, and runs again to the end; another process opens the store and draws batches from it.

Nothing is replaced by a stand-in. Finding faces is left out by the dataset's own option `landmarks: precomputed` with
no annotations, because it takes longer than all the rest (benchmarks/preparation.py measures it).
    python benchmarks/scale.py --photographs [--mirror DIR] [--workers 2] [--folder DIR]

prepares the open photographs instead (data/raw/open_faces, or their archive in the mirror), at 256 px with everything
on: landmarks, masks, depth, normals, action units. It needs 4 GB of disk. The table is scale_photographs.md.

`cpu_us_per_row` is the processor time of all processes, `private_mib` the highest memory during the stage, of all
processes together and without pages that belong to files, such as the mapped store.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from machine import ROOT, describe, write_table

from mimik.labels import EXPRESSIONS

SOURCES, SOURCE_SIZE, PER_FOLDER = 512, 32, 1000
BATCHES, BATCH = 2000, 16
INTERVAL = 0.1
"""Seconds between two looks at the memory."""

OPTIONS: dict[str, Any] = {"classes": list(EXPRESSIONS), "landmarks": "precomputed", "annotations": []}
HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"


def make_archive(raw: Path, rows: int) -> None:
    """A CSV release of `rows` photographs, one in a hundred of them in the validation set."""
    from PIL import Image

    from mimik.datasets import affectnet, synthetic

    people = {"train": SOURCES // len(EXPRESSIONS), "val": 1, "test": 1}
    table = synthetic.index(raw, {"classes": list(EXPRESSIONS), "identities": people, "sizes": [SOURCE_SIZE]}, 0).table
    table = table[table["split"] == "train"]
    rendering = synthetic.render(table, SOURCE_SIZE, ("images", "landmarks"))
    sources, landmarks = [], []
    (raw / "sources").mkdir(parents=True)
    for number, (image, points) in enumerate(zip(rendering.images, rendering.landmarks, strict=True)):
        sources.append(raw / "sources" / f"{number}.jpg")
        Image.fromarray(image).save(sources[-1], quality=90)
        landmarks.append(";".join(f"{value:.2f}" for value in np.ravel(points) * SOURCE_SIZE))
    images, *lists = (raw / path for path in affectnet.CSV_LAYOUT)
    lists[0].parent.mkdir(parents=True)
    with lists[0].open("w") as training, lists[1].open("w") as validation:
        training.write(HEADER)
        validation.write(HEADER)
        for row in range(rows):
            name = f"{row // PER_FOLDER}/{hashlib.md5(str(row).encode()).hexdigest()}.jpg"
            if row % PER_FOLDER == 0:
                (images / str(row // PER_FOLDER)).mkdir(parents=True)
            source = row % len(sources)
            os.link(sources[source], images / name)
            opened = validation if row % 100 == 0 else training
            opened.write(f"{name},5,5,86,86,{landmarks[source]},{row // 101 % len(EXPRESSIONS)},0.1,0.2\n")


# --- in a process of its own -----------------------------------------------------------------------------------


def used() -> float:
    """Seconds of processor time of this process and of its workers that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Stages:
    """Writes a line of JSON when a stage begins and ends: its name, the time, and what else is to be told."""

    def __init__(self, path: Path) -> None:
        self._opened = path.open("a", buffering=1)

    def begins(self, stage: str, **told: Any) -> None:
        """Note the begin of a stage."""
        self._opened.write(json.dumps({"stage": stage, "begins": time.time(), "cpu": used(), **told}) + "\n")

    def ends(self, stage: str) -> None:
        """Note its end."""
        self._opened.write(json.dumps({"stage": stage, "ends": time.time(), "cpu": used()}) + "\n")

    def watch(self, module: Any, name: str, stage: str, told: Callable[..., dict[str, Any]] | None = None) -> None:
        """Have a function of a module noted as a stage; `told` says more from its arguments."""
        original = getattr(module, name)

        def watched(*arguments: Any, **keywords: Any) -> Any:
            self.begins(stage, **(told(*arguments) if told else {}))
            result = original(*arguments, **keywords)
            self.ends(stage)
            return result

        setattr(module, name, watched)


def prepare_archive(folder: Path, size: int, workers: int) -> None:
    """Prepare the archive, noting the stages."""
    from mimik.datasets import affectnet
    from mimik.faces.prepared import prepare as module

    stages = Stages(folder / "stages.jsonl")
    stages.watch(affectnet, "index", "listing")
    stages.watch(module, "_shards", "cutting into shards")
    stages.watch(module, "run", "reading, aligning, shards", lambda shards, *_: {"missing": len(shards)})
    stages.watch(module, "_pack", "packing the store", lambda *_: {"shards": finished(folder)})
    module.prepare(
        "affectnet",
        OPTIONS | {"sizes": [size]},
        folder / "raw",
        folder / "store",
        seed=0,
        workers=workers,
        mirror=None,
        work=folder / "work",
    )


def prepare_photographs(folder: Path, workers: int, mirror: Path | None) -> None:
    """Prepare the open photographs with everything on, noting the stages."""
    from mimik.faces.prepared import prepare as module

    stages = Stages(folder / "stages.jsonl")
    stages.watch(module, "run", "faces, shards", lambda shards, *_: {"rows": sum(len(shard.rows) for shard in shards)})
    stages.watch(module, "_pack", "packing the store", lambda *_: {"bytes": held(folder / "work")})
    module.prepare(
        "open_faces",
        {"sizes": [256], "action_units": "geometric", "include_rgb": False},
        folder / "raw",
        folder / "store",
        seed=0,
        workers=workers,
        mirror=mirror,
        work=folder / "work",
    )


def held(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def draw_batches(folder: Path, size: int) -> None:
    """Open the store and draw batches from it, noting both as stages."""
    from mimik.faces.prepared.store import FaceStore
    from mimik.training.batches import Batches

    stages = Stages(folder / "stages.jsonl")
    stages.begins("opening the store")
    store = FaceStore(folder / "store", size)
    stages.ends("opening the store")
    stages.begins("batches", faces=len(store))
    batches = Batches(store, store.rows("train"), BATCH, seed=0, reads={"label", "target"})
    for position in range(BATCHES):
        batches.at(position)
    stages.ends("batches")


def finished(folder: Path) -> dict[str, int]:
    """Names of the finished shards, with the time when each was written."""
    shards = (folder / "work" / "shards").glob("0*.npz")
    return {path.name: path.stat().st_mtime_ns for path in shards}


# --- watching it -----------------------------------------------------------------------------------------------


class Watched:
    """A process of a benchmark's own, with its memory over time.

    Attributes:
        memory: (time, bytes of the process and its workers without pages of files).
    """

    def __init__(self, folder: Path, *arguments: str, script: Path = Path(__file__)) -> None:
        command = [sys.executable, str(script), "--folder", str(folder), *arguments]
        self.memory: list[tuple[float, int]] = []
        self.process = subprocess.Popen(command)
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def _sample(self) -> None:
        top = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            total = 0
            try:
                for process in (top, *top.children(recursive=True)):
                    info = process.memory_info()
                    total += info.rss - getattr(info, "shared", 0)
            except psutil.NoSuchProcess:
                continue
            self.memory.append((time.time(), total))
            time.sleep(INTERVAL)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._thread.join()

    def finish(self) -> None:
        """Wait for its end, which has to be a good one."""
        status = self.process.wait()
        self._thread.join()
        if status:
            raise SystemExit(f"exit status {status}")


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=450_000)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--photographs", action="store_true", help="the open photographs with everything on instead")
    parser.add_argument("--mirror", type=Path, help="folder with their archive")
    parser.add_argument("--only", choices=("prepare", "batches", "photographs"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only == "prepare":
        prepare_archive(arguments.folder, arguments.size, arguments.workers)
    elif arguments.only == "batches":
        draw_batches(arguments.folder, arguments.size)
    elif arguments.only == "photographs":
        prepare_photographs(arguments.folder, arguments.workers, arguments.mirror)
    else:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
            (measure_photographs if arguments.photographs else measure)(Path(temporary), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    """The archive, the run that is killed, the run that goes on, the batches; then the table."""
    machine = describe()
    make_archive(folder / "raw", arguments.rows)
    settings = ("--size", str(arguments.size), "--workers", str(arguments.workers))

    first = Watched(folder, "--only", "prepare", *settings)
    total = 0
    while not total or len(finished(folder)) < total / 2:
        total = next((entry["missing"] for entry in noted(folder) if "missing" in entry), 0)
        if first.process.poll() is not None:
            raise SystemExit("the first run ended before it could be killed; choose more rows")
        time.sleep(INTERVAL)
    first.kill()
    before = finished(folder)
    made_first = duration_until(noted(folder), "reading, aligning, shards", first.memory[-1][0])
    (folder / "stages.jsonl").rename(folder / "first.jsonl")

    second = Watched(folder, "--only", "prepare", *settings)
    second.finish()
    third = Watched(folder, "--only", "batches", "--size", str(arguments.size))
    third.finish()

    entries = noted(folder)
    memory = [*second.memory, *third.memory]
    rows = []
    for entry in entries:
        if "begins" not in entry:
            continue
        stage, start = entry["stage"], entry["begins"]
        ended = next(other for other in entries if other["stage"] == stage and "ends" in other)
        end = ended["ends"]
        count = BATCHES * BATCH if stage == "batches" else arguments.rows
        if "missing" in entry:
            count = round(arguments.rows * entry["missing"] / total)
        peak = max((size for moment, size in memory if start <= moment <= end), default=0)
        rows.append(
            {
                "stage": stage,
                "rows": count,
                "seconds": end - start,
                "us_per_row": 1e6 * (end - start) / count,
                "cpu_us_per_row": 1e6 * (ended["cpu"] - entry["cpu"]) / count,
                "private_mib": peak / 2**20,
            }
        )
    after = next(entry["shards"] for entry in entries if "shards" in entry)
    working = [size for moment, size in first.memory if moment >= first.memory[-1][0] - made_first]
    facts = {
        "rows": arguments.rows,
        "faces in the store": next(entry["faces"] for entry in entries if "faces" in entry),
        "pixels": arguments.size,
        "worker processes": arguments.workers,
        "shards": total,
        "shards finished when the first run was killed": len(before),
        "of these made again by the second run": sum(after.get(name) != moment for name, moment in before.items()),
        "peak private MiB of all runs": max(size for _, size in [*first.memory, *memory]) / 2**20,
        "private MiB after the first tenth of the work of the first run": working[len(working) // 10] / 2**20,
        "private MiB after nine tenths": working[len(working) * 9 // 10] / 2**20,
    }
    write_table(arguments.output / "scale", rows, facts, machine)


def measure_photographs(folder: Path, arguments: argparse.Namespace) -> None:
    """The open photographs, prepared once; then the table."""
    machine = describe()
    mirror = ["--mirror", str(arguments.mirror)] if arguments.mirror else []
    run = Watched(folder, "--only", "photographs", "--workers", str(arguments.workers), *mirror)
    run.finish()
    entries = noted(folder)
    begins = {entry["stage"]: entry for entry in entries if "begins" in entry}
    ends = {entry["stage"]: entry for entry in entries if "ends" in entry}
    tried = next(entry["rows"] for entry in entries if "rows" in entry)
    rows, working = [], list[int]()
    for stage, entry in begins.items():
        start, end = entry["begins"], ends[stage]["ends"]
        memory = [size for moment, size in run.memory if start <= moment <= end]
        working = working or memory
        rows.append(
            {
                "stage": stage,
                "rows": tried,
                "seconds": end - start,
                "cpu_ms_per_row": 1e3 * (ends[stage]["cpu"] - entry["cpu"]) / tried,
                "private_mib": max(memory) / 2**20,
            }
        )
    faces = json.loads((folder / "store" / "manifest.json").read_text())["faces"]
    shards = next(entry["bytes"] for entry in entries if "bytes" in entry)
    facts = {
        "photographs": tried,
        "faces in the store": faces,
        "worker processes": arguments.workers,
        "store, MB per face": held(folder / "store") / faces / 1e6,
        "shards before they are packed, MB per face": shards / faces / 1e6,
        "private MiB after the first tenth of the work": working[len(working) // 10] / 2**20,
        "private MiB after nine tenths": working[len(working) * 9 // 10] / 2**20,
    }
    write_table(arguments.output / "scale_photographs", rows, facts, machine)


def noted(folder: Path) -> list[dict[str, Any]]:
    """The lines that `Stages` has written so far."""
    path = folder / "stages.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def duration_until(entries: list[dict[str, Any]], stage: str, end: float) -> float:
    """Seconds from the begin of a stage to `end`."""
    return end - float(next(entry["begins"] for entry in entries if entry["stage"] == stage and "begins" in entry))


if __name__ == "__main__":
    main()
