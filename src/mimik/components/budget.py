"""Options that methods need only at small budgets: declared once, with the functions that losses use for them.

Papers train for days. To learn something within minutes, a method can train its critic alone at first, update the
generator before the critic to save a pass, compute a costly term on some steps only, and keep its edits small. The
Config of a method inherits those classes below whose options it offers. By default a method follows its paper.

Options of the critic (realness per class, R1, augmentation) are in `mimik.components.adversary.AdversaryConfig`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.components import losses
from mimik.components.adversary import Loss, Terms
from mimik.labels import IGNORED, PARTS, class_indices
from mimik.networks.constants import constant
from mimik.networks.heads import Head


class Options:
    """Base of the classes below: a Config may inherit several, and `super().__post_init__()` checks all of them."""

    def __post_init__(self) -> None:
        """Nothing to check."""


@dataclass(frozen=True)
class Rounds(Options):
    """The order of the updates of a critic D and a generator G.

    Attributes:
        critic_updates: D updates per G update.
        critic_head_start: number of first steps in which D is trained alone, on the states of real images.
        reuse_fake: update G before D within a round and show D the fake that G was updated on instead of a new one.
            This saves one generator pass per step; D lags one G update behind.
    """

    critic_updates: int = 5
    critic_head_start: int = 0
    reuse_fake: bool = False

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        super().__post_init__()
        if self.critic_updates < 1:
            raise ValueError("critic_updates must be at least 1")

    def alone(self, step: int) -> bool:
        """Whether D is trained alone in a step."""
        return step < self.critic_head_start


@dataclass(frozen=True)
class LazyReconstruction(Options):
    """How often the reconstruction is computed.

    Attributes:
        reconstruction_every: compute the reconstruction terms only every this many steps, with their weight multiplied
            by it (their passes are half of a generator update, or more).
    """

    reconstruction_every: int = 1

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        super().__post_init__()
        if self.reconstruction_every < 1:
            raise ValueError("reconstruction_every must be at least 1")


@dataclass(frozen=True)
class OutputHead(Options):
    """How a generator's output becomes its edit, and the terms that keep the edit small.

    Attributes:
        head: see `mimik.networks.heads`.
        lambda_change: weight of the mean share of every pixel that the head replaces (not for the direct head).
        lambda_smooth: weight of the total variation of that share.
        lambda_outside: weight of the mean change of the face away from its eyes, brows, nose and mouth, which come from
            the dataset's masks (annotation `masks`).
    """

    head: Head = "direct"
    lambda_change: float = 0.0
    lambda_smooth: float = 0.0
    lambda_outside: float = 0.0

    def __post_init__(self) -> None:
        """Refuse combinations that make no sense."""
        super().__post_init__()
        if self.head == "direct" and (self.lambda_change or self.lambda_smooth):
            raise ValueError("lambda_change and lambda_smooth need a head other than direct")

    @property
    def reads(self) -> frozenset[str]:
        """Entries of a batch that these terms need, see `mimik.training.batches`."""
        return frozenset({"mask"} if self.lambda_outside else ())


def fake(rounds: Rounds, batch: dict[str, Tensor], step: int, make: Callable[[], Tensor]) -> Tensor | None:
    """The fake images that a critic sees in a step; None while it is trained alone. Arguments like `made`'s."""
    return None if rounds.alone(step) else made(batch, make)


def made(batch: dict[str, Tensor], make: Callable[[], Tensor]) -> Tensor:
    """The fake images of a batch without their graph; they are stored in the batch as `fake`.

    Args:
        batch: contains `fake` from an earlier update of the critic, or `edited` from the generator's update; with
            neither, the images are made.
        make: makes them; called without a graph.
    """
    if "fake" not in batch:
        with torch.no_grad():
            batch["fake"] = batch["edited"].detach() if "edited" in batch else make()
    return batch["fake"]


def due(step: int, every: int) -> int:
    """The factor of a term that is computed only every so many steps; 0 on the others, where it is left out."""
    return every if step % every == 0 else 0


def restrained(
    config: OutputHead, total: Tensor, terms: Terms, batch: dict[str, Tensor], *shares: Tensor | None
) -> Loss:
    """A generator's loss with the terms that keep its edit small: `change`, `smooth` and, if weighted, `outside`.

    Args:
        config: has the weights.
        total, terms: the loss without them.
        batch: contains `image`, its edit `edited` (B, C, H, W) and what `config.reads` names.
        shares: of every pixel that a head replaces, (B, c, H, W) in [0, 1], one of every network with such a head; the
            terms of all networks are summed.
    """
    replaced = [share for share in shares if share is not None]
    if replaced:
        change = torch.stack([share.mean() for share in replaced]).sum()
        smooth = torch.stack([losses.total_variation(share) for share in replaced]).sum()
        total = total + config.lambda_change * change + config.lambda_smooth * smooth
        terms = {**terms, "change": change, "smooth": smooth}
    if config.lambda_outside:
        where = away_from_parts(batch["mask"])[:, None]
        changed = (batch["edited"] - batch["image"]).abs().mean(1, keepdim=True)
        terms = {**terms, "outside": (changed * where).sum() / where.sum().clamp(min=1)}
        total = total + config.lambda_outside * terms["outside"]
    return total, terms


NEAR = 1 / 16
"""Pixels nearer to a part than this share of the side may move with it: a mouth that opens takes the chin along."""


def away_from_parts(labels: Tensor) -> Tensor:
    """Float (B, H, W), 1 where a pixel is farther than `NEAR` from every part, for class maps int64 (B, H, W).

    Pixels of unknown class (`mimik.labels.IGNORED`) count as parts.
    """
    inside = constant(_PARTS, torch.bool, labels.device)[labels].float()
    reach = round(NEAR * labels.shape[-1])
    return 1 - F.max_pool2d(inside[:, None], 2 * reach + 1, 1, reach)[:, 0]


_NOT_AWAY = {IGNORED, *class_indices([*chain(*PARTS.values())])}
_PARTS = tuple(label in _NOT_AWAY for label in range(IGNORED + 1))
