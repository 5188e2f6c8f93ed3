"""A trained network as a folder: model.safetensors and config.json, which holds the digest of the weights."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from mimik.errors import UserError
from mimik.storage.files import file_sha256, write_json
from mimik.storage.records import command_for, read_record
from mimik.storage.weights import built, fill, read_safetensors, save_safetensors

N = TypeVar("N", bound=nn.Module)

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
DIGEST = "model_sha256"

NEEDS: Mapping[str, Sequence[str]] = {
    "segmenter": ("name", "architecture", "classes"),
    "classifier": ("name", "architecture", "classes"),
    "depth_network": ("name", "architecture", "critic"),
    "reader": ("name", "architecture", "identity_dim"),
}
"""What the config of a kind has to hold besides the digest."""


def save_network(directory: Path | str, network: nn.Module, config: Mapping[str, Any]) -> str:
    """Write weights, then `config` with the entry `model_sha256` added. Returns that SHA-256."""
    folder = Path(directory)
    save_safetensors(folder / WEIGHTS, network.state_dict())
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
    config = read_record(folder / CONFIG, "network")
    if config.get("kind") != kind:
        raise UserError(
            f"{folder / CONFIG}: expected the config of a {kind}, found kind {config.get('kind')!r}. "
            f"Name the folder of a {kind}."
        )
    read_record(folder / CONFIG, "network", (DIGEST, *NEEDS.get(kind, ())))
    weights, command = folder / WEIGHTS, command_for(folder / CONFIG, "network")
    if not weights.is_file():
        raise UserError(f"{weights}: no such file. Run `{command}` first.")
    if file_sha256(weights) != config.get(DIGEST):
        raise UserError(
            f"{weights}: not the weights that {CONFIG} was written for (its SHA-256 differs). Delete the folder "
            f"and train this {kind} again: `{command}`."
        )
    return config, read_safetensors(weights, f"Delete the folder and train again: `{command}`.")


def load_weights(network: nn.Module, state: Mapping[str, Tensor], directory: Path | str) -> None:
    """Fill `network`. Raises `UserError` when names or shapes of `state` are not those of the network."""
    remedy = f"Train it again with this version of mimik: `{command_for(Path(directory) / CONFIG, 'network')}`."
    fill(lambda: network.load_state_dict(dict(state)), Path(directory) / WEIGHTS, remedy)


def build_stored(make: Callable[[], N], directory: Path | str) -> N:
    """The network that a folder's config describes, without its weights. Raises `UserError` when it describes none."""
    path = Path(directory) / CONFIG
    return built(make, str(path), f"Train it again: `{command_for(path, 'network')}`.")
