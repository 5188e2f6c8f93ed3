"""EF-GAN and Cascade EF-GAN (Wu, Zhang, Lu, Chen, CVPR 2020, supplementary material; docs/papers/ef_gan.md).

A global branch translates the face, local ones its eyes, nose and mouth, each with an attention mask; a refiner makes
the result of all of them. K such modules in a row (a cascade; K = 1 is EF-GAN) take a large change in steps: an
interpolator proposes the action units on the way. Module k, from I_x in the state y_{k-1} to y_k:

    y_k = Interp(y_x, r_k), r_k = k/K (y_t - y_x); y_K = y_t itself      so that the last step is what was asked for
    I_i^init = M_A * M_C + (1 - M_A) * I_i,  M_C, M_A = ET_i(I_i, y_k)   i in face, eyes, nose, mouth; M_A 1 = change
    I_z = R(I_face^init, canvas)    canvas: I_face^init with the parts' I_i^init pasted at their boxes, in their order

Losses (section 1, eq. 1 to 6), to be minimised; sums over D_final, which sees I_z, and D_face, D_eyes, D_nose, D_mouth:

    D: sum_i (E[D_i(I_i)] - E[D_i(I_x,i)] + 10 GP_i) + lambda_1 |D_final(I_x) - y_x|^2               Eq. 1, 2
    G: -sum_i E[D_i(I_i)] + lambda_1 |D_final(I_z) - y_k|^2                                          Eq. 1, 2
       + lambda_2 |I_rec - I_x|_1 + lambda_3 sum_i |M_A^i|^2                                         Eq. 3, 4
       + lambda_4 (|y_k - y_p| - lambda_int E[D_interp(y_k)]), y_p = y_x + r_k                       Eq. 5
    D_interp: E[D_interp(y_k)] - E[D_interp(y_x)] + 10 GP

with lambda_1 to lambda_4 3000, 10, 0.1, 1 and lambda_int 0.1; a cascade sums over its modules (each has critics of its
own). I_rec is I_z sent back by the same module with the same boxes. As printed Eq. 1 and 5 take logarithms of critics
that are said to be WGAN-GP's, and square outside of the penalty's bracket; both are read as WGAN-GP. L_cond trains ET
and R only (section 1), so the interpolator learns from Eq. 5 alone, and in cascades: K = 1 has no state to propose.

Choices where the supplement is silent: the networks, see `mimik.networks.ef_gan`; |M_A|^2 is the mean over the pixels;
five D updates per G update; boxes for 128 px, scaled with the image; cascades train for 20
epochs, 10 of them at 1e-5 before the decay, which fits the published hours (params.yaml, `scales.paper`).

Boxes have fixed sizes and are centred on each face's landmarks while training. A translation knows no landmarks: there
the boxes are centred on the training faces' mean, kept with the generator. Faces are aligned by one template, so the
two differ little: measured on test faces, rendered and photographed, by less than 6 px of 128 for 95 % of them and by 8
at most. They overlap by 92 % or more on average and hold the same landmarks of every one of these faces; at demo scale
translations with a face's own boxes are as close to the truth (19.36 dB over the changed pixels against 19.32).
"""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mimik.components import budget, losses
from mimik.components.adversary import Adversary, AdversaryConfig, Loss, Terms
from mimik.components.budget import LazyReconstruction, Rounds
from mimik.components.context import Context, load_stored_state, stored_state
from mimik.components.face_parts import cut_at, paste_at
from mimik.components.realness import Realness
from mimik.networks.constants import constant
from mimik.networks.ef_gan import (
    HiddenInitialisation,
    Interpolator,
    Refiner,
    UnitsCritic,
    normalised_once,
    prepare_hidden,
)
from mimik.networks.heads import Head
from mimik.networks.slices import Slices
from mimik.networks.stargan import Generator, Stem
from mimik.training.batches import Batch
from mimik.training.schedule import Update, critic_and_generator

TRAINING: Mapping[str, Any] = MappingProxyType(
    {
        "epochs": 100,
        "steps": 1,  # no least length: the paper's sets are as small as sets get
        "batch_size": 2,
        "learning_rate": 1e-4,
        "betas": (0.5, 0.999),
        "schedule": "linear",
        "decay_start": 0.5,
        "targets": "dataset",
    }
)
"""The published schedule of EF-GAN, as overrides of `mimik.training.loop.TrainingConfig`."""

CONDITION: Mapping[str, Any] = MappingProxyType({"space": "action_units"})
"""The generator's condition unless params.yaml sets another: the target's action units."""

LANDMARKS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "eyes": (*range(17, 27), *range(36, 48)),  # with the brows
        "nose": tuple(range(27, 36)),
        "mouth": tuple(range(48, 68)),
    }
)
"""Of the 68 landmarks, those whose mean a part's box is centred on."""

CENTRES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"eyes": (0.5, 0.345), "nose": (0.5, 0.55), "mouth": (0.5, 0.715)}
)
"""Where these means are in an aligned face, in fractions of its side, before training has seen any."""


@dataclass(frozen=True)
class Config(Rounds, LazyReconstruction):
    """Settings; the defaults are the published ones where the supplement gives them.

    Attributes:
        modules: K, the length of the cascade.
        interpolator: `mlp`, or `linear`: y_x + r itself, with nothing to learn.
        branches: parts that have a branch, in the order in which they are pasted.
        eyes_box, nose_box, mouth_box: width and height of the part's box, in pixels of a 128 px image.
        attention: use attention masks; without them, each ET_i paints its whole image.
        attention_convention: meaning of M_A = 1 in Eq. 4: `change`, which makes changes sparse, or `keep`, the mask of
            GANimation's code, which the same equation drives towards change.
        refiner: use the refiner; without it, the canvas is the result.
        spectral_norm, initialisation: of all convolutions of ET, R and D except their output layers.
        cond_reduction: reduction of |.|^2 in Eq. 2 over the action units: their mean divided by the published batch
            size of 2 (as in GANimation's code), their `mean`, or their `sum`. It scales lambda_classification.
        lambda_content: lambda_2, weight of the content.
        lambda_attention: lambda_3, weight of the attention.
        lambda_interpolation: lambda_4, weight of the interpolator's loss.
        lambda_natural: lambda_int, weight of the interpolator's critic in that loss.
        conv_dim, residual_blocks: of ET_face, see `mimik.networks.stargan.Generator`.
        local_conv_dim, local_residual_blocks: of the parts' ET, see `mimik.networks.stargan.Generator`.
        stem: of all four, see `mimik.networks.stargan.Generator`.
        refiner_conv_dim, refiner_residual_blocks, refiner_head: of R, see `mimik.networks.stargan.Generator`.
        face_states: let D_face learn states too; as published, only D_final does.
        adversary: settings of D_final (its lambda_classification is lambda_1) and D_face.
        local_adversary: settings of the parts' discriminators.
    """

    modules: int = 1
    interpolator: Literal["mlp", "linear"] = "mlp"
    branches: tuple[str, ...] = ("eyes", "nose", "mouth")
    eyes_box: tuple[int, ...] = (96, 48)
    nose_box: tuple[int, ...] = (48, 48)
    mouth_box: tuple[int, ...] = (64, 48)
    attention: bool = True
    attention_convention: Literal["change", "keep"] = "change"
    refiner: bool = True
    spectral_norm: bool = True
    initialisation: HiddenInitialisation = "orthogonal"
    cond_reduction: Literal["ganimation", "mean", "sum"] = "ganimation"
    lambda_content: float = 10.0
    lambda_attention: float = 0.1
    lambda_interpolation: float = 1.0
    lambda_natural: float = 0.1
    conv_dim: int = 64
    residual_blocks: int = 6
    local_conv_dim: int = 64
    local_residual_blocks: int = 6
    stem: Stem = "conv"
    refiner_conv_dim: int = 64
    refiner_residual_blocks: int = 6
    refiner_head: Head = "direct"
    face_states: bool = False
    adversary: AdversaryConfig = field(default_factory=lambda: AdversaryConfig(lambda_classification=3000.0))
    local_adversary: AdversaryConfig = field(default_factory=lambda: AdversaryConfig(layers=4))

    def __post_init__(self) -> None:
        """Refuse combinations that make no sense."""
        super().__post_init__()
        if set(self.branches) - set(LANDMARKS) or len(set(self.branches)) < len(self.branches):
            raise ValueError(f"branches must be a list of distinct names from {', '.join(LANDMARKS)}")
        if any(len(box) != 2 for box in (self.eyes_box, self.nose_box, self.mouth_box)):
            raise ValueError("a box must have two sizes, width and height")
        if self.modules < 1:
            raise ValueError("modules must be at least 1")


@dataclass(frozen=True)
class Step:
    """What one module of the cascade makes of a batch.

    Attributes:
        images: what it was given, by name: `final` (the same as `face`), `face`, and its crops.
        made: I, by the same names; `final` is I_z.
        attention: M_A by branch, (B, 1, h, w) in [0, 1]; empty without attention.
        source, target: the states (B, K).
    """

    images: dict[str, Tensor]
    made: dict[str, Tensor]
    attention: dict[str, Tensor]
    source: Tensor
    target: Tensor


class Method(nn.Module):
    """EF-GAN, or a cascade of it, as a task for the training loop and as a translator."""

    def __init__(self, config: Config, context: Context) -> None:
        """Build the networks for the condition and image size of `context`.

        Raises:
            ValueError: boxes that the critics' layers do not divide, or a cascade over other states than action units.
        """
        super().__init__()
        self.config, self.condition, self.image_size = config, context.condition, context.image_size
        if config.modules > 1 and self.condition.space != "action_units":
            raise ValueError("a cascade passes states between source and target, which only action units have")
        self.reads = self.condition.reads | ({"landmarks"} if config.branches else set())
        boxes = {"eyes": config.eyes_box, "nose": config.nose_box, "mouth": config.mouth_box}
        self.extents = {
            part: (round(boxes[part][1] * self.image_size / 128), round(boxes[part][0] * self.image_size / 128))
            for part in config.branches
        }
        self.generator: Any = nn.ModuleDict(
            {"cascade": nn.ModuleList(self._make_generator() for _ in range(config.modules))}
        )
        self.discriminator: Any = nn.ModuleDict(
            {"cascade": nn.ModuleList(self._make_critics() for _ in range(config.modules))}
        )
        if config.modules > 1 and config.interpolator == "mlp":
            self.generator["interpolator"] = Interpolator(self.condition.dim)
            self.discriminator["interpolator"] = UnitsCritic(self.condition.dim)
        self.register_buffer("centres", torch.tensor([CENTRES[part] for part in config.branches]).view(-1, 2))
        self.centres: Tensor
        self.updates: Sequence[Update] = critic_and_generator(config)

    def _make_generator(self) -> nn.ModuleDict:
        """ET and R of one module."""
        config = self.config
        head: Head = "masked" if config.attention else "direct"
        made = nn.ModuleDict()
        for name in ("face", *config.branches):
            local = name != "face"
            made[name] = Generator(
                self.condition.dim,
                conv_dim=config.local_conv_dim if local else config.conv_dim,
                residual_blocks=config.local_residual_blocks if local else config.residual_blocks,
                head=head,
                stem=config.stem,
            )
            # Behind the last instance norm everything is output: with `unshuffle` these are three layers.
            outputs = ("last",) if config.stem == "conv" else ("decoder", "refine", "last")
            prepare_hidden(made[name], outputs, config.initialisation, config.spectral_norm)
        if config.refiner:
            made["refiner"] = Refiner(config.refiner_conv_dim, config.refiner_residual_blocks, config.refiner_head)
            prepare_hidden(made["refiner"], ("last",), config.initialisation, config.spectral_norm)
        return made

    def _make_critics(self) -> nn.ModuleDict:
        """D of one module."""
        config = self.config
        factor = {"ganimation": 0.5, "mean": 1.0, "sum": float(self.condition.dim)}[config.cond_reduction]
        weight = config.adversary.lambda_classification * factor
        final = dataclasses.replace(config.adversary, lambda_classification=weight)
        made = nn.ModuleDict({"final": Adversary(final, self.image_size, self.condition)})
        made["face"] = Adversary(final, self.image_size, self.condition) if config.face_states else Realness(final)
        for part, extent in self.extents.items():
            if any(side % 2**config.local_adversary.layers for side in extent):
                raise ValueError(f"{config.local_adversary.layers} halvings do not divide the {part}'s box of {extent}")
            made[part] = Realness(config.local_adversary)
        for critic in made.values():
            network: Any = critic.network
            prepare_hidden(network, ("realness_head", "class_head"), config.initialisation, config.spectral_norm)
        return made

    @property
    def averaged(self) -> nn.Module:
        """All that a translation needs."""
        everything: nn.Module = self.generator
        return everything

    @property
    def compiled(self) -> list[nn.Module]:
        """What `training.compile` and `training.recompute` mean: refiners, and the layers of the others."""
        networks = [network for module in self.generator["cascade"] for network in module.values()]
        return [part for net in networks for part in (net.layers if isinstance(net, Generator) else [net])]

    def discriminator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the discriminator update: all critics, that of action units included."""
        groups: list[dict[str, Any]] = [
            {"params": list(critic.parameters()), "learning_rate": critic.config.learning_rate}
            for critics in self.discriminator["cascade"]
            for critic in critics.values()
        ]
        if "interpolator" in self.discriminator:
            groups.append({"params": list(self.discriminator["interpolator"].parameters())})
        return groups

    def generator_parameters(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator update: ET and R of all modules, and the interpolator."""
        return [{"params": list(self.generator.parameters())}]

    handed = ("generator", "discriminator", "centres")
    """What another training takes over."""

    def started_from(self, name: str, other: nn.Module) -> str:
        """The weight of another EF-GAN that one of this starts from: of its only module, or of the same one.

        Raises:
            ValueError: `other` is a cascade of another length.
        """
        assert isinstance(other, Method)
        if other.config.modules not in (1, self.config.modules):
            raise ValueError("a cascade starts from an EF-GAN of one module, or from a cascade of its own length")
        player, _, rest = name.partition(".cascade.")
        return f"{player}.cascade.0.{rest.partition('.')[2]}" if rest and other.config.modules == 1 else name

    def named_slices(self, states: Sequence[Hashable]) -> dict[str, Slices]:
        """See `mimik.networks.slices`: one centre for every part."""
        return {"centres": {0: self.config.branches}}

    # Data flow -------------------------------------------------------------------------------------------------------

    def corners(self, landmarks: Tensor | None, count: int) -> dict[str, Tensor]:
        """Left and top, int64 (B, 2), of every part's box, moved into the image.

        Args:
            landmarks: (B, 68, 2) in pixels; None: boxes are centred on the mean of the training faces.
            count: B.
        """
        corners = {}
        for index, (part, (height, width)) in enumerate(self.extents.items()):
            centre = (self.centres[index] * self.image_size).expand(count, 2)
            if landmarks is not None:
                centre = landmarks[:, constant(LANDMARKS[part], torch.int64, landmarks.device)].mean(1)
                if self.training:
                    self.centres[index].lerp_(centre.mean(0) / self.image_size, 0.01)
            extent = constant((width, height), centre.dtype, centre.device)
            free = self.image_size - extent
            corners[part] = torch.minimum((centre - extent / 2).round().clamp(min=0), free).long()
        return corners

    def waypoints(self, source: Tensor, target: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The states y_0 = y_x to y_K = y_t, and the pseudo targets y_p of those between, every one (B, K)."""
        count = self.config.modules
        residuals = [(target - source) * (step / count) for step in range(1, count)]
        pseudo = [source + residual for residual in residuals]
        if "interpolator" not in self.generator:
            return [source, *pseudo, target], pseudo
        with torch.autocast(source.device.type, enabled=False):
            between = [self.generator["interpolator"](source, residual) for residual in residuals]
        return [source, *between, target], pseudo

    def run(self, images: Tensor, path: Sequence[Tensor], corners: Mapping[str, Tensor]) -> list[Step]:
        """All modules in a row along the states `path`; nothing that the images teach reaches these."""
        steps = []
        states = [state.detach() for state in path]
        for module, source, target in zip(self.generator["cascade"], states[:-1], states[1:], strict=True):
            steps.append(self.module_step(module, images, source, target, corners))
            images = steps[-1].made["final"]
        return steps

    def module_step(
        self, module: Any, images: Tensor, source: Tensor, target: Tensor, corners: Mapping[str, Tensor]
    ) -> Step:
        """What one module makes of images (B, 3, H, W) between two states (B, K)."""
        told = self.condition.told(source, target)
        given = {"final": images, "face": images}
        given.update({part: cut_at(images, corners[part], *extent) for part, extent in self.extents.items()})
        made, attention = {}, {}
        for name in ("face", *self.extents):
            made[name], mask = module[name].edit(given[name], told)
            if mask is not None:
                attention[name] = mask
        canvas = made["face"]
        for part in self.extents:
            canvas = paste_at(canvas, made[part], corners[part])
        made["final"] = module["refiner"](made["face"], canvas) if self.config.refiner else canvas
        return Step(given, made, attention, source, target)

    # Losses ----------------------------------------------------------------------------------------------------------

    def discriminator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 1 and 2: terms `adv`, `gp`, `cls`, and `<i>/adv`, `<i>/gp`; of D_interp `interp/adv`, `interp/gp`.

        In a cascade the terms of every module k but the last, whose result is the edit, begin with `<k>/`.
        """
        image = batch["image"]
        source, target = self.condition.source(batch), self.condition.target(batch)
        alone = self.config.alone(step)
        if "fake" not in batch and not alone:
            with torch.no_grad(), normalised_once(self.generator):
                path, _ = self.waypoints(source, target)
                corners = self.corners(batch.get("landmarks"), len(image))
                batch.update(_seen(self.run(image, path, corners), path))
        with normalised_once(self.discriminator):
            total, terms = image.new_zeros(()), Terms()
            # While they are trained alone, all that the critics have is `image` and its states.
            for index, critics in enumerate(self.discriminator["cascade"]):
                label = self._label(index)
                for name, critic in critics.items():
                    real, fake = batch.get(f"real/{name}", image), batch.get(f"fake/{index}/{name}")
                    asked = batch.get(f"state/{index + 1}", target)
                    loss, own = critic.discriminator_loss(real, fake, source, asked, step)
                    total = total + loss
                    terms.update({f"{label}{_prefix(name)}{term}": value for term, value in own.items()})
        if "interpolator" in self.discriminator and not alone:
            loss, own = self._units_loss(source, batch)
            total = total + loss
            terms.update(own)
        return total, terms

    def _units_loss(self, real: Tensor, batch: Batch) -> Loss:
        """WGAN-GP of D_interp on real action units (B, K) and all that were interpolated."""
        critic = self.discriminator["interpolator"]
        fake = torch.cat([batch[f"state/{step}"] for step in range(1, self.config.modules)])
        real = real.repeat(self.config.modules - 1, 1)

        def slope(units: Tensor) -> Tensor:
            units = units.requires_grad_()
            (gradient,) = torch.autograd.grad(critic(units.flatten(1)).sum(), units, create_graph=True)
            return gradient

        with torch.autocast(real.device.type, enabled=False):
            penalty = losses.gradient_penalty(slope, real[:, :, None, None], fake[:, :, None, None])
            terms = {"interp/adv": (critic(fake) - critic(real)).mean(), "interp/gp": penalty.mean()}
        return terms["interp/adv"] + 10.0 * terms["interp/gp"], terms

    def generator_loss(self, batch: Batch, step: int) -> tuple[Tensor, Terms]:
        """Eq. 6, summed over the modules: `adv`, `<i>/adv`, `cls`, `cycle` (content), `attention`; of Eq. 5 `interp`.

        `replaced/<i>`, the mean of M_A, is a guard. In a cascade the terms of module k but the last begin with `<k>/`.
        """
        config, image = self.config, batch["image"]
        source, target = self.condition.source(batch), self.condition.target(batch)
        corners = self.corners(batch.get("landmarks"), len(image))
        path, pseudo = self.waypoints(source, target)
        total, terms = image.new_zeros(()), Terms()
        with normalised_once(self.generator, self.discriminator):
            steps = self.run(image, path, corners)
            batch["edited"] = steps[-1].made["final"]
            batch.update(_seen(steps, path))
            for index, (done, critics) in enumerate(zip(steps, self.discriminator["cascade"], strict=True)):
                loss, own = self._module_loss(index, done, critics, corners, step)
                total = total + loss
                label = self._label(index)
                terms.update({f"{label}{term}": value for term, value in own.items()})
        if "interpolator" in self.generator:
            terms["interp"] = self._interpolation(path[1:-1], pseudo)
            total = total + config.lambda_interpolation * terms["interp"]
        return total, terms

    def _label(self, index: int) -> str:
        return f"{index + 1}/" if index + 1 < self.config.modules else ""

    def _module_loss(self, index: int, done: Step, critics: Any, corners: Mapping[str, Tensor], step: int) -> Loss:
        """Eq. 1 to 4 of one module."""
        config = self.config
        total, terms = done.made["final"].new_zeros(()), Terms()
        for name, critic in critics.items():
            loss, own = critic.generator_loss(done.made[name], done.target)
            total = total + loss
            terms.update({f"{_prefix(name)}{term}": value for term, value in own.items()})
        if lazy := budget.due(step, config.reconstruction_every):
            module = self.generator["cascade"][index]
            back = self.module_step(module, done.made["final"], done.target, done.source, corners).made["final"]
            # What a later module is given is another one's work: it is to be reconstructed, not to become easier.
            terms["cycle"] = losses.reconstruction(done.images["face"].detach(), back).mean()
            total = total + lazy * config.lambda_content * terms["cycle"]
        if done.attention:
            masks = done.attention.values()
            marked = masks if config.attention_convention == "change" else [1 - mask for mask in masks]
            terms["attention"] = torch.stack([mask.square().mean() for mask in marked]).sum()
            total = total + config.lambda_attention * terms["attention"]
            terms.update({f"replaced/{name}": mask.mean() for name, mask in done.attention.items()})
        return total, terms

    def _interpolation(self, between: Sequence[Tensor], pseudo: Sequence[Tensor]) -> Tensor:
        """Eq. 5, summed over the states that were proposed."""
        terms = []
        with torch.autocast(between[0].device.type, enabled=False):
            for proposed, wanted in zip(between, pseudo, strict=True):
                distance = torch.linalg.vector_norm(proposed - wanted, dim=1).mean()
                terms.append(
                    distance - self.config.lambda_natural * self.discriminator["interpolator"](proposed).mean()
                )
        return torch.stack(terms).sum()

    # Translation -----------------------------------------------------------------------------------------------------

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Edit images (B, 3, H, W) in [-1, 1] from the states `source` to `target`, float (B, K)."""
        with normalised_once(self.generator):
            path, _ = self.waypoints(source, target)
            result = self.run(images, path, self.corners(None, images.shape[0]))[-1].made["final"]
        return result

    def generator_state(self) -> dict[str, Tensor]:
        """What `generator.safetensors` holds."""
        return {**stored_state(self.generator, self.condition), "centres": self.centres}

    def load_generator_state(self, state: Mapping[str, Tensor]) -> None:
        """Load `generator_state()`. Raises `RuntimeError` or `KeyError` when names or shapes differ."""
        # Files of earlier versions hold the critics too, which `mimik.training.starting.load_critics` reads.
        own = {name: value for name, value in state.items() if not name.startswith("discriminator.")}
        self.centres.copy_(own.pop("centres"))
        load_stored_state(own, self.generator, self.condition)


def _prefix(name: str) -> str:
    """Of a critic's terms, before their names."""
    return "" if name == "final" else f"{name}/"


def _seen(steps: Sequence[Step], path: Sequence[Tensor]) -> dict[str, Tensor]:
    """What the critics see of a pass, without its graph: real parts, fakes by module and name, states on the way."""
    seen = {f"real/{name}": image.detach() for name, image in steps[0].images.items()}
    for index, done in enumerate(steps):
        seen.update({f"fake/{index}/{name}": made.detach() for name, made in done.made.items()})
        seen[f"state/{index + 1}"] = path[index + 1].detach()
    seen["fake"] = seen[f"fake/{len(steps) - 1}/final"]
    return seen
