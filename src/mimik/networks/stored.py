"""A trained network as a folder: model.safetensors and config.json, which holds the digest of the weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.files import atomic_path, file_sha256, read_json, write_json

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
DIGEST = "model_sha256"


def save_network(directory: Path | str, network: nn.Module, config: Mapping[str, Any]) -> str:
    """Write weights, then `config` with the entry `model_sha256` added. Returns that SHA-256."""
    folder = Path(directory)
    state = {name: value.detach().contiguous().cpu() for name, value in network.state_dict().items()}
    with atomic_path(folder / WEIGHTS) as temporary:
        save_file(state, temporary)
    sha256 = file_sha256(folder / WEIGHTS)
    write_json(folder / CONFIG, {**config, DIGEST: sha256})
    return sha256


def read_network(directory: Path | str, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights of a folder that `save_network` wrote.

    Args:
        directory: the folder.
        kind: the entry `kind` that the config must have, such as "segmenter".

    Raises:
        UserError: a file is missing or damaged, weights and config do not belong together, or it is another kind.
    """
    folder = Path(directory)
    config: dict[str, Any] = read_json(folder / CONFIG)
    if config.get("kind") != kind:
        raise UserError(
            f"{folder / CONFIG}: expected the config of a {kind}, found kind {config.get('kind')!r}. "
            f"Name the folder of a {kind}."
        )
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise UserError(f"{weights}: no such file. Run the pre-training of this {kind} first.")
    if file_sha256(weights) != config.get(DIGEST):
        raise UserError(
            f"{weights}: not the weights that {CONFIG} was written for (its SHA-256 differs). Delete the folder "
            f"and train this {kind} again."
        )
    try:
        return config, load_file(weights)
    except SafetensorError as error:
        raise UserError(f"{weights}: expected safetensors ({error}). Delete the folder and train again.") from error


def load_weights(network: nn.Module, state: Mapping[str, Tensor], directory: Path | str) -> None:
    """Fill `network`. Raises `UserError` when `state` has other names or shapes, or values that are not finite."""
    check_finite(state, Path(directory) / WEIGHTS)
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        raise UserError(
            f"{Path(directory) / WEIGHTS}: the weights do not fit the network that {CONFIG} describes ({error}). "
            "Train it again with this version of mimik."
        ) from error


def check_finite(state: Mapping[str, Tensor], weights: Path) -> None:
    """Raise `UserError` when weights are not finite: what they make would be black, and every measure NaN."""
    if damaged := [name for name, values in state.items() if not torch.isfinite(values).all()]:
        raise UserError(
            f"{weights}: {len(damaged)} of {len(state)} weights are not finite, the first {damaged[0]}: the training "
            "diverged, or the file is damaged. Train again."
        )
