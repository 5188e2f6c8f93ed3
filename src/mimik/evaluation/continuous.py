"""Continuous edits of a few test faces: part of the way to an expression and beyond it, single action units, and the
action units of another person.

They are for visual inspection; no metric uses them. The faces are drawn without regard to any result and depend only on
the test split and the seed, so that all methods of a dataset show the same ones. For rendered faces, the ground truth
of every such edit is rendered as well: the face with its action units moved the same share of the way to those of the
true target, with the single unit at the requested intensity, or with the other person's units.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mimik.components.conditions import Condition, part_way, stored_states
from mimik.faces.prepared.rendered import can_render, with_units
from mimik.faces.prepared.store import FaceStore
from mimik.labels import ACTION_UNITS

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]

Edit = Callable[[Array, Tensor, Tensor], Array]
"""Faces uint8 (B, S, S, 3) with source and target states float (B, K) -> their edits, uint8 (B, S, S, 3)."""

PAIRS = 8
"""Minimum number of pairs of a face and an expression; every expression is the target at least once."""

UNIT_FACES = 2
"""Number of faces whose single action units are edited."""


def draw_pairs(labels: Rows, identities: Sequence[str], edits: int, seed: int) -> tuple[Rows, Rows]:
    """Faces with a target each: the edits in turn, never one that the face shows already.

    From the faces in drawn order, the first one is taken whose person and expression were taken least often.

    Args:
        labels: expressions of the N faces, int64 (N,); -1 where they do not matter.
        identities: who they are, N names; empty where unknown.
        edits: number of edits, at least one.
        seed: seed of the draw.

    Returns:
        positions among the N faces and among the edits, both int64 (P,); P is the larger of `PAIRS` and `edits`, minus
        the edits that every face shows already.
    """
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    positions: list[int] = []
    targets: list[int] = []
    for target in (number % edits for number in range(max(PAIRS, edits))):
        people = [identities[face] for face in positions if identities[face]]
        shown = [labels[face] for face in positions]
        able = [face for face in order if labels[face] != target]
        if able:
            positions.append(
                min(
                    able,
                    key=lambda face: (positions.count(face), people.count(identities[face]), shown.count(labels[face])),
                )
            )
            targets.append(target)
    return np.array(positions, dtype=np.int64), np.array(targets, dtype=np.int64)


def strengths(
    edit: Edit, condition: Condition, store: FaceStore, rows: Rows, labels: Rows, targets: Rows, levels: Sequence[float]
) -> Array:
    """Edits by strength: 0 requests the unchanged face, 1 the full edit, larger values exaggerate it.

    Args:
        edit: the generator.
        condition: its condition.
        store: the prepared dataset.
        rows: faces of its table, (P,).
        labels: their expressions, (P,); -1 where attributes are reversed.
        targets: the target of each face, positions in `condition.edits`, (P,).
        levels: the L strengths.

    Returns:
        uint8 (V, P, L, S, S, 3): the edits and, where they can be rendered (V = 2), their truth.
    """
    source = stored_states(condition, store, rows)
    device = source.device
    target = condition.asked(source, torch.from_numpy(labels).to(device), torch.from_numpy(targets).to(device))
    asked = torch.stack([part_way(source, target, level) for level in levels], 1)
    made = edit(
        store.images[np.repeat(rows, len(levels))], source.repeat_interleave(len(levels), 0), asked.flatten(0, 1)
    )
    true = None
    if can_render(store) and store.truth_action_units is not None and condition.space != "attributes":
        own = _units(store)[rows].astype(np.float64)
        wanted = store.truth_action_units[store.truth_positions(rows), targets].astype(np.float64)
        share = np.array(levels)[None, :, None]
        # The renderer cannot show strengths beyond 1.
        units = (own[:, None] + share * (wanted - own)[:, None]).clip(0, 1)
        true = with_units(store, np.repeat(rows, len(levels)), units.reshape(-1, len(ACTION_UNITS)))
    return _stacked(made, true, (len(rows), len(levels)))


def unit_rows(store: FaceStore, rows: Rows) -> Rows:
    """The `UNIT_FACES` faces whose units are edited: those that show the least, where a unit is most visible."""
    weakest = np.argsort(_units(store)[rows].sum(1), kind="stable")
    # A face may occur twice in `rows`.
    distinct = list(dict.fromkeys(rows[weakest].tolist()))
    return np.array(distinct[:UNIT_FACES], dtype=np.int64)


def changed_rows(store: FaceStore, rows: Rows, names: Sequence[str]) -> Rows:
    """Two faces whose units are changed upwards and downwards: that which shows the least, and that which shows the
    most of these units, from which something can be taken away."""
    units = _units(store)[rows]
    most = units[:, [ACTION_UNITS.index(name) for name in names]].sum(1).argmax()
    return np.array(list(dict.fromkeys([*unit_rows(store, rows)[:1].tolist(), int(rows[most])])), dtype=np.int64)


def single_units(
    edit: Edit,
    condition: Condition,
    store: FaceStore,
    rows: Rows,
    names: Sequence[str],
    levels: Sequence[float],
    *,
    relative: bool = False,
) -> Array:
    """Edits of one action unit each: it is set to given intensities, the others are left unchanged.

    Args:
        edit: the generator.
        condition: its condition.
        store: the prepared dataset.
        rows: faces of its table, (F,); none for a method that is not conditioned on units.
        names: the U units.
        levels: the L intensities in [0, 1]; `relative`, changes of the intensity, which may be negative. The truth
            of a change ends at 0 and 1, the state that is asked for does not.
        relative: see `levels`.

    Returns:
        uint8 (V, F, U, L, S, S, 3): the edits and, where they can be rendered (V = 2), their truth.
    """
    if not len(rows):
        return np.empty((1, 0, len(names), len(levels), store.size, store.size, 3), np.uint8)
    source = stored_states(condition, store, rows)
    measured = _units(store)[rows]
    wanted: list[Tensor] = []
    true_units: list[Array] = []
    for state, own in zip(source, measured, strict=True):
        for name in names:
            column = ACTION_UNITS.index(name)
            for level in levels:
                change = level if relative else level - float(own[column])
                reached = np.clip(own[column] + level, 0, 1) if relative else level
                wanted.append(state + condition.change({name: change}))
                true_units.append(np.where(np.arange(len(own)) == column, reached, own))
    shape = (len(rows), len(names), len(levels))
    each = np.repeat(rows, len(names) * len(levels))
    made = edit(store.images[each], source.repeat_interleave(len(names) * len(levels), 0), torch.stack(wanted))
    return _stacked(made, with_units(store, each, np.stack(true_units)), shape)


def draw_exemplars(labels: Rows, identities: Sequence[str], faces: Rows, seed: int) -> Rows:
    """For each of some faces the one whose action units it is given: of another person, and another expression.

    Args:
        labels: expressions of the N faces, int64 (N,); -1 where they are unknown.
        identities: who they are, N names; empty where unknown.
        faces: positions among the N faces, (P,).
        seed: seed of the draw.

    Returns:
        positions among the N faces, int64 (P,). Where nobody else shows another expression, any other face; one that
        was taken least often.
    """
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    chosen: list[int] = []
    for face in faces.tolist():

        def unlike(other: int, face: int = face) -> tuple[bool, bool, bool, int]:
            same = identities[other] == identities[face] and identities[face] != ""
            return other == face, same, labels[other] == labels[face], chosen.count(other)

        chosen.append(min(order, key=unlike))
    return np.array(chosen, dtype=np.int64)


def exemplars(edit: Edit, condition: Condition, store: FaceStore, rows: Rows, like: Rows) -> Array:
    """Edits of faces to the action units of other faces.

    Args:
        edit: the generator.
        condition: its condition.
        store: the prepared dataset.
        rows: faces of its table, (P,); none for a method that is not conditioned on units.
        like: the face whose units each gets, (P,).

    Returns:
        uint8 (V, P, 1, S, S, 3): the edits and, where they can be rendered (V = 2), their truth.
    """
    if not len(rows):
        return np.empty((1, 0, 1, store.size, store.size, 3), np.uint8)
    source, target = stored_states(condition, store, rows), stored_states(condition, store, like)
    made = edit(store.images[rows], source, target)
    return _stacked(made, with_units(store, rows, _units(store)[like].astype(np.float64)), (len(rows), 1))


def _units(store: FaceStore) -> Array:
    """Action units of the faces, float32 (N, 17)."""
    units = store.action_units()
    assert units is not None  # action units as a condition, and rendered faces, imply a store with action units
    return units


def _stacked(made: Array, true: Array | None, shape: tuple[int, ...]) -> Array:
    layers = [made] if true is None else [made, true]
    return np.stack([layer.reshape(*shape, *layer.shape[1:]) for layer in layers])
