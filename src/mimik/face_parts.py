"""Cutting the parts out of a face and putting their translations back, differentiably in the images.

Boxes are (B, P, 4) floats: left, top, right, bottom in pixels, right and bottom exclusive. No gradient flows through
them (Bodur et al., section 3.1; papers/spec hier_seg c, steps 5 to 12).
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.labels import PARTS, SEGMENTATION_CLASSES, class_indices

MaskSpace = Literal["unit", "signed"]


def part_masks(probabilities: Tensor, parts: tuple[str, ...]) -> Tensor:
    """Sum of class probabilities (B, 19, H, W) per part -> (B, P, H, W); the parts stay disjoint."""
    return torch.stack([probabilities[:, class_indices(PARTS[part])].sum(1) for part in parts], 1)


def hard_part_masks(labels: Tensor, parts: tuple[str, ...]) -> Tensor:
    """Class map int64 (B, H, W) -> bool (B, P, H, W)."""
    table = torch.zeros(len(parts), len(SEGMENTATION_CLASSES), dtype=torch.bool, device=labels.device)
    for row, part in enumerate(parts):
        table[row, class_indices(PARTS[part])] = True
    return table[:, labels].transpose(0, 1)


def tight_boxes(masks: Tensor) -> Tensor:
    """Smallest boxes that hold the true pixels of bool (B, P, H, W); undefined where there are none."""
    _, _, height, width = masks.shape
    columns, rows = masks.any(2), masks.any(3)
    x = torch.arange(width, device=masks.device)
    y = torch.arange(height, device=masks.device)
    left = torch.where(columns, x, width).amin(2)
    right = torch.where(columns, x, -1).amax(2) + 1
    top = torch.where(rows, y, height).amin(2)
    bottom = torch.where(rows, y, -1).amax(2) + 1
    return torch.stack([left, top, right, bottom], 2).float()


def grow_boxes(boxes: Tensor, margin: float, least: float, size: int) -> Tensor:
    """Add `margin` pixels on every side, widen to at least `least` pixels, and move into the image."""
    low, high = boxes[..., :2] - margin, boxes[..., 2:] + margin
    lack = (least - (high - low)).clamp(min=0) / 2
    low, high = low - lack, high + lack
    shift = (-low).clamp(min=0) - (high - size).clamp(min=0)
    low, high = low + shift, high + shift
    return torch.cat([low, high], -1).clamp(0, size)


def apply_mask(images: Tensor, masks: Tensor, space: MaskSpace) -> Tensor:
    """Images (B, 3, H, W) times each mask (B, P, H, W) -> (B, P, 3, H, W) (Eq. 2).

    `unit` multiplies in [0, 1], so that what is masked out is black (-1); `signed` multiplies in [-1, 1] (grey, 0).
    """
    images, masks = images[:, None], masks[:, :, None]
    return (images + 1) * masks - 1 if space == "unit" else images * masks


def _affine(boxes: Tensor, size: int, inverse: bool) -> Tensor:
    """(n, 4) boxes -> (n, 2, 3) for `affine_grid`: crop -> image coordinates, or image -> crop with `inverse`."""
    boxes = boxes * (2 / size) - 1
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    centre = (boxes[:, 2:] + boxes[:, :2]) / 2
    theta = torch.zeros(len(boxes), 2, 3, device=boxes.device)
    scale = 1 / half if inverse else half
    theta[:, 0, 0], theta[:, 1, 1] = scale[:, 0], scale[:, 1]
    theta[:, :, 2] = -centre / half if inverse else centre
    return theta


def crop(parts: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut (B, P, 3, H, W) at `boxes` (B, P, 4) and resize to `size`, bilinearly -> (B, P, 3, size, size)."""
    batch, count, channels, height, _ = parts.shape
    with torch.autocast(parts.device.type, enabled=False):
        theta = _affine(boxes.flatten(0, 1), height, inverse=False)
        grid = F.affine_grid(theta, [batch * count, channels, size, size], align_corners=False)
        cut = F.grid_sample(
            parts.float().flatten(0, 1), grid, mode="bilinear", padding_mode="border", align_corners=False
        )
    return cut.view(batch, count, channels, size, size)


def paste(parts: Tensor, boxes: Tensor, size: int, space: MaskSpace) -> Tensor:
    """Inverse of `crop`: (B, P, 3, s, s) into their boxes -> (B, P, 3, size, size), background outside."""
    batch, count, channels, _, _ = parts.shape
    background = -1.0 if space == "unit" else 0.0
    with torch.autocast(parts.device.type, enabled=False):
        theta = _affine(boxes.flatten(0, 1), size, inverse=True)
        grid = F.affine_grid(theta, [batch * count, channels, size, size], align_corners=False)
        # Zero padding is the background after the shift; no seam of half-transparent pixels at the border.
        placed = F.grid_sample(
            parts.float().flatten(0, 1) - background,
            grid,
            mode="bilinear",
            padding_mode="zeros",
            align_corners=False,
        )
    return placed.view(batch, count, channels, size, size) + background


def combine(placed: Tensor, how: Literal["max", "sum"], space: MaskSpace) -> Tensor:
    """Stitch (B, P, 3, H, W) into (B, 3, H, W): the brightest, or the sum (clipped in [0, 1] space for `unit`)."""
    if how == "max":
        return placed.amax(1)
    if space == "unit":
        return (placed + 1).sum(1).clamp(max=2) - 1
    return placed.sum(1).clamp(-1, 1)


def cut_at(images: Tensor, corners: Tensor, height: int, width: int) -> Tensor:
    """Crops of one size and of whole pixels, without resampling.

    Args:
        images: (B, C, H, W).
        corners: int64 (B, 2), left and top of each image's crop, which lies inside the image.
        height, width: of the crops.

    Returns:
        (B, C, height, width).
    """
    index = _pixels(corners, height, width, images.shape[3])[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).view(*images.shape[:2], height, width)


def paste_at(canvas: Tensor, crops: Tensor, corners: Tensor) -> Tensor:
    """Inverse of `cut_at`: a copy of `canvas` (B, C, H, W) where crops (B, C, h, w) replace what lay there."""
    height, width = crops.shape[2:]
    index = _pixels(corners, height, width, canvas.shape[3])[:, None].expand(-1, canvas.shape[1], -1)
    return canvas.flatten(2).scatter(2, index, crops.flatten(2).to(canvas.dtype)).view(canvas.shape)


def _pixels(corners: Tensor, height: int, width: int, row: int) -> Tensor:
    """Places int64 (B, height * width) of the crops' pixels in flattened images with `row` pixels a row."""
    y = torch.arange(height, device=corners.device)[:, None]
    x = torch.arange(width, device=corners.device)
    left, top = corners[:, 0, None, None], corners[:, 1, None, None]
    return ((top + y) * row + left + x).flatten(1)
