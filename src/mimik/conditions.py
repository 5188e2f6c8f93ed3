"""What a generator is told, as the vector that its networks take."""

import torch.nn.functional as F
from torch import Tensor


def target_label(target: Tensor, classes: int) -> Tensor:
    """One-hot target class, float (B, classes), from int64 (B,): StarGAN's condition."""
    return F.one_hot(target, classes).float()


def label_difference(source: Tensor, target: Tensor, classes: int) -> Tensor:
    """Target minus source as one-hot vectors, float (B, classes) in {-1, 0, 1}; zero asks for no change."""
    return target_label(target, classes) - target_label(source, classes)
