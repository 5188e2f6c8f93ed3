"""Wants edits to stay dark."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mimik.components.context import Context


@dataclass(frozen=True)
class Config:
    """Settings: `weight` of the only term."""

    weight: float = 1.0


class Guide(nn.Module):
    """The contract, and nothing more."""

    def __init__(self, config: Config, context: Context) -> None:
        super().__init__()
        self.config = config
        self.reads: frozenset[str] = frozenset()
        self.compiled: list[nn.Module] = []
        self.offset = nn.Parameter(torch.zeros(1))

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        return [{"params": [self.offset]}]

    def generator_parameters(self) -> list[dict[str, Any]]:
        return [{"params": []}]

    def discriminator_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (self.offset - batch["fake"].mean()).square().sum()
        return loss, {"mean": loss.detach()}

    def generator_loss(self, batch: dict[str, Tensor], step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.config.weight * batch["edited"].mean()
        return loss, {"dark": loss.detach()}
