"""A trained generator on somebody's photograph: faces found, aligned, edited, and put back.

Faces are aligned by the same functions as the training's (`faces.alignment`), edited at the model's size, and put back
with a feathered edge: the photograph keeps its own detail where little was changed and shows the generator's pixels
where much was. Outside of the faces every pixel stays as it was.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mimik.components.conditions import Condition, part_way
from mimik.errors import UserError, alike
from mimik.faces import alignment
from mimik.faces.action_units import geometric
from mimik.faces.mesh.mesher import FaceMesher, smallest_face
from mimik.faces.mesh.topology import IBUG_68
from mimik.faces.photograph import Photograph, read_layers
from mimik.labels import ACTION_UNITS
from mimik.storage.pictures import UnreadableError
from mimik.storage.provenance import KINDS, check_output, check_size, usable_profile, write_edit
from mimik.training.batches import to_tensor, to_uint8
from mimik.training.devices import autocast_dtype, pick_device
from mimik.training.runs import finite, load_method

Picture = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

FEATHER = 0.12
"""Width of the soft edge of an edited face, in sides of the aligned crop."""

REPLACED = 32.0
"""Change in grey levels from which on a pixel is the generator's alone; below it keeps detail of the photograph."""

STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25)
"""Columns of a sheet of strengths."""

STRONGEST = 2.0
"""Largest strength that can be asked for: so far beyond what was trained, faces dissolve."""

SIDE, GAP, HEAD = 256, 4, 24
"""A face on a sheet, the space between two, and that for the names above, pixels."""


@dataclass(frozen=True)
class Wish:
    """What a face is asked for.

    Attributes:
        to: an expression by name; None where only action units are asked for.
        strength: share of the way to it, from 0 to `STRONGEST`; above 1 goes beyond.
        shown: the expression that the photograph shows, where the model has to know it (label difference, or a strength
            other than 1, of a method that is told labels).
        units: changes of action units by name (AU12: +0.5), in [-1, 1].
    """

    to: str | None = None
    strength: float = 1.0
    shown: str | None = None
    units: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """A face in a photograph.

    Attributes:
        transform: (2, 3) source pixel -> fraction of the crop's side.
        units: float32 (17,) action units by `mimik.faces.action_units.geometric`, in [0, 1].
    """

    transform: Array
    units: npt.NDArray[np.float32]


class PhotographEditor:
    """Edits the faces of photographs with one trained method."""

    def __init__(self, model: Path | str) -> None:
        """Load the model and what finds faces.

        Args:
            model: results/<dataset>/<method>, with `generator.safetensors` and `config.json`.

        Raises:
            UserError: no trained method there, one of another alignment, or mediapipe is not installed.
        """
        self.folder = Path(model)
        method: Any
        method, self.config = load_method(self.folder, ("template", "sizes", "method", "dataset", "scale"))
        if self.config["template"] not in (None, alignment.TEMPLATE_NAME):
            raise UserError(
                f"{self.folder / 'config.json'}: its faces were aligned by the template {self.config['template']!r}; "
                f"this version of mimik has {alignment.TEMPLATE_NAME!r}. Prepare the dataset and train again."
            )
        self.device = pick_device()
        self.method: Any = method.to(self.device, memory_format=torch.channels_last)
        self.dtype = autocast_dtype("auto", self.device)
        self.condition: Condition = self.method.condition
        self.classes: list[str] = self.config["classes"]
        self.size = int(self.config["image_size"])
        self._mesher = FaceMesher()
        self._units = geometric.estimator()

    def faces(self, photograph: Picture) -> list[Found]:
        """All faces of a photograph uint8 (H, W, 3), the most prominent first."""
        found = []
        for mesh in self._mesher.every(photograph):
            transform = alignment.alignment(mesh[list(IBUG_68), :2])
            found.append(Found(transform, self._units(geometric.measures(mesh))))
        return found

    def check(self, wish: Wish) -> None:
        """Raise `UserError` when the model cannot be asked for this."""
        check_strength(wish)
        space = self.condition.space
        if space == "attributes":
            raise UserError(f"{self.folder}: this model was trained for attributes; `mimik edit` asks for expressions.")
        for option, name in (("--to", wish.to), ("--from", wish.shown)):
            if name is not None and name not in self.classes:
                meant = "".join(f" Did you mean {other}?" for other in alike(name, self.classes)[:1])
                raise UserError(f"{option} {name}: this model knows {', '.join(self.classes)}.{meant}")
        if wish.to is None and not wish.units:
            raise UserError("--to: name an expression, or action units by --au.")
        if space == "expression":
            if wish.units:
                raise UserError(
                    f"--au: {self.folder} is told expressions, not action units. Take a model of a method that is "
                    "told action units, such as relative_au."
                )
            relative = self.condition.config.form == "relative"
            if wish.shown is None and (relative or wish.strength != 1):
                reason = "is told the difference of labels" if relative else "goes part of the way between two labels"
                raise UserError(
                    f"--from: name the expression that the photograph shows; {self.config['method']} {reason}."
                )
        unknown = [name for name in wish.units if name not in self.condition.names]
        if space == "action_units" and unknown:
            raise UserError(f"--au: {', '.join(unknown)}: this model knows {', '.join(self.condition.names)}.")

    def states(self, found: Sequence[Found], wish: Wish) -> tuple[Tensor, Tensor]:
        """Source and target states float (B, K) of faces, see `mimik.components.conditions`."""
        self.check(wish)
        count = len(found)

        def named(expression: str) -> Tensor:
            labels = torch.full((count,), self.classes.index(expression), device=self.device)
            state: Tensor = self.condition.of_labels(labels)
            return state

        if self.condition.space == "expression":
            assert wish.to is not None
            target = named(wish.to)
            # Without --from the source says nothing: the networks are told the whole target (see `check`).
            source = target if wish.shown is None else named(wish.shown)
            return source, part_way(source, target, wish.strength)
        measured = torch.from_numpy(np.stack([face.units for face in found])).to(self.device)
        source = self.condition.of_faces(torch.zeros(count, dtype=torch.int64, device=self.device), measured)
        target = source if wish.to is None else part_way(source, named(wish.to), wish.strength)
        return source, target + self.condition.change(wish.units)

    def crops(self, photograph: Picture, found: Sequence[Found]) -> Picture:
        """Aligned faces uint8 (B, S, S, 3), as the training's were."""
        sizes = [*self.config["sizes"], self.size]
        return np.stack([alignment.crops(photograph, face.transform, sizes)[self.size] for face in found])

    def translate(self, crops: Picture, found: Sequence[Found], wish: Wish) -> Picture:
        """Edit aligned faces uint8 (B, S, S, 3)."""
        source, target = self.states(found, wish)
        autocast = torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)
        with torch.inference_mode(), autocast:
            return to_uint8(finite(self.method.translate(to_tensor(crops, self.device), source, target), self.folder))

    def edit(self, photograph: Picture, found: Sequence[Found], wish: Wish) -> Picture:
        """A copy of the photograph uint8 (H, W, 3) with all given faces edited."""
        result = photograph.copy()
        crops = self.crops(photograph, found)
        for face, before, after in zip(found, crops, self.translate(crops, found, wish), strict=True):
            put_back(result, before, after, face.transform)
        return result

    def close(self) -> None:
        """Free what finds faces."""
        self._mesher.close()


def put_back(photograph: Picture, before: Picture, after: Picture, transform: Array) -> None:
    """Replace a face in a photograph by its edit, in place.

    Args:
        photograph: uint8 (H, W, 3).
        before, after: uint8 (S, S, 3), the aligned face and its edit.
        transform: (2, 3) source pixel -> fraction of the crop's side.
    """
    height, width = photograph.shape[:2]
    corners = alignment.apply(alignment.inverse(transform), np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
    left, top = (max(0, int(value)) for value in np.floor(corners.min(axis=0)))
    right, bottom = np.ceil(corners.max(axis=0)).astype(int).clip(max=(width, height)).tolist()
    if left >= right or top >= bottom:
        return
    window = photograph[top:bottom, left:right]
    size = len(before)
    shifted = np.column_stack([transform[:, :2], transform[:, :2] @ (left, top) + transform[:, 2]]) * size

    def warped(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        # OpenCV counts from pixel centres, mimik from the image's corner; beyond the crop there is nothing.
        centred = np.column_stack([shifted[:, :2], shifted[:, :2] @ (0.5, 0.5) + shifted[:, 2] - 0.5])
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(picture, centred, (right - left, bottom - top), flags=flags), np.float32)

    difference = np.subtract(after, before, dtype=np.float32)
    both = warped(np.concatenate([difference, _feather(size)[..., None]], axis=-1))
    change, opacity = both[..., :3], both[..., 3:].clip(0, 1)
    kept: npt.NDArray[np.float32] = np.add(window, change, dtype=np.float32)
    share = np.minimum(np.abs(change).max(axis=-1, keepdims=True) / REPLACED, 1)
    kept += share * (warped(after.astype(np.float32)) - kept)
    edited = window + opacity * (kept - window)
    np.copyto(window, edited.round().clip(0, 255).astype(np.uint8), where=opacity > 0)


def _feather(size: int) -> npt.NDArray[np.float32]:
    """(size, size) opacity: 1 in the middle, falling to 0 at the edges of the crop along half a cosine."""
    centres = (np.arange(size) + 0.5) / size
    ramp = np.minimum(centres, 1 - centres)
    # The outermost pixels are zero, so that interpolation between them and nothing shows no edge.
    ramp = ((ramp - 1.5 / size) / FEATHER).clip(0, 1)
    soft = 0.5 - 0.5 * np.cos(np.pi * ramp)
    return np.outer(soft, soft).astype(np.float32)


def run(
    photograph: Path,
    model: Path,
    output: Path,
    wish: Wish,
    sheet_of: str | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Edit all faces of a photograph and write the result, or a sheet of its faces under several wishes.

    What was transparent stays so, with the colours that it has there.

    Args:
        photograph: an image file.
        model: results/<dataset>/<method>.
        output: the picture to write; its ending says how.
        wish: what is asked for.
        sheet_of: `expressions` (all that the model knows, at `wish.strength`), `strengths` (of `wish`), or None.
        overwrite: replace the output even if it is the photograph, or another file that is not mimik's.

    Raises:
        UserError: an unreadable photograph, no face, a model that is not there or cannot be asked for this, or an
            output that cannot be written or would replace somebody's file.
    """
    check_output(output, photograph, overwrite=overwrite)
    check_strength(wish)
    picture = read(photograph)
    height, width = picture.colours.shape[:2]
    if sheet_of is None:
        transparent = picture.alpha is not None and bool((picture.alpha < 255).any())
        check_size(output, width, height, transparent=transparent)
    editor = PhotographEditor(model)
    if sheet_of == "expressions":
        wishes = {name: replace(wish, to=name) for name in editor.classes}
    elif sheet_of == "strengths":
        wishes = {f"{strength:g}": replace(wish, strength=strength) for strength in STRENGTHS}
    else:
        wishes = {"": wish}
    for asked in wishes.values():
        editor.check(asked)
    seen = picture.seen
    found = editor.faces(seen)
    if not found:
        raise UserError(
            f"{photograph}: no face was found in it. In a picture of {width} x {height} pixels a face needs about "
            f"{smallest_face(height, width)} of them and a view of both eyes. Cut out the part with the face if it is "
            "smaller."
        )
    if sheet_of is None:
        result, profile = _layered(picture, seen, editor.edit(seen, found, wish), output), picture.profile
    else:
        check_size(output, *sheet_size(len(wishes), len(found)))
        result, profile = sheet(editor, seen, found, wishes), None
    units = ", ".join(f"{name} {change:+g}" for name, change in wish.units.items())
    asked_for = ", ".join(filter(None, [wish.to or "", units, sheet_of or f"strength {wish.strength:g}"]))
    name = f"{editor.config['method']} trained on {editor.config['dataset']}, scale {editor.config['scale']}"
    profile, remark = usable_profile(profile)
    write_edit(output, result, name, asked_for, profile)
    editor.close()
    if remark is not None:
        print(f"{photograph}: {remark}.", file=sys.stderr)
    print(f"{output}: {len(found)} face(s) edited by {name}.")


def read(path: Path) -> Photograph:
    """A photograph, upright. Raises `UserError` when it is not readable."""
    try:
        return read_layers(path)
    except UnreadableError as error:
        raise UserError(f"{path}: expected a photograph, but {error}.") from error


def _layered(photograph: Photograph, seen: Picture, edited: Picture, output: Path) -> Picture:
    """The edit of a photograph as it was seen, uint8 (H, W, 3), or (H, W, 4) where it has transparency.

    A colour that shines through is changed so much more as it is less opaque, so that on white the edit looks as it was
    made. Where nothing was edited, or nothing is seen, the photograph's own colours stay.
    """
    if photograph.alpha is None:
        return edited
    if (photograph.alpha == 255).all() and KINDS[output.suffix.lower()] == "JPEG":
        return edited
    colours = photograph.colours.copy()
    changed = (edited != seen).any(axis=-1) & (photograph.alpha > 0)
    difference = edited[changed].astype(np.float32) - seen[changed]
    difference *= 255 / photograph.alpha[changed, None].astype(np.float32)
    colours[changed] = (colours[changed] + difference).round().clip(0, 255).astype(np.uint8)
    return np.dstack([colours, photograph.alpha])


def sheet_size(wishes: int, faces: int) -> tuple[int, int]:
    """Width and height of a `sheet`, pixels."""
    return (1 + wishes) * (SIDE + GAP) - GAP, HEAD + faces * (SIDE + GAP) - GAP


def check_strength(wish: Wish) -> None:
    """Raise `UserError` for a strength that is no share of a way."""
    if not 0 <= wish.strength <= STRONGEST:  # not so for NaN either
        raise UserError(f"--strength {wish.strength:g}: expected a number from 0 to {STRONGEST:g}; 1 is the whole way.")


def sheet(editor: PhotographEditor, photograph: Picture, found: Sequence[Found], wishes: Mapping[str, Wish]) -> Picture:
    """One row for every face: the photograph's, then one column for every wish, with their names above.

    Args:
        editor: the model.
        photograph: uint8 (H, W, 3).
        found: its faces.
        wishes: by the words that head their columns.

    Returns:
        uint8 (h, w, 3).
    """
    side, gap, head = SIDE, GAP, HEAD
    columns = {
        "photograph": photograph,
        **{name: editor.edit(photograph, found, wish) for name, wish in wishes.items()},
    }
    canvas = Image.new("RGB", sheet_size(len(wishes), len(found)), (255, 255, 255))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for column, (name, picture) in enumerate(columns.items()):
        x = column * (side + gap)
        draw.text((x + side / 2, head / 2), name, fill=(0, 0, 0), font=font, anchor="mm")
        for row, face in enumerate(found):
            cut = alignment.crop(picture, face.transform, side)
            canvas.paste(Image.fromarray(cut), (x, head + row * (side + gap)))
    return np.asarray(canvas)


def unit_changes(texts: Sequence[str]) -> dict[str, float]:
    """`12=+0.5` or `AU12=-0.3` as changes by name.

    Raises:
        UserError: something else, a unit that is not known or named twice, or a change that is not from -1 to 1.
    """
    changes = {}
    for text in texts:
        unit, _, value = text.partition("=")
        number = unit.strip().upper().removeprefix("AU")
        name = f"AU{number.zfill(2)}"
        if name in changes:
            raise UserError(f"--au {text}: this unit is named twice. Name every unit once.")
        try:
            changes[name] = float(value)
        except ValueError as error:
            raise UserError(f"--au {text}: expected a number of an action unit and a change, like 12=+0.5.") from error
        if name not in ACTION_UNITS or not -1 <= changes[name] <= 1:
            known = ", ".join(unit.removeprefix("AU").lstrip("0") for unit in ACTION_UNITS)
            raise UserError(f"--au {text}: expected one of the units {known}, and a change from -1 to 1.")
    return changes
