"""StarGAN's generator as yunjey/stargan saves it (`200000-G.ckpt`); docs/weights.md#stargan.

Its instance normalisation has running statistics, which that code never uses, as it tests in training mode; they are
left out here (`mimik.networks.normalisation`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mimik.components.conditions import Condition
from mimik.errors import UserError
from mimik.methods.stargan import Method
from mimik.released.conversion import COUNTED, Source, converted, label_order, normed, without_wrapper

SOURCE = Source("StarGAN's generator", "yunjey/stargan", "94dd002")

CELEBA: Sequence[str] = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
"""The attributes of the two released models of CelebA, in their order."""

RAFD: Sequence[str] = ("anger", "contempt", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
"""The expressions of RaFD in the order of its folders, which that code numbers by name: angry, contemptuous, ..."""


def labels(condition: Condition) -> Sequence[str]:
    """The labels that the released models know, in their order."""
    return CELEBA if condition.space == "attributes" else RAFD


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
    state, blocks = without_wrapper(state), method.config.residual_blocks
    first, wanted = state.get("main.0.weight"), method.condition.names
    if isinstance(first, Tensor) and first.ndim == 4 and first.shape[1] - 3 != len(known):
        raise UserError(
            f"{path}: takes {first.shape[1] - 3} labels, but {len(known)} are named: {', '.join(known)}. Name them in "
            "the order of that training with --labels."
        )
    return converted(
        path, state, SOURCE, _names(blocks), method.generator.state_dict(),
        {"encoder.0.weight": (1, label_order(known, wanted, 3))},
        lambda name: name.rpartition(".")[2] in ("running_mean", "running_var", COUNTED),
    )  # fmt: skip


def _names(blocks: int) -> dict[str, str]:
    """The released name of every weight of the generator; its layers are numbered through there."""
    names: dict[str, str] = {}
    for layer in (0, 3, 6):
        names[f"encoder.{layer}.weight"] = f"main.{layer}.weight"
        names |= normed(f"encoder.{layer + 1}", f"main.{layer + 1}", buffers=False)
    for block in range(9, 9 + blocks):
        for layer in (0, 3):
            names[f"encoder.{block}.body.{layer}.weight"] = f"main.{block}.main.{layer}.weight"
            names |= normed(f"encoder.{block}.body.{layer + 1}", f"main.{block}.main.{layer + 1}", buffers=False)
    up = 9 + blocks
    names[f"encoder.{up}.weight"] = f"main.{up}.weight"
    names |= normed(f"encoder.{up + 1}", f"main.{up + 1}", buffers=False)
    names["decoder.0.weight"] = f"main.{up + 3}.weight"
    names |= normed("decoder.1", f"main.{up + 4}", buffers=False)
    names["last.weight"] = f"main.{up + 6}.weight"
    return names
