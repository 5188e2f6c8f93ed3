"""AttGAN's generator as elvisyjlin/AttGAN-PyTorch saves it (`weights.199.pth`); docs/weights.md#attgan.

The file holds the generator under `G`, and the discriminator and the optimisers beside it where all was saved.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mimik.components.conditions import Condition
from mimik.errors import UserError
from mimik.labels import SECGAN_ATTRIBUTES
from mimik.methods.attgan import Method
from mimik.released.conversion import Source, converted, label_order, normed, without_wrapper

SOURCE = Source("AttGAN's generator", "elvisyjlin/AttGAN-PyTorch", "be2d6c6")


def labels(condition: Condition) -> Sequence[str]:
    """The labels that the released models know, in their order: 13 attributes, whatever the condition is."""
    return SECGAN_ATTRIBUTES


def weights(path: Path, state: Mapping[str, Any], method: Method, known: Sequence[str]) -> dict[str, Tensor]:
    """The generator's weights by their names in mimik.

    Args:
        path: of the file, for messages.
        state: what it holds.
        method: whose generator they are for; it is told labels.
        known: the labels in the order of the released weights.

    Raises:
        UserError: they do not fit.
    """
    own = state.get("G")
    if not isinstance(own, Mapping):
        raise UserError(
            f"{path}: expected the generator of {SOURCE.repository} under `G`, found "
            f"{', '.join(list(state)[:3]) or 'nothing'}. Name one of the files weights.*.pth of its folder checkpoint."
        )
    own, expected, condition = without_wrapper(own), method.generator.state_dict(), method.condition
    layers, wide = len(method.generator.decoder), [layer[0].weight.shape[0] for layer in method.generator.encoder]  # type: ignore[index]
    first = own.get("dec_layers.0.layers.0.weight")
    if isinstance(first, Tensor) and first.ndim == 4 and first.shape[0] - wide[-1] != len(known):
        raise UserError(
            f"{path}: takes {first.shape[0] - wide[-1]} labels, but {len(known)} are named: {', '.join(known)}. Name "
            "them in the order of that training with --labels."
        )
    names: dict[str, str] = {}
    for layer in range(layers):
        names[f"encoder.{layer}.0.weight"] = f"enc_layers.{layer}.layers.0.weight"
        names |= normed(f"encoder.{layer}.1", f"enc_layers.{layer}.layers.1")
        if layer < layers - 1:
            names[f"decoder.{layer}.0.weight"] = f"dec_layers.{layer}.layers.0.weight"
            names |= normed(f"decoder.{layer}.1", f"dec_layers.{layer}.layers.1")
    names |= {f"decoder.{layers - 1}.{kind}": f"dec_layers.{layers - 1}.layers.0.{kind}" for kind in ("weight", "bias")}
    orders = {}
    for layer in range(1 + method.config.inject_layers):
        # The labels are the last inputs of the first layer and of those that they are joined to.
        name = f"decoder.{layer}.0.weight" if layer < layers - 1 else f"decoder.{layer}.weight"
        before = expected[name].shape[0] - condition.dim
        orders[name] = (0, label_order(known, condition.names, before))
    return converted(path, own, SOURCE, names, expected, orders)
