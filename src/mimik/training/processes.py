"""Several processes that train together, as started by torchrun: averaged gradients and a joint decision to stop."""

import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from mimik.errors import UserError

BUCKET_BYTES = 32 * 2**20
"""Gradients are sent in messages of about this size, so that there are few of them."""

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
        # Threads of gloo that still run when Python exits would abort the process although its training is complete.
        atexit.register(_leave)
    return dist.get_rank(), dist.get_world_size()


def alone() -> bool:
    """Whether no other process trains together with this one."""
    return not dist.is_initialized()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """All-reduce the gradients of `parameters` to their mean over the processes, in buckets.

    This is explicit rather than by DistributedDataParallel, whose hooks only see calls of a module's `forward`, which
    gradient penalties bypass.

    Raises:
        UserError: another process has ended.
    """
    if not dist.is_initialized():
        return
    # Which parameters have a gradient depends only on the step, so every process sends the same messages.
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


def sum_over_processes(values: Sequence[Tensor]) -> None:
    """Replace tensors of one type by their sums over the processes, in one message.

    Raises:
        UserError: another process has ended.
    """
    if not values or not dist.is_initialized():
        return
    flat = torch.cat([value.reshape(-1) for value in values])
    with _all_there():
        dist.all_reduce(flat)
    for value, piece in zip(values, flat.split([value.numel() for value in values]), strict=True):
        value.copy_(piece.view_as(value))


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients of one type in order, in buckets of at least `BUCKET_BYTES`, except for the last one."""
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
    """A joint decision of all processes after every step: whether any of them was asked to stop.

    A process that stopped on its own would leave the others waiting for its gradients. Votes are exchanged in parallel
    to training, between CPUs even if gradients are exchanged between GPUs. The result of a vote is available one step
    later.
    """

    def __init__(self) -> None:
        self._group = None
        if dist.is_initialized() and dist.get_backend() != "gloo":
            self._group = dist.new_group(backend="gloo", timeout=PATIENCE)
        self._asked: tuple[Tensor, dist.Work] | None = None

    def stop(self, wished: bool) -> bool:
        """Vote, and return whether all stop now; a single process decides for itself.

        Raises:
            UserError: another process has ended.
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

    def settle(self) -> None:
        """Wait for the last vote, whose result nobody needs: gloo aborts a process that ends with one on its way.

        Raises:
            UserError: another process has ended.
        """
        if self._asked is not None:
            with _all_there():
                self._asked[1].wait()
            self._asked = None


@contextmanager
def _all_there() -> Iterator[None]:
    """Report a broken connection as the end of another process."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise UserError(
            f"Process {os.environ.get('RANK', '?')} of {os.environ.get('WORLD_SIZE', '?')} lost the connection to "
            f"another one that trained with it ({str(error).splitlines()[0][:200]}). See the messages of that process "
            "above; the same command continues from the last checkpoint."
        ) from error
