"""Expressions as combinations of action units, and the true target of an edit.

The prototypes follow the emotion descriptions of the Facial Action Coding System (Ekman, Friesen and Hager, FACS
Investigator's Guide, 2002: EMFACS), reduced to the 17 action units of `mimik.labels.ACTION_UNITS`.

One value per action unit leaves no room for left and right. AU14 (dimpler), the mark of contempt, is therefore
one-sided by definition: it acts on the RIGHT side of the image, always, and where it acts, AU12 acts on that
side only. All other units act on both sides, up to the identity's own small asymmetry. A horizontally flipped
picture shows contempt on the other side.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimik.labels import ACTION_UNITS, EXPRESSIONS

PROTOTYPES: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "neutral": {},
        "happiness": {"AU06": 0.9, "AU12": 1.0, "AU25": 0.75},
        "sadness": {"AU01": 1.0, "AU04": 0.45, "AU15": 1.0, "AU17": 0.6, "AU45": 0.3},
        "surprise": {"AU01": 0.95, "AU02": 1.0, "AU05": 0.85, "AU25": 0.85, "AU26": 1.0},
        "fear": {"AU01": 0.9, "AU02": 0.35, "AU04": 0.55, "AU05": 1.0, "AU20": 1.0, "AU25": 0.8, "AU26": 0.2},
        "disgust": {"AU04": 0.4, "AU06": 0.25, "AU07": 0.55, "AU09": 1.0, "AU10": 1.0, "AU15": 0.3, "AU17": 0.4},
        "anger": {"AU04": 1.0, "AU05": 0.35, "AU07": 0.6, "AU17": 0.25, "AU23": 1.0},
        "contempt": {"AU12": 0.5, "AU14": 1.0},
    }
)
"""Full-strength intensities (0 to 1) of the action units that make an expression; the others are 0."""

INTENSITIES = (0.65, 1.0)
"""Range of the uniformly drawn strength of an expression."""

MEAN_INTENSITY = sum(INTENSITIES) / 2

_JITTER = (0.88, 1.08)
_RESTING = 0.03


def prototype(expression: str) -> npt.NDArray[np.float32]:
    """Full-strength action units of an expression: float32 (17,) in [0, 1], in the order of `ACTION_UNITS`.

    Raises:
        ValueError: not one of `mimik.labels.EXPRESSIONS`.
    """
    if expression not in PROTOTYPES:
        raise ValueError(f"{expression!r} is not one of {', '.join(EXPRESSIONS)}")
    units = PROTOTYPES[expression]
    return np.array([units.get(name, 0.0) for name in ACTION_UNITS], dtype=np.float32)


def draw_action_units(
    expression: str, random: np.random.Generator, variation: tuple[float, float] = _JITTER
) -> tuple[float, npt.NDArray[np.float64]]:
    """A random performance of an expression: (intensity, action units (17,) in [0, 1], rounded to 4 digits).

    Every active unit is scaled by the intensity and by its own factor in `variation`; the others rest near zero.
    """
    units = prototype(expression).astype(np.float64)
    intensity = float(random.uniform(*INTENSITIES))
    scale = random.uniform(variation[0], variation[1], len(units))
    resting = np.abs(random.normal(0.0, _RESTING, len(units)))
    return intensity, np.where(units > 0, units * intensity * scale, resting).clip(0, 1).round(4)


def with_action_units(table: pd.DataFrame, action_units: npt.ArrayLike) -> pd.DataFrame:
    """The same people, poses, light and noise with other action units.

    Args:
        table: rows of the index.
        action_units: (n, 17) intensities in [0, 1], or (17,) for all rows.

    Returns:
        a copy of `table`; `expression` stays as it was, since action units need not make one.

    Raises:
        ValueError: wrong shape, or a value outside [0, 1].
    """
    units = np.asarray(action_units, dtype=np.float64)
    if units.shape not in ((len(ACTION_UNITS),), (len(table), len(ACTION_UNITS))):
        raise ValueError(f"action units of shape {units.shape} for {len(table)} rows")
    if not ((units >= 0) & (units <= 1)).all():
        raise ValueError("action units must lie in [0, 1]")
    changed = table.copy()
    changed[list(ACTION_UNITS)] = np.broadcast_to(units, (len(table), len(ACTION_UNITS)))
    return changed


def with_expression(table: pd.DataFrame, expression: str, intensity: float | None = None) -> pd.DataFrame:
    """The true target of an edit: the same people, poses, light and noise showing another expression.

    Args:
        table: rows of the index.
        expression: one of `mimik.labels.EXPRESSIONS`.
        intensity: strength in [0, 1]; None takes `MEAN_INTENSITY`, the mean of the training images.
    """
    strength = MEAN_INTENSITY if intensity is None else intensity
    changed = with_action_units(table, prototype(expression) * np.float64(strength))
    changed["expression"] = expression
    changed["intensity"] = strength
    return changed
