"""A trained generator applied to a photograph: its faces are found, aligned, edited and put back.

Faces are aligned by the same functions as in training (`faces.alignment`), edited at the model's size, and put back by
`mimik.editing.composing`. All pixels outside the faces stay unchanged.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mimik.components.conditions import Condition, part_way
from mimik.editing.catalogue import model_folder
from mimik.editing.composing import Change, Found, put_back
from mimik.editing.wishes import STRONGEST, Exemplar, Wish, check_strength, spelt
from mimik.errors import UserError, alike
from mimik.faces import alignment
from mimik.faces.action_units import geometric
from mimik.faces.mesh.mesher import FaceMesher, smallest_face
from mimik.faces.mesh.topology import IBUG_68, OUTLINE
from mimik.faces.prepared.rendered import luminance
from mimik.networks.heads import warp
from mimik.settings.scoring import is_submitted
from mimik.training.batches import to_tensor, to_uint8
from mimik.training.devices import autocast_dtype, pick_device
from mimik.training.runs import finite, load_method

Picture = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float64]

STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25)
"""Columns of a sheet of strengths."""

SIDE, GAP, HEAD = 256, 4, 24
"""On a sheet, in pixels: side of a face, space between faces, and space for the names above them."""

AT_ONCE = 64
"""Number of aligned faces edited at a time."""

FACES = ("all", "largest", "left")
"""Words for the faces of a photograph that are to be edited; beside them their numbers, from 1, from left to right."""

ROUNDING = 1e-6
"""How far a sum of shares may be from a whole number that it should be."""

JAW = 17
"""Points of the 68 landmarks that lie on the jaw; the others are those of brows, eyes, nose and mouth."""


class PhotographEditor:
    """Edits the faces of photographs with one trained method."""

    def __init__(self, model: Path | str, device: torch.device | None = None) -> None:
        """Load the model; the face finder is loaded when the first photograph needs it.

        Args:
            model: results/<dataset>/<method>, with `generator.safetensors` and `config.json`; or the name of a model
                that is given away (`mimik.editing.catalogue`).
            device: where to compute; None selects a free GPU, or the CPU if there is none.

        Raises:
            UserError: there is no trained method, or its faces were aligned differently.
        """
        self.folder = model_folder(model)
        if is_submitted(self.folder):
            raise UserError(f"{self.folder}: holds pictures that were made elsewhere, and no network to edit with.")
        method: Any
        method, self.config = load_method(self.folder, ("template", "sizes", "method", "dataset", "scale"))
        if self.config["template"] not in (None, alignment.TEMPLATE_NAME):
            raise UserError(
                f"{self.folder / 'config.json'}: its faces were aligned by the template {self.config['template']!r}; "
                f"this version of mimik has {alignment.TEMPLATE_NAME!r}. Prepare the dataset and train again."
            )
        self.device = pick_device() if device is None else device
        self.method: Any = method.to(self.device, memory_format=torch.channels_last)
        self.dtype = autocast_dtype("auto", self.device)
        self.condition: Condition = self.method.condition
        self.classes: list[str] = self.config["classes"]
        self.size = int(self.config["image_size"])
        seen = self.config.get("trained_on", {})
        self.grey, self.rendered = seen.get("grey", False), seen.get("rendered", False)
        self.name = f"{self.config['method']} trained on {self.config['dataset']}, scale {self.config['scale']}"

    @cached_property
    def _mesher(self) -> FaceMesher:
        return FaceMesher()

    @cached_property
    def _units(self) -> geometric.Estimator:
        return geometric.estimator()

    def faces(self, photograph: Picture) -> list[Found]:
        """All faces of a photograph uint8 (H, W, 3), the most prominent first.

        Raises:
            UserError: mediapipe, which finds them, is not installed.
        """
        found = []
        for mesh in self._mesher.every(photograph):
            landmarks, outline = mesh[list(IBUG_68), :2], mesh[list(OUTLINE), :2]
            transform = alignment.alignment(landmarks)
            found.append(Found(transform, outline, landmarks[JAW:], self._units(geometric.measures(mesh))))
        return found

    def check(self, wish: Wish, *, aligned: bool = False) -> None:
        """Raise `UserError` if the model does not support this edit.

        Args:
            wish: the requested edit.
            aligned: whether it is for aligned faces whose content the caller specifies, not for a photograph.
        """
        check_strength(wish)
        space, words = self.condition.space, wish.words
        if space == "attributes" and not aligned and wish.has is None:
            raise UserError(
                f"{words['has']}: {self.folder} edits attributes, which cannot be read from a photograph. Name those "
                f"that the face has, of {', '.join(self.condition.names)}; or say that it has none."
            )
        if wish.has is not None and space != "attributes":
            raise UserError(f"{words['has']}: {self.folder} is not conditioned on attributes. Leave it out.")
        if unknown := [name for name in wish.has or () if name not in self.config["attributes"]]:
            raise UserError(
                f"{words['has']} {', '.join(unknown)}: this model knows {', '.join(self.config['attributes'])}."
            )
        self._check_exemplar(wish)
        known = self.condition.edits
        for word, name in wish.named:
            if name not in known:
                meant = "".join(f" Did you mean {other}?" for other in alike(name, known)[:1])
                if "," in name:
                    meant = f" In a mix each has its share, like {known[0]}=0.6,{known[1 % len(known)]}=0.4."
                raise UserError(f"{word} {name}: this model knows {', '.join(known)}.{meant}")
        shares = wish.shares
        if space != "attributes" and sum(shares.values()) > STRONGEST + ROUNDING:
            raise UserError(
                f"{words['to']} {spelt(wish.to)}: together {sum(shares.values()):g} of the way; expected at most "
                f"{STRONGEST:g}. 1 is a full edit: of a mix, give shares that sum to about 1."
            )
        if space == "attributes" and wish.has is not None:
            self._states(1, self._attributes(1, wish), wish)  # says where attributes contradict one another
        if not shares and wish.like is None and not (wish.units and space != "attributes"):
            what = "attribute" if space == "attributes" else f"expression, or action units with {words['units']}"
            raise UserError(f"{words['to']}: name an {what}.")
        if wish.units and space != "action_units":
            raise UserError(
                f"{words['units']}: {self.folder} is conditioned on {space.removesuffix('s')}s, not on action units. "
                "Use a model of a method that is conditioned on action units, such as relative_au."
            )
        if space == "expression" and wish.shown is None and (why := self._needs_shown(sum(shares.values()))):
            raise UserError(f"{words['shown']}: name the expression that the photograph shows; {why}.")
        unknown = [name for name in wish.units if name not in self.condition.names]
        if unknown:
            raise UserError(
                f"{words['units']}: {', '.join(unknown)}: this model knows {', '.join(self.condition.names)}."
            )

    def _needs_shown(self, way: float) -> str:
        """Why a model of expressions has to be told which the face shows, for a share of the way; else empty."""
        if self.condition.config.form == "relative":
            return f"{self.config['method']} is conditioned on the difference between two labels"
        if abs(way - 1) > ROUNDING:
            return "a strength other than 1, or a mix whose shares do not sum to 1, interpolates between it and another"
        if self._reads_source:
            return f"{self.config['method']} edits from one expression to another and has to be told both"
        return ""

    @cached_property
    def _reads_source(self) -> bool:
        """Whether the state that a face shows decides its edit, beside the state that it should show."""
        first, second = torch.eye(self.condition.dim, device=self.device)[:2, None]
        face = np.random.default_rng(0).integers(0, 256, (1, self.size, self.size, 3)).astype(np.uint8)
        return not np.array_equal(self._generated(face, first, second), self._generated(face, second, second))

    def _check_exemplar(self, wish: Wish) -> None:
        """Raise `UserError` if the wish is to imitate a face and the model cannot."""
        if wish.like is None:
            return
        words = wish.words
        if self.condition.space != "action_units":
            told = self.condition.space.removesuffix("s")
            raise UserError(
                f"{words['like']}: {self.folder} is told the name of an {told}, so it cannot imitate a face. Only "
                "models conditioned on action units can, such as those of relative_au; with this one, name the "
                f"{told} with {words['to']}."
            )
        if wish.to is not None:
            raise UserError(f"{words['like']}, {words['to']}: both say what the face should show. Give one of them.")

    def states(self, found: Sequence[Found], wish: Wish) -> tuple[Tensor, Tensor]:
        """Source and target states float (B, K) of faces, see `mimik.components.conditions`."""
        self.check(wish)
        measured: npt.NDArray[np.floating[Any]] | None = None
        if self.condition.space == "action_units":
            measured = np.stack([face.units for face in found])
        elif self.condition.space == "attributes":
            measured = self._attributes(len(found), wish)
        return self._states(len(found), measured, wish)

    def _attributes(self, count: int, wish: Wish) -> npt.NDArray[np.floating[Any]]:
        """float32 (count, A): the attributes that a wish says faces have, 0 or 1, in the order of config.json."""
        has = [float(name in (wish.has or ())) for name in self.config["attributes"]]
        return np.array([has] * count, np.float32).reshape(count, len(has))

    def _states(self, count: int, measured: npt.NDArray[np.floating[Any]] | None, wish: Wish) -> tuple[Tensor, Tensor]:
        """The states of `count` faces; `measured` as `Condition.of_faces` takes it."""
        condition = self.condition

        def labels(names: str | Sequence[str]) -> Tensor:
            return self._labels([names] * count if isinstance(names, str) else names)

        if condition.space == "expression":
            target, way = self._mixed(wish, count)
            # Without `shown` the source is not needed: the networks receive the target itself (see `check`).
            source = target if wish.shown is None else condition.of_labels(labels(wish.shown))
            return source, part_way(source, target, way)
        shown = torch.zeros(count, dtype=torch.int64, device=self.device)
        if measured is None:
            assert wish.shown is not None  # see `edit_aligned`
            source = condition.of_labels(labels(wish.shown))
        else:
            source = condition.of_faces(shown, torch.from_numpy(measured).to(self.device))
        if condition.space == "attributes":
            return source, self._reversed(source, wish)
        target = source
        if wish.like is not None:
            units = torch.from_numpy(np.stack([wish.like.units] * count)).to(self.device)
            target = part_way(source, condition.of_faces(shown, units), wish.strength)
        elif wish.shares:
            target = part_way(source, *self._mixed(wish, count))
        return source, target + condition.change(wish.units)

    def _labels(self, names: Sequence[str]) -> Tensor:
        positions = [self.condition.edits.index(name) for name in names]
        return torch.tensor(positions, dtype=torch.int64, device=self.device)

    def _mixed(self, wish: Wish, count: int) -> tuple[Tensor, float]:
        """Where a mix of expressions leads from any state: a point between theirs (count, K), and the share of the way.

        s + sum_k w_k (corner_k - s) = s + W (m - s) with W = sum_k w_k and m = sum_k w_k corner_k / W.
        """
        shares = wish.shares
        way = sum(shares.values())
        parts = torch.tensor([share / way if way else 0.0 for share in shares.values()], device=self.device)
        return (parts[:, None] * self.condition.of_labels(self._labels([*shares]))).sum(0).expand(count, -1), way

    def _reversed(self, source: Tensor, wish: Wish) -> Tensor:
        """States (B, K) of which attributes are reversed, each as far as the wish says.

        Raises:
            UserError: they contradict one another, such as two colours of the hair.
        """
        target = at_once = one_by_one = source
        for name, share in wish.shares.items():
            wanted = self._labels([name] * len(source))
            full = self.condition.asked(source, wanted, wanted)
            target = torch.where(full != source, part_way(source, full, share), target)
            at_once = torch.where(full != source, full, at_once)
            one_by_one = self.condition.asked(one_by_one, wanted, wanted)
        if not torch.equal(at_once, one_by_one):
            raise UserError(
                f"{wish.words['to']} {spelt(wish.to)}: to this model they contradict one another: giving one takes "
                "another away. Name one of them."
            )
        return target

    def crops(self, photograph: Picture, found: Sequence[Found]) -> Picture:
        """Aligned faces uint8 (B, S, S, 3), as in training."""
        sizes = [*self.config["sizes"], self.size]
        return np.stack([alignment.crops(photograph, face.transform, sizes)[self.size] for face in found])

    def edit_aligned(
        self, faces: Picture, wish: Wish, measured: npt.NDArray[np.floating[Any]] | None = None
    ) -> Picture:
        """Edit aligned faces that were found elsewhere, in batches.

        Args:
            faces: uint8 (B, S, S, 3), aligned as in training.
            wish: the requested edit; for a model trained on attributes, `to` names the attribute to reverse.
            measured: what the faces show: float (B, 17) action units in [0, 1], or (B, A) attributes of 0 and 1 in the
                order of config.json. Ignored by models that are conditioned on expressions.

        Returns:
            uint8 (B, S, S, 3).

        Raises:
            UserError: the model does not support this edit, or needs to know what the faces show.
        """
        self.check(wish, aligned=True)
        space = self.condition.space
        if measured is None and space == "attributes" and wish.has is not None:
            measured = self._attributes(len(faces), wish)
        if measured is None and space == "attributes":
            raise UserError(f"measured: {self.folder} needs the attributes of the faces, as 0 and 1.")
        if measured is None and space == "action_units" and wish.shown is None:
            raise UserError(
                f"measured: {self.folder} needs the action units of the faces. Alternatively, name the expression they "
                f"show with {wish.words['shown']}; its mean action units are then used."
            )
        source, target = self._states(len(faces), measured, wish)
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(faces), AT_ONCE)]
        edits = [self._generated(faces[part], source[part], target[part]) for part in parts]
        return np.concatenate(edits) if edits else faces.copy()

    def _generated(self, crops: Picture, source: Tensor, target: Tensor) -> Picture:
        with self._computing():
            return to_uint8(finite(self.method.translate(to_tensor(crops, self.device), source, target), self.folder))

    @contextmanager
    def _computing(self) -> Iterator[None]:
        autocast = torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None)
        with torch.inference_mode(), autocast:
            yield

    def changes(self, crops: Picture, found: Sequence[Found], wish: Wish) -> list[Change]:
        """What the generator does to aligned faces uint8 (B, S, S, 3) of a photograph.

        A model of grey faces is shown the luminance alone, as in training, and changes the luminance alone.
        """
        seen = luminance(crops) if self.grey else crops
        source, target = self.states(found, wish)
        with self._computing():
            images = to_tensor(seen, self.device)
            edited = finite(self.method.translate(images, source, target), self.folder).float()
            moves = self._displacements(images, source, target)
            start = images if moves is None else warp(images, moves)
            painted = (edited - start.float()) * 127.5
            if self.grey:
                painted = painted.mean(1, keepdim=True)
        added = painted.permute(0, 2, 3, 1).cpu().numpy()
        if moves is None:
            return [Change(one) for one in added]
        return [Change(*both) for both in zip(added, moves.permute(0, 2, 3, 1).cpu().numpy(), strict=True)]

    def _displacements(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor | None:
        """Where the method moved faces (B, 3, S, S), float32 (B, 2, S, S), if it did and can say so."""
        told = getattr(self.method, "displacements", None)
        moves: Tensor | None = None if told is None else told(images, source, target)
        return None if moves is None else finite(moves, self.folder).float()

    def edit(self, photograph: Picture, found: Sequence[Found], wish: Wish) -> Picture:
        """A copy of the photograph uint8 (H, W, 3) with all given faces edited."""
        result = photograph.copy()
        crops = self.crops(photograph, found)
        for face, crop, change in zip(found, crops, self.changes(crops, found, wish), strict=True):
            put_back(result, crop, change, face)
        return result

    def remarks(self, photograph: Picture) -> list[str]:
        """What a person should know who edits this photograph uint8 (H, W, 3) with this model."""
        told = []
        if self.rendered:
            told.append(
                f"{self.folder} was trained on rendered faces only and is no good on photographs: the edit will look "
                "wrong. Use a model that was trained on photographs"
            )
        if self.grey and (photograph != photograph[..., :1]).any():
            told.append(
                f"{self.folder} was trained on grey pictures, so only the brightness is edited; the photograph keeps "
                "its colours"
            )
        return told

    def exemplar(self, picture: Picture, name: str) -> Exemplar:
        """The most prominent face of a picture uint8 (H, W, 3) as one that can be imitated.

        Raises:
            UserError: there is no face in it.
        """
        found = self.faces(picture)
        if not found:
            raise UserError(no_face(name, picture))
        return Exemplar(name, found[0].units)

    def close(self) -> None:
        """Free the face finder, if it was loaded."""
        if (mesher := self.__dict__.pop("_mesher", None)) is not None:
            mesher.close()


def expressions(editor: PhotographEditor, wish: Wish) -> dict[str, Wish]:
    """One wish for every expression (or attribute) that the model knows, by its name; the rest is as in `wish`."""
    return {name: replace(wish, to=name) for name in editor.condition.edits}


def chosen(found: Sequence[Found], which: str | int, name: str) -> list[Found]:
    """Those faces of a photograph that are to be edited.

    Args:
        found: all of them.
        which: one of `FACES`, or the number of a face, from 1, counted from left to right.
        name: of the photograph, for the message.

    Raises:
        UserError: there are fewer faces.
    """
    if which == "all" or not found:
        return list(found)
    ordered = sorted(found, key=lambda face: face.box[0])
    if which == "largest":
        return [max(ordered, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))]
    number = 1 if which == "left" else int(which)
    if number > len(ordered):
        raise UserError(f"{name}: has {len(ordered)} face(s), so there is no face number {number}.")
    return [ordered[number - 1]]


def no_face(name: str, photograph: Picture) -> str:
    """The message for a photograph uint8 (H, W, 3) in which no face was found."""
    height, width = photograph.shape[:2]
    return (
        f"{name}: no face was found. In a picture of {width} x {height} pixels, a face must be about "
        f"{smallest_face(height, width)} pixels wide with both eyes visible. If it is smaller, crop the picture to the "
        "part with the face."
    )


def sheet_size(wishes: int, faces: int) -> tuple[int, int]:
    """Width and height of a `sheet`, pixels."""
    return (1 + wishes) * (SIDE + GAP) - GAP, HEAD + faces * (SIDE + GAP) - GAP


def rows(
    editor: PhotographEditor, photograph: Picture, found: Sequence[Found], wishes: Mapping[str, Wish]
) -> list[list[Picture]]:
    """Rows of a `sheet`, one per face: uint8 (SIDE, SIDE, 3), the original and its edit for each wish.

    Args:
        editor: the model.
        photograph: uint8 (H, W, 3).
        found: its faces.
        wishes: the wishes by the headings of their columns.
    """
    pictures = [photograph, *(editor.edit(photograph, found, wish) for wish in wishes.values())]
    return [[alignment.crop(picture, face.transform, SIDE) for picture in pictures] for face in found]


def sheet(faces: Sequence[Sequence[Picture]], headings: Sequence[str]) -> Picture:
    """A picture uint8 (h, w, 3) of `rows`, with `photograph` and the headings of the wishes above the columns."""
    canvas = Image.new("RGB", sheet_size(len(headings), len(faces)), (255, 255, 255))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(15)
    for column, name in enumerate(("photograph", *headings)):
        draw.text((column * (SIDE + GAP) + SIDE / 2, HEAD / 2), name, fill=(0, 0, 0), font=font, anchor="mm")
    for row, pictures in enumerate(faces):
        for column, picture in enumerate(pictures):
            canvas.paste(Image.fromarray(picture), (column * (SIDE + GAP), HEAD + row * (SIDE + GAP)))
    return np.asarray(canvas)
