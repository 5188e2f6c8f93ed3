"""Several processes that train together, as torchrun starts them: gradients averaged, and one mind about stopping."""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from mimik.errors import UserError

BUCKET_BYTES = 32 * 2**20
"""Gradients travel in messages of about this size, so that few are sent."""

PATIENCE = timedelta(minutes=10)
"""How long a process waits for the others."""


def start_processes(device: torch.device) -> tuple[int, int]:
    """Join the process group that torchrun describes in the environment. Returns (rank, number of processes)."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    if not dist.is_initialized():
        # NCCL refuses two processes on one GPU.
        if device.type == "cuda" and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= torch.cuda.device_count():
            dist.init_process_group("nccl", device_id=device, timeout=PATIENCE)
        else:
            dist.init_process_group("gloo", timeout=PATIENCE)
        # Threads of gloo that are still there when Python ends abort the process, whose training was complete.
        atexit.register(_leave)
    return dist.get_rank(), dist.get_world_size()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """All-reduce the gradients of `parameters` to their mean over the processes, in buckets.

    Explicit rather than by DistributedDataParallel, whose hooks only see what goes through a module's `forward`;
    gradient penalties do not.

    Raises:
        UserError: another process is gone.
    """
    if not dist.is_initialized():
        return
    # Which parameters have a gradient follows from the step alone, so that every process sends the same messages.
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    with _all_there():
        sent = []
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            sent.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in sent:
            work.wait()
            flat /= dist.get_world_size()
            pieces = flat.split([gradient.numel() for gradient in bucket])
            for gradient, piece in zip(bucket, pieces, strict=True):
                gradient.copy_(piece.view_as(gradient))


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients of one type in their order, so many that a bucket holds at least `BUCKET_BYTES`, but for the last."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (size >= BUCKET_BYTES or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.nbytes
    if bucket:
        yield bucket


class StopVote:
    """One decision of all processes after every step: whether any of them was asked to stop.

    A process that stopped by itself would leave the others waiting for its gradients. Votes travel beside the
    training, through the processors also where gradients travel between GPUs: what is asked after one step is
    answered after the next.
    """

    def __init__(self) -> None:
        self._group = None
        if dist.is_initialized() and dist.get_backend() != "gloo":
            self._group = dist.new_group(backend="gloo", timeout=PATIENCE)
        self._asked: tuple[Tensor, dist.Work] | None = None

    def stop(self, wished: bool) -> bool:
        """Vote, and return whether all stop now; alone, a process decides for itself.

        Raises:
            UserError: another process is gone.
        """
        if not dist.is_initialized():
            return wished
        with _all_there():
            decided = False
            if self._asked is not None:
                votes, work = self._asked
                work.wait()
                decided = bool(votes.item())
            votes = torch.tensor([int(wished)])
            self._asked = (votes, dist.all_reduce(votes, group=self._group, async_op=True))
        return decided


@contextmanager
def _all_there() -> Iterator[None]:
    """A connection that breaks is another process that ended."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise UserError(
            f"Process {os.environ.get('RANK', '?')} of {os.environ.get('WORLD_SIZE', '?')} lost another one that "
            f"trained with it ({str(error).splitlines()[0][:200]}). What that one said stands above; the same command "
            "goes on from the last checkpoint."
        ) from error
