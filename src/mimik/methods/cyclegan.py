"""CycleGAN (Zhu et al., ICCV 2017, arXiv 1703.10593): two generators for every pair of expressions, no condition.

For a pair (X, Y) with generators G: X -> Y, F: Y -> X and discriminators D_X, D_Y, to be minimised (section 3, eq. 3,
with the least squares of section 4 and the identity loss of section 5.2; docs/papers/baselines.md#cyclegan):

    G, F: (D_Y(G(x)) - 1)^2 + (D_X(F(y)) - 1)^2 + 10 (|F(G(x)) - x|_1 + |G(F(y)) - y|_1)
          + 5 (|G(y) - y|_1 + |F(x) - x|_1)
    D_Y: 1/2 (D_Y(y) - 1)^2 + 1/2 D_Y(G(x))^2, and D_X likewise,

where a discriminator sees images of a buffer of the last 50 as well (section 4). The method knows two domains. Here
every expression e makes a pair with one class, the hub (neutral), and any other edit takes two passes, through the hub;
`pairs: all` trains a pair of generators for every two expressions instead. All generators run as one grouped network,
and all discriminators as another; a batch serves all pairs at once.

Known deviations from the authors' code: the buffer keeps levels of 0 to 255 instead of floats; a pair sees the faces
that the batch has of its two classes (`stratified` batches hold all classes alike), where theirs sees one of each. A
network for every pair knows no strength: part of the way to an expression is a cross-fade.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from mimik.components import losses
from mimik.components.adversary import Terms, part_mean
from mimik.components.augmentation import Augmentation, AugmentationConfig
from mimik.components.context import Context, load_stored_state, stored_state
from mimik.networks.cyclegan import Discriminator, Generator, one_part
from mimik.networks.heads import Head
from mimik.networks.stargan import Stem
from mimik.training.batches import Batch
from mimik.training.loop import Update

TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "steps": 200_000,  # 100 + 100 epochs of 1,000 faces a class, one of each class at a time
        "batch_size": 8,
        "learning_rate": 2e-4,
        "betas": (0.5, 0.999),
        "schedule": "linear",
        "decay_start": 0.5,
        "stratified": True,
    }
)
"""The published schedule, as overrides of `mimik.training.loop.TrainingConfig`."""

CONDITION: Mapping[str, Any] = MappingProxyType({})
"""The method's condition unless params.yaml sets another: labels, which select the networks."""


@dataclass(frozen=True)
class Config:
    """Settings; the defaults are the published ones.

    Attributes:
        pairs: `hub`: the hub paired with every other class; `all`: all pairs of classes.
        hub: the class through which edits between two other classes pass.
        conv_dim, residual_blocks, head, stem: see `mimik.networks.cyclegan.Generator`.
        critic_conv_dim, critic_layers: see `mimik.networks.cyclegan.Discriminator`.
        critic_learning_rate: factor on the run's learning rate.
        critic_head_start: number of first steps in which the discriminators are trained alone. A generator with a
            `residual` head outputs its input during these steps, so they learn to distinguish the classes of real
            faces.
        lambda_cycle: weight of the cycle.
        lambda_identity: weight of the identity term.
        buffer: number of past edits kept for every discriminator.
        augmentation: what everything that the discriminators see passes through; where adaptive, r_t counts an output
            above 1/2 as real.
    """

    pairs: Literal["hub", "all"] = "hub"
    hub: str = "neutral"
    conv_dim: int = 64
    residual_blocks: int = 9
    head: Head = "direct"
    stem: Stem = "conv"
    critic_conv_dim: int = 64
    critic_layers: int = 3
    critic_learning_rate: float = 1.0
    critic_head_start: int = 0
    lambda_cycle: float = 10.0
    lambda_identity: float = 5.0
    buffer: int = 50
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def __post_init__(self) -> None:
        """Refuse values that cannot work."""
        if self.buffer < 1:
            raise ValueError("buffer must be at least 1")


@dataclass(frozen=True)
class Arranged:
    """The faces of a batch as the pairs need them.

    Attributes:
        images: (m, P*3, H, W); part p holds faces of the class that generator p edits, zeros where there are fewer.
        present: float (m, P), 1 where there is a face.
        slot: int64 (B,), the place of every face of the batch along the first axis.
    """

    images: Tensor
    present: Tensor
    slot: Tensor


class Method(nn.Module):
    """All pairs as one task for the training loop and as a translator."""

    capturable = False
    """How many faces a batch has of its most frequent class decides the size of everything that the networks see, and
    is read from the device in every update. The most that is possible, all faces, would take as many times the work as
    there are classes."""

    no_graph = "it runs only those of its generators that the states ask for, but a graph computes the same for all"
    """Why `mimik export` makes no graph of it."""

    def __init__(self, config: Config, context: Context) -> None:
        """Build the networks for the classes and image size of `context`.

        Raises:
            ValueError: states other than expressions as such, fewer than two classes, or a hub that is none of them.
        """
        super().__init__()
        condition = context.condition
        if condition.space != "expression" or condition.config.form != "absolute":
            raise ValueError("cyclegan edits only expressions (condition: space expression, form absolute)")
        if config.hub not in condition.names or condition.dim < 2:
            raise ValueError(f"hub: {config.hub!r} is not among the classes {', '.join(condition.names)}")
        self.config, self.condition, self.image_size = config, condition, context.image_size
        self.reads = condition.reads
        there, first, shown = _ways(condition.dim, condition.names.index(config.hub), config.pairs)
        self.parts = len(there)
        # Which class generator p edits; which generator an edit from class to class begins with, what it shows then.
        self.register_buffer("edits_class", there, persistent=False)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("shown", shown, persistent=False)
        self.edits_class: Tensor
        self.first: Tensor
        self.shown: Tensor
        shape: dict[str, Any] = {
            "conv_dim": config.conv_dim,
            "residual_blocks": config.residual_blocks,
            "head": config.head,
            "stem": config.stem,
        }
        self.generator = Generator(self.parts, **shape)
        self.discriminator = Discriminator(self.parts, conv_dim=config.critic_conv_dim, layers=config.critic_layers)
        ends = zip(there.tolist(), there.roll(-self.parts // 2).tolist(), strict=True)
        ways = [(condition.names[source], condition.names[target]) for source, target in ends]
        self.generator.part_names = self.discriminator.part_names = ways
        self.augmentation = Augmentation(config.augmentation)
        with torch.device("meta"):
            # Lends its layers to the weights of any one part; no part of the state.
            self._single = (Generator(1, **shape),)
        # Edits of the past, a part of the state so that a run goes on as it would have.
        values = 3 * context.image_size**2
        self.register_buffer("kept", torch.zeros(self.parts, config.buffer, values, dtype=torch.uint8))
        self.register_buffer("kept_count", torch.zeros(self.parts, dtype=torch.int64))
        self.kept: Tensor
        self.kept_count: Tensor
        self.updates: Sequence[Update] = (
            Update("generator", start=config.critic_head_start),
            Update("discriminator"),
        )

    @property
    def averaged(self) -> nn.Module:
        """The generators."""
        return self.generator

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean."""
        return [self.generator]

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update."""
        factor = self.config.critic_learning_rate
        return [{"params": list(self.discriminator.parameters()), "learning_rate": factor}]

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update."""
        return [{"params": list(self.generator.parameters())}]

    # Losses ----------------------------------------------------------------------------------------------------------

    def arrange(self, image: Tensor, label: Tensor) -> Arranged:
        """Faces (B, 3, H, W) with their classes int64 (B,), for every generator those that it edits."""
        members = F.one_hot(label, self.condition.dim)
        slot = (members.cumsum(0) * members).sum(1) - 1
        face, part = (label[:, None] == self.edits_class[None]).nonzero(as_tuple=True)
        most = int(members.sum(0).max())
        images = image.new_zeros(most, self.parts, *image.shape[1:])
        images[slot[face], part] = image[face]
        present = image.new_zeros(most, self.parts)
        present[slot[face], part] = 1
        return Arranged(images.flatten(1, 2), present, slot)

    def _other_way(self, values: Tensor) -> Tensor:
        """(m, P * c, ...) with the two directions of every pair exchanged: part p becomes that of its inverse."""
        return values.roll(values.shape[1] // 2, 1)

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Terms `adv`, `cycle`, `self` (the paper's identity loss), means over faces, summed over all generators.

        `edited` is the edit that is made of every face anyway, which in `pairs: hub` goes to the hub or starts there;
        `target` of the batch becomes what it shall show.
        """
        config = self.config
        faces = self.arrange(batch["image"], batch["label"])
        present, wanted = faces.present, self._other_way(faces.present)
        fake = self.generator(faces.images)
        self._leave_edits(batch, faces, fake)
        # The generator of the other way, on the edits; every generator on faces that show its class already.
        original = self._other_way(faces.images)
        again = self.generator(torch.cat([self._other_way(fake), original]))
        cycled, same = again.chunk(2)
        adversarial = (self.discriminator(self.augmentation(fake)) - 1).pow(2).mean((2, 3))
        terms = {
            "adv": part_mean(adversarial, present),
            "cycle": part_mean(losses.reconstruction(original, cycled, self.parts), wanted),
            "self": part_mean(losses.reconstruction(original, same, self.parts), wanted),
        }
        total = terms["adv"] + config.lambda_cycle * terms["cycle"] + config.lambda_identity * terms["self"]
        return total, terms

    def _leave_edits(self, batch: Batch, faces: Arranged, fake: Tensor) -> None:
        """Put `edited`, `fake` and `target` of the batch's faces into the batch, and `fakes` of all pairs."""
        source, target = batch["label"], batch["target"]
        part = self.first[source, target]
        separate = fake.unflatten(1, (self.parts, 3))
        made = separate[faces.slot, part.clamp(min=0)]
        asked = (part >= 0)[:, None, None, None]
        batch["edited"] = torch.where(asked, made, batch["image"])
        batch["target"] = self.shown[source, target]
        batch["fake"], batch["fakes"] = batch["edited"].detach(), fake.detach()

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Term `adv`: mean over faces, summed over all discriminators."""
        faces = self.arrange(batch["image"], batch["label"])
        if "fakes" not in batch:
            with torch.no_grad():
                self._leave_edits(batch, faces, self.generator(faces.images))
        present, wanted = faces.present, self._other_way(faces.present)
        shown = self._from_buffer(batch["fakes"], present)
        seen = self.augmentation(torch.cat([self._other_way(faces.images), shown]))
        real, fake = self.discriminator(seen).chunk(2)
        wrong = part_mean((real - 1).pow(2).mean((2, 3)), wanted) + part_mean(fake.pow(2).mean((2, 3)), present)
        terms = {"adv": 0.5 * wrong}
        if self.augmentation.adaptive:
            terms["p"] = self.augmentation.observe((real - 0.5).sign().mean((2, 3)), weight=wanted)
        return terms["adv"], terms

    @torch.no_grad()
    def _from_buffer(self, fakes: Tensor, present: Tensor) -> Tensor:
        """What the discriminators see of edits (m, P*3, H, W): half of them, or as many older ones.

        A buffer that is not full takes the edit in and returns it. A full one returns it with probability 1/2;
        otherwise it takes it in and returns the one whose place it takes.
        """
        shown: Tensor = fakes.unflatten(1, (self.parts, 3)).clone()
        every = torch.arange(self.parts, device=fakes.device)
        for made, here in zip(shown, present > 0, strict=True):
            full = self.kept_count == self.config.buffer
            exchange = (torch.rand(self.parts, device=fakes.device) < 0.5) & full & here
            place = torch.where(
                full, torch.randint(self.config.buffer, (self.parts,), device=fakes.device), self.kept_count
            )
            levels = ((made.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).flatten(1)
            older = self.kept[every, place.clamp(max=self.config.buffer - 1)].view_as(made)
            made[exchange] = older[exchange].to(made.dtype) / 127.5 - 1
            taken = exchange | (here & ~full)
            self.kept[every[taken], place[taken]] = levels[taken]
            self.kept_count += here & ~full
        images: Tensor = shown.flatten(1, 2)
        return images

    # Translation -----------------------------------------------------------------------------------------------------

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edit images (B, 3, H, W) in [-1, 1] from the states `source` to `target`, float (B, C).

        One or two generators, depending on the classes; a face with its own class as target stays unchanged. States
        between classes are cross-fades of the edits between these classes, in their proportions.
        """
        row, before, after = (source[:, :, None] * target[:, None, :]).nonzero(as_tuple=True)
        share = source[row, before] * target[row, after]
        edited = images[row]
        for _ in range(2):
            edited = self._pass(edited, self.first[before, after])
            before = self.shown[before, after]
        faded: Tensor = torch.zeros_like(images).index_add_(0, row, share[:, None, None, None] * edited)
        return faded.clamp(-1, 1)

    def _pass(self, images: Tensor, part: Tensor) -> Tensor:
        """Every image through its generator int64 (B,); -1 leaves it unchanged."""
        edited = images.clone()
        state = self.generator.state_dict()
        for index in part[part >= 0].unique().tolist():
            chosen = part == index
            weights = one_part(state, index, self.parts)
            edited[chosen] = functional_call(self._single[0], weights, (images[chosen],)).to(edited.dtype)
        return edited

    def generator_state(self) -> dict[str, Tensor]:
        """What `generator.safetensors` holds."""
        return stored_state(self.generator, self.condition)

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        """Load `generator_state()`. Raises `RuntimeError` when names or shapes differ."""
        load_stored_state(state, self.generator, self.condition)


def _ways(classes: int, hub: int, pairs: str) -> tuple[Tensor, Tensor, Tensor]:
    """Which generators there are, and which edits they make.

    Args:
        classes: C.
        hub: one of them.
        pairs: see `Config`.

    Returns:
        int64 (P,): the class that generator p edits; p and p + P/2 (mod P) are the two directions of a pair;
        int64 (C, C): the generator that an edit from class to class begins with, -1 where they are the same;
        int64 (C, C): the class that its result shows, the wanted one or the hub.
    """
    chosen = [
        (one, other)
        for one in range(classes)
        for other in range(classes)
        if (one < other if pairs == "all" else one == hub != other)
    ]
    directions = chosen + [(other, one) for one, other in chosen]
    part = {direction: index for index, direction in enumerate(directions)}
    first = torch.full((classes, classes), -1)
    shown = torch.arange(classes).repeat(classes, 1)
    for source in range(classes):
        for target in range(classes):
            if source != target:
                shown[source, target] = target if (source, target) in part else hub
                first[source, target] = part[source, int(shown[source, target])]
    return torch.tensor([source for source, _ in directions]), first, shown
