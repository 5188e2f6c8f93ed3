"""Cutting the parts out of a face and putting their translations back, differentiably in images and masks.

Boxes are (B, P, 4) floats: left, top, right, bottom in pixels, right and bottom exclusive. No gradient flows through
them (Bodur et al., section 3.1; steps 4 to 12 of docs/papers/hier_seg.md#data-flow).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.labels import PARTS, SEGMENTATION_CLASSES, class_indices
from mimik.networks.constants import constant

MaskSpace = Literal["unit", "signed"]
Combination = Literal["max", "sum"]

BACKGROUND: Mapping[MaskSpace, float] = MappingProxyType({"unit": -1.0, "signed": 0.0})
"""Value of masked-out pixels."""


def part_masks(logits: Tensor, phi: float, parts: tuple[str, ...]) -> Tensor:
    """Softmax of phi times the logits (B, 19, H, W), summed over each part's classes -> disjoint (B, P, H, W) (Eq. 1).

    In float32, with the classes of a pixel side by side, as `channels_last` logits have them.
    """
    height, width = logits.shape[2:]
    with torch.autocast(logits.device.type, enabled=False):
        probabilities = torch.softmax(phi * logits.float().permute(0, 2, 3, 1).flatten(1, 2), 2)
        sums = probabilities @ _classes(parts, logits.device).mT.float()
    return sums.mT.contiguous().view(logits.shape[0], len(parts), height, width)


def hard_part_masks(labels: Tensor, parts: tuple[str, ...]) -> Tensor:
    """Class map int64 (B, H, W) -> bool (B, P, H, W)."""
    return _classes(parts, labels.device)[:, labels].transpose(0, 1)


def _classes(parts: tuple[str, ...], device: torch.device) -> Tensor:
    """Which of the 19 classes each part has, bool (P, 19)."""
    table = tuple(
        tuple(index in class_indices(PARTS[part]) for index in range(len(SEGMENTATION_CLASSES))) for part in parts
    )
    return constant(table, torch.bool, device)


def tight_boxes(masks: Tensor) -> Tensor:
    """Smallest boxes around the true pixels of bool (B, P, H, W); undefined if there are none."""
    _, _, height, width = masks.shape
    columns, rows = masks.any(2), masks.any(3)
    x = torch.arange(width, device=masks.device)
    y = torch.arange(height, device=masks.device)
    left = torch.where(columns, x, width).amin(2)
    right = torch.where(columns, x, -1).amax(2) + 1
    top = torch.where(rows, y, height).amin(2)
    bottom = torch.where(rows, y, -1).amax(2) + 1
    return torch.stack([left, top, right, bottom], 2).float()


def without_specks(masks: Tensor, least_share: float) -> Tensor:
    """Masks bool (B, P, H, W) without specks that lie apart from a part, of which one pixel would stretch its box.

    Columns of pixels between two empty columns belong together, and so do rows between two empty rows. Those that hold
    less than `least_share` of the part's pixels are left out: columns, then rows, then columns again. An eye and its
    brow, or the two halves of a part behind a strand of hair, are both kept. Nothing waits for the device.
    """
    for across in (2, 3, 2):
        masks = masks & _large_runs(masks.sum(across), least_share).unsqueeze(across)
    return masks


def _large_runs(counts: Tensor, least_share: float) -> Tensor:
    """Which places of a line are in runs without a zero that hold that share of all, bool; the largest always is.

    Args:
        counts: int64 (..., n), not negative.
        least_share: in [0, 1].
    """
    until = counts.cumsum(-1)
    there = counts > 0
    first = there & ~F.pad(there, (1, 0))[..., :-1]
    last = there & ~F.pad(there, (0, 1))[..., 1:]
    # Sums up to a place only grow: that at the start of its run is the largest so far, that at the end the next.
    before = torch.where(first, until - counts, 0).cummax(-1).values
    after = torch.where(last, until, until[..., -1:]).flip(-1).cummin(-1).values.flip(-1)
    held = torch.where(there, after - before, 0)
    return there & (held >= torch.minimum(least_share * until[..., -1:], held.amax(-1, keepdim=True)))


def grow_boxes(boxes: Tensor, margin: float, least: float, size: int) -> Tensor:
    """Add `margin` pixels on every side, widen to at least `least` pixels, and move into the image."""
    low, high = boxes[..., :2] - margin, boxes[..., 2:] + margin
    lack = (least - (high - low)).clamp(min=0) / 2
    low, high = low - lack, high + lack
    shift = (-low).clamp(min=0) - (high - size).clamp(min=0)
    low, high = low + shift, high + shift
    return torch.cat([low, high], -1).clamp(0, size)


def cut(images: Tensor, masks: Tensor, boxes: Tensor, size: int, space: MaskSpace) -> Tensor:
    """The parts of faces, cut out at their boxes and resized bilinearly (Eq. 2 and the crop of Eq. 3).

    Args:
        images: (B, 3, H, W) in [-1, 1].
        masks: (B, P, H, W) in [0, 1].
        boxes: (B, P, 4).
        size: side s of the crops.
        space: `unit` masks images in [0, 1], so that masked-out pixels are black (-1); `signed` in [-1, 1] (grey, 0).

    Returns:
        (B, P, 3, s, s) in [-1, 1].
    """
    batch, count, height, width = masks.shape
    with torch.autocast(images.device.type, enabled=False):
        above = (images.float().contiguous() - BACKGROUND[space])[:, None] * masks.float()[:, :, None]
        # Positions of the crop's pixels; outside the image its border is repeated.
        low, step = boxes[..., :2], (boxes[..., 2:] - boxes[..., :2]) / size
        places = low[..., None] + step[..., None] * (torch.arange(size, device=boxes.device) + 0.5) - 0.5
        x, y = places.flatten(0, 1).unbind(1)
        crops = _along_y(
            _along_x(above.flatten(0, 1), _linear(x.clamp(0, width - 1), width)),
            _linear(y.clamp(0, height - 1), height),
        )
    return crops.reshape(batch, count, *crops.shape[1:]) + BACKGROUND[space]


def stitch(parts: Tensor, valid: Tensor, boxes: Tensor, size: int, how: Combination, space: MaskSpace) -> Tensor:
    """Put crops back into their boxes, the inverse of `cut`, and the parts into one picture (steps 11 and 12).

    Args:
        parts: (B, P, 3, s, s) in [-1, 1].
        valid: (B, P), 0 where a sample has no such part, which is then left out.
        boxes: (B, P, 4).
        size: side of the picture.
        how: where parts overlap, the brightest (`max`) or their sum, clipped (`sum`).
        space: as for `cut`; pixels not covered by any part are background.

    Returns:
        (B, 3, size, size) in [-1, 1].
    """
    background, side = BACKGROUND[space], parts.shape[-1]
    with torch.autocast(parts.device.type, enabled=False):
        # Positions of the picture's pixels in the crop; outside it there is only background.
        low, step = boxes[..., :2], side / (boxes[..., 2:] - boxes[..., :2])
        pixels = torch.arange(size, device=boxes.device) + 0.5
        places = (pixels - low[..., None]) * step[..., None] - 0.5
        x, y = places.flatten(0, 1).unbind(1)
        rows = _linear(y, side) * valid.flatten()[:, None, None]
        above = _along_x(_along_y(parts.float().flatten(0, 1) - background, rows), _linear(x, side))
    placed = above.view(*parts.shape[:3], size, size)
    if how == "max":
        return placed.amax(1) + background
    return (placed.sum(1) + background).clamp(-1, 1)


def _linear(places: Tensor, length: int) -> Tensor:
    """Weights of linear interpolation at places (N, n) of a line of `length` pixels, zero outside -> (N, n, length).

    Boxes are upright, so bilinear resampling is two products with such weights. On a CPU they are faster than torch's
    `grid_sample`, which looks up every pixel separately.
    """
    pixels = torch.arange(length, device=places.device)
    return (1 - (places[..., None] - pixels).abs()).clamp(min=0)


def _along_x(images: Tensor, weights: Tensor) -> Tensor:
    """(N, C, H, W) and (N, w, W) -> (N, C, H, w)."""
    return torch.bmm(images.flatten(1, 2), weights.mT).view(*images.shape[:3], -1)


def _along_y(images: Tensor, weights: Tensor) -> Tensor:
    """(N, C, H, W) and (N, h, H) -> (N, C, h, W)."""
    lines = torch.bmm(weights, images.transpose(1, 2).flatten(2))
    return lines.view(*lines.shape[:2], *images.shape[1::2]).transpose(1, 2)


def cut_at(images: Tensor, corners: Tensor, height: int, width: int) -> Tensor:
    """Crops of one size at whole pixels, without resampling.

    Args:
        images: (B, C, H, W).
        corners: int64 (B, 2), left and top of each image's crop, which is inside the image.
        height, width: of the crops.

    Returns:
        (B, C, height, width).
    """
    index = _pixels(corners, height, width, images.shape[3])[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).view(*images.shape[:2], height, width)


def paste_at(canvas: Tensor, crops: Tensor, corners: Tensor) -> Tensor:
    """Inverse of `cut_at`: a copy of `canvas` (B, C, H, W) with the crops (B, C, h, w) pasted in their place."""
    height, width = crops.shape[2:]
    index = _pixels(corners, height, width, canvas.shape[3])[:, None].expand(-1, canvas.shape[1], -1)
    return canvas.flatten(2).scatter(2, index, crops.flatten(2).to(canvas.dtype)).view(canvas.shape)


def _pixels(corners: Tensor, height: int, width: int, row: int) -> Tensor:
    """Positions int64 (B, height * width) of the crops' pixels in flattened images with `row` pixels per row."""
    y = torch.arange(height, device=corners.device)[:, None]
    x = torch.arange(width, device=corners.device)
    left, top = corners[:, 0, None, None], corners[:, 1, None, None]
    return ((top + y) * row + left + x).flatten(1)
