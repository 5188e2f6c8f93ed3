"""What a generator is told. One type for all methods: expressions, attributes or action units, absolute or relative.

A face is in a *state*, a vector (B, K): its expression one-hot, its binary attributes, or its action units. An edit
goes from a source to a target state. What the networks take is either the target itself (`absolute`: StarGAN,
GANimation) or target minus source (`relative`: SeCGAN's label difference, the relative action units of Ling et al.
2020, eq. 1), of which zero asks for no change. So every method can be sent back (the states exchanged), be asked for
nothing (source as target) and for part of the way (a target between the two).
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
from mimik.labels import ACTION_UNITS

Space = Literal["expression", "attributes", "action_units"]
Form = Literal["absolute", "relative"]


@dataclass(frozen=True)
class ConditionConfig:
    """Settings: the `condition` of an entry of `methods`.

    Attributes:
        space: what a state is made of: an expression, attributes, or action units.
        form: what the networks are told: the target (`absolute`), or target minus source (`relative`).
        names: which attributes, or which action units (by name, AU01 ... AU45); empty: all there are. Not for
            expressions, which are the dataset's classes.
        source_noise, target_noise: half-width of uniform noise on the states in training (action units only).
    """

    space: Space = "expression"
    form: Form = "absolute"
    names: tuple[str, ...] = ()
    source_noise: float = 0.0
    target_noise: float = 0.0

    def __post_init__(self) -> None:
        """Refuse combinations that make no sense."""
        if self.space == "expression" and self.names:
            raise ValueError("names choose attributes or action units; the expressions are the dataset's classes")
        if self.space == "action_units" and (unknown := set(self.names) - set(ACTION_UNITS)):
            raise ValueError(f"{', '.join(sorted(unknown))} is no action unit. Known: {', '.join(ACTION_UNITS)}")
        if self.space != "action_units" and (self.source_noise or self.target_noise):
            raise ValueError("noise is for action units; labels and attributes are exact")
        if len(set(self.names)) < len(self.names) or min(self.source_noise, self.target_noise) < 0:
            raise ValueError("names are distinct, noise is not negative")


class Condition(nn.Module):
    """The states of a dataset's faces and what a generator is told of them.

    Attributes:
        config: settings.
        classes: the expressions of the dataset.
        names: of the K entries of a state.
        columns: int64 (K,), where these entries are among all that the space has.
        class_units: float (C, K), mean action units of every expression over the training split (action units only;
            zeros until they are set or loaded): what an expression asked for by name means.
    """

    def __init__(self, config: ConditionConfig, classes: Sequence[str], attributes: Sequence[str] = ()) -> None:
        """Describe the states.

        Args:
            config: settings.
            classes: expressions of the dataset.
            attributes: all attributes that the dataset has.

        Raises:
            ValueError: an attribute that the dataset does not have, or none at all.
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
        units = torch.zeros(len(classes), len(self.names)) if config.space == "action_units" else None
        self.register_buffer("class_units", units)
        self.class_units: Tensor | None

    @property
    def space(self) -> Space:
        """What a state is made of."""
        return self.config.space

    @property
    def dim(self) -> int:
        """K, the length of a state and of what the networks are told."""
        return len(self.names)

    @property
    def reads(self) -> frozenset[str]:
        """Entries of the batch that states are made of."""
        names = {"expression": ("label", "target"), "attributes": ("attributes", "target_attributes")}
        return frozenset(names.get(self.space, ("action_units", "target_action_units")))

    @property
    def edits(self) -> tuple[str, ...]:
        """What a face can be asked for by name: an expression, or that one of its attributes be reversed."""
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
        """States (B, K) that the faces of a training batch are asked for: those of other faces."""
        if self.space == "expression":
            return self.of_labels(batch["target"])
        states = batch["target_action_units" if self.space == "action_units" else "target_attributes"]
        return _noisy(states[:, self.columns], self.config.target_noise)

    def told(self, source: Tensor, target: Tensor) -> Tensor:
        """What the networks take, (B, K), for edits from `source` to `target`."""
        return target if self.config.form == "absolute" else target - source

    def of_labels(self, labels: Tensor) -> Tensor:
        """The states (B, K) that expressions int64 (B,) stand for by name: one-hot, or the class's mean action units.

        Raises:
            ValueError: attributes say nothing about expressions.
        """
        if self.space == "attributes":
            raise ValueError("a method told attributes cannot be asked for an expression")
        if self.class_units is not None:
            return self.class_units[labels]
        return F.one_hot(labels, len(self.classes)).float()

    def of_faces(self, labels: Tensor, measured: Tensor | None) -> Tensor:
        """The states (B, K) of given faces.

        Args:
            labels: int64 (B,) expressions.
            measured: float (B, 17) action units in [0, 1], or (B, A) attributes; None where they were not measured:
                the mean of the face's class stands for it.
        """
        if self.space == "expression" or measured is None:
            return self.of_labels(labels)
        return measured[:, self.columns.to(measured.device)].float()

    def change(self, units: Mapping[str, float]) -> Tensor:
        """What is added to a state, float (K,), for changes of single action units (or attributes) by name.

        Raises:
            ValueError: a name that is not among `names`.
        """
        if unknown := set(units) - set(self.names):
            raise ValueError(f"{', '.join(sorted(unknown))} is not among {', '.join(self.names)}")
        device = None if self.class_units is None else self.class_units.device
        return torch.tensor([units.get(name, 0.0) for name in self.names], device=device)

    def asked(self, source: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        """The states (B, K) that faces are asked for by the name of an edit.

        Attributes are reversed one at a time: reversing one hair colour chooses no other (Sun et al., A.3).

        Args:
            source: float (B, K), their own states.
            labels: int64 (B,), the expressions they show; asked for its own expression, a face is to stay as it is.
                Not read for attributes.
            wanted: int64 (B,), positions in `edits`.
        """
        if self.space == "attributes":
            reversed_one = F.one_hot(wanted, self.dim).to(source.dtype)
            return source + reversed_one * (1 - 2 * source)
        return torch.where((wanted == labels)[:, None], source, self.of_labels(wanted))


def stored_states(condition: Condition, store: FaceStore, rows: npt.NDArray[np.int64]) -> Tensor:
    """The states (B, K) of faces of a store, on the condition's device; labelled ones unless they are attributes."""
    measured = {"expression": lambda: None, "attributes": store.attributes, "action_units": store.action_units}
    values = measured[condition.space]()
    labels = torch.from_numpy(store.labels()[rows])
    # The condition may sit on another device with its method.
    device = None if condition.class_units is None else condition.class_units.device
    known = None if values is None else torch.from_numpy(values[rows]).to(device)
    return condition.of_faces(labels.to(device), known)


def _noisy(states: Tensor, width: float) -> Tensor:
    return states + (torch.rand_like(states) * 2 - 1) * width if width else states


def class_means(units: Tensor, labels: Tensor, classes: Sequence[str]) -> Tensor:
    """Mean action units of every expression: what a generator is told when it is asked for one by name.

    To be taken over the training split only.

    Args:
        units: float (N, K) intensities in [0, 1].
        labels: int64 (N,) position in `classes`; rows with -1 (unknown) are left out.
        classes: names of the C expressions.

    Returns:
        float32 (C, K).

    Raises:
        ValueError: shapes that do not fit, or an expression without a row.
    """
    if units.ndim != 2 or labels.shape != units.shape[:1]:
        raise ValueError(f"action units {tuple(units.shape)} do not fit labels {tuple(labels.shape)}")
    members = F.one_hot(labels + 1, len(classes) + 1)[:, 1:].T.double()  # (C, N), no column for the unknown
    counts = members.sum(1, keepdim=True)
    if empty := [name for name, count in zip(classes, counts[:, 0].tolist(), strict=True) if not count]:
        raise ValueError(f"no face shows {', '.join(empty)}, so its mean action units are not known")
    return (members @ units.double() / counts).float()


def stored_class_means(store: FaceStore) -> Tensor | None:
    """`class_means` (C, 17) over the training faces of a store whose action units are known; None: it has none.

    Raises:
        ValueError: an expression that no such face shows.
    """
    units = store.action_units()
    if units is None:
        return None
    rows = store.rows("train")
    known = rows[~np.isnan(units[rows]).any(1)]
    return class_means(torch.from_numpy(units[known]), torch.from_numpy(store.labels()[known]), store.classes)


def part_way(source: Tensor, target: Tensor, strength: float) -> Tensor:
    """States on the straight way from `source` to `target`, float (..., K) of one shape.

    Args:
        source, target: float (..., K).
        strength: share of the way: 0 is `source`, 1 is `target`, more goes beyond it.

    Raises:
        ValueError: different shapes.
    """
    if source.shape != target.shape:
        raise ValueError(f"there is no way from states {tuple(source.shape)} to states {tuple(target.shape)}")
    return torch.lerp(source, target, strength)
