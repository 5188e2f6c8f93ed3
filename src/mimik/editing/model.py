"""A trained method in Python: pictures in, edited pictures out. `import mimik` provides `load` and `Model`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tqdm import tqdm

from mimik.editing.composing import Found
from mimik.editing.editor import FACES, PhotographEditor, chosen, no_face
from mimik.editing.files import FileEdit, Job, check_any, edit_one, edits, jobs, read, which_faces
from mimik.editing.wishes import Exemplar, Wish, add_change
from mimik.errors import UserError
from mimik.faces.photograph import layers_of
from mimik.labels import ACTION_UNITS
from mimik.storage.arrays import check_pictures
from mimik.storage.pictures import UnreadableError
from mimik.training.devices import chosen_device

Picture = npt.NDArray[np.uint8]

ARGUMENTS: Mapping[str, str] = {
    "to": "to", "strength": "strength", "shown": "shown", "units": "action_units", "has": "has", "like": "like"
}  # fmt: skip
"""Names of the parts of a `Wish` in Python."""

OVERWRITE = "pass overwrite=True"
"""How to allow in Python that a file is replaced."""


class Model:
    """A trained method that edits faces. `mimik.load` opens one; `close` it, or use it as a context manager.

    The methods that edit take the same arguments:

    - `to`: the target expression, one of `classes`. A model that was trained on attributes takes one of `names`
      instead and reverses it. A mix of several is a mapping with the share of the way to each: `{"happiness": 0.6,
      "surprise": 0.4}`. None to change only `action_units`, or with `like`.
    - `strength`: share of the way to the target, 0 to 2. 1 is the full edit; larger values exaggerate it.
    - `shown`: the expression that the face shows now. Models that are conditioned on the difference of two expressions
      need it, and for a `strength` other than 1 all models that are conditioned on expressions. The error message says
      so.
    - `action_units`: changes of single action units, -1 to 1, by name: `{"AU12": 0.5}`. For models whose `space` is
      `action_units`.
    - `has`: the attributes that the face has, by name, for models whose `space` is `attributes`: they cannot be read
      from a photograph. Those that are not named it does not have; `()` if it has none.
    - `like`: a picture whose main face is imitated, in place of `to`. For models whose `space` is `action_units`.

    They raise `TypeError` for an argument of the wrong type, `ValueError` for an array of the wrong shape or with
    values out of range, and `mimik.UserError` for an edit that the model does not support and for problems with files.
    """

    def __init__(self, folder: Path | str, device: torch.device | str | None = None) -> None:
        """See `load`."""
        self._editor = PhotographEditor(folder, chosen_device(device))

    @property
    def folder(self) -> Path:
        """Where the model was loaded from."""
        return self._editor.folder

    @property
    def config(self) -> Mapping[str, Any]:
        """config.json: all settings that the method was trained with."""
        return self._editor.config

    @property
    def dataset(self) -> str:
        """The entry of params.yaml that it was trained on."""
        return str(self.config["dataset"])

    @property
    def method(self) -> str:
        """The entry of params.yaml that was trained."""
        return str(self.config["method"])

    @property
    def scale(self) -> str:
        """`paper`, `demo`, `smoke` or another scale of params.yaml."""
        return str(self.config["scale"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The expressions of its dataset, in the order of their labels."""
        return tuple(self._editor.classes)

    @property
    def size(self) -> int:
        """Side of the aligned faces that the generator takes, pixels."""
        return self._editor.size

    @property
    def space(self) -> str:
        """What the generator is conditioned on: `expression`, `action_units` or `attributes`."""
        return self._editor.condition.space

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the components of the condition: expressions, action units or attributes."""
        return tuple(self._editor.condition.names)

    @property
    def device(self) -> torch.device:
        """The device that it runs on."""
        return self._editor.device

    def find_faces(self, picture: Picture | Image.Image | Path | str) -> list[Found]:
        """The faces of a picture, the most prominent first; pass those to be edited to `edit`.

        Args:
            picture: as for `edit`.

        Raises:
            TypeError, ValueError, mimik.UserError: as for `edit`, except that a picture without a face is no error.
        """
        return self._editor.faces(_picture(picture)[1])

    def edit(
        self,
        picture: Picture | Image.Image | Path | str,
        to: str | Mapping[str, float] | None = None,
        *,
        strength: float = 1.0,
        shown: str | None = None,
        action_units: Mapping[str, float] | None = None,
        has: Sequence[str] | None = None,
        like: Picture | Image.Image | Path | str | None = None,
        faces: Sequence[Found] | str | int = "all",
    ) -> Picture:
        """Edit the faces of a picture. Needs mediapipe to find them.

        The returned array carries no mark of its origin: mark it as synthetic before you pass it on. `edit_file` and
        `edit_files` write marked files.

        Args:
            picture: uint8 (H, W, 3) RGB, a Pillow image, or the path of an image file. For the last two, the camera's
                orientation is applied and transparent parts become white.
            to, strength, shown, action_units, has, like: the requested edit, see `Model`.
            faces: those of `find_faces` to edit; or "all", "largest", "left", or the number of a face, counted from 1
                on the left.

        Returns:
            uint8 (H, W, 3), a new array. All pixels outside the edited faces are unchanged.

        Raises:
            TypeError: `picture` is not a picture or not of type uint8, or an argument is of the wrong type.
            ValueError: an array has another shape than (H, W, 3).
            mimik.UserError: the file is unreadable, there is no face, mediapipe is not installed, or the model does not
                support this edit.
        """
        wish = self._wish(to, strength, shown, action_units, has=has, like=like)
        name, pixels = _picture(picture)
        if isinstance(faces, str | int):
            which = _which(faces)
            found = self._editor.faces(pixels)
            if not found:
                raise UserError(no_face(name, pixels))
            faces = chosen(found, which, name)
        elif not all(isinstance(face, Found) for face in faces):
            raise TypeError("faces: expected faces returned by find_faces")
        return self._editor.edit(pixels, faces, wish) if faces else pixels.copy()

    def edit_faces(
        self,
        faces: Picture,
        to: str | Mapping[str, float] | None = None,
        *,
        strength: float = 1.0,
        shown: str | Sequence[str] | None = None,
        action_units: Mapping[str, float] | None = None,
        measured: npt.ArrayLike | None = None,
    ) -> Picture:
        """Edit faces that are already aligned, such as those of a prepared dataset. Does not need mediapipe.

        Args:
            faces: uint8 (B, S, S, 3) RGB with S = `size`.
            to, strength, action_units: the requested edit, see `Model`.
            shown: what the faces show: one expression for all, or a sequence with one per face.
            measured: what the faces show as numbers in [0, 1], for models conditioned on action units or attributes:
                (B, 17) action units in the order AU01, AU02, AU04, AU05, AU06, AU07, AU09, AU10, AU12, AU14, AU15,
                AU17, AU20, AU23, AU25, AU26, AU45, or (B, A) in the order of `config["attributes"]`. Instead of action
                units, `shown` is enough: the mean action units of that expression are then used.

        Returns:
            uint8 (B, S, S, 3).

        Raises:
            TypeError: `faces` is not a uint8 array, or an argument is of the wrong type.
            ValueError: an array has another shape, or `measured` is not in [0, 1].
            mimik.UserError: the model does not support this edit, or needs to know more about the faces.
        """
        check_pictures("faces", faces, ("B", self.size, self.size, 3))
        wish = self._wish(to, strength, shown, action_units, aligned=True)
        if wish.shown is not None and not isinstance(wish.shown, str) and len(wish.shown) != len(faces):
            raise ValueError(f"shown: expected one expression, or one for each of the {len(faces)} faces")
        values = None if measured is None else np.asarray(measured, dtype=np.float32)
        if values is not None and self.space != "expression":
            width = len(ACTION_UNITS if self.space == "action_units" else self.config["attributes"])
            if values.shape != (len(faces), width):
                raise ValueError(f"measured: expected ({len(faces)}, {width}) {self.space}, got {values.shape}")
            if not ((values >= 0) & (values <= 1)).all():
                raise ValueError("measured: expected numbers from 0 to 1")
        return self._editor.edit_aligned(faces, wish, values)

    def edit_file(
        self,
        source: Path | str,
        output: Path | str,
        to: str | Mapping[str, float] | None = None,
        *,
        strength: float = 1.0,
        shown: str | None = None,
        action_units: Mapping[str, float] | None = None,
        has: Sequence[str] | None = None,
        like: Picture | Image.Image | Path | str | None = None,
        faces: str | int = "all",
        overwrite: bool = False,
    ) -> FileEdit:
        """Edit the faces of a photograph and write the result, as `mimik edit` does: marked as synthetic.

        Args:
            source: an image file.
            output: the picture to write, in the format of its extension: png and tif are lossless, jpg and webp lossy.
            to, strength, shown, action_units, has, like: the requested edit, see `Model`.
            faces: which to edit: "all", "largest", "left", or a number, counted from 1 on the left.
            overwrite: replace the output even if it is the photograph itself or was not written by mimik.

        Raises:
            TypeError: an argument is of the wrong type.
            mimik.UserError: the photograph is unreadable or has no face, the output cannot be written or would replace
                a file not written by mimik, mediapipe is not installed, or the model does not support this edit.
        """
        wish, which = self._wish(to, strength, shown, action_units, has=has, like=like), _which(faces)
        job = Job(Path(source), Path(output))
        return edit_one(self._editor, job, wish, which, overwrite=overwrite, how=OVERWRITE)

    def edit_files(
        self,
        sources: Path | str | Sequence[Path | str],
        output: Path | str,
        to: str | Mapping[str, float] | None = None,
        *,
        strength: float = 1.0,
        shown: str | None = None,
        action_units: Mapping[str, float] | None = None,
        has: Sequence[str] | None = None,
        like: Picture | Image.Image | Path | str | None = None,
        faces: str | int = "all",
        overwrite: bool = False,
    ) -> list[FileEdit]:
        """Edit photographs and folders of them, as `edit_file` does; one that cannot be edited does not stop the rest.

        The edit of a file has its name; that of a file in a folder or its subfolders has the same place below `output`.
        If mimik does not write the photograph's format, `.png` is added to the name. Files that cannot be edited are
        skipped, and their record says why: the file is not a picture, the picture has no face, or the edit would
        replace a file.

        Args:
            sources: a file or a folder, or a sequence of these.
            output: the folder to write to; it is created if needed and must not be inside a folder of `sources`.
            to, strength, shown, action_units, has, like: the requested edit, see `Model`.
            faces: as for `edit_file`.
            overwrite: replace files that exist in `output`.

        Returns:
            one record per file, in the order of `sources`, those of a folder sorted by path.

        Raises:
            TypeError: an argument is of the wrong type.
            mimik.UserError: no file is a picture, `output` cannot be used, the disk is full, mediapipe is not
                installed, or the model does not support this edit.
        """
        wish, which = self._wish(to, strength, shown, action_units, has=has, like=like), _which(faces)
        paths = [Path(sources)] if isinstance(sources, str | Path) else [Path(source) for source in sources]
        planned = jobs(paths, Path(output))
        every = edits(self._editor, planned, wish, which, overwrite=overwrite, how=OVERWRITE)
        records = list(tqdm(every, total=len(planned), desc="edit", unit="file", leave=False, delay=1))
        check_any(paths, records)
        return records

    def close(self) -> None:
        """Free the face finder. The model can still be used; the face finder is loaded again when needed."""
        self._editor.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"mimik.Model({str(self.folder)!r}: {self._editor.name}, {self.size} px, {self.device})"

    def _wish(
        self,
        to: str | Mapping[str, float] | None,
        strength: float,
        shown: str | Sequence[str] | None,
        action_units: Mapping[str, float] | None,
        *,
        has: Sequence[str] | None = None,
        like: Picture | Image.Image | Path | str | None = None,
        aligned: bool = False,
    ) -> Wish:
        """The requested edit, after checking that the model supports it."""
        if isinstance(to, Mapping) and all(isinstance(name, str) and _is_number(share) for name, share in to.items()):
            to = {name: float(share) for name, share in to.items()}
        elif not (to is None or isinstance(to, str)):
            raise TypeError(f"to: expected a name, or shares by name like {{'happiness': 0.6}}, got {to!r}")
        if not _is_number(strength):
            raise TypeError(f"strength: expected a number, got {strength!r}")
        names: Sequence[object] = [shown]
        if aligned and isinstance(shown, Sequence) and not isinstance(shown, str):
            names = shown
        if not (shown is None or all(isinstance(name, str) for name in names)):
            raise TypeError(f"shown: expected a name, got {shown!r}")
        if not isinstance(action_units, Mapping | None):
            raise TypeError(f"action_units: expected changes by name, like {{'AU12': 0.5}}, got {action_units!r}")
        units: dict[str, float] = {}
        for name, change in (action_units or {}).items():
            if not (isinstance(name, str) and _is_number(change)):
                raise TypeError(f"action_units: expected changes by name, like {{'AU12': 0.5}}, got {action_units!r}")
            add_change(units, name, float(change), f"action_units {name}: {change}")
        if has is not None and (isinstance(has, str) or not all(isinstance(name, str) for name in has)):
            raise TypeError(f"has: expected a sequence of names, got {has!r}")
        unread = None if like is None else Exemplar("like", np.zeros(len(ACTION_UNITS), np.float32))
        wish = Wish(to, float(strength), shown, units, has, unread, ARGUMENTS)
        self._editor.check(wish, aligned=aligned)
        if like is None:
            return wish
        name, pixels = _picture(like)
        return replace(wish, like=self._editor.exemplar(pixels, name))


def load(folder: Path | str, device: torch.device | str | None = None) -> Model:
    """Load a trained method.

    Args:
        folder: results/<dataset>/<method>, with `generator.safetensors` and `config.json`; or the name of a model that
            is given away, `stargan-rendered` for instance.
        device: where to compute, in PyTorch's notation ("cpu", "cuda:1"); None selects a free GPU, or the CPU if there
            is none.

    Raises:
        ValueError: this machine has no such device.
        mimik.UserError: there is no trained method, its files are damaged, or its faces were aligned differently from
            this version of mimik.
    """
    return Model(folder, device)


def _which(faces: object) -> str | int:
    """The argument `faces`, if it is a word or a number."""
    if isinstance(faces, bool) or not isinstance(faces, str | int):
        raise TypeError(f"faces: expected {', '.join(FACES)} or a number, got {faces!r}")
    return which_faces(str(faces), "faces")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _picture(picture: Picture | Image.Image | Path | str) -> tuple[str, Picture]:
    """A name for messages, and uint8 (H, W, 3)."""
    if isinstance(picture, np.ndarray):
        check_pictures("picture", picture, ("H", "W", 3))
        if not picture.size:
            raise ValueError(f"picture: expected pixels, got an array of shape {picture.shape}")
        return "picture", picture
    if isinstance(picture, Image.Image):
        try:
            return "picture", layers_of(picture).seen
        except UnreadableError as error:
            raise UserError(f"picture: expected a photograph, but it {error}.") from error
    if isinstance(picture, str | Path):
        return str(picture), read(Path(picture)).seen
    raise TypeError(f"picture: expected an array, a Pillow image or a path, got {type(picture).__name__}")
