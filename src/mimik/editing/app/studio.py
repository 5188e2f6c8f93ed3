"""What the app does, without its page: models, photographs with their faces, previews and files of edits."""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mimik.components.conditions import Condition, ConditionConfig
from mimik.editing.cards import card, terms_of
from mimik.editing.catalogue import name_of
from mimik.editing.composing import Found
from mimik.editing.editor import PhotographEditor, chosen, expressions, no_face, rows
from mimik.editing.files import described, marked_png, opened
from mimik.editing.wishes import Exemplar, Wish
from mimik.errors import UserError, unknown_name
from mimik.faces.photograph import Photograph
from mimik.settings.configuration import build
from mimik.settings.params import Params
from mimik.storage.files import file_sha256
from mimik.storage.provenance import write_edit
from mimik.storage.records import read_record

Picture = npt.NDArray[np.uint8]

SEEN = 1024
"""Longer side of a preview, pixels."""

LARGEST_FILE = 30
"""Size of the largest file that is taken, megabytes."""

LARGEST = 50_000_000
"""Most pixels of a photograph; those of several people must fit into memory at once."""

KEPT = 16
"""Photographs whose faces are remembered; of those not used for longest, they are found again."""

AROUND = 0.8
"""Surroundings of the faces that are shown, in widths and heights of the faces together."""

WORDS: Mapping[str, str] = {
    "to": "Expression", "strength": "Strength", "shown": "Shows now", "units": "Action units", "has": "Attributes",
    "like": "Like",
}  # fmt: skip
"""Names of the parts of a `Wish` on the page."""


@dataclass(frozen=True)
class View:
    """A photograph as it is previewed, or the part of it with one face.

    Attributes:
        picture: uint8 (h, w, 3), at most `SEEN` wide and high.
        faces: those to edit, in its pixels.
    """

    picture: Picture
    faces: Sequence[Found]


class Opened:
    """A photograph whose faces were searched."""

    def __init__(self, name: str, content: bytes, seen: Picture, faces: Sequence[Found]) -> None:
        """Keep a file's name and bytes; of its pixels uint8 (H, W, 3) only what is shown of them."""
        self.name, self.content = name, content
        self.faces = sorted(faces, key=lambda face: face.box[0])
        """From left to right, as they are numbered."""
        self.main = next((number for number, face in enumerate(self.faces, 1) if face is faces[0]), 0)
        """The number of the most prominent face; 0 where there is none."""
        self.whole = view(seen, self.faces, (0, 0, seen.shape[1], seen.shape[0]))
        self.no_face = no_face(name, seen)
        """What to say if there are none."""
        self._views: dict[str | int, View] = (
            {"all": view(seen, self.faces, surroundings(seen, self.faces))} if faces else {}
        )

    @cached_property
    def numbered(self) -> Picture:
        """The photograph uint8 (h, w, 3) with the numbers of its faces."""
        canvas = Image.fromarray(self.whole.picture)
        draw = ImageDraw.Draw(canvas)
        size = max(16, max(canvas.size) // 28)
        font = ImageFont.load_default(size)
        for number, face in enumerate(self.whole.faces, 1):
            left, top, right, bottom = face.box
            draw.rectangle((left, top, right, bottom), outline=(255, 255, 255), width=max(2, size // 8))
            above = max(0, top - 1.3 * size)
            draw.rectangle((left, above, left + 1.3 * size, above + 1.3 * size), fill=(255, 255, 255))
            middle = (left + 0.65 * size, above + 0.65 * size)
            draw.text(middle, str(number), fill=(0, 0, 0), font=font, anchor="mm")
        return np.asarray(canvas)

    def number_at(self, x: float, y: float) -> int | None:
        """The number of the face at a pixel of `numbered`; None where there is none."""
        for number, face in enumerate(self.whole.faces, 1):
            left, top, right, bottom = face.box
            if left <= x < right and top <= y < bottom:
                return number
        return None

    def view(self, which: str | int) -> View:
        """The surroundings of the faces to edit, see `mimik.editing.editor.chosen`."""
        if which not in self._views:
            found = chosen(self.faces, which, self.name)
            seen = decoded(self.name, self.content).seen
            self._views[which] = view(seen, found, surroundings(seen, found))
        return self._views[which]


class Studio:
    """Models and photographs of an app; several threads may use it at once."""

    def __init__(self, folders: Sequence[Path], params: Params | None, place: Path) -> None:
        """Remember the models; each is loaded when it is first used.

        Args:
            folders: results/<dataset>/<method>, or exported folders.
            params: params.yaml of the project, which knows the licences of datasets; None outside of a project.
            place: a folder for the pictures that are shown.
        """
        self.folders, self._params, self._place = dict(_names(folders)), params, place
        self._editors: dict[str, PhotographEditor] = {}
        self._photographs: dict[str, Opened] = {}
        self._lock, self._finding = Lock(), Lock()

    def editor(self, name: str | None) -> PhotographEditor:
        """The model of a name. Raises `UserError` if there is none, or its files are damaged."""
        if not self.folders:
            raise UserError(
                "There is no trained model in results/. Train one (`mimik train`), or name its folder: "
                "`mimik app --model DIR`."
            )
        if name not in self.folders:
            raise UserError(f"model {name}: {unknown_name(name, self.folders)}")
        with self._lock:
            if name not in self._editors:
                self._editors[name] = PhotographEditor(self.folders[name])
            return self._editors[name]

    @cached_property
    def edits(self) -> list[str]:
        """What any of the models can be asked for by name: expressions, and attributes to reverse.

        Of a model that was not used yet only the description is read; one whose description is damaged is left out.
        """
        every: dict[str, None] = {}
        for folder in self.folders.values():
            try:
                config = read_record(folder / "config.json", "method", ("condition", "classes", "attributes"))
                condition = build(ConditionConfig, config["condition"], f"{folder / 'config.json'}: condition")
                every |= dict.fromkeys(Condition(condition, config["classes"], config["attributes"]).edits)
            except (UserError, ValueError):
                continue  # `editor` says what is wrong with it
        return list(every)

    def open(self, path: Path | None) -> Opened:
        """The photograph in a file, which stays as it is, with its faces; they are searched when it is first opened.

        Raises:
            UserError: it is no photograph, too large, or has no face; there is no model, or no mediapipe.
        """
        if path is None:
            raise UserError("Choose a photograph.")
        finder = self.editor(next(iter(self._editors or self.folders), None))
        with self._finding:  # mediapipe's graphs are not for several threads
            if (known := self._photographs.pop(str(path), None)) is None:
                known = _searched(finder, path)
            self._photographs[str(path)] = known
            while len(self._photographs) > KEPT:
                self._photographs.pop(next(iter(self._photographs)))
        if not known.faces:
            raise UserError(known.no_face)
        return known

    def wish(
        self,
        model: str | None,
        to: str | Mapping[str, float] | None,
        strength: float = 1.0,
        shown: str | None = None,
        has: Sequence[str] | None = None,
        units: Mapping[str, float] | None = None,
        like: Exemplar | None = None,
    ) -> Wish:
        """The edit that the page's controls say, as far as this model has them."""
        space = self.editor(model).condition.space
        return Wish(
            to or None,
            float(strength),
            (shown or None) if space == "expression" else None,
            {name: change for name, change in (units or {}).items() if change} if space == "action_units" else {},
            tuple(has or ()) if space == "attributes" else None,
            like,
            WORDS,
        )

    def preview(self, photograph: Opened, model: str | None, which: str | int, wish: Wish) -> tuple[Path, Path]:
        """Files of the view of a photograph before and after an edit; nothing asked for changes nothing.

        Raises:
            UserError: there is no such edit.
        """
        editor, seen = self.editor(model), photograph.view(which)
        before = self._shown(seen.picture, None, "")
        if wish.empty:
            return before, before
        return before, self._shown(editor.edit(seen.picture, seen.faces, wish), editor, described(wish))

    def strip(self, photograph: Opened, model: str | None, which: str | int, wish: Wish) -> Iterator[tuple[Path, str]]:
        """Files of each face with all expressions (or attributes) of a model, and what they show."""
        editor, seen = self.editor(model), photograph.view(which)
        wishes = expressions(editor, replace(wish, like=None))
        for number, row in enumerate(rows(editor, seen.picture, seen.faces, wishes), 1):
            face = f"face {number}, " if len(seen.faces) > 1 else ""
            yield self._shown(row[0], None, ""), f"{face}photograph"
            for picture, (name, asked) in zip(row[1:], wishes.items(), strict=True):
                yield self._shown(picture, editor, described(asked)), f"{face}{name}"

    def comparison(
        self, photograph: Opened, wishes: Mapping[str, Wish], which: str | int
    ) -> Iterator[tuple[Path, str]]:
        """Files of the faces as each model edits them, and its name; unedited, and why, where it makes no such edit.

        Args:
            photograph: what to edit.
            wishes: the edit for each model, by its name.
            which: the faces to edit, see `mimik.editing.editor.chosen`.
        """
        seen = photograph.view(which)
        for place, (name, wish) in enumerate(wishes.items()):
            editor, asked, told = self.editor(name), {name: wish}, ""
            try:
                editor.check(wish)
            except UserError as error:
                asked, told = {}, f" makes no such edit. {error}"
            made = rows(editor, seen.picture, seen.faces, asked)
            if not place:
                yield from ((self._shown(row[0], None, ""), "photograph") for row in made)
            told = told or (" (of rendered faces)" if editor.rendered else "")
            for row in made:
                yield self._shown(row[-1], editor if asked else None, described(wish)), f"{name}{told}"

    def exemplar(self, photograph: Opened, number: int | None = None) -> Exemplar:
        """A face of a photograph as one that can be imitated: that of a number, or the most prominent."""
        (face,) = chosen(photograph.faces, photograph.main if number is None else number, photograph.name)
        return Exemplar(photograph.name, face.units)

    def file(self, photograph: Opened, model: str | None, which: str | int, wish: Wish) -> Path:
        """The whole photograph, edited: a PNG that is marked as synthetic."""
        editor = self.editor(model)
        editor.check(wish)
        picture = decoded(photograph.name, photograph.content)
        folder = self._place / secrets.token_hex(16)
        folder.mkdir()
        path = folder / f"{Path(photograph.name).stem}_edited.png"
        path.write_bytes(marked_png(editor, picture, chosen(photograph.faces, which, photograph.name), wish))
        return path

    def remarks(self, photograph: Opened, model: str | None) -> list[str]:
        """What a person should know who edits this photograph with this model."""
        return self.editor(model).remarks(photograph.whole.picture)

    def about(self, model: str | None) -> str:
        """The model's card, Markdown."""
        editor = self.editor(model)
        if "exported" in editor.config and (editor.folder / "README.md").is_file():
            return (editor.folder / "README.md").read_text(encoding="utf-8")
        record = editor.folder / "metrics.json"
        metrics = read_record(record, "metrics", ("metrics",)) if record.exists() else None
        weights = {
            "count": sum(value.numel() for value in editor.method.generator_state().values()),
            "sha256": file_sha256(editor.folder / "generator.safetensors"),
        }
        terms = terms_of(editor.config, self._params)
        return card(editor.config, editor.condition, terms, metrics, weights, "`mimik export` writes one.")

    def close(self) -> None:
        """Free the face finder."""
        for editor in self._editors.values():
            editor.close()

    def _shown(self, picture: Picture, editor: PhotographEditor | None, asked: str) -> Path:
        """A picture as a file for the page; edits are marked as synthetic."""
        path = self._place / f"{secrets.token_hex(16)}.jpg"
        if editor is None:
            Image.fromarray(picture).save(path, "JPEG", quality=95)
        else:
            write_edit(path, picture, editor.name, asked)
        return path


def decoded(name: str, content: bytes) -> Photograph:
    """A photograph from the bytes of its file. Raises `UserError` if it is none, or too large for an app."""
    if len(content) > LARGEST_FILE * 1_000_000:
        raise UserError(f"{name}: has {len(content) / 1e6:.0f} MB; the limit is {LARGEST_FILE} MB. Use a smaller one.")
    picture = opened(name, content)
    height, width = picture.colours.shape[:2]
    if height * width > LARGEST:
        raise UserError(
            f"{name}: has {width} x {height} pixels; the limit is {LARGEST // 1_000_000} megapixels. Shrink it first."
        )
    return picture


def surroundings(seen: Picture, found: Sequence[Found]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a photograph uint8 (H, W, 3) that shows faces from near."""
    boxes = np.array([face.box for face in found])
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    across, down = round(AROUND * (right - left)), round(AROUND * (bottom - top))
    height, width = seen.shape[:2]
    return max(0, left - across), max(0, top - down), min(width, right + across), min(height, bottom + down)


def view(seen: Picture, found: Sequence[Found], part: tuple[int, int, int, int]) -> View:
    """A part (left, top, right, bottom) of a photograph uint8 (H, W, 3) as it is previewed."""
    left, top, right, bottom = part
    picture = Image.fromarray(seen[top:bottom, left:right])
    picture.thumbnail((SEEN, SEEN), Image.Resampling.LANCZOS)
    scale = np.array([picture.width / (right - left), picture.height / (bottom - top)])
    return View(np.asarray(picture), [_moved(face, np.array([left, top]), scale) for face in found])


def _moved(face: Found, corner: npt.NDArray[Any], scale: npt.NDArray[Any]) -> Found:
    """A face in the part of a photograph that begins at a pixel (x, y), scaled by factors (across, down)."""
    linear, shift = face.transform[:, :2], face.transform[:, 2]
    return replace(
        face,
        transform=np.column_stack([linear / scale, linear @ corner + shift]),
        outline=(face.outline - corner) * scale,
        features=(face.features - corner) * scale,
    )


def _searched(finder: PhotographEditor, path: Path) -> Opened:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"{path.name}: was deleted, as all are after some time. Choose it again.") from error
    seen = decoded(path.name, content).seen
    return Opened(path.name, content, seen, finder.faces(seen))


def _names(folders: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Folders of models by the name that they go by: <dataset>/<method>, or the whole path where two have that.

    Models that are given away go by their names.
    """
    every = list(dict.fromkeys(folders))
    short = [name_of(folder) or "/".join(folder.absolute().parts[-2:]) for folder in every]
    for name, folder in zip(short, every, strict=True):
        yield name if short.count(name) == 1 else str(folder), folder
