"""Depth guidance (Bodur, Bhattarai, Kim, WACV 2021, section 3.2): an edit has to look right as geometry as well.

G_depth makes the depth map (or normal map) d_t of a method's edit I_t; D_depth judges it against true maps d_s of real
faces and names its expression. All four networks are trained together; at test none of this is needed. With the
signs put right, to be minimised (y_s, y_t: source and target state; beta H: confidence penalty, Eq. 11):

    D_depth:  E[D(d_t)] - E[D(d_s)] + 10 GP + lambda_cls [CE(D_cls(d_s), y_s) - beta (H(d_s) + H(d_t))]     Eq. 5, 6
    G_depth:  -E[D(d_t)] + lambda_cls CE(D_cls(d_t), y_t) + lambda_rec |I_t - G'_depth(d_t)|_1              Eq. 8
    method:   its own loss + w {-E[D(d_t)] + lambda_cls CE(D_cls(d_t), y_t)} + lambda_rec |I_t - G'_depth(d_t)|_1

Choices where the paper is silent or contradicts itself (docs/papers/depth_guided.md#what-the-paper-leaves-open):
WGAN-GP and StarGAN's weights, since it names StarGAN; D_depth sees maps only; it alone minimises the confidence
penalty, on true and made maps; w, the "depth network weight" of Table 3, scales what the adversarial and the
classification term tell the method, while G_depth and D_depth train on unscaled losses. The row w = 0 of that table is
StarGAN itself, so there nothing of L_rec may reach the method either: `weight_reconstruction: 0`. The paper does not
say whether D_depth is pre-trained; here it is, as part of the depth network. Where the method is told anything but
expressions, its second head is new.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mimik.components import budget, losses
from mimik.components.adversary import Adversary, AdversaryConfig, Terms
from mimik.components.budget import LazyReconstruction
from mimik.components.context import Context
from mimik.networks.depth_network import DepthNetwork, Domains, Geometry
from mimik.networks.stargan import Discriminator, Stem
from mimik.training.batches import Batch, to_uint8
from mimik.training.guided import Named, Pictures


@dataclass(frozen=True)
class Config(LazyReconstruction):
    """Settings; the defaults are those of docs/papers/depth_guided.md#schedule-and-weights, where the
    paper prints only some.

    Attributes:
        weight: w of Table 3: weight of the adversarial and classification terms in the method's gradient.
        weight_reconstruction: weight of L_rec in the method's gradient; a value other than `weight` costs an additional
            pass of G_depth.
        start: `pretrained`: from the entry's `depth_network`; `frozen`: the same, but G_depth is not trained further
            (D_depth is); `scratch`: from random weights.
        geometry, domains: for a network from `scratch`, see `mimik.pretraining.depth_network.DepthNetworkConfig`. A
            pre-trained network keeps its own.
        conv_dim, residual_blocks, stem: for a network from `scratch`, see `mimik.networks.stargan.Generator`. A
            pre-trained network keeps its own.
        confidence_penalty: beta of Eq. 11 (0: none; not available with action units as the condition).
        lambda_reconstruction: weight of L_rec.
        adversary: settings of D_depth; lambda_classification is that of Eq. 8 for both players.
    """

    weight: float = 0.3
    weight_reconstruction: float = 1.0
    start: Literal["pretrained", "scratch", "frozen"] = "pretrained"
    geometry: Geometry = "depth"
    domains: Domains = "two_way"
    conv_dim: int = 64
    residual_blocks: int = 6
    stem: Stem = "conv"
    confidence_penalty: float = 0.1
    lambda_reconstruction: float = 10.0
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        super().__post_init__()
        if min(self.weight, self.weight_reconstruction, self.confidence_penalty, self.lambda_reconstruction) < 0:
            raise ValueError("weights and confidence_penalty must not be negative")


class Guide(nn.Module):
    """G_depth and D_depth beside a method."""

    def __init__(self, config: Config, context: Context) -> None:
        """Take over the pre-trained depth network of `context`, or build one.

        Raises:
            ValueError: no depth network was given, its D_depth is not the one that `adversary` describes, or a
                confidence penalty on action units.
        """
        super().__init__()
        self.config, self.condition = config, context.condition
        self.adversary = Adversary(
            config.adversary,
            context.image_size,
            self.condition,
            confidence_penalty=config.confidence_penalty,
            colours=False,
        )
        if config.start == "scratch":
            self.network = DepthNetwork(
                config.geometry,
                config.domains,
                conv_dim=config.conv_dim,
                residual_blocks=config.residual_blocks,
                stem=config.stem,
            )
        else:
            self.network = cast(DepthNetwork, context.needed("depth_network", "depth guidance"))
            if self.network.critic is not None:
                self._take_over(self.network.critic)
                self.network.critic = None
        if config.start == "frozen":
            self.network.requires_grad_(False)
        self.reads: frozenset[str] = self.condition.reads | {self.network.geometry}

    def _take_over(self, critic: Discriminator) -> None:
        """Start D_depth from the pre-trained one; its condition head only where it was trained for this condition."""
        state = critic.state_dict()
        if self.condition.space != "expression":
            state = {name: value for name, value in state.items() if not name.startswith("class_head.")}
            state |= {f"class_head.{name}": p for name, p in self.adversary.network.class_head.state_dict().items()}
        try:
            self.adversary.network.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"`adversary` differs from that of the pre-trained depth network ({error})") from error

    @property
    def kept(self) -> dict[str, nn.Module]:
        """G_depth and G'_depth, which draw the maps: the joint ones, not those that were pre-trained."""
        return {"network": self.network}

    @property
    def shows(self) -> str:
        """True maps: depth or normals."""
        return self.network.geometry

    def draw_truth(self, stored: npt.NDArray[np.uint8]) -> Pictures:
        """Stored maps, uint8 (B, S, S) of depth or (B, S, S, 3) of normals, as pictures uint8 (B, S, S, 3)."""
        return np.repeat(stored[..., None], 3, -1) if self.network.geometry == "depth" else np.array(stored)

    def draw(self, images: Tensor, edits: Tensor, source: Tensor, target: Tensor) -> tuple[Named, Named]:
        """The maps that G_depth makes of faces and of their edits (figures 3 and 5b of the paper); see `Drawing`."""
        geometry, (before, after) = self.network.geometry, (self.network.to_maps(faces) for faces in (images, edits))
        return {f"{geometry} of input": to_uint8(before)}, {f"{geometry} of edit": to_uint8(after)}

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [self.network.generator]

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update: D_depth."""
        factor = self.config.adversary.learning_rate
        return [{"params": list(self.adversary.parameters()), "learning_rate": factor}]

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update: G_depth, unless it is frozen."""
        return [{"params": [] if self.config.start == "frozen" else list(self.network.parameters())}]

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """First line. See `mimik.components.adversary.Adversary.discriminator_loss` for the terms."""
        source, target = self.condition.source(batch), self.condition.target(batch)
        if "depth/fake" not in batch:
            with torch.no_grad():
                batch["depth/fake"] = self.network.to_maps(batch["fake"])
        real = self.network.true_maps(batch)
        return self.adversary.discriminator_loss(real, batch["depth/fake"], source, target, step)

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Second and third line at once: terms `adv`, `cls`, `rec`; w is a matter of the gradient of the edit."""
        config, network = self.config, self.network
        edited = batch["edited"]
        maps = network.to_maps(weigh(edited, config.weight))
        batch["depth/fake"] = maps.detach()
        total, terms = self.adversary.generator_loss(maps, self.condition.target(batch))
        if network.two_way and (lazy := budget.due(step, config.reconstruction_every)):
            seen = weigh(edited, config.weight_reconstruction)
            if config.weight_reconstruction != config.weight:
                maps = network.to_maps(seen)
            terms["rec"] = losses.reconstruction(seen, network.to_images(maps)).mean()
            total = total + lazy * config.lambda_reconstruction * terms["rec"]
        return total, terms


def weigh(values: Tensor, weight: float) -> Tensor:
    """The same values; the gradient that reaches `values` through them is `weight` times the one that arrives."""
    return values.detach() + weight * (values - values.detach())
