"""A method with guidance: further networks and losses that evaluate the method's edits during training.

Guidance is a component, not a method: any guide (`mimik.guidance`) can be added to any method with `guidance` in
params.yaml. It is not needed for translation.
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

    Terms of a guide are named `<guide>/<term>`. See docs/architecture.md for the interface of a guide.
    """

    def __init__(self, method: Any, guides: Mapping[str, nn.Module]) -> None:
        """Combine both. Raises `ValueError` for a method that makes no edits during training."""
        super().__init__()
        if not getattr(method, "edits_in_training", True):
            raise ValueError("this method makes no edits during training, so guides cannot be applied to it")
        self.method: Any = method
        # Names of submodules must not contain dots, but the name of a guide of another package does.
        self.guides: Any = nn.ModuleDict({name.replace(".", ":"): guide for name, guide in guides.items()})
        self._named = tuple(guides)
        self.updates: Sequence[Update] = method.updates
        self.reads: frozenset[str] = frozenset(name for part in (method, *guides.values()) for name in _reads(part))

    @property
    def averaged(self) -> nn.Module:
        """The method's averaged module: guides are not kept."""
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
        """The method's discriminators, then the guides'; the latter start once the method makes fakes."""
        total, terms = self.method.discriminator_loss(batch, step)
        if "fake" in batch:
            for name, guide in zip(self._named, self.guides.values(), strict=True):
                loss, own = guide.discriminator_loss(batch, step)
                total = total + loss
                terms |= {f"{name}/{term}": value for term, value in own.items()}
        return total, terms

    def penalty_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """The method's loss, for methods with this update."""
        loss: tuple[Tensor, Terms] = self.method.penalty_loss(batch, step)
        return loss

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """The method's loss, then the guides' losses on the same edit."""
        total, terms = self.method.generator_loss(batch, step)
        for name, guide in zip(self._named, self.guides.values(), strict=True):
            loss, own = guide.generator_loss(batch, step)
            total = total + loss
            terms |= {f"{name}/{term}": value for term, value in own.items()}
        return total, terms
