"""Where and how tensors are computed: device, precision, memory, processes."""

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
import torch.distributed
from filelock import FileLock, Timeout
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from mimik.errors import UserError

Precision = Literal["auto", "fp32", "bf16"]

_held: list[FileLock] = []


def pick_device() -> torch.device:
    """The device of this process.

    Under torchrun the GPU of the local rank; otherwise the first GPU that no other mimik process of this machine
    holds (a lock file per GPU, kept until the process ends; Snakemake only counts GPUs, it assigns none); the CPU
    where there is none.
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
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
        return torch.device("cuda", index)
    return torch.device("cuda", 0)


def autocast_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """bfloat16 where `precision` asks for it (`auto`: where the hardware multiplies it natively), else None."""
    if precision == "fp32":
        return None
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else None


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
    # -1 is never; the largest other number, 2 GiB, is less than what a step at published widths can free at once.
    libc.mallopt(trim_threshold, -1)


def compile_network(network: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile a network as a whole, for every shape of its inputs that it meets.

    `nn.Module.compile` leaves an `nn.Sequential` uncompiled: it passes by functions of torch itself unless other code
    calls them, and then compiles what is inside one layer at a time.

    Args:
        network: called with tensors.
        backend: of `torch.compile`.

    Raises:
        UserError: there is no C++ compiler, which inductor needs on a CPU.
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

    The gradients are the same to the bit: the second pass sees the same inputs, random draws and autocast, and running
    statistics of batch normalisation see every batch once.

    Raises:
        UserError: the network is normalised spectrally; a second pass would go on with its power iteration.
    """
    if any(parametrize.is_parametrized(part) for part in network.modules()):
        raise UserError(
            "recompute: spectral normalisation changes with every pass, so that features cannot be computed again. "
            "Set training.recompute: false, or spectral_norm: false."
        )
    forward = network.forward
    normalisations = [part for part in network.modules() if isinstance(part, _BatchNorm)]

    def forgetting(*inputs: Any) -> Any:
        return checkpoint(
            forward, *inputs, use_reentrant=False, context_fn=lambda: (nullcontext(), _kept_statistics(normalisations))
        )

    network.forward = forgetting


@contextmanager
def _kept_statistics(normalisations: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let batch normalisations in training mode compute as ever, without moving their running statistics."""
    before = [(part, part.momentum, part.num_batches_tracked) for part in normalisations]
    for part in normalisations:
        part.momentum, part.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for part, momentum, tracked in before:
            part.momentum, part.num_batches_tracked = momentum, tracked


def start_processes(device: torch.device) -> tuple[int, int]:
    """Join the process group that torchrun describes in the environment. Returns (rank, number of processes)."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return 0, 1
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """All-reduce the gradients of `parameters` to their mean over the processes, as one message.

    Explicit rather than by DistributedDataParallel, whose hooks only see what goes through a module's
    `forward`; gradient penalties do not.
    """
    if not torch.distributed.is_initialized():
        return
    # Which parameters have a gradient follows from the step alone, so that every process sends the same message.
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    offset = 0
    for gradient in gradients:
        gradient.copy_(flat[offset : offset + gradient.numel()].view_as(gradient))
        offset += gradient.numel()


def run_environment() -> dict[str, str]:
    """Device, processor, threads and versions of this process, for records of results."""
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
    return {
        "device": device,
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "cores": str(os.cpu_count()),
    }


def _processor() -> str:
    """The processor's model name where Linux tells it, else what the platform calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
