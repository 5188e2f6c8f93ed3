"""The index of the synthetic dataset: who, in which pose, showing what. Nothing is read from disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mimik.datasets.listing import SPLITS, Listing
from mimik.datasets.synthetic.expressions import draw_action_units
from mimik.datasets.synthetic.view import LIGHTS, draw_pose
from mimik.errors import UserError
from mimik.labels import ACTION_UNITS, EXPRESSIONS

_SETTING = "params.yaml, datasets.synthetic"


def check(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Check the options; no file is needed. Raises `UserError` that names the wrong setting."""
    _classes(options)
    _identities(options)
    _views(options)
    _light(options)
    _first(options)


def fetch(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Nothing is fetched: every image is rendered. Raises `UserError` for wrong options."""
    check(raw, options, mirror)


def index(raw: Path, options: Mapping[str, Any], seed: int) -> Listing:
    """Draw the faces of every split.

    Args:
        raw: not read.
        options: `classes` (list of expressions; all eight when absent or empty), `identities` ({train, val, test}:
            number of people in each), `views_per_expression` (pose and light draws of a person for each
            expression; 1 when absent), `light` (of `LIGHTS`; the first when absent), `first_test_person` (how many
            test people are passed over; 0 when absent).
        seed: non-negative; everything follows from it. A person depends on seed, light, split and position in the
            split only, so that more training people leave the test people as they are. Nobody is seen in two lights.

    Returns:
        the listing; further columns are `intensity` (0.65 to 1), `identity_seed`, `view_seed`, AU01 ... AU45 in
        [0, 1], `yaw`, `pitch`, `roll` in degrees and, unless it is the first, `light`. Nobody is in two splits. The
        quarantine is empty.

    Raises:
        UserError: an option is not usable.
    """
    classes, counts, views, light = _classes(options), _identities(options), _views(options), _light(options)
    first = {"test": _first(options)}
    # Nothing is added to the first light's: its faces stay as they have always been.
    further = [] if light == LIGHTS[0] else [LIGHTS.index(light)]
    rows: list[dict[str, Any]] = []
    person = 0
    for part, split in enumerate(SPLITS):
        person += first.get(split, 0)
        for position in range(first.get(split, 0), first.get(split, 0) + counts[split]):
            random = np.random.default_rng([seed, part, position, *further])
            # Splits must not share a person: the split is part of the person's seed.
            identity_seed = int(random.integers(2**40)) * len(SPLITS) + part
            name = f"p{person:05d}"
            person += 1
            for expression in EXPRESSIONS:
                drawn = [(int(random.integers(2**42)), draw_action_units(expression, random)) for _ in range(views)]
                if expression not in classes:
                    continue
                for number, (view_seed, (intensity, units)) in enumerate(drawn):
                    rows.append(
                        {
                            "id": f"{name}_{expression}_{number}",
                            "split": split,
                            "source": "",
                            "expression": expression,
                            "identity": name,
                            "intensity": round(intensity, 4),
                            "identity_seed": identity_seed,
                            "view_seed": view_seed,
                            **dict(zip(ACTION_UNITS, units.tolist(), strict=True)),
                            **draw_pose(view_seed),
                            **({"light": light} if further else {}),
                        }
                    )
    return Listing(table=pd.DataFrame(rows), quarantine=[], layout="rendered, no archive")


def _classes(options: Mapping[str, Any]) -> list[str]:
    classes = options.get("classes") or list(EXPRESSIONS)
    if not isinstance(classes, list | tuple) or not set(classes) <= set(EXPRESSIONS) or len(set(classes)) < 2:
        raise UserError(
            f"{_SETTING}.classes: {classes!r} is not usable; give at least two of {', '.join(EXPRESSIONS)}."
        )
    if len(set(classes)) != len(classes):
        raise UserError(f"{_SETTING}.classes: {classes!r} names an expression twice; name each once.")
    return list(classes)


def _identities(options: Mapping[str, Any]) -> dict[str, int]:
    counts = options.get("identities")
    if (
        not isinstance(counts, Mapping)
        or set(counts) != set(SPLITS)
        or not all(isinstance(count, int) and not isinstance(count, bool) and count >= 1 for count in counts.values())
    ):
        raise UserError(
            f"{_SETTING}.identities: {counts!r} is not usable; give the number of people, at least 1, of each of "
            f"{', '.join(SPLITS)}, such as {{train: 1000, val: 40, test: 60}}."
        )
    return dict(counts)


def _light(options: Mapping[str, Any]) -> str:
    light = options.get("light", LIGHTS[0])
    if light not in LIGHTS:
        raise UserError(f"{_SETTING}.light: {light!r} is not usable; give one of {', '.join(LIGHTS)}.")
    return str(light)


def _first(options: Mapping[str, Any]) -> int:
    first = options.get("first_test_person", 0)
    if not isinstance(first, int) or isinstance(first, bool) or first < 0:
        raise UserError(f"{_SETTING}.first_test_person: {first!r} is not usable; give a whole number, 0 or more.")
    return first


def _views(options: Mapping[str, Any]) -> int:
    views = options.get("views_per_expression", 1)
    if not isinstance(views, int) or isinstance(views, bool) or views < 1:
        raise UserError(f"{_SETTING}.views_per_expression: {views!r} is not usable; give a whole number of at least 1.")
    return views
