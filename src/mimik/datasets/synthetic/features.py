"""From a person and action units to the places and sizes of the face's features.

Head coordinates: x to the right of the image, y down, z to the viewer, unit half the side of the frame, origin in
the middle of the head. Quantities with two sides are pairs (left of the image, right of the image).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mimik.datasets.synthetic.identity import Identity
from mimik.labels import ACTION_UNITS

EYE_Y = -0.22
"""Height of the eyes' centre: 39 % of the frame, as in aligned crops."""

Pair = tuple[float, float]


@dataclass(frozen=True)
class Features:
    """Sizes and places of one face in one expression, all in head coordinates.

    Attributes:
        width, chin, crown, taper, square: the head, see `surface.Head`; jaw_drop lowers the chin.
        eye_x, eye_width, iris: distance of an eye's centre from the middle, half width, radius of the iris.
        eye_tilt: rise of the outer corner per unit of length.
        lid_upper, lid_lower: height of the lids above and below the eye's line, at the pupil.
        brow_inner, brow_middle, brow_outer: height of the brow above the eyes' centre at its two ends and at 0.55.
        brow_from, brow_to: |x| of its ends. brow_thickness: half of it.
        nose_tip, nose_width, nose_height: y of the tip, half width at the wings, rise of the tip.
        mouth_y: y of the middle of the closed lips. mouth_width: half width of each side.
        corner: y of each corner relative to mouth_y. gap_upper, gap_lower: opening above and below mouth_y.
        upper_lip, lower_lip: thickness. pout: rise of the chin boss and of the lower lip's middle, 0 to 1.
        cheek: bulge of the cheeks. cheek_raise, fold, dimple, crow: strengths of folds, about 0 to 1, by side.
        forehead, frown, nose_wrinkle: strengths of folds, 0 to 1.
        squint: how much the lower lids are pushed up.
    """

    width: float
    chin: float
    crown: float
    taper: float
    square: float
    jaw_drop: float
    eye_x: float
    eye_width: float
    iris: float
    eye_tilt: float
    lid_upper: Pair
    lid_lower: Pair
    brow_inner: Pair
    brow_middle: Pair
    brow_outer: Pair
    brow_from: float
    brow_to: float
    brow_thickness: float
    nose_tip: float
    nose_width: float
    nose_height: float
    mouth_y: float
    mouth_width: Pair
    corner: Pair
    gap_upper: float
    gap_lower: float
    upper_lip: float
    lower_lip: float
    pout: float
    cheek: float
    cheek_raise: Pair
    fold: Pair
    dimple: float
    crow: Pair
    forehead: float
    frown: float
    nose_wrinkle: float
    squint: Pair


def pose_features(person: Identity, action_units: npt.ArrayLike) -> Features:
    """Features of `person` with action units (17,) in [0, 1], in the order of `mimik.labels.ACTION_UNITS`."""
    au = dict(zip(ACTION_UNITS, np.asarray(action_units, dtype=np.float64).tolist(), strict=True))
    t = person.traits
    # AU14 is one-sided and takes AU12 to its side: see mimik.datasets.synthetic.expressions.
    smile = (au["AU12"] * (1 - au["AU14"]), au["AU12"])
    sides = (1 - t["asymmetry"], 1 + t["asymmetry"])
    lids = [_lids(t["eye_height"] * side, au) for side in sides]
    mouth_width = t["mouth_width"] * (
        1 + 0.34 * au["AU20"] - 0.12 * au["AU23"] - 0.24 * au["AU26"] - 0.06 * au["AU17"] - 0.04 * au["AU10"]
    )
    corner = 0.100 * au["AU15"] + 0.035 * au["AU20"]
    parted, jaw = au["AU25"], au["AU26"]
    thin = 1 - 0.68 * au["AU23"] - 0.20 * max(smile) * parted - 0.18 * au["AU20"]
    raise_height = t["brow_height"]
    nose_tip = EYE_Y + t["nose_length"]
    return Features(
        width=t["width"],
        chin=t["chin"],
        crown=t["crown"],
        taper=t["taper"],
        square=t["square"],
        jaw_drop=0.12 * jaw + 0.015 * parted,
        eye_x=t["eye_x"],
        eye_width=t["eye_width"],
        iris=t["iris"],
        eye_tilt=t["eye_tilt"],
        lid_upper=(lids[0][0], lids[1][0]),
        lid_lower=(lids[0][1], lids[1][1]),
        brow_inner=_pair(
            raise_height,
            0.115 * au["AU01"] - 0.080 * au["AU04"] - 0.045 * au["AU09"] + 0.012 * au["AU02"],
            sides,
        ),
        brow_middle=_pair(
            raise_height + t["brow_arch"],
            0.050 * au["AU01"] + 0.078 * au["AU02"] - 0.060 * au["AU04"] - 0.035 * au["AU09"],
            sides,
        ),
        brow_outer=_pair(
            raise_height - 0.020,
            0.090 * au["AU02"] - 0.030 * au["AU01"] - 0.015 * au["AU04"] - 0.012 * au["AU09"],
            sides,
        ),
        brow_from=t["eye_x"] - 0.150 - 0.045 * au["AU04"] - 0.015 * au["AU09"],
        brow_to=t["eye_x"] + 0.170,
        brow_thickness=t["brow_thickness"],
        nose_tip=nose_tip - 0.030 * au["AU09"] - 0.010 * au["AU10"],
        nose_width=t["nose_width"] * (1 + 0.16 * au["AU09"] + 0.08 * au["AU10"] + 0.06 * max(smile)),
        nose_height=t["nose_height"],
        mouth_y=nose_tip + t["lip_distance"] - 0.030 * au["AU17"] - 0.035 * au["AU10"] + 0.030 * sum(smile) / 2,
        mouth_width=(
            mouth_width + t["mouth_width"] * 0.34 * smile[0] * sides[0],
            mouth_width + t["mouth_width"] * (0.34 * smile[1] * sides[1] + 0.18 * au["AU14"]),
        ),
        corner=(
            corner - 0.115 * smile[0] * sides[0] + 0.012 * au["AU14"],
            corner - 0.115 * smile[1] * sides[1] - 0.110 * au["AU14"],
        ),
        gap_upper=0.018 * parted + (0.028 * max(smile) + 0.014 * au["AU20"] + 0.02 * jaw + 0.02 * au["AU10"]) * parted,
        gap_lower=0.030 * parted + (0.022 * max(smile) + 0.020 * au["AU20"]) * parted + 0.145 * jaw,
        upper_lip=t["upper_lip"] * thin * (1 + 0.10 * au["AU10"]),
        lower_lip=t["lower_lip"] * thin * (1 + 0.20 * au["AU17"]),
        pout=au["AU17"],
        cheek=t["cheek"],
        cheek_raise=(
            min(1.0, 0.6 * au["AU06"] + 0.5 * smile[0] + 0.3 * au["AU09"]),
            min(1.0, 0.6 * au["AU06"] + 0.5 * smile[1] + 0.3 * au["AU09"] + 0.3 * au["AU14"]),
        ),
        fold=(_fold(smile[0], au, 0.0), _fold(smile[1], au, 0.60 * au["AU14"])),
        dimple=au["AU14"],
        crow=(au["AU06"], au["AU06"]),
        forehead=min(1.0, 0.45 * au["AU01"] + 0.55 * au["AU02"]),
        frown=au["AU04"],
        nose_wrinkle=au["AU09"],
        squint=(
            min(1.0, 0.5 * au["AU06"] + 0.6 * au["AU07"] + 0.3 * au["AU09"]),
            min(1.0, 0.5 * au["AU06"] + 0.6 * au["AU07"] + 0.3 * au["AU09"]),
        ),
    )


def _pair(height: float, change: float, sides: Pair) -> Pair:
    return height + change * sides[0], height + change * sides[1]


def _lids(height: float, au: dict[str, float]) -> Pair:
    """Upper and lower opening of an eye; AU45 brings the upper lid down to the lower one."""
    upper = height * (1 + 0.85 * au["AU05"] - 0.30 * au["AU07"] - 0.12 * au["AU06"] - 0.15 * au["AU09"])
    narrowing = 1 - 0.55 * au["AU06"] - 0.45 * au["AU07"] - 0.30 * au["AU09"] + 0.25 * au["AU05"]
    lower = 0.62 * height * max(narrowing, 0.2)
    closed = au["AU45"]
    return upper * (1 - closed) - 0.75 * lower * closed, lower * (1 - 0.25 * closed)


def _fold(smile: float, au: dict[str, float], extra: float) -> float:
    return min(1.0, 0.12 + 0.80 * smile + 0.45 * au["AU10"] + 0.30 * au["AU09"] + 0.20 * au["AU20"] + extra)


def brow_height(along: npt.NDArray[np.float32] | float, features: Features, side: int) -> npt.NDArray[np.float32]:
    """Height of the brow's middle line above the eyes' centre at `along` (0 inner end, 1 outer end)."""
    a = np.asarray(along, dtype=np.float32)
    inner = (a - 0.55) * (a - 1) * float(features.brow_inner[side] / 0.55)
    middle = a * (a - 1) * float(features.brow_middle[side] / (0.55 * -0.45))
    outer = a * (a - 0.55) * float(features.brow_outer[side] / 0.45)
    height: npt.NDArray[np.float32] = inner + middle + outer
    return height


@dataclass(frozen=True)
class LipLines:
    """y of the four lip lines, and of the line between closed lips, at given places along the mouth."""

    upper_outer: npt.NDArray[np.float32]
    upper_inner: npt.NDArray[np.float32]
    lower_inner: npt.NDArray[np.float32]
    lower_outer: npt.NDArray[np.float32]
    middle: npt.NDArray[np.float32]


def lip_lines(along: npt.NDArray[np.float32], corner: npt.NDArray[np.float32] | float, features: Features) -> LipLines:
    """Lip lines at `along` = |x| / half width of that side (0 middle, 1 corner; beyond 1 as at 1)."""
    f = features
    s = np.minimum(along, np.float32(1))
    s2 = s * s
    open_ = 1 - s2
    round_ = np.sqrt(open_)
    middle = np.float32(f.mouth_y) + corner * s2 * (0.55 + 0.45 * s)
    middle = middle - np.float32(0.03 * f.pout) * open_ * open_
    upper_inner = middle - np.float32(f.gap_upper) * round_
    lower_inner = middle + np.float32(f.gap_lower) * (0.5 * open_ + 0.5 * round_)
    # The bow of the upper lip: two peaks beside a dip in the middle.
    peak = np.maximum(1 - ((s - 0.24) / 0.30) ** 2, 0)
    upper_outer = upper_inner - np.float32(f.upper_lip) * round_ * (0.78 + 0.26 * peak * peak)
    lower_outer = lower_inner + np.float32(f.lower_lip) * open_ * (1.3 - 0.3 * open_)
    return LipLines(upper_outer, upper_inner, lower_inner, lower_outer, middle)
