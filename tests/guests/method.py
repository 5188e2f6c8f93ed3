"""The image plus a constant colour for every target, judged by a critic that sees the mean colour."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mimik.components.context import Context, load_stored_state, stored_state
from mimik.training.schedule import Update

from .scaling import SCALE

TRAINING: Mapping[str, Any] = {"steps": 100, "batch_size": 4, "learning_rate": 1e-3}
CONDITION: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Config:
    """Settings: `strength` of the colour."""

    strength: float = SCALE

    def __post_init__(self) -> None:
        if self.strength <= 0:
            raise ValueError(f"strength must be above 0, not {self.strength}")


class Method(nn.Module):
    """The contract, and nothing more."""

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__()
        self.config, self.condition = config, context.condition
        self.reads = self.condition.reads
        self.updates = (Update("discriminator"), Update("generator"))
        self.generator = nn.Linear(self.condition.dim, 3)
        self.critic = nn.Linear(3, 1)
        self.averaged = self.generator
        self.compiled: list[nn.Module] = []

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        return [{"params": list(self.critic.parameters())}]

    def generator_parameters(self) -> list[dict[str, Any]]:
        return [{"params": list(self.generator.parameters())}]

    def discriminator_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            batch["fake"] = self.translate(batch["image"], self.condition.source(batch), self.condition.target(batch))
        loss = self.critic(batch["fake"].mean((2, 3))).mean() - self.critic(batch["image"].mean((2, 3))).mean()
        return loss, {"adv": loss.detach()}

    def generator_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        batch["edited"] = self.translate(batch["image"], self.condition.source(batch), self.condition.target(batch))
        loss = -self.critic(batch["edited"].mean((2, 3))).mean()
        return loss, {"adv": loss.detach()}

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        colour = self.config.strength * torch.tanh(self.generator(self.condition.told(source, target)))
        return (images + colour[:, :, None, None]).clamp(-1, 1)

    def generator_state(self) -> dict[str, Tensor]:
        return stored_state(self.generator, self.condition)

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        load_stored_state(state, self.generator, self.condition)
