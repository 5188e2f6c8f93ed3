"""Which faces the pictures of a page show, their true targets, and which methods have edited them alike."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.errors import UserError
from mimik.reporting.kept_edits import Continuous
from mimik.reporting.results import Result

Array = npt.NDArray[Any]


def choose_rows(results: Sequence[Result], count: int, seed: int, ids: Sequence[str] = ()) -> list[int]:
    """Rows of the store to show: a fixed list of ids, or else a seeded draw, always without regard to scores.

    The draw takes the source expressions in turn and prefers people who are not shown yet, so that few rows
    show many expressions and many people. Only rows that every result has translated are used.

    Args:
        results: results of one dataset at one size; at least one.
        count: maximum number of rows.
        seed: seed of the draw.
        ids: ids of the store's table; when given they are shown in this order and nothing is drawn.

    Raises:
        UserError: an id is not among the translated faces.
    """
    first = results[0]
    common = set(first.rows.tolist()).intersection(*(set(result.rows.tolist()) for result in results[1:]))
    table = first.store.table
    if ids:
        row_of = {str(table["id"].iloc[row]): row for row in sorted(common)}
        absent = [name for name in ids if name not in row_of]
        if absent:
            raise UserError(
                f"report.ids: {', '.join(absent)} is not among the translated test faces of {first.dataset}. "
                f"Use ids of the split 'test' in {first.store.directory / 'index.csv'}."
            )
        return [row_of[name] for name in ids][:count]
    order = np.random.default_rng(seed).permutation(np.array(sorted(common), dtype=np.int64))
    label_of = dict(zip(first.rows.tolist(), first.source_labels.tolist(), strict=True))
    waiting: dict[int, list[int]] = {}
    for row in order.tolist():
        waiting.setdefault(label_of[row], []).append(row)
    people: set[str] = set()
    chosen: list[int] = []
    while len(chosen) < count and any(waiting.values()):
        for label in sorted(waiting):
            if not waiting[label] or len(chosen) >= count:
                continue
            fresh = (row for row in waiting[label] if str(table["identity"].iloc[row]) not in people)
            row = next(fresh, waiting[label][0])
            waiting[label].remove(row)
            people.add(str(table["identity"].iloc[row]))
            chosen.append(row)
    return chosen


def true_targets(result: Result, rows: Sequence[int]) -> Array | None:
    """The true image of every edit of some rows of the store, uint8 (len(rows), C, S, S, 3), or None without truth."""
    store = result.store
    if store.truth is None:
        return None
    truth: Array = store.truth[store.truth_positions(np.asarray(rows, dtype=np.int64))]
    return truth


@dataclass(frozen=True)
class Alike:
    """Continuous edits of the same faces in the same way by several methods.

    Attributes:
        first: the first result that has them; its store has the faces.
        edits: what was asked for.
        layers: the edits of every method by its name, and the true ones as `truth` where they are known.
        methods: of `layers`, without the truth.
        otherwise: methods whose edits are of other faces or settings.
        without: these and the methods that have none.
    """

    first: Result
    edits: Continuous
    layers: dict[str, Array]
    methods: list[str]
    otherwise: list[str]
    without: list[str]


def edited_alike(results: Sequence[Result], kind: str) -> Alike | None:
    """What the methods have that were edited like the first one's; None where no result has such edits.

    Args:
        results: of one dataset at one size.
        kind: of `Result.continuous`.
    """
    made = {result.method: found for result in results if (found := result.continuous(kind)) is not None}
    if not made:
        return None
    first = next(result for result in results if result.method in made)
    edits = made[first.method]
    layers = {method: found.images for method, found in made.items() if _asked(found) == _asked(edits)}
    methods = [*layers]
    if edits.truth is not None:
        layers["truth"] = edits.truth
    otherwise = [method for method in made if method not in methods]
    without = [result.method for result in results if result.method not in methods]
    return Alike(first, edits, layers, methods, otherwise, without)


def _asked(edits: Continuous) -> list[tuple[object, ...]]:
    """All but the pictures."""
    return [tuple(getattr(edits, part.name)) for part in fields(edits) if part.name not in ("images", "truth")]
