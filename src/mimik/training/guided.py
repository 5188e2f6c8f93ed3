"""A method with guidance: further networks and losses that evaluate the method's edits during training.

Guidance is a component, not a method: any guide (`mimik.guidance`) can be added to any method with `guidance` in
params.yaml. It is not needed for translation. Guides that can draw maps of edits (`Drawing`) are kept all the same, in
a file beside the generator: the maps show what the edits were held to.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from mimik.training.batches import Batch
from mimik.training.loop import Terms, Update


def _reads(part: Any) -> frozenset[str]:
    reads: frozenset[str] = part.reads
    return reads


Pictures = npt.NDArray[np.uint8]
Named = Mapping[str, Pictures]


@runtime_checkable
class Drawing(Protocol):
    """What a guide offers, beside its losses, whose maps are to be shown.

    Attributes:
        kept: the networks that draw them, by name; their weights are stored.
        shows: the array of `mimik.faces.prepared.store.FaceStore` that holds the true maps of faces.
    """

    @property
    def kept(self) -> Mapping[str, nn.Module]:
        """See above."""
        ...

    @property
    def shows(self) -> str:
        """See above."""
        ...

    def draw_truth(self, stored: npt.NDArray[np.uint8]) -> Pictures:
        """True maps as they are stored, uint8 (B, S, S) or (B, S, S, 3) -> uint8 (B, S, S, 3)."""
        ...

    def draw(self, images: Tensor, edits: Tensor, source: Tensor, target: Tensor) -> tuple[Named, Named]:
        """Maps of faces and of their edits.

        Args:
            images, edits: (B, 3, S, S) in [-1, 1].
            source, target: their states, float (B, K).

        Returns:
            maps of the faces, and maps of the edits: uint8 (B, S, S, 3) by name, in the order in which they are shown.
        """
        ...


def guides_state(guides: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Weights of the networks that guides keep, as `<guide>/<network>.<weight>`."""
    return {
        f"{name}/{part}.{weight}": value.contiguous()
        for name, guide in guides.items()
        if isinstance(guide, Drawing)
        for part, network in guide.kept.items()
        for weight, value in network.state_dict().items()
    }


def load_guide_state(guide: Drawing, name: str, state: Mapping[str, Tensor]) -> None:
    """Load the part of `guides_state` that belongs to a guide. Raises `RuntimeError` when names or shapes differ."""
    own = {key.removeprefix(f"{name}/"): value for key, value in state.items() if key.startswith(f"{name}/")}
    nn.ModuleDict(dict(guide.kept)).load_state_dict(own)


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
        """The method's averaged module: translation needs no guide, so none is averaged."""
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
