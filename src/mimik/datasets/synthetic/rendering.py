"""Rows of the index to pictures and their ground truth, one face at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mimik.datasets.synthetic.backdrop import paint_background, paint_ears, paint_neck
from mimik.datasets.synthetic.canvas import Canvas
from mimik.datasets.synthetic.eyes import name_glasses, paint_eyes, paint_glasses, see_glasses
from mimik.datasets.synthetic.features import pose_features
from mimik.datasets.synthetic.hair import paint_back_hair, paint_front_hair, see_hair
from mimik.datasets.synthetic.identity import Identity, draw_identity
from mimik.datasets.synthetic.landmarks import place_landmarks
from mimik.datasets.synthetic.mouth import paint_mouth
from mimik.datasets.synthetic.skin import paint_skin
from mimik.datasets.synthetic.surface import Frame, see_head
from mimik.datasets.synthetic.view import LIGHTS, View, draw_view
from mimik.labels import ACTION_UNITS

Array = npt.NDArray[Any]

OUTPUTS = ("images", "masks", "depth", "normals", "landmarks")

_OVERSAMPLING = 2


@dataclass(frozen=True)
class Rendering:
    """Pictures and ground truth of n rows at `size` pixels, None where not asked for; as in
    `mimik.faces.prepared.store`.

    Attributes:
        images: uint8 (n, size, size, 3) RGB.
        masks: uint8 (n, size, size), the class with the largest share of the pixel's area.
        depth: uint8 (n, size, size), 0 = no surface, 1 (far) to 255 (near).
        normals: uint8 (n, size, size, 3), (n + 1) / 2 * 255 with x right, y up, z to the viewer; 0 = none.
        landmarks: float32 (n, 68, 2), x then y as fractions of the side.
    """

    images: Array | None
    masks: Array | None
    depth: Array | None
    normals: Array | None
    landmarks: Array | None


def render(table: pd.DataFrame, size: int, outputs: Sequence[str] = ("images", "masks")) -> Rendering:
    """Render every row of an index.

    A row gives the same pixels whatever stands before or after it. Memory beside the result is that of one face.

    Args:
        table: rows with `identity_seed`, `view_seed`, `yaw`, `pitch`, `roll` (degrees) and the 17 action units; and,
            where it is not `LIGHTS[0]`, `light`.
        size: side of the pictures in pixels, at least 16.
        outputs: what to compute, of `OUTPUTS`.

    Raises:
        ValueError: unknown output or a size below 16.
        KeyError: a column is missing.
    """
    unknown = set(outputs) - set(OUTPUTS)
    if unknown:
        raise ValueError(f"{sorted(unknown)}: not among {', '.join(OUTPUTS)}")
    if size < 16:
        raise ValueError(f"{size} px is too small for a face; at least 16")
    n = len(table)
    shapes: dict[str, tuple[int, ...]] = {
        "images": (n, size, size, 3),
        "masks": (n, size, size),
        "depth": (n, size, size),
        "normals": (n, size, size, 3),
        "landmarks": (n, 68, 2),
    }
    arrays: dict[str, Array] = {
        name: np.zeros(shapes[name], dtype=np.float32 if name == "landmarks" else np.uint8) for name in outputs
    }
    units = table[list(ACTION_UNITS)].to_numpy(dtype=np.float64)
    poses = table[["yaw", "pitch", "roll"]].to_numpy(dtype=np.float64).tolist()
    people, views = table["identity_seed"].tolist(), table["view_seed"].tolist()
    lights = table["light"].tolist() if "light" in table else [LIGHTS[0]] * n
    for row in range(n):
        yaw, pitch, roll = poses[row]
        view = draw_view(int(views[row]), yaw, pitch, roll, lights[row])
        face = _render_face(draw_identity(int(people[row])), view, units[row], size, frozenset(outputs))
        for name, value in face.items():
            arrays[name][row] = value
    return Rendering(**{name: arrays.get(name) for name in OUTPUTS})


def _render_face(
    person: Identity,
    view: View,
    action_units: Array,
    size: int,
    outputs: frozenset[str],
) -> dict[str, Array]:
    features = pose_features(person, action_units)
    frame = Frame(size, _OVERSAMPLING, view)
    face: dict[str, Array] = {}
    if "landmarks" in outputs:
        face["landmarks"] = place_landmarks(frame, features)
    if outputs <= {"landmarks"}:
        return face
    canvas = Canvas(frame, labels="masks" in outputs, relief=bool(outputs & {"depth", "normals"}))
    paint_background(canvas, frame, view)
    hair = see_hair(frame, person, view)
    if hair is not None:
        paint_back_hair(canvas, hair)
    paint_neck(canvas, frame, person, view, features)
    if person.style in ("short", "bald"):
        paint_ears(canvas, frame, person, view, features)
    skin = see_head(frame, features)
    light = paint_skin(canvas, frame, person, view, features, skin, None if hair is None else hair.shadow)
    glasses = see_glasses(frame, person, skin) if person.glasses else None
    if glasses is not None:
        name_glasses(canvas, glasses)
    paint_eyes(canvas, frame, person, view, features, skin, light)
    paint_mouth(canvas, frame, person, view, features, skin, light)
    if glasses is not None:
        paint_glasses(canvas, person, glasses, light)
    if hair is not None:
        paint_front_hair(canvas, hair)
    if "images" in outputs:
        face["images"] = canvas.picture(view)
    if "masks" in outputs:
        face["masks"] = canvas.labels()
    if outputs & {"depth", "normals"}:
        depth, normals = canvas.depth_and_normals()
        face.update({name: value for name, value in (("depth", depth), ("normals", normals)) if name in outputs})
    return face
