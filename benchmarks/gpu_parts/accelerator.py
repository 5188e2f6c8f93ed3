"""What is asked of the device that is measured; the one place of these benchmarks with calls that only CUDA has."""

import gc
import os
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Accelerator:
    """A CUDA device, or the CPU in its place when the script itself is tried out."""

    def __init__(self, name: str) -> None:
        """`cuda` or `cpu`."""
        import torch

        self.device = torch.device(name, 0) if name == "cuda" else torch.device(name)
        self.cuda = name == "cuda"

    def synchronise(self) -> None:
        """Wait until everything that was asked of the device is done."""
        import torch

        if self.cuda:
            torch.cuda.synchronize()

    def seconds(self, step: Callable[[], Any], count: int) -> tuple[float, float]:
        """Seconds of one of `count` steps in a row: between two events on the device, and by the clock.

        On a CPU both are by the clock. Events that lie closer together than the clock says have missed what ran beside
        their stream.
        """
        import torch

        self.synchronise()
        start = time.perf_counter()
        if not self.cuda:
            for _ in range(count):
                step()
            clock = (time.perf_counter() - start) / count
            return clock, clock
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        for _ in range(count):
            step()
        last.record()
        self.synchronise()
        clock = (time.perf_counter() - start) / count
        return first.elapsed_time(last) / 1e3 / count, clock

    def start_over(self) -> float | None:
        """Drop what nobody holds any more, and count the peak from here. Returns the MiB that are still allocated."""
        import torch

        gc.collect()
        if not self.cuda:
            return None
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20

    def peak(self) -> dict[str, float | None]:
        """Highest MiB allocated and reserved since `start_over`; None on a CPU."""
        import torch

        if not self.cuda:
            return {"allocated_mib": None, "reserved_mib": None}
        return {
            "allocated_mib": torch.cuda.max_memory_allocated() / 2**20,
            "reserved_mib": torch.cuda.max_memory_reserved() / 2**20,
        }

    def allow_tf32(self, matrices: bool, convolutions: bool) -> None:
        """Let products of float32 matrices, and cuDNN's convolutions, round their inputs to TF32 or not."""
        import torch

        torch.backends.cuda.matmul.allow_tf32 = matrices
        torch.backends.cudnn.allow_tf32 = convolutions

    def settings(self) -> dict[str, Any]:
        """What decides the precision and choice of float32 kernels, as it stands now."""
        import torch

        answers = {}
        for name, read in {
            "matmul tf32": lambda: torch.backends.cuda.matmul.allow_tf32,
            "cudnn tf32": lambda: torch.backends.cudnn.allow_tf32,
            "cudnn benchmark": lambda: torch.backends.cudnn.benchmark,
            "cudnn deterministic": lambda: torch.backends.cudnn.deterministic,
        }.items():
            try:
                answers[name] = read()
            except RuntimeError as error:  # torch refuses to read what was set by its other interface
                answers[name] = str(error).splitlines()[0]
        return answers


def available() -> bool:
    """Whether there is a CUDA device that torch can use."""
    try:
        import torch
    except ModuleNotFoundError:
        return False
    return torch.cuda.is_available()


def describe(device: str) -> dict[str, str]:
    """Card, driver, versions, processor, commit and date."""
    import numpy
    import torch

    described = {"card": "none", "driver": "none", "cuda": "none", "cudnn": "none"}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        described = {
            "card": f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, "
            f"{properties.multi_processor_count} multiprocessors",
            "driver": _driver(),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
        }
    return {
        **described,
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "commit": os.environ.get("MIMIK_COMMIT") or _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.splitlines()[0].strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    """The commit of the working tree, marked when files differ from it; "unknown" where git knows of none."""
    try:
        answers = [
            subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "-uno"])
        ]
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answers[0] + (" with changes" if answers[1] else "")
