"""The condition of a generator, one type for all methods: expressions, attributes, action units; absolute or relative.

A face is in a *state*, a vector (B, K): its expression one-hot, its binary attributes, or its action units. An edit
goes from a source to a target state. The networks receive either the target itself (`absolute`: StarGAN, GANimation) or
target minus source (`relative`: SeCGAN's label difference, the relative action units of Ling et al. 2020, eq. 1), where
zero means no change. Every method can therefore edit back (states exchanged), make no change (source as target) and go
part of the way (a target between the two).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.faces.prepared.store import FaceStore
from mimik.labels import ACTION_UNITS, EXCLUDED_ATTRIBUTES, HAIR_COLOURS

Space = Literal["expression", "attributes", "action_units"]
Form = Literal["absolute", "relative"]
Reversal = Literal["alone", "exclusive", "hair_colour"]


@dataclass(frozen=True)
class ConditionConfig:
    """Settings: the `condition` of an entry of `methods`.

    Attributes:
        space: what a state consists of: an expression, attributes, or action units.
        form: what the networks receive: the target (`absolute`), or target minus source (`relative`).
        names: which attributes, or which action units (by name, AU01 ... AU45); empty: all. Not for expressions, which
            are the dataset's classes.
        source_noise, target_noise: half-width of uniform noise on the states in training (action units only).
        reversal: what the reversal of an attribute does to the others when a face is edited; training takes the
            attributes of other faces as they are. `alone`: nothing (Sun et al., appendix A.3). `exclusive`: an
            attribute that is given takes away what contradicts it, such as another colour of the hair (AttGAN's code).
            `hair_colour`: a colour of the hair is given, to a face that has it too, and the other colours are taken
            away (StarGAN's code). Only for attributes.
        intensity: how far the reversed attribute itself goes when a face is edited: 1 reverses it, 1.5 goes half as far
            again. AttGAN's code tells its decoder plus and minus 1 where training had 0.5, which is 1.5. Only for
            attributes.
    """

    space: Space = "expression"
    form: Form = "absolute"
    names: tuple[str, ...] = ()
    source_noise: float = 0.0
    target_noise: float = 0.0
    reversal: Reversal = "alone"
    intensity: float = 1.0

    def __post_init__(self) -> None:
        """Refuse combinations that make no sense."""
        if self.space == "expression" and self.names:
            raise ValueError("names selects attributes or action units; expressions are always the dataset's classes")
        if self.space == "action_units" and (unknown := set(self.names) - set(ACTION_UNITS)):
            raise ValueError(f"{', '.join(sorted(unknown))} is not an action unit. Known: {', '.join(ACTION_UNITS)}")
        if self.space != "action_units" and (self.source_noise or self.target_noise):
            raise ValueError("noise is for action units only; labels and attributes are exact")
        if len(set(self.names)) < len(self.names) or min(self.source_noise, self.target_noise) < 0:
            raise ValueError("names must be distinct and noise must not be negative")
        if not self.intensity > 0:
            raise ValueError(f"intensity must be above 0, not {self.intensity}")


class Condition(nn.Module):
    """The states of a dataset's faces and the generator's input made from them.

    Attributes:
        config: settings.
        classes: the expressions of the dataset.
        names: names of the K entries of a state.
        columns: int64 (K,), positions of these entries among all entries of the space.
        class_units: float (C, K), mean action units of every expression over the training split, which define an
            expression requested by name (action units only; zeros until they are set or loaded).
    """

    def __init__(self, config: ConditionConfig, classes: Sequence[str], attributes: Sequence[str] = ()) -> None:
        """Describe the states.

        Args:
            config: settings.
            classes: expressions of the dataset.
            attributes: all attributes that the dataset has.

        Raises:
            ValueError: the dataset does not have one of the attributes, or has none at all.
        """
        super().__init__()
        self.config, self.classes, self.attributes = config, tuple(classes), tuple(attributes)
        every = {"expression": self.classes, "attributes": self.attributes, "action_units": tuple(ACTION_UNITS)}
        self.names = config.names or every[config.space]
        if config.space == "attributes" and (not self.names or set(self.names) - set(attributes)):
            known = ", ".join(attributes) or "none"
            raise ValueError(f"attributes {', '.join(self.names) or '(all)'}: this dataset has {known}")
        columns = torch.tensor([every[config.space].index(name) for name in self.names], dtype=torch.int64)
        self.register_buffer("columns", columns, persistent=False)
        self.columns: Tensor
        given, taken = _reversals(self.names, config.reversal)
        self.register_buffer("_given", given, persistent=False)
        self.register_buffer("_taken", taken, persistent=False)
        self._given: Tensor
        self._taken: Tensor
        units = torch.zeros(len(classes), len(self.names)) if config.space == "action_units" else None
        self.register_buffer("class_units", units)
        self.class_units: Tensor | None

    @property
    def space(self) -> Space:
        """What a state consists of."""
        return self.config.space

    @property
    def dim(self) -> int:
        """K, the length of a state and of the networks' condition."""
        return len(self.names)

    @property
    def reads(self) -> frozenset[str]:
        """Entries of the batch that states are made of."""
        names = {"expression": ("label", "target"), "attributes": ("attributes", "target_attributes")}
        return frozenset(names.get(self.space, ("action_units", "target_action_units")))

    @property
    def edits(self) -> tuple[str, ...]:
        """Names of the possible edits: to an expression, or the reversal of an attribute."""
        return self.names if self.space == "attributes" else self.classes

    def set_class_units(self, units: Tensor) -> None:
        """Mean action units of every expression, float (C, 17), see `class_means`."""
        if self.class_units is not None:
            self.class_units.copy_(units[:, self.columns.to(units.device)])

    def source(self, batch: Mapping[str, Tensor]) -> Tensor:
        """States (B, K) of a training batch."""
        if self.space == "expression":
            return self.of_labels(batch["label"])
        states = batch["action_units" if self.space == "action_units" else "attributes"][:, self.columns]
        return _noisy(states, self.config.source_noise)

    def target(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Target states (B, K) of a training batch: those of other faces."""
        if self.space == "expression":
            return self.of_labels(batch["target"])
        states = batch["target_action_units" if self.space == "action_units" else "target_attributes"]
        return _noisy(states[:, self.columns], self.config.target_noise)

    def told(self, source: Tensor, target: Tensor) -> Tensor:
        """The input of the networks, (B, K), for edits from `source` to `target`."""
        return target if self.config.form == "absolute" else target - source

    def of_labels(self, labels: Tensor) -> Tensor:
        """The states (B, K) that expressions int64 (B,) stand for by name: one-hot, or the class's mean action units.

        Raises:
            ValueError: the condition consists of attributes, which do not determine expressions.
        """
        if self.space == "attributes":
            raise ValueError("a method conditioned on attributes cannot edit expressions")
        if self.class_units is not None:
            return self.class_units[labels]
        return F.one_hot(labels, len(self.classes)).float()

    def of_faces(self, labels: Tensor, measured: Tensor | None) -> Tensor:
        """The states (B, K) of given faces.

        Args:
            labels: int64 (B,) expressions.
            measured: float (B, 17) action units in [0, 1], or (B, A) attributes; None if they were not measured:
                the mean of the face's class is then used.
        """
        if self.space == "expression" or measured is None:
            return self.of_labels(labels)
        return measured[:, self.columns.to(measured.device)].float()

    def change(self, units: Mapping[str, float]) -> Tensor:
        """The vector, float (K,), to add to a state for changes of single action units (or attributes) by name.

        Raises:
            ValueError: a name is not among `names`.
        """
        if unknown := set(units) - set(self.names):
            raise ValueError(f"{', '.join(sorted(unknown))} is not among {', '.join(self.names)}")
        device = None if self.class_units is None else self.class_units.device
        return torch.tensor([units.get(name, 0.0) for name in self.names], device=device)

    def asked(self, source: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        """The target states (B, K) of faces for edits given by name.

        Attributes are reversed one at a time, see `ConditionConfig.reversal` and `ConditionConfig.intensity`.

        Args:
            source: float (B, K), their own states.
            labels: int64 (B,), the expressions they show; with its own expression as the target, a face should stay
                unchanged. Not read for attributes.
            wanted: int64 (B,), positions in `edits`.
        """
        if self.space == "attributes":
            return self.reversed_states(source, wanted, self.config.intensity)
        return torch.where((wanted == labels)[:, None], source, self.of_labels(wanted))

    def reversed_states(self, source: Tensor, wanted: Tensor, intensity: float = 1.0) -> Tensor:
        """The states (B, K) of faces one of whose attributes is reversed, see `ConditionConfig`.

        Args:
            source: float (B, K), attributes of 0 and 1.
            wanted: int64 (B,), the attributes to be reversed.
            intensity: how far these go; the others are 0 or 1.
        """
        chosen = F.one_hot(wanted, self.dim).bool()
        wanted = wanted.to(self._given.device)
        given, taken = self._given[wanted].to(source.device), self._taken[wanted].to(source.device)
        change = torch.where(given, 1.0, 1 - source) - source
        has_it = ((source + change) * chosen).sum(1, keepdim=True) > 0.5
        others = torch.where(taken & has_it, 0.0, source)
        return torch.where(chosen, source + intensity * change, others)


def _reversals(names: Sequence[str], reversal: Reversal) -> tuple[Tensor, Tensor]:
    """Of the K attributes to reverse: bool (K, K), which attributes are given in any case, which are taken away.

    The first is true on the diagonal alone, if at all; the second holds where the reversed attribute is then there.
    """
    hair = set(HAIR_COLOURS)
    excluded = {"alone": {}, "exclusive": EXCLUDED_ATTRIBUTES, "hair_colour": dict.fromkeys(hair, HAIR_COLOURS)}
    taken = [[other != name and other in excluded[reversal].get(name, ()) for other in names] for name in names]
    given = [[other == name and reversal == "hair_colour" and name in hair for other in names] for name in names]
    return torch.tensor(given, dtype=torch.bool), torch.tensor(taken, dtype=torch.bool)


def stored_states(condition: Condition, store: FaceStore, rows: npt.NDArray[np.int64]) -> Tensor:
    """The states (B, K) of faces of a store, on the condition's device; labelled ones unless they are attributes."""
    measured = {"expression": lambda: None, "attributes": store.attributes, "action_units": store.action_units}
    values = measured[condition.space]()
    labels = torch.from_numpy(store.labels()[rows])
    # The condition may be on another device with its method.
    device = None if condition.class_units is None else condition.class_units.device
    known = None if values is None else torch.from_numpy(values[rows]).to(device)
    return condition.of_faces(labels.to(device), known)


def _noisy(states: Tensor, width: float) -> Tensor:
    return states + (torch.rand_like(states) * 2 - 1) * width if width else states


def class_means(units: Tensor, labels: Tensor, classes: Sequence[str]) -> Tensor:
    """Mean action units of every expression: the generator's target for an expression requested by name.

    To be computed on the training split only.

    Args:
        units: float (N, K) intensities in [0, 1].
        labels: int64 (N,) position in `classes`; rows with -1 (unknown) are left out.
        classes: names of the C expressions.

    Returns:
        float32 (C, K).

    Raises:
        ValueError: shapes do not fit, or an expression has no row.
    """
    if units.ndim != 2 or labels.shape != units.shape[:1]:
        raise ValueError(f"action units {tuple(units.shape)} do not fit labels {tuple(labels.shape)}")
    members = F.one_hot(labels + 1, len(classes) + 1)[:, 1:].T.double()  # (C, N), no column for the unknown
    counts = members.sum(1, keepdim=True)
    if empty := [name for name, count in zip(classes, counts[:, 0].tolist(), strict=True) if not count]:
        raise ValueError(f"no face shows {', '.join(empty)}, so its mean action units are unknown")
    return (members @ units.double() / counts).float()


def stored_class_means(store: FaceStore) -> Tensor | None:
    """`class_means` (C, 17) over the training faces of a store with known action units; None if it has none.

    Raises:
        ValueError: no such face shows one of the expressions.
    """
    units = store.action_units()
    if units is None:
        return None
    rows = store.rows("train")
    known = rows[~np.isnan(units[rows]).any(1)]
    return class_means(torch.from_numpy(units[known]), torch.from_numpy(store.labels()[known]), store.classes)


def part_way(source: Tensor, target: Tensor, strength: float) -> Tensor:
    """States on the straight line from `source` to `target`, float (..., K) of one shape.

    Args:
        source, target: float (..., K).
        strength: share of the way: 0 is `source`, 1 is `target`, larger values go beyond it.

    Raises:
        ValueError: the shapes differ.
    """
    if source.shape != target.shape:
        raise ValueError(f"cannot interpolate between states {tuple(source.shape)} and {tuple(target.shape)}")
    return torch.lerp(source, target, strength)
