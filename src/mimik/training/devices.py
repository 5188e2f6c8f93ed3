"""Where and how tensors are computed: device, precision, memory, compiled networks."""

import ctypes
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from mimik.errors import UserError

Precision = Literal["auto", "fp32", "tf32", "bf16"]

STEPS_WORTH_COMPILING = 5000
"""Minimum length of a run, in steps, for which `training.compile: auto` compiles on a GPU. On an H100 compiling StarGAN
took 50 s and saved 16 of 48 ms of a step (docs/gpu.md), so it pays off after 3,100 steps."""

_held: list[FileLock] = []


def pick_device() -> torch.device:
    """The device of this process.

    Under torchrun the GPU of the local rank (processes beyond the number of GPUs share them); otherwise the first GPU
    that no other mimik process of this machine holds (a lock file per GPU, kept until the process ends; Snakemake only
    counts GPUs, it assigns none); the CPU if there is none.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        torch.cuda.set_device(device)
        return device
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace(",", "-")
    for index in range(torch.cuda.device_count()):
        lock = FileLock(Path(tempfile.gettempdir()) / f"mimik-gpu-{visible}-{index}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _held.append(lock)
        torch.cuda.set_device(index)
        return torch.device("cuda", index)
    return torch.device("cuda", 0)


def chosen_device(device: torch.device | str | None) -> torch.device:
    """The device with the given name ("cpu", "cuda:1"), or `pick_device` for None.

    Raises:
        ValueError: this machine has no such device.
    """
    if device is None:
        return pick_device()
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen).cpu()
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"device: expected a device of this machine, such as cpu, got {device!r}") from error
    return chosen


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """bfloat16 if `precision` selects it (`auto`: if the hardware multiplies it natively), else None."""
    if precision in ("fp32", "tf32"):
        return None
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None


def set_arithmetic(precision: Precision, device: torch.device, deterministic: bool = False) -> None:
    """Set how a GPU computes everything that is not bfloat16, for the whole process. Does nothing on a CPU.

    Convolutions in float32 may use TF32 (10 bits of mantissa) unless the precision is `fp32`; matrix products only
    if it is `tf32`: some of the few that are not in bfloat16 cut and stitch images, where 10 bits would be visible.
    cuDNN tries its algorithms once for every shape and keeps the fastest.

    Args:
        precision: precision of the run.
        device: the device in use.
        deterministic: use only algorithms that give the same bits in every run, and do not try them for speed.
    """
    if device.type != "cuda":
        return
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = not deterministic
    torch.backends.cudnn.deterministic = deterministic
    if deterministic:
        # Must be set before cuBLAS is used for the first time.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)


def worth_compiling(compile_: Literal["auto", True, False], steps: int, device: torch.device) -> bool:
    """Whether the setting `training.compile` compiles in a run of so many steps on a device."""
    if compile_ == "auto":
        return device.type == "cuda" and steps >= STEPS_WORTH_COMPILING
    return compile_


def keep_freed_memory() -> None:
    """Tell glibc's malloc to keep large blocks instead of returning them to the kernel after every step.

    A training step allocates the same large activations again and again; by default each comes as fresh pages that
    the kernel must zero (a third of the time of a StarGAN step at 64 px). Does nothing on other C libraries.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL("libc.so.6")
    trim_threshold, mmap_max = -1, -4
    libc.mallopt(mmap_max, 0)
    # -1 means never; the largest other number, 2 GiB, is less than what a step at published widths can free at once.
    libc.mallopt(trim_threshold, -1)


def compile_network(network: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile a network as a whole, for every shape of its inputs that it meets.

    `nn.Module.compile` leaves an `nn.Sequential` uncompiled: it skips torch's own functions unless other code calls
    them, and then compiles the contents one layer at a time.

    Args:
        network: called with tensors.
        backend: of `torch.compile`.

    Raises:
        UserError: there is no C++ compiler, which inductor needs for a CPU.
    """
    compiler = os.environ.get("CXX", "g++")
    if backend == "inductor" and not torch.cuda.is_available() and shutil.which(compiler) is None:
        raise UserError(
            f"training.compile: there is no C++ compiler ({compiler}), which compiling for a CPU needs. Install one "
            "(Debian: apt install g++), name it in the variable CXX, or set training.compile: false."
        )
    forward = network.forward

    def traced(*inputs: Any) -> Any:
        return forward(*inputs)

    # All networks share the code above; each has its shapes, with gradients and without.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    network.forward = torch.compile(traced, dynamic=False, fullgraph=True, backend=backend)


def recompute(network: nn.Module) -> None:
    """Make a network forget its features until the backward pass, which computes them again.

    The gradients are identical to the bit: the second pass sees the same inputs, random numbers and autocast, and the
    running statistics of batch normalisation see every batch once.

    Raises:
        UserError: the network has spectral normalisation; a second pass would continue its power iteration.
    """
    if any(parametrize.is_parametrized(part) for part in network.modules()):
        raise UserError(
            "recompute: spectral normalisation changes with every pass, so features cannot be computed again. "
            "Set training.recompute: false, or spectral_norm: false."
        )
    forward = network.forward
    normalisations = [part for part in network.modules() if isinstance(part, _BatchNorm)]
    draws = any(isinstance(part, _DropoutNd) for part in network.modules())

    def forgetting(*inputs: Any) -> Any:
        return checkpoint(
            forward,
            *inputs,
            use_reentrant=False,
            # Keeping the generators' state takes time; only networks that draw random numbers need it.
            preserve_rng_state=draws,
            context_fn=lambda: (nullcontext(), _kept_statistics(normalisations)),
        )

    network.forward = forgetting


@contextmanager
def _kept_statistics(normalisations: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let batch normalisations in training mode compute as usual without updating their running statistics."""
    before = [(part, part.momentum, part.num_batches_tracked) for part in normalisations]
    for part in normalisations:
        part.momentum, part.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for part, momentum, tracked in before:
            part.momentum, part.num_batches_tracked = momentum, tracked


def run_environment() -> dict[str, str]:
    """Device, its arithmetic, processor, threads and versions of this process, for records of results."""
    gpu = {}
    if torch.cuda.is_available():
        flags = torch.backends
        gpu = {
            "cuda": str(torch.version.cuda),
            "cudnn": str(flags.cudnn.version()),
            "tf32": f"convolutions {flags.cudnn.allow_tf32}, products {flags.cuda.matmul.allow_tf32}",
            "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        }
    return {
        "device": torch.cuda.get_device_name() if gpu else "CPU",
        **gpu,
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "cores": str(os.cpu_count()),
    }


def _processor() -> str:
    """The processor's model name as reported by Linux, else the platform's name for it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
