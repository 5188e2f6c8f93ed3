"""What a generator is told, as the vector that its networks take."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def target_label(target: Tensor, classes: int) -> Tensor:
    """One-hot target class, float (B, classes), from int64 (B,): StarGAN's condition."""
    return F.one_hot(target, classes).float()


def label_difference(source: Tensor, target: Tensor, classes: int) -> Tensor:
    """Target minus source as one-hot vectors, float (B, classes) in {-1, 0, 1}; zero asks for no change."""
    return target_label(target, classes) - target_label(source, classes)


def class_means(units: Tensor, labels: Tensor, classes: Sequence[str]) -> Tensor:
    """Mean action units of every expression: what a generator is told when it is asked for one by name.

    To be taken over the training split only.

    Args:
        units: float (N, K) intensities in [0, 1].
        labels: int64 (N,) position in `classes`; rows with -1 (unknown) are left out.
        classes: names of the C expressions.

    Returns:
        float32 (C, K).

    Raises:
        ValueError: shapes that do not fit, or an expression without a row.
    """
    if units.ndim != 2 or labels.shape != units.shape[:1]:
        raise ValueError(f"action units {tuple(units.shape)} do not fit labels {tuple(labels.shape)}")
    members = F.one_hot(labels + 1, len(classes) + 1)[:, 1:].T.double()  # (C, N), no column for the unknown
    counts = members.sum(1, keepdim=True)
    if empty := [name for name, count in zip(classes, counts[:, 0].tolist(), strict=True) if not count]:
        raise ValueError(f"no face shows {', '.join(empty)}, so its mean action units are not known")
    return (members @ units.double() / counts).float()


def interpolate(source: Tensor, target: Tensor, steps: int) -> Tensor:
    """Action units on the straight way from `source` to `target`, both included.

    Args:
        source, target: float (..., K), of one shape.
        steps: how many, at least 2.

    Returns:
        (steps, ..., K).

    Raises:
        ValueError: different shapes, or fewer than two steps.
    """
    if source.shape != target.shape or steps < 2:
        raise ValueError(f"cannot go from {tuple(source.shape)} to {tuple(target.shape)} in {steps} steps")
    share = torch.linspace(0.0, 1.0, steps, dtype=source.dtype, device=source.device)
    return torch.lerp(source[None], target[None], share.reshape(-1, *[1] * source.ndim))
