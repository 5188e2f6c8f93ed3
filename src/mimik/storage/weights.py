"""Weights on disk, from files that may be anybody's: never unpickled, finite or refused; networks to hold them.

Configs and weights of one network may come from different hands. So building and filling a network are guarded: what
does not fit, or would fill the machine, is a `UserError`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.storage.files import atomic_path, first_line

T = TypeVar("T")

MOST_NUMBERS = 1_000_000_000
"""Most weights that a config may describe: twice those of the largest published method."""

MOST_TENSORS = 20_000
"""Most tensors of weights that a config may describe, for the same reason."""


def save_safetensors(path: Path | str, state: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write weights atomically. Raises `UserError`, and writes nothing, when one is NaN or infinite."""
    kept = {name: value.detach().contiguous().cpu() for name, value in state.items()}
    check_finite(kept, path, "Nothing was written. Train again with a lower learning_rate, or with precision: fp32.")
    with atomic_path(path) as temporary:
        save_file(kept, temporary, metadata=metadata)


def read_safetensors(path: Path | str, remedy: str) -> dict[str, Tensor]:
    """Weights by name, on the CPU.

    Args:
        path: the file.
        remedy: what to do when it cannot be used: a sentence that names the command that makes it.

    Raises:
        UserError: the file is missing, damaged, or holds a weight that is NaN or infinite.
    """
    try:
        state: dict[str, Tensor] = load_file(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. {remedy}") from error
    except Exception as error:
        raise UserError(
            f"{path}: expected weights in safetensors format, but: {first_line(error)}. {remedy}"
        ) from error
    check_finite(state, path, remedy)
    return state


def save_pth(path: Path | str, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values atomically, for `read_pth`."""
    # Given a path PyTorch keeps the file open after a fault, and a full disk stays full while this process lives.
    with atomic_path(path) as temporary, temporary.open("wb") as opened:
        torch.save(state, opened)


def read_pth(path: Path | str, what: str, remedy: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """A dict that PyTorch saved: tensors and plain values only, nothing is unpickled.

    Args:
        path: the file.
        what: it should hold, for the message.
        remedy: what to do when it cannot be used.
        device: where its tensors go.

    Raises:
        UserError: the file is missing, damaged, or holds anything else, or a tensor with NaN or an infinite number.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. {remedy}") from error
    except Exception as error:
        # PyTorch's own words advise to unpickle.
        plain = type(error).__name__ != "UnpicklingError"
        reason = first_line(error) if plain else "only tensors and plain values are read from a file"
        raise UserError(f"{path}: expected {what}, but it cannot be read ({reason}). {remedy}") from error
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise UserError(f"{path}: expected {what}, but it holds a {type(state).__name__}. {remedy}")
    check_finite(state, path, remedy)
    return state


def check_finite(state: Mapping[str, Any], path: Path | str, remedy: str) -> None:
    """Raise `UserError` that names file and tensor where a number is NaN or infinite; groups are looked into."""
    for name, value in _tensors(state):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            count = int((~torch.isfinite(value)).sum())
            raise UserError(
                f"{path}: {count:,} of the {value.numel():,} numbers of {name} are NaN or infinite: such weights "
                f"cannot produce a picture. {remedy}"
            )


def check_weights(
    path: Path | str, state: Mapping[str, Any], expected: Mapping[str, Tensor], what: str, remedy: str
) -> None:
    """Raise `UserError` unless a released file has all the weights of `expected`, by name and shape; it may have more.

    Args:
        path: the file, for the message.
        state: its content.
        expected: weights of these shapes by the file's names.
        what: it should hold, for the message.
        remedy: what to do when it does not.
    """
    faults = [name for name, value in expected.items() if getattr(state.get(name), "shape", None) != value.shape]
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        told = f"{', '.join(faults[:3])}{more}"
        raise UserError(
            f"{path}: expected {what}, but of its weights are missing or of another shape: {told}. {remedy}"
        )


def fill(load: Callable[[], object], path: Path | str, remedy: str) -> None:
    """Call `load`, which puts the weights of a file into a network.

    Raises:
        UserError: names or shapes of the weights are not those of the network.
    """
    try:
        load()
    except UserError:
        raise
    except Exception as error:  # names that are parsed, shapes that are indexed: whatever does not fit
        raise UserError(
            f"{path}: the weights do not fit the config.json beside it ({first_line(error)}). {remedy}"
        ) from error


def built(make: Callable[[], T], where: str, remedy: str) -> T:
    """What `make` builds from a file's settings.

    Args:
        make: builds networks.
        where: the file, for the message.
        remedy: what to do when it describes nothing that can be built.

    Raises:
        UserError: the settings describe no network, or one of more than `MOST_NUMBERS` weights.
    """
    try:
        with _limited():
            return make()
    except UserError:
        raise
    except Exception as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else first_line(error)
        if isinstance(error, MemoryError) or "allocate memory" in reason:
            reason = "its weights do not fit into this machine's memory"
        raise UserError(f"{where}: does not describe a network that can be built ({reason}). {remedy}") from error


@contextmanager
def _limited() -> Iterator[None]:
    """Refuse parameters beyond the limits. They are counted before anything is written into their memory."""
    numbers = tensors = 0

    def count(_module: nn.Module, _name: str, parameter: Tensor | None) -> None:
        nonlocal numbers, tensors
        numbers, tensors = numbers + (0 if parameter is None else parameter.numel()), tensors + 1
        if numbers > MOST_NUMBERS or tensors > MOST_TENSORS:
            raise ValueError(f"more than {MOST_NUMBERS:,} weights, or more than {MOST_TENSORS:,} tensors of them")

    hook = torch.nn.modules.module.register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def _tensors(state: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, Mapping):
            yield from _tensors(value, f"{prefix}{name}.")
