"""A method with guidance: further networks and losses that look at the method's edits while it is trained.

Guidance is a part, not a method: any guide (`mimik.guidance`) goes with any method by `guidance` in params.yaml.
Nothing of it is needed to translate.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from mimik.training.batches import Batch
from mimik.training.loop import Terms, Update


def _reads(part: Any) -> frozenset[str]:
    reads: frozenset[str] = part.reads
    return reads


class Guided(nn.Module):
    """A task for the training loop: the method's own losses plus those of its guides.

    Terms of a guide go by `<guide>/<term>`. See docs/architecture.md for what a guide offers.
    """

    def __init__(self, method: Any, guides: Mapping[str, nn.Module]) -> None:
        """Put both together. Raises `ValueError` for a method that makes no edits while it is trained."""
        super().__init__()
        if not getattr(method, "edits_in_training", True):
            raise ValueError("this method makes no edits while it is trained, so guides have nothing to look at")
        self.method: Any = method
        # The name of a module within another holds no dot, as that of a guide of another package does.
        self.guides: Any = nn.ModuleDict({name.replace(".", ":"): guide for name, guide in guides.items()})
        self._named = tuple(guides)
        self.updates: Sequence[Update] = method.updates
        self.reads: frozenset[str] = frozenset(name for part in (method, *guides.values()) for name in _reads(part))

    @property
    def averaged(self) -> nn.Module:
        """What the method averages: guides are not kept."""
        averaged: nn.Module = self.method.averaged
        return averaged

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [*self.method.compiled, *(net for guide in self.guides.values() for net in guide.compiled)]

    @property
    def capturable(self) -> bool:
        """Whether the updates may be replayed as graphs: no part says otherwise."""
        return all(getattr(part, "capturable", True) for part in (self.method, *self.guides.values()))

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update, the method's first."""
        return self._all("discriminator_parameters")

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update, the method's first."""
        return self._all("generator_parameters")

    def _all(self, name: str) -> list[dict[str, Any]]:
        tasks = (self.method, *self.guides.values())
        return [group for task in tasks for group in getattr(task, name)() if group["params"]]

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """The method's discriminators, then the guides'; these start once the method has fakes to show."""
        total, terms = self.method.discriminator_loss(batch, step)
        if "fake" in batch:
            for name, guide in zip(self._named, self.guides.values(), strict=True):
                loss, own = guide.discriminator_loss(batch, step)
                total = total + loss
                terms |= {f"{name}/{term}": value for term, value in own.items()}
        return total, terms

    def penalty_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """The method's, of those that have such an update."""
        loss: tuple[Tensor, Terms] = self.method.penalty_loss(batch, step)
        return loss

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """The method's loss, then what the guides say of the same edit."""
        total, terms = self.method.generator_loss(batch, step)
        for name, guide in zip(self._named, self.guides.values(), strict=True):
            loss, own = guide.generator_loss(batch, step)
            total = total + loss
            terms |= {f"{name}/{term}": value for term, value in own.items()}
        return total, terms
