"""A person: shape, skin, hair, eyes, brows, glasses, all drawn from one seed."""

from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd

Vector = npt.NDArray[np.float32]

RANGES = MappingProxyType(
    {
        "width": (0.575, 0.665),
        "chin": (0.86, 0.95),
        "crown": (0.86, 0.94),
        "taper": (0.10, 0.34),
        "square": (0.15, 0.75),
        "eye_x": (0.25, 0.285),
        "eye_width": (0.124, 0.150),
        "eye_height": (0.058, 0.074),
        "eye_tilt": (-0.06, 0.14),
        "iris": (0.058, 0.066),
        "brow_height": (0.150, 0.185),
        "brow_thickness": (0.026, 0.042),
        "brow_arch": (0.005, 0.040),
        "nose_length": (0.35, 0.42),
        "nose_width": (0.095, 0.135),
        "nose_height": (0.15, 0.23),
        "lip_distance": (0.225, 0.270),
        "mouth_width": (0.185, 0.235),
        "upper_lip": (0.038, 0.060),
        "lower_lip": (0.050, 0.078),
        "cheek": (0.015, 0.045),
        "hairline": (-0.76, -0.66),
        "hair_volume": (0.05, 0.11),
        "hair_length": (0.40, 1.30),
        "parting": (-0.40, 0.40),
        "strands": (16.0, 26.0),
        "skin_tone": (0.0, 1.0),
        "asymmetry": (-0.05, 0.05),
    }
)
"""Uniformly drawn traits. Lengths are in half sides of the frame, heights grow downwards, `eye_tilt` is a slope."""

_HIDDEN = MappingProxyType(
    {
        "short": {"hair_length"},
        "long": set[str](),
        "fringe": {"hairline"},
        "bald": {"hairline", "hair_volume", "hair_length", "parting", "strands"},
    }
)

STYLES = ("short", "long", "fringe", "bald")
_STYLE_SHARES = (0.38, 0.28, 0.24, 0.10)
_GLASSES_SHARE = 0.2
_BEARD_SHARE = 0.2

_SKIN_TONES = np.array([[0.96, 0.80, 0.70], [0.79, 0.57, 0.44], [0.37, 0.24, 0.18]])
_HAIR_COLOURS = np.array(
    [[0.09, 0.08, 0.08], [0.22, 0.14, 0.09], [0.38, 0.25, 0.15], [0.80, 0.64, 0.38], [0.55, 0.24, 0.11], [0.62] * 3]
)
_HAIR_SHARES_LIGHT = np.array([0.18, 0.24, 0.20, 0.18, 0.10, 0.10])
_HAIR_SHARES_DARK = np.array([0.62, 0.30, 0.05, 0.0, 0.0, 0.03])
_EYE_COLOURS = np.array([[0.24, 0.14, 0.08], [0.37, 0.25, 0.13], [0.27, 0.45, 0.62], [0.32, 0.48, 0.30]])
_GLASSES_COLOURS = np.array([[0.07, 0.07, 0.08], [0.30, 0.16, 0.10], [0.45, 0.46, 0.50]])


@dataclass(frozen=True)
class Identity:
    """One person.

    Attributes:
        traits: value of every entry of `RANGES`.
        skin, hair, brow, iris, lip, rim, cloth: colours, float32 (3,) RGB in [0, 1].
        style: one of `STYLES`.
        glasses: wears glasses.
        beard: density of the beard, 0 (none) to 1.
        texture: float32 (9, 9) standard normal values, the grid of the smooth variation of skin and strands.
    """

    traits: dict[str, float]
    skin: Vector
    hair: Vector
    brow: Vector
    iris: Vector
    lip: Vector
    rim: Vector
    cloth: Vector
    style: str
    glasses: bool
    beard: float
    texture: Vector


@lru_cache(maxsize=4096)
def draw_identity(seed: int) -> Identity:
    """The person of a seed (a non-negative integer)."""
    random = np.random.default_rng([seed, 1])
    traits = {
        name: float(low + (high - low) * share)
        for (name, (low, high)), share in zip(RANGES.items(), random.random(len(RANGES)), strict=True)
    }
    tone = traits["skin_tone"]
    skin = np.array([np.interp(tone, [0, 0.5, 1], channel) for channel in _SKIN_TONES.T])
    skin = skin + random.normal(0, 0.015, 3)
    shares = _HAIR_SHARES_DARK if tone > 0.6 else _HAIR_SHARES_LIGHT
    hair = _HAIR_COLOURS[random.choice(len(_HAIR_COLOURS), p=shares)] * random.uniform(0.85, 1.15)
    iris = _EYE_COLOURS[random.choice(2 if tone > 0.55 else len(_EYE_COLOURS))] * random.uniform(0.85, 1.15)
    style = STYLES[random.choice(len(STYLES), p=_STYLE_SHARES)]
    painted = random.uniform(0.25, 0.8) if random.random() < 0.25 else 0.0
    lip = skin * [0.86, 0.56, 0.56] * (1 - painted) + np.array([0.72, 0.22, 0.26]) * painted
    bearded = random.random() < _BEARD_SHARE and style in ("short", "bald") and painted == 0
    density = random.uniform(0.3, 0.75)
    return Identity(
        traits=traits,
        skin=_colour(skin),
        hair=_colour(hair),
        brow=_colour(hair * 0.55 + 0.02),
        iris=_colour(iris),
        lip=_colour(lip),
        rim=_colour(_GLASSES_COLOURS[random.choice(len(_GLASSES_COLOURS))]),
        cloth=_colour(random.uniform(0.1, 0.9, 3)),
        style=style,
        glasses=bool(random.random() < _GLASSES_SHARE),
        beard=float(density) if bearded else 0.0,
        texture=random.standard_normal((9, 9)).astype(np.float32),
    )


def _colour(values: npt.NDArray[np.float64]) -> Vector:
    return values.clip(0.02, 0.98).astype(np.float32)


# Mean and standard deviation over many people of skin, hair, iris, lip; shares are known; the beard's density.
_SHARES = np.array([*_STYLE_SHARES, _GLASSES_SHARE])
_CENTRES = np.concatenate([[0.73, 0.55, 0.44, 0.31, 0.23, 0.17, 0.30, 0.27, 0.20, 0.64, 0.30, 0.25], _SHARES, [0.035]])
_SPREADS = np.concatenate(
    [
        [0.18, 0.16, 0.15, 0.24, 0.20, 0.16, 0.06, 0.13, 0.18, 0.14, 0.09, 0.08],
        np.sqrt(_SHARES * (1 - _SHARES)),
        [0.13],
    ]
)


def identity_descriptor(table: pd.DataFrame) -> npt.NDArray[np.float32]:
    """What makes a person in the renderer, as one vector per row: the ground truth of identity measures.

    Columns: the traits in the order of `RANGES` without the asymmetry (which shows in expressions only; a trait that
    the style of the hair hides counts as the mean), colours of skin, hair, iris and lips (RGB), style of the hair
    (one column each), glasses, beard; each centred and divided by fixed constants to about zero mean and unit
    variance. Pose, light and expression do not enter.

    Args:
        table: rows with the column `identity_seed`.

    Returns:
        float32 (n, 45).
    """
    low, high = np.array(list(RANGES.values())).T
    described = [name != "asymmetry" for name in RANGES]
    vectors: dict[int, npt.NDArray[np.float64]] = {}
    for seed in {int(seed) for seed in table["identity_seed"]}:
        person = draw_identity(seed)
        traits = (np.array(list(person.traits.values())) - (low + high) / 2) / (high - low) * np.sqrt(12)
        traits[[name in _HIDDEN[person.style] for name in RANGES]] = 0
        traits = traits[described]
        rest = np.concatenate(
            [
                *(person.skin, person.hair, person.iris, person.lip),
                [float(person.style == style) for style in STYLES],
                [float(person.glasses), person.beard],
            ]
        )
        vectors[seed] = np.concatenate([traits, (rest - _CENTRES) / _SPREADS])
    width = sum(described) + len(_CENTRES)
    rows = [vectors[int(seed)] for seed in table["identity_seed"]]
    return np.array(rows, dtype=np.float32).reshape(len(rows), width)
