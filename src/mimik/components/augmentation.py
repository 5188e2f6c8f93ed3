"""Random changes of everything that a critic sees, so that it cannot learn few training faces by heart.

Real and fake images pass through the same random transformations on their way to the critic, in the updates of both
players, and the generator's gradient passes back through them (Karras et al. 2020, "Training generative adversarial
networks with limited data"; Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training"). Every
transformation is applied to every image with the probability p, independently of the others, so that most of what the
critic sees stays as it is and the generator does not learn to make transformed images.

p is fixed, or follows the critic's overfitting by the heuristic r_t of Karras et al.: the mean sign of the critic's
outputs for real training images, 1 when it is sure of all of them, 0 when it cannot tell. p rises while r_t is above a
target, and falls while it is below. A critic that also learns realness given the state has two such means, and the
larger one counts: of few faces it learns by heart who shows what, long before it does so with what is real.

Images are never mirrored here. `training.flip` mirrors half of the training faces before anything sees them, where the
dataset allows it; mirrored once more, they would look the same to a critic.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRENGTHS = ("shift", "scale", "rotation", "stretch", "brightness", "contrast", "saturation", "noise", "cutout")
"""The transformations, by the options that hold their strengths."""


@dataclass(frozen=True)
class AugmentationConfig:
    """What a critic's images pass through. Transformations with a strength of 0 are left out.

    Attributes:
        probability: p, the probability of every transformation of every image; 0 switches augmentation off. Where
            `adaptive`, p at the start.
        adaptive: let p follow the critic's overfitting. Not for `wgan-gp`, where the sign of an output means nothing.
        target: value of r_t that p is to keep.
        images: number of real images over which p goes from 0 to 1; the published number is for runs of millions.
        every: number of real images between two changes of p.
        most: p never rises above this, because a generator learns transformations that are nearly always there.
        shift: largest shift as a fraction of the side, by whole pixels, and again by any amount.
        scale: standard deviation of the binary logarithm of the magnification.
        rotation: largest angle in degrees.
        stretch: standard deviation of the binary logarithm of the stretching of the width, by which the height shrinks.
        brightness: standard deviation of what is added to all pixels, which are in [-1, 1].
        contrast: standard deviation of the binary logarithm of the factor on all pixels.
        saturation: standard deviation of the binary logarithm of the factor on the distance from grey.
        noise: standard deviation of the standard deviation of Gaussian noise.
        cutout: side of a square that turns grey, as a fraction of the side.
    """

    probability: float = 0.0
    adaptive: bool = False
    target: float = 0.6
    images: int = 500_000
    every: int = 256
    most: float = 0.8
    shift: float = 0.125
    scale: float = 0.2
    rotation: float = 10.0
    stretch: float = 0.1
    brightness: float = 0.2
    contrast: float = 0.5
    saturation: float = 1.0
    noise: float = 0.0
    cutout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        if not 0 <= self.probability <= 1 or not 0 < self.most <= 1:
            raise ValueError("probability and most must be from 0 to 1, and most above 0")
        if self.adaptive and self.probability > self.most:
            raise ValueError("an adaptive probability must not start above most")
        if not -1 < self.target < 1:
            raise ValueError("target must be between -1 and 1")
        if self.images < 1 or self.every < 1:
            raise ValueError("images and every must be at least 1")
        if min(getattr(self, name) for name in STRENGTHS) < 0:
            raise ValueError(f"{', '.join(STRENGTHS)} must not be negative")
        if self.shift > 0.5 or self.rotation > 180 or self.cutout > 1:
            raise ValueError("shift must be at most 0.5, rotation at most 180, cutout at most 1")
        if self.on and not any(getattr(self, name) for name in STRENGTHS):
            raise ValueError("augmentation is on, but every transformation has a strength of 0")

    @property
    def on(self) -> bool:
        """Whether anything is ever transformed."""
        return self.adaptive or self.probability > 0


class Augmentation(nn.Module):
    """The transformations of one critic's images, with p as a part of its state where p is adaptive.

    Without transformations it returns what it is given, and draws no random numbers.
    """

    p: Tensor
    tally: Tensor
    fresh: Tensor

    def __init__(self, config: AugmentationConfig, channels: int = 3, colours: bool = True) -> None:
        """Remember the settings.

        Args:
            config: settings.
            channels: of one image. Images side by side in the channel axis are transformed independently.
            colours: False for maps of depth, normals or labels: they are only moved.
        """
        super().__init__()
        self.config, self.channels, self.colours = config, channels, colours
        if config.adaptive:
            self.register_buffer("p", torch.tensor(config.probability))
            # Sums of signs, plain and given the state, and number of real images: since p was last changed, and of the
            # present update.
            self.register_buffer("tally", torch.zeros(3))
            self.register_buffer("fresh", torch.zeros(3), persistent=False)
        self.register_load_state_dict_pre_hook(_optional)

    @property
    def adaptive(self) -> bool:
        """Whether p follows the critic's overfitting."""
        return self.config.adaptive

    @property
    def probability(self) -> Tensor | float:
        """The present p."""
        return self.p if self.adaptive else self.config.probability

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, n * channels, H, W) in [-1, 1], every one transformed on its own; results may leave [-1, 1]."""
        if not self.config.on:
            return images
        separate = images.unflatten(1, (-1, self.channels)).flatten(0, 1)
        seen = moved(separate, self.config, self.probability)
        if self.colours:
            seen = coloured(seen, self.config, self.probability)
        together: Tensor = seen.unflatten(0, (len(images), -1)).flatten(1, 2)
        return together

    @torch.no_grad()
    def observe(self, realness: Tensor, given: Tensor | None = None, weight: Tensor | None = None) -> Tensor:
        """Count what a critic thinks of real images, for an adaptive p, and return the present p.

        Args:
            realness: (B, P) mean signs of the critics' maps, from -1, taken to be fake, to 1, taken to be real.
            given: (B, P) signs of realness given the images' own states, of critics that learn it.
            weight: (B, P), 0 where an image does not count.
        """
        share = (torch.ones_like(realness) if weight is None else weight).float() / realness.shape[1]
        judged = (realness, realness if given is None else given)
        self.fresh += torch.stack([*((signs * share).sum() for signs in judged), share.sum()])
        return self.p.clone()

    @torch.no_grad()
    def adapt(self) -> None:
        """Add what was observed in an update, and change p if enough images were."""
        config = self.config
        self.tally += self.fresh
        self.fresh.zero_()
        seen = self.tally[2]
        due = seen >= config.every
        up = torch.sign((self.tally[:2] / seen.clamp(min=1)).amax() - config.target)
        self.p.copy_(torch.where(due, (self.p + up * seen / config.images).clamp(0, config.most), self.p))
        self.tally.copy_(torch.where(due, 0.0, self.tally))


def _optional(module: "Augmentation", state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """A critic may start from one that had no adaptive p, whose own p then stays, or from one that had."""
    for name in ("p", "tally"):
        if module.adaptive:
            state.setdefault(f"{prefix}{name}", getattr(module, name))
        else:
            state.pop(f"{prefix}{name}", None)


def moved(images: Tensor, config: AugmentationConfig, p: Tensor | float) -> Tensor:
    """Shift, magnify, turn and stretch images (N, c, H, W) about their centres, each with the probability p.

    One bilinear resampling does all of it; beyond its border an image is continued by its reflection.
    """
    used = [bool(amount) for amount in (config.shift, config.shift, config.scale, config.rotation, config.stretch)]
    if not any(used):
        return images
    height, width = images.shape[2:]
    count, device = len(images), images.device
    chosen = torch.rand(5, count, device=device) < p
    whole, part = (2 * torch.rand(2, count, 2, device=device) - 1) * config.shift
    angle = (2 * torch.rand(count, device=device) - 1) * (config.rotation * torch.pi / 180)
    factors = torch.randn(2, count, device=device)
    each = (count, 1, 1)

    def gated(index: int, values: Tensor) -> Tensor:
        return torch.where(chosen[index], values, 0.0).view(each)

    whole_x, whole_y = (gated(0, (whole[:, axis] * side).round()) for axis, side in enumerate((width, height)))
    part_x, part_y = (gated(1, part[:, axis] * side) for axis, side in enumerate((width, height)))
    magnify, angle = gated(2, config.scale * factors[0]).exp2(), gated(3, angle)
    stretch = gated(4, config.stretch * factors[1]).exp2()
    # Where a pixel of the result comes from: all changes undone, the last one first. In pixels from the centre.
    x = (torch.arange(width, device=device) + (0.5 - width / 2)).view(1, 1, -1)
    y = (torch.arange(height, device=device) + (0.5 - height / 2)).view(1, -1, 1)
    x, y = (x - part_x) / stretch, (y - part_y) * stretch
    x, y = angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x
    x, y = x / magnify - whole_x, y / magnify - whole_y
    grid = torch.stack([x * (2 / width), y * (2 / height)], 3)
    found = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    changed = torch.stack([gate for gate, use in zip(chosen, used, strict=True) if use]).any(0)
    return torch.where(changed.view(-1, 1, 1, 1), found, images)


def coloured(images: Tensor, config: AugmentationConfig, p: Tensor | float) -> Tensor:
    """Change brightness, contrast and saturation of images (N, 3, H, W), add noise, cut a square out; each with p."""
    count, device = len(images), images.device
    each = (count, 1, 1, 1)
    chosen = (torch.rand(5, count, device=device) < p).view(5, *each)
    amounts = torch.randn(4, count, device=device).view(4, *each)
    place = torch.rand(2, count, device=device).view(2, count, 1, 1, 1)
    if config.brightness:
        images = torch.where(chosen[0], images + config.brightness * amounts[0], images)
    if config.contrast:
        images = torch.where(chosen[1], images * torch.exp2(config.contrast * amounts[1]), images)
    if config.saturation:
        grey = images.mean(1, keepdim=True)
        images = torch.where(chosen[2], grey + (images - grey) * torch.exp2(config.saturation * amounts[2]), images)
    if config.noise:
        noisy = images + (config.noise * amounts[3].abs()) * torch.randn(images.shape, device=device)
        images = torch.where(chosen[3], noisy, images)
    if config.cutout:
        rows, columns = ((torch.arange(side, device=device) + 0.5) / side for side in images.shape[2:])
        within = (columns - place[0]).abs() < config.cutout / 2
        within = within & ((rows[:, None] - place[1]).abs() < config.cutout / 2)
        images = torch.where(chosen[4] & within, 0.0, images)
    return images
