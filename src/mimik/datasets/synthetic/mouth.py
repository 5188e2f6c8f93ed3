"""Lips, teeth, tongue."""

import numpy as np

from mimik.datasets.synthetic.canvas import Canvas, edge
from mimik.datasets.synthetic.features import Features, lip_lines
from mimik.datasets.synthetic.identity import Identity
from mimik.datasets.synthetic.surface import Frame, Plane, Skin, bump, limit
from mimik.datasets.synthetic.view import View

_CAVITY = np.array([0.17, 0.045, 0.05], dtype=np.float32)
_TONGUE = np.array([0.66, 0.27, 0.28], dtype=np.float32)
_TEETH = np.array([0.96, 0.94, 0.89], dtype=np.float32)


def paint_mouth(
    canvas: Canvas, frame: Frame, person: Identity, view: View, f: Features, skin: Skin, light: Plane
) -> None:
    """The mouth, from the cavity to the lips."""
    step = frame.step
    wide = max(f.mouth_width)
    box = frame.box(
        (-wide - 0.08, wide + 0.08),
        (f.mouth_y - 0.26, f.mouth_y + f.gap_lower + f.lower_lip + 0.18),
        (0.2, 0.90),
    )
    x, y, lit = skin.x[box], skin.y[box], light[box]
    right = x > 0
    half = np.where(right, np.float32(f.mouth_width[1]), np.float32(f.mouth_width[0]))
    corner = np.where(right, np.float32(f.corner[1]), np.float32(f.corner[0]))
    along = np.abs(x) / half
    lines = lip_lines(along, corner, f)
    here = edge((1 - along) * half, 1.2 * step)
    soft = 1.3 * step
    gap = lines.lower_inner - lines.upper_inner
    opening = np.minimum(edge(y - lines.upper_inner, soft), edge(lines.lower_inner - y, soft)) * here
    if f.gap_upper + f.gap_lower < 0.004:
        opening = np.zeros_like(opening)
    middle = lines.middle + np.float32((f.gap_lower - f.gap_upper) / 2)
    lips = np.minimum(edge(y - lines.upper_outer, soft), edge(lines.lower_outer - y, soft)) * here
    upper = lips * edge(middle - y, soft)
    lower = lips - upper
    # Lips first over the whole mouth, then the opening, so that no skin shows between them.
    ridge = bump((y - (0.5 * lines.lower_inner + 0.5 * lines.lower_outer)) / 0.035, along / 0.75)
    tone = upper * 0.80 + lower * (1.03 + 0.16 * ridge)
    canvas.paint(box, lips, person.lip, lit * tone / np.maximum(lips, 1e-3))
    face = skin.coverage[box]
    canvas.name(box, lips * face, "u_lip")
    canvas.name(box, np.where(lips > 0, lower / np.maximum(lips, 1e-6), 0) * edge(lips - 0.5, 0.02) * face, "l_lip")
    if opening.any():
        inside = np.broadcast_to(_CAVITY[:, None, None], (3, *x.shape)).copy()
        tongue = 0.85 * bump((y - lines.lower_inner) / np.float32(0.03 + 0.55 * f.gap_lower), along / 0.75)
        reach = np.minimum(np.float32(0.055), 0.75 * gap)
        teeth = edge(reach - (y - lines.upper_inner), 1.6 * step) * edge(0.90 - along, 0.16)
        tooth = 1 - 0.10 * (np.abs(np.mod(x * 13, 1) - 0.5) > 0.40)
        bright = min(view.ambient + 0.62 * view.diffuse, 1.04)
        for channel in range(3):
            inside[channel] += tongue * (_TONGUE[channel] * np.float32(bright) - inside[channel])
            inside[channel] += teeth * (
                _TEETH[channel] * np.float32(bright) * tooth * (1 - 0.25 * along * along) - inside[channel]
            )
        inside *= 0.80 + 0.20 * limit((y - lines.upper_inner) * 40, 0, 1)
        canvas.paint(box, opening, inside)
        canvas.name(box, opening * face, "mouth")
    closed = min(max(1 - (f.gap_upper + f.gap_lower) / 0.03, 0.0), 1.0)
    if closed > 0:
        line = bump((y - lines.middle) / 0.020) * edge(1.03 - along, 0.10)
        canvas.paint(box, np.float32(0.85 * closed) * line, person.lip * np.float32(0.22), lit)
    tuck = bump((along - 1.0) * half / 0.040, (y - np.float32(f.mouth_y) - corner) / 0.040)
    canvas.paint(box, 0.55 * tuck, person.skin * np.float32(0.30), lit)
