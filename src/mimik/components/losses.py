"""Loss terms that two or more methods use: pure functions of tensors, no state, no logging.

Shapes: a discriminator's realness map is (B, P, h, w), where P is the number of independent discriminators that
were evaluated side by side (1 for a whole-image discriminator, 4 for the parts of a face). Losses are returned as
(B, P) so that the caller can weight samples and parts.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mimik.components.conditions import Space

Objective = Literal["wgan-gp", "vanilla", "hinge"]
UnitLoss = Literal["squared", "logistic"]
Labels = Literal["auto", "binary"]
LabelReduction = Literal["sum", "mean"]


def discriminator_adversarial(real: Tensor, fake: Tensor, objective: Objective) -> Tensor:
    """The discriminator's adversarial loss on realness maps, without penalties.

    wgan-gp: E[D(fake)] - E[D(real)] (Gulrajani et al. 2017); vanilla: the log-loss of Goodfellow et al. 2014 on
    logits; hinge: Lim and Ye 2017.

    Args:
        real, fake: realness maps (B, P, h, w).
        objective: which of the three.

    Returns:
        (B, P) loss per sample and discriminator.
    """
    if objective == "wgan-gp":
        return (fake - real).mean(dim=(2, 3))
    if objective == "vanilla":
        return (F.softplus(-real) + F.softplus(fake)).mean(dim=(2, 3))
    return (F.relu(1 - real) + F.relu(1 + fake)).mean(dim=(2, 3))


def generator_adversarial(fake: Tensor, objective: Objective) -> Tensor:
    """The generator's adversarial loss: -D(fake); for `vanilla` the non-saturating -log sigmoid(D(fake)).

    Args:
        fake: realness map (B, P, h, w).
        objective: as for `discriminator_adversarial`.

    Returns:
        (B, P) loss per sample and discriminator.
    """
    return (F.softplus(-fake) if objective == "vanilla" else -fake).mean(dim=(2, 3))


def gradient_penalty(gradient: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, parts: int = 1) -> Tensor:
    """The gradient penalty of WGAN-GP, (||grad_x D(x)||_2 - 1)^2 at random points between real and fake.

    D is the SUM over its patch map, as in StarGAN's code, which determines the scale of the penalty
    (docs/papers/baselines.md#gradient-penalty).

    Args:
        gradient: images (B, P*3, H, W) -> gradient of D there, of the same shape, differentiable in D's weights.
        real, fake: (B, P*3, H, W).
        parts: P, the number of independent discriminators in the channel axis.

    Returns:
        (B, P) penalty per sample and discriminator.
    """
    alpha = torch.rand(len(real), 1, 1, 1, device=real.device)
    slope = gradient(torch.lerp(fake, real, alpha).detach()).float()
    norm = torch.linalg.vector_norm(slope.reshape(len(real), parts, -1), dim=2)
    penalty: Tensor = (norm - 1) ** 2
    return penalty


def r1_penalty(gradient: Callable[[Tensor], Tensor], real: Tensor, parts: int = 1) -> Tensor:
    """R1, ||grad_x D(x)||^2 at real images (Mescheder et al. 2018), without its factor gamma / 2.

    Args:
        gradient: like `gradient_penalty`.
        real: (B, P*3, H, W).
        parts: P.

    Returns:
        (B, P) penalty per sample and discriminator.
    """
    slope = gradient(real.detach()).float()
    return slope.reshape(len(real), parts, -1).pow(2).sum(dim=2)


def input_gradient(realness: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Gradient of a critic's realness with respect to its images by automatic differentiation.

    For critics that are not piecewise linear (normalised ones). A penalty on this gradient is differentiated twice,
    which needs float32 regardless of the precision of the rest of the step.

    Args:
        realness: images -> scalar, the sum of the critic's outputs over the batch; samples must not mix.
        images: (B, C, H, W).

    Returns:
        of the shape of `images`, differentiable in the critic's weights, not in the images.
    """
    with torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        points = images.detach().float().requires_grad_(True)
        (gradient,) = torch.autograd.grad(realness(points), points, create_graph=True)
    return gradient


def condition(
    predicted: Tensor,
    states: Tensor,
    space: Space,
    *,
    labels: Labels = "auto",
    reduction: LabelReduction = "sum",
    unit_loss: UnitLoss = "squared",
) -> Tensor:
    """The loss of a discriminator's condition head on known states.

    Softmax cross-entropy for expressions; binary cross-entropies for attributes; for action units the mean squared
    error (`squared`), or the binary cross-entropies with the intensities as probabilities (`logistic`). The gradient of
    the latter is bounded, like that for labels: a fast-learning critic keeps its estimate while its features change,
    whereas the squared error destabilises it.

    Args:
        predicted: (B, P, K), logits, or estimated action units (`squared`).
        states: float (B, K) of `mimik.components.conditions`, shared by the P discriminators.
        space: what a state consists of.
        labels: `binary`: treat expressions like attributes.
        reduction: reduction of binary cross-entropies over the K labels: `sum` as in StarGAN's code, `mean` as in
            AttGAN's.
        unit_loss: loss for action units.

    Returns:
        (B, P).
    """
    batch, parts, _ = predicted.shape
    predicted = predicted.float()
    if space == "expression" and labels == "auto":
        positions = states.argmax(1).repeat_interleave(parts)
        return F.cross_entropy(predicted.flatten(0, 1), positions, reduction="none").view(batch, parts)
    wanted = states[:, None].expand_as(predicted)
    if space == "action_units" and unit_loss == "squared":
        return (predicted - wanted).pow(2).mean(2)
    # Noise can move intensities outside [0, 1], where the cross-entropy has no minimum.
    binary = F.binary_cross_entropy_with_logits(predicted, wanted.clamp(0, 1), reduction="none")
    return binary.sum(2) if reduction == "sum" else binary.mean(2)


def entropy(logits: Tensor, space: Space) -> Tensor:
    """Entropy in nats of a condition head's prediction: the confidence penalty of Pereyra et al. (2017) with its sign.

    Args:
        logits: (B, P, K).
        space: `expression` (one distribution over K classes) or `attributes` (K binary distributions, summed).

    Returns:
        (B, P).

    Raises:
        ValueError: action units are estimated without a distribution.
    """
    if space == "action_units":
        raise ValueError("an estimate of action units has no entropy")
    logits = logits.float()
    if space == "attributes":
        return (F.softplus(logits) - logits * torch.sigmoid(logits)).sum(2)
    logarithms = F.log_softmax(logits, 2)
    return -(logarithms.exp() * logarithms).sum(2)


def reconstruction(image: Tensor, reconstructed: Tensor, parts: int = 1) -> Tensor:
    """Mean absolute difference, (B, P), of images (B, P*3, H, W) in [-1, 1]."""
    return (image - reconstructed).abs().reshape(len(image), parts, -1).mean(dim=2)


def total_variation(mask: Tensor) -> Tensor:
    """Mean absolute difference between neighbouring pixels of (B, c, H, W); a scalar."""
    return (mask[..., 1:, :] - mask[..., :-1, :]).abs().mean() + (mask[..., :, 1:] - mask[..., :, :-1]).abs().mean()


def summed_variation(images: Tensor) -> Tensor:
    """Absolute differences between neighbouring pixels of (B, c, H, W), summed over each image and its channels: (B,).

    It is not averaged, so its weight is for one image size, as in GANimation's code (Pumarola et al. 2018).
    """
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().sum((1, 2, 3))
    right = (images[..., :, 1:] - images[..., :, :-1]).abs().sum((1, 2, 3))
    return down + right
