"""Photographs prepared per second and core, with everything on: read, found, aligned at 256 px, depth, normals, masks,
action units. And where the time goes.

python benchmarks/preparation.py [--mirror DIR] [--count 400] [--against COMMIT]

Uses the open photographs (data/raw/open_faces, or their archive in the mirror). Time is processor time of the process
with all its threads, held to one core where the system can do that: left alone, mediapipe's threads keep a second one
busy with waiting. Other programs on the machine hardly change it.

--against prepares every photograph a second time, by the source of another commit in the same process, in turns which
goes first. The table then has both, and a run in which any value of any face differs ends with exit status 1.
"""

import argparse
import io
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from machine import ROOT, describe, write_table

SIZE, WARMING = 256, 10
ANNOTATIONS = ("depth", "normals", "masks")
OPTIONS: dict[str, Any] = {"classes": ["neutral", "happiness"], "sizes": [SIZE], "include_rgb": False}

RECONSTRUCT = "mimik.faces.reconstruction.reconstruct"
STAGES = {
    "reading and decoding": ("mimik.faces.photograph", "read_photograph"),
    "mesh, without its networks": (RECONSTRUCT, "FaceMesher.__call__"),
    "crops": (RECONSTRUCT, "alignment.crops"),
    "where the photograph ends": (RECONSTRUCT, "alignment.outside_source"),
    "rasterising": (RECONSTRUCT, "rasterise"),
    "depth and normals": (RECONSTRUCT, "surface_maps"),
    "masks": (RECONSTRUCT, "part_mask"),
    "visible shares": (RECONSTRUCT, "quality.visible_shares"),
    "lean": (RECONSTRUCT, "tilt.lean"),
    "normals of the mesh": (RECONSTRUCT, "vertex_normals"),
    "action units": (RECONSTRUCT, "geometric.measures"),
}
NETWORKS, REST = "mediapipe's networks", "the rest"


class Version:
    """The package `mimik` of one folder, imported beside another one, with a clock in its stages.

    Attributes:
        seconds: processor time of every stage without the stages inside it.
    """

    def __init__(self, source: Path) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._source, self._modules = str(source), dict[str, Any]()
        self._inside: list[float] = []
        with self:
            module = import_module(RECONSTRUCT)
            for stage, (name, path) in STAGES.items():
                owner: Any = import_module(name)
                *between, last = path.split(".")
                for part in between:
                    owner = getattr(owner, part)
                setattr(owner, last, self._timed(stage, getattr(owner, last)))
            self._read = import_module("mimik.faces.photograph").read_photograph
            self._reconstruct = module.Reconstructor((SIZE,), "mediapipe", ANNOTATIONS, None, True)
            network = self._reconstruct._mesher._network
            network.process = self._timed(NETWORKS, network.process)
        self._whole = self._timed(REST, lambda path: self._reconstruct(self._read(path)))

    def __enter__(self) -> None:
        self._others = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "mimik"}
        sys.modules.update(self._modules)
        sys.path.insert(0, self._source)

    def __exit__(self, *_: object) -> None:
        self._modules = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "mimik"}
        sys.modules.update(self._others)
        sys.path.remove(self._source)

    def _timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **keywords: Any) -> Any:
            self._inside.append(0.0)
            start = time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                took = time.process_time() - start
                self.seconds[stage] += took - self._inside.pop()
                if self._inside:
                    self._inside[-1] += took

        return timed

    def __call__(self, path: Path) -> Any:
        """Prepare a photograph."""
        with self:
            return self._whole(path)


def content(face: Any) -> list[bytes]:
    """Every value of a face, or why there is none."""
    values: list[bytes] = []
    for field in fields(face):
        value = getattr(face, field.name)
        for item in value.values() if isinstance(value, dict) else (value,):
            values.append(item.tobytes() if isinstance(item, np.ndarray) else repr(item).encode())
    return values


def source_of(commit: str, folder: Path) -> Path:
    """`src` as it was at a commit."""
    archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(folder, filter="data")
    return folder / "src"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", type=Path)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--against", metavar="COMMIT")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    from mimik.datasets import open_faces

    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        open_faces.fetch(raw, OPTIONS, arguments.mirror)
        sources = open_faces.index(raw, OPTIONS, 0).table["source"].iloc[: arguments.count + WARMING]
        versions = {"ms": Version(ROOT / "src")}
        if arguments.against:
            versions["ms_before"] = Version(source_of(arguments.against, Path(folder)))
        if hasattr(os, "sched_setaffinity"):
            core = {min(os.sched_getaffinity(0))}
            for thread in Path("/proc/self/task").iterdir():  # imports and networks have started some already
                os.sched_setaffinity(int(thread.name), core)
        found = different = 0
        for number, source in enumerate(sources):
            if number == WARMING:
                for version in versions.values():
                    version.seconds.clear()
            in_turns = list(versions.values())[:: 1 if number % 2 else -1]
            faces = [version(raw / source) for version in in_turns]
            if number >= WARMING:
                found += hasattr(faces[0], "images")
                different += any(content(face) != content(faces[0]) for face in faces)
    count = len(sources) - WARMING
    stages = [NETWORKS, *STAGES, REST]
    rows: list[dict[str, Any]] = [
        {"stage": stage} | {name: 1e3 * version.seconds[stage] / count for name, version in reversed(versions.items())}
        for stage in stages
    ]
    rows.append({"stage": "together"} | {name: sum(row[name] for row in rows) for name in reversed(versions)})
    facts: dict[str, float] = {"photographs": count, "faces found": found}
    for name in reversed(versions):
        facts[f"photographs per second of processor time ({name})"] = 1e3 / rows[-1][name]
    if arguments.against:
        facts["photographs of which any value differs"] = different
    facts["peak memory, MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    against = {"against": arguments.against} if arguments.against else {}
    write_table(arguments.output / "preparation", rows, facts, describe() | against)
    if different:
        raise SystemExit(f"{different} of {count} photographs were prepared otherwise than at {arguments.against}")


if __name__ == "__main__":
    main()
