"""Faces as label maps: a frozen parser, and SeCGAN's 12 classes merged from its 19 (Sun et al., section 3).

A mask is float (B, 12, H, W), a distribution over `labels.SECGAN_CLASSES` at every pixel; one-hot, or soft. Parser and
classes: docs/papers/secgan.md#parser.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.labels import SECGAN_CLASSES, SECGAN_OF_SEGMENTATION

MASK_CHANNELS = len(SECGAN_CLASSES)

_LEAST = 1e-12
"""Least probability of a blended mask: its logarithm stays finite."""


class Parser(nn.Module):
    """P: a frozen pre-trained segmenter; gradients pass through it to the image."""

    def __init__(self, segmenter: nn.Module) -> None:
        """Freeze `segmenter`: images (B, 3, H, W) in [-1, 1] -> logits (B, 19, H, W)."""
        super().__init__()
        self.segmenter = segmenter.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Parser":
        """Like `nn.Module.train`; the segmenter stays in evaluation mode."""
        super().train(mode)
        self.segmenter.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities float32 (B, 12, H, W) of images (B, 3, H, W) in [-1, 1]."""
        return merge(F.log_softmax(self.segmenter(images).float(), 1))

    @torch.no_grad()
    def masks(self, images: Tensor) -> Tensor:
        """One-hot masks of images, without a graph."""
        return one_hot(self(images))

    def masks_of(self, batch: dict[str, Tensor]) -> Tensor:
        """One-hot masks of the batch's real faces. They are made once and stay in the batch, as `label_maps`.

        Other updates on the batch read them there, and so does a guide beside a method that has a parser as well: both
        are the entry's pre-trained segmenter, and frozen.
        """
        if "label_maps" not in batch:
            batch["label_maps"] = self.masks(batch["image"])
        return batch["label_maps"]

    def stored(self) -> dict[str, Tensor]:
        """Weights by name, under `parser.`, for a generator that needs its parser to translate."""
        return {f"parser.{name}": value.contiguous() for name, value in self.segmenter.state_dict().items()}

    def load_stored(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Load the weights from `stored` out of a larger state; returns the rest.

        Raises:
            RuntimeError: names or shapes differ.
        """
        own = {name.removeprefix("parser."): value for name, value in state.items() if name.startswith("parser.")}
        self.segmenter.load_state_dict(own)
        return {name: value for name, value in state.items() if not name.startswith("parser.")}


def merge(log_probabilities: Tensor) -> Tensor:
    """Log-probabilities of the 19 classes (B, 19, H, W) -> of the 12, (B, 12, H, W): probabilities are summed."""
    planes = log_probabilities.unbind(1)
    merged = []
    for group in range(MASK_CHANNELS):
        members = [plane for plane, of in zip(planes, SECGAN_OF_SEGMENTATION, strict=True) if of == group]
        merged.append(torch.logsumexp(torch.stack(members, 1), 1) if len(members) > 1 else members[0])
    return torch.stack(merged, 1)


def one_hot(scores: Tensor) -> Tensor:
    """Scores (B, C, H, W) -> one-hot float32 of the largest."""
    return torch.zeros_like(scores, dtype=torch.float32).scatter_(1, scores.argmax(1, keepdim=True), 1.0)


def compose_masks(masks: Tensor, out: Tensor) -> Tensor:
    """The edited mask, made from the input's mask and the output of the generator's last layer.

    Args:
        masks: (B, C, H, W), the input's.
        out: (B, C, H, W): softmax over the classes; or (B, C + 1, H, W): the same, blended with the input by the
            share in the last channel, as the masked head of `mimik.networks.stargan` does with images.

    Returns:
        log-probabilities (B, C, H, W).
    """
    channels = masks.shape[1]
    if out.shape[1] == channels:
        return F.log_softmax(out, 1)
    share = torch.sigmoid(out[:, channels:])
    blended = masks + share * (torch.softmax(out[:, :channels], 1) - masks)
    return blended.clamp(min=_LEAST).log()


def cross_entropy(target: Tensor, log_probabilities: Tensor) -> Tensor:
    """-1/(HW) sum_ij target_ij . log p_ij (Sun et al., eq. 10 to 12), averaged over the batch; both (B, C, H, W)."""
    return -(target * log_probabilities).sum(1).mean()
