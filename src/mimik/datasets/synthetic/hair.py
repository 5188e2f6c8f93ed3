"""Hair: a shell around the skull, open at the face, closed at the ears (short) or falling down (long, fringe)."""

from dataclasses import dataclass

import numpy as np

from mimik.datasets.synthetic.canvas import WHOLE, Canvas, Relief, clouds, edge
from mimik.datasets.synthetic.features import EYE_Y
from mimik.datasets.synthetic.identity import Identity
from mimik.datasets.synthetic.surface import CENTRE_Y, DEPTH, Frame, Head, Plane, bump, ramp
from mimik.datasets.synthetic.view import View


@dataclass(frozen=True)
class Hair:
    """Hair as seen in the frame, each plane (side, side).

    Attributes:
        front: coverage of the hair in front of the face and at its sides. back: of the hair behind head and neck.
        colour: (3, side, side) painted colour, light included. relief: surface of the front part.
        shadow: light that reaches the face below the hair's edge, 0 to 1.
    """

    front: Plane
    back: Plane
    colour: Plane
    relief: Relief
    shadow: Plane


def see_hair(frame: Frame, person: Identity, view: View) -> Hair | None:
    """The hair of a person, or None for the bald. It does not depend on the expression."""
    if person.style == "bald":
        return None
    t = person.traits
    volume = t["hair_volume"]
    falls = person.style != "short"
    shell = Head(
        width=t["width"] + (0.8 if falls else 0.35) * volume,
        depth=DEPTH + 0.7 * volume,
        upper=t["crown"] + volume,
        lower=t["chin"],
        open_below=falls,
        taper=0.0 if falls else 0.15,
    )
    x, y, z, depth, outline = shell.meet(frame, rounds=2)
    across = np.abs(x) * np.float32(1 / shell.width)
    inward = z * np.float32(1 / shell.depth)
    around = across / np.sqrt(across * across + inward * inward + 1e-6)
    # 0 in the middle of the forehead, 1 at the ears, beyond 1 behind them.
    around = np.where(z < 0, 2 - around, around)
    waves = clouds(person.texture, frame.side)
    # Strands run from the whorl like meridians; the parting tilts their pole.
    upward = np.clip((CENTRE_Y + 0.35 - y) * np.float32(1 / shell.upper), 0, 1)
    lean_x, lean_z = x - np.float32(t["parting"] * 0.9) * upward, z - np.float32(0.42) * upward
    angle = np.arctan2(lean_x, lean_z)
    bend = 0.25 * np.sin(y * 7 + np.float32(3 * t["parting"])) if falls else np.float32(0)
    strand = np.sin(angle * np.float32(t["strands"]) + waves * 1.6 + bend * 4)
    fine = np.sin(angle * np.float32(2.7 * t["strands"]) + waves * 2.5)
    lock = 0.6 * strand + 0.4 * fine
    line = _hairline(person, x, y, around, lock)
    front = edge(line - y, 0.035) * outline
    # Behind the head, so that no background shows between the skull's outline and the hair's.
    back = outline * edge(EYE_Y + 0.10 - y, 0.10)
    if falls:
        length = np.float32(t["hair_length"] if person.style == "long" else min(t["hair_length"], 0.72))
        # Ends lie on a gentle arc, turned in a little, with locks of slightly different length.
        ends = length - 0.10 * (1 - across) + 0.018 * strand
        kept = edge(ends - y, 0.04)
        front *= kept
        back = outline * edge(length - 0.05 + 0.012 * strand - y, 0.05)
    relief = Relief.of(depth + np.float32(0.006) * lock, frame)
    facing = relief.facing()
    lx, ly, lz = (float(part) for part in view.light)
    toward = (lz - relief.slope_x * np.float32(lx) - relief.slope_y * np.float32(ly)) * facing
    light = np.maximum(toward, 0) * np.float32(0.85 * view.diffuse) + np.float32(view.ambient * 0.95)
    band = bump((upward - 0.62 - 0.05 * lock) / 0.22) * np.maximum(toward, 0)
    depth_of_lock = 0.88 + 0.15 * lock
    if falls:
        depth_of_lock = depth_of_lock * (1 - 0.22 * ramp(y, 0.1, 0.9))
    light *= depth_of_lock * (0.62 + 0.38 * np.minimum(facing * 2.5, 1))
    gloss = np.float32(0.22) * band * (0.6 + 0.4 * lock)
    colour = np.stack([channel * light + (0.35 * channel + 0.05) * gloss for channel in person.hair])
    return Hair(front, back, colour, relief, 1 - 0.30 * ramp(y - line, 0.10, 0.0))


def _hairline(person: Identity, x: Plane, y: Plane, around: Plane, lock: Plane) -> Plane:
    """Height above which the shell carries hair."""
    t = person.traits
    top = t["hairline"]
    if person.style == "short":
        line = top + 0.05 * np.abs(x - t["parting"] * 0.3) + 0.010 * lock
        line = line + (EYE_Y + 0.02 - top) * ramp(around, 0.78, 0.93)
        behind: Plane = line + 0.55 * ramp(around, 1.10, 1.25)
        return behind
    if person.style == "fringe":
        line = np.float32(EYE_Y - 0.27) + 0.016 * lock + 0.10 * x * x
        low: Plane = line + 2.5 * ramp(around, 0.80, 0.90)
        return low
    line = top + 0.30 * np.maximum(np.abs(x - t["parting"] * 0.55) - 0.05, 0) + 0.008 * lock
    # The curtain's inner edge leaves the face between the cheekbones free and closes in slowly downwards.
    inner = 0.84 - 0.05 * ramp(y, 0.0, 0.8)
    falling: Plane = line + 2.5 * ramp(around - inner, -0.07, 0.06)
    return falling


def paint_back_hair(canvas: Canvas, hair: Hair) -> None:
    """The part behind head and neck, in the shade."""
    canvas.paint(WHOLE, hair.back, hair.colour, 0.55)
    canvas.name(WHOLE, hair.back, "hair")
    front = hair.relief
    behind = Relief(np.minimum(front.depth, np.float32(-0.35)), front.slope_x, front.slope_y)
    canvas.form(WHOLE, hair.back, behind)


def paint_front_hair(canvas: Canvas, hair: Hair) -> None:
    """The part around and in front of the face."""
    canvas.paint(WHOLE, hair.front, hair.colour)
    canvas.name(WHOLE, hair.front, "hair")
    canvas.form(WHOLE, hair.front, hair.relief)
