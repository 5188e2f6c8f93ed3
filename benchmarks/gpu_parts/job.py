"""What a part is told, how it tells what it found, and how its process is run by another one."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gpu_parts.accelerator import ROOT

TOLD = 15
"""Lines of the output of a failed process that are kept."""


@dataclass(frozen=True)
class Job:
    """What a part is told.

    Attributes:
        part: its letter, or the name of a worker of it.
        device: `cuda` or `cpu`.
        tiny: small networks and few steps: the script itself is tried out.
        deadline: Unix time by which it should be done.
        output: folder of the results.
        work: folder for everything else; it is gone afterwards.
        train_seconds: wanted length of each of the trainings.
        profile: write tables of the kernels.
        methods: entries of `methods` that are trained.
        items: what a worker is to do.
    """

    part: str
    device: str
    tiny: bool
    deadline: float
    output: str
    work: str
    train_seconds: float
    profile: bool
    methods: tuple[str, ...] = ("stargan", "hier_seg")
    items: list[Any] = field(default_factory=list)

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()

    @property
    def result(self) -> Path:
        """Where the part writes what it has found so far."""
        return Path(self.work) / f"{self.part}.result.json"

    @property
    def log(self) -> Path:
        """What the part's process prints."""
        return Path(self.work) / f"{self.part}.log"

    def report(self, found: dict[str, Any]) -> None:
        """Write what was found so far, at once: the process may be ended at any time."""
        temporary = self.result.with_suffix(".new")
        temporary.write_text(json.dumps(found))
        temporary.replace(self.result)

    def told(self) -> dict[str, Any]:
        """What the part has written so far."""
        try:
            found: dict[str, Any] = json.loads(self.result.read_text())
        except FileNotFoundError:
            return {}
        return found

    def of(self, part: str, **changes: Any) -> "Job":
        """The same for another part."""
        return replace(self, part=part, **changes)


def start(job: Job) -> subprocess.Popen[bytes]:
    """Start the process of a part, the leader of a group of its own."""
    path = Path(job.work) / f"{job.part}.job.json"
    path.write_text(json.dumps(asdict(job)))
    job.result.unlink(missing_ok=True)
    source = str(ROOT / "src")
    # Tried out on a CPU that others use as well, threads that wait for each other take most of the time.
    threads = {"OMP_NUM_THREADS": "1"} if job.tiny else {}
    environment = {
        **os.environ,
        **threads,
        "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH")))),
        "PYTHONUNBUFFERED": "1",
        # What was compiled once is found again by the next process.
        "TORCHINDUCTOR_CACHE_DIR": os.environ.get("TORCHINDUCTOR_CACHE_DIR", str(Path(job.work) / "inductor")),
    }
    with job.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--job", str(path)],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and all of its group: asked first, so that it can end what it started itself."""
    for number, patience in ((signal.SIGTERM, 8), (signal.SIGKILL, 8)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def follow(
    process: subprocess.Popen[bytes], job: Job, until: Callable[[], float], changed: Callable[[dict[str, Any]], None]
) -> str | None:
    """Wait for a process, at most until the Unix time that `until` says; `changed` gets its findings as they grow.

    Returns:
        what went wrong, with the last lines of its output; None when nothing did.
    """
    seen = None
    try:
        while True:
            ended = process.poll() is not None
            stamp = job.result.stat().st_mtime_ns if job.result.exists() else None
            if stamp != seen:
                seen = stamp
                changed(job.told())
            if ended:
                break
            if time.time() > until():
                stop(process)
                return f"ended because its time was up\n{last_lines(job.log)}"
            time.sleep(0.2)
    except BaseException:
        stop(process)
        raise
    if process.returncode:
        return f"ended with status {process.returncode}\n{last_lines(job.log)}"
    return None


def last_lines(path: Path, count: int = TOLD) -> str:
    """The last lines of a log; of a progress bar the last state."""
    text = path.read_text(errors="replace") if path.exists() else ""
    lines = [line.rsplit("\r", 1)[-1] for line in text.splitlines() if line.strip()]
    return "\n".join(line[:300] for line in lines[-count:])
