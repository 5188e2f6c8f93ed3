"""Starting a training from the trained networks of another: its generator, and its critics, which are kept for this.

Weights are taken over by name. Networks that are told states, or judge them, have slices of weights for each state
(`mimik.networks.slices`): those of states that both know find their place by the state's name, others stay as they were
initialised, and so do weights of another shape. The optimisers start anew.
"""

import fnmatch
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.networks.slices import Slices
from mimik.storage.weights import fill, read_safetensors

CRITICS = "critic.safetensors"
"""File in the result folder with the critics as the training left them; they are not averaged."""

HANDED = ("generator", "discriminator")
"""What a training takes over unless the method has `handed`: names, or beginnings of names, of weights."""

LEAST_SHARE = 0.5
"""Of the numbers of a generator: where fewer fit, the networks are different ones."""


@dataclass(frozen=True)
class Taken:
    """Weights of a method by name: taken over as they are, for some slices only, and left as initialised.

    `share` is that of the generator's numbers that were taken over.
    """

    whole: tuple[str, ...]
    partly: tuple[str, ...]
    fresh: tuple[str, ...]
    share: float


def critics_state(method: nn.Module) -> dict[str, Tensor]:
    """What `CRITICS` holds: weights of the method's `discriminator`; nothing for a method that has none."""
    critics = getattr(method, "discriminator", None)
    state = {} if critics is None else critics.state_dict()
    return {name: value.contiguous() for name, value in state.items()}


def load_critics(method: nn.Module, result_dir: Path | str) -> bool:
    """Load the critics of a trained method into it.

    Returns:
        False for a result without them: one of an earlier version, or one that was imported.

    Raises:
        UserError: the file is damaged, or does not belong to the method.
    """
    folder = Path(result_dir)
    path, remedy = folder / CRITICS, "Train the method again, or delete this file to start from the generator alone."
    if path.exists():
        state = read_safetensors(path, remedy)
    else:
        # Earlier versions kept the critics of EF-GAN, and no others, beside its generator.
        path = folder / "generator.safetensors"
        prefix = "discriminator."
        kept = read_safetensors(path, remedy).items()
        state = {name.removeprefix(prefix): value for name, value in kept if name.startswith(prefix)}
    critics = getattr(method, "discriminator", None)
    if not state or critics is None:
        return False
    fill(lambda: critics.load_state_dict(state), path, remedy)
    return True


@torch.no_grad()
def take_over(method: Any, other: Any, *, critics: bool = True) -> Taken:
    """Take over the weights of a trained method.

    Args:
        method: as initialised; changed in place.
        other: of the same class; its states, size and settings may differ.
        critics: take the critics over, too.

    Raises:
        ValueError: it is another method, or most of its generator does not fit.
    """
    if type(method) is not type(other):
        raise ValueError("a method starts from the same method, with other settings or on another dataset")
    if _states(method) != _states(other) and not any(hasattr(module, "named_slices") for module in method.modules()):
        raise ValueError("they know different states, and its networks have no `named_slices` to tell states apart")
    handed = tuple(getattr(method, "handed", HANDED))
    handed = tuple(name for name in handed if critics or name.partition(".")[0] != "discriminator")
    mine, theirs = method.state_dict(), other.state_dict()
    slices, others = _named_slices(method), _named_slices(other)
    found: dict[str, list[str]] = {"whole": [], "partly": [], "fresh": []}
    numbers = fitting = 0
    for name, value in mine.items():
        if not any(name == start or name.startswith(f"{start}.") for start in handed):
            continue
        source = method.started_from(name, other) if hasattr(method, "started_from") else name
        count = 0
        if source in theirs:
            names = _slices_of(name, value, slices), _slices_of(source, theirs[source], others)
            count = _copy(value, theirs[source], *names)
        found["whole" if count == value.numel() else "partly" if count else "fresh"].append(name)
        if name.startswith("generator."):
            numbers, fitting = numbers + value.numel(), fitting + count
    share = fitting / max(1, numbers)
    if share < LEAST_SHARE:
        raise ValueError(f"only {100 * share:.0f} % of the generator's numbers fit; both have to be of the same size")
    return Taken(**{kind: tuple(names) for kind, names in found.items()}, share=share)


def told(method: Any, other: Any, taken: Taken, critics: bool) -> Iterator[str]:
    """Sentences on what was taken over."""
    yield f"Taken over: {len(taken.whole)} weights of {'generator and critics' if critics else 'the generator'}."
    mine, theirs = method.condition.names, other.condition.names
    if mine != theirs:
        yield f"States that both know, by name: {', '.join(name for name in mine if name in theirs) or 'none'}."
    if new := [name for name in mine if name not in theirs]:
        yield f"New states, as initialised: {', '.join(new)}."
    if taken.partly:
        yield f"Taken over in part: {listed(taken.partly)}."
    if taken.fresh:
        yield f"As initialised: {listed(taken.fresh)}."
    if not critics:
        yield f"The other result has no {CRITICS}, so critics start as initialised."
    yield "Optimisers start anew."


def frozen(method: nn.Module, patterns: Sequence[str], where: str) -> list[str]:
    """Names of the trained parameters that patterns match.

    Args:
        method: a method.
        patterns: of whole names, with `*`, `?` and `[...]` as in names of files.
        where: the entry, for messages.

    Raises:
        UserError: a pattern matches none.
    """
    names = list(_trained_names(method))
    matched: dict[str, None] = {}
    for pattern in patterns:
        own = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not own:
            groups = dict.fromkeys(".".join([*name.split(".")[:-1][:2], "*"]) for name in names)
            raise UserError(
                f"{where}.freeze: {pattern!r} matches no parameter that is trained. There are, for example, "
                f"{', '.join(groups)}; the whole names are those in {names[0]} and the like."
            )
        matched |= dict.fromkeys(own)
    return list(matched)


def listed(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _trained_names(method: Any) -> Iterator[str]:
    owners = [update.name for update in method.updates if update.shares is None]
    groups = [group for name in owners for group in getattr(method, f"{name}_parameters")()]
    trained = {id(parameter) for group in groups for parameter in group["params"]}
    return (name for name, parameter in method.named_parameters() if id(parameter) in trained)


def _named_slices(method: Any) -> dict[str, Slices]:
    """Slices of all weights of a method that have names.

    A generator is told states in a form, absolute or relative; critics know states alone.
    """
    known = [(space, name) for space, _, name in _states(method)]
    said = _states(method)
    found = dict(method.named_slices(known)) if hasattr(method, "named_slices") else {}

    def look(module: Any, path: str, states: Sequence[Hashable]) -> None:
        if hasattr(module, "named_slices"):
            # It speaks for all that it is made of.
            found.update({f"{path}.{name}": own for name, own in module.named_slices(states).items()})
            return
        for name, child in module.named_children():
            look(child, f"{path}.{name}", states)

    for name, child in method.named_children():
        look(child, name, said if name == "generator" else known)
    return found


def _states(method: Any) -> list[tuple[str, str, str]]:
    condition = method.condition
    return [(condition.space, condition.config.form, name) for name in condition.names]


def _slices_of(name: str, value: Tensor, found: Mapping[str, Slices]) -> Slices:
    """Slices of a weight with names, also where it is normalised spectrally, and of the vectors that this needs."""
    layer, normalised, rest = name.partition(".parametrizations.weight.")
    if not normalised:
        return found.get(name, {})
    own = found.get(f"{layer}.weight", {})
    axis = {"0._u": 0, "0._v": 1}.get(rest)
    if axis is None:
        return own
    # One number for every output of a convolution, or for every input and place in the kernel.
    keys = own.get(axis, range(len(value)))
    return {0: [(key, place) for key in keys for place in range(len(value) // len(keys))]}


def _copy(value: Tensor, source: Tensor, mine: Slices, theirs: Mapping[int, Sequence[Hashable]]) -> int:
    """Copy what has the same place in both; returns how many numbers."""
    if value.ndim != source.ndim or value.dtype != source.dtype:
        return 0
    targets, piece = [], source
    for axis, size in enumerate(value.shape):
        if axis not in mine or axis not in theirs:
            if size != source.shape[axis]:
                return 0
            targets.append(list(range(size)))
            continue
        places = {key: place for place, key in enumerate(theirs[axis])}
        targets.append([place for place, key in enumerate(mine[axis]) if key in places])
        chosen = [places[key] for key in mine[axis] if key in places]
        piece = piece.index_select(axis, torch.tensor(chosen, dtype=torch.int64, device=source.device))
    if all(len(target) == size for target, size in zip(targets, value.shape, strict=True)):
        value.copy_(piece)
    elif piece.numel():
        axes = range(value.ndim)
        index = tuple(torch.tensor(targets[axis]).view([-1 if axis == own else 1 for own in axes]) for axis in axes)
        value[index] = piece.to(value.device)
    return piece.numel()
