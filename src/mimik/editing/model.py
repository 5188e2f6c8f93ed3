"""A trained method for Python: pictures in, edited pictures out. `import mimik` gives `load` and `Model` from here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from tqdm import tqdm

from mimik.editing.editor import Found, PhotographEditor, check_fits, no_face, read, write
from mimik.editing.wishes import Wish, add_change
from mimik.errors import UserError
from mimik.faces.photograph import layers_of
from mimik.faces.prepared.store import check_outside
from mimik.labels import ACTION_UNITS
from mimik.storage.arrays import check_pictures
from mimik.storage.pictures import UnreadableError
from mimik.storage.provenance import KINDS, check_output
from mimik.training.devices import chosen_device

Picture = npt.NDArray[np.uint8]

ARGUMENTS: Mapping[str, str] = {"to": "to", "strength": "strength", "shown": "shown", "units": "action_units"}
"""What the parts of a `Wish` are called here."""

OVERWRITE = "pass overwrite=True"
"""How to say here that a file may be replaced."""


@dataclass(frozen=True)
class FileEdit:
    """What became of one file.

    Attributes:
        source: the file that was read.
        output: the picture that was written; None if none was.
        faces: how many faces were edited.
        skipped: why nothing was written; empty if something was.
        remark: what could not be kept, such as a damaged colour profile; empty if there is nothing to say.
    """

    source: Path
    output: Path | None
    faces: int
    skipped: str = ""
    remark: str = ""


class Model:
    """A trained method that edits faces. `mimik.load` opens one; `close` it, or use it as a context manager.

    The methods that edit take the same arguments:

    - `to`: what a face is to show, one of `classes`. A model that was trained for attributes takes one of `names`,
      which it reverses. None where only `action_units` are asked for.
    - `strength`: share of the way there, 0 to 2. 1 is the whole way; more exaggerates.
    - `shown`: the expression that the face shows now, for models that have to know it: those that take the difference
      of two expressions, and with a `strength` other than 1 all that are told expressions. They say so.
    - `action_units`: changes of single action units, -1 to 1, by name: `{"AU12": 0.5}`. For models of which `space` is
      `action_units`.

    They raise `TypeError` for an argument of the wrong type, `ValueError` for an array of the wrong shape or values out
    of range, and `mimik.UserError` for what the model cannot be asked for and for whatever is wrong with a file.
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
        """config.json: everything that the method was trained with."""
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
        """What the generator is told: `expression`, `action_units` or `attributes`."""
        return self._editor.condition.space

    @property
    def names(self) -> tuple[str, ...]:
        """What the numbers that the generator is told stand for: expressions, action units or attributes."""
        return tuple(self._editor.condition.names)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._editor.device

    def find_faces(self, picture: Picture | Image.Image | Path | str) -> list[Found]:
        """The faces of a picture, the most prominent first; `edit` takes those that are to be edited.

        Args:
            picture: as for `edit`.

        Raises:
            TypeError, ValueError, mimik.UserError: as for `edit`, but for a picture without a face.
        """
        return self._editor.faces(_picture(picture)[1])

    def edit(
        self,
        picture: Picture | Image.Image | Path | str,
        to: str | None = None,
        *,
        strength: float = 1.0,
        shown: str | None = None,
        action_units: Mapping[str, float] | None = None,
        faces: Sequence[Found] | None = None,
    ) -> Picture:
        """Edit the faces of a picture. Needs mediapipe, which finds them.

        The array says nothing of where it comes from: before you pass it on, mark it as synthetic. `edit_file` and
        `edit_folder` write marked files.

        Args:
            picture: uint8 (H, W, 3) RGB, an image of Pillow, or the path of an image file. Of the last two the camera's
                orientation is applied, and what is transparent becomes white.
            to, strength, shown, action_units: what is asked for, see `Model`.
            faces: which of `find_faces` to edit; None edits all.

        Returns:
            uint8 (H, W, 3), a new array. Outside of the edited faces every pixel is as it was.

        Raises:
            TypeError: no picture, an array of another type than uint8, or an argument of the wrong type.
            ValueError: an array of another shape than (H, W, 3).
            mimik.UserError: an unreadable file, no face, mediapipe is not installed, or the model cannot be asked for
                this.
        """
        wish = self._wish(to, strength, shown, action_units)
        name, pixels = _picture(picture)
        if faces is None:
            faces = self._editor.faces(pixels)
            if not faces:
                raise UserError(no_face(name, pixels))
        elif not all(isinstance(face, Found) for face in faces):
            raise TypeError("faces: expected some of what find_faces returned")
        return self._editor.edit(pixels, faces, wish) if faces else pixels.copy()

    def edit_faces(
        self,
        faces: Picture,
        to: str | None = None,
        *,
        strength: float = 1.0,
        shown: str | Sequence[str] | None = None,
        action_units: Mapping[str, float] | None = None,
        measured: npt.ArrayLike | None = None,
    ) -> Picture:
        """Edit faces that are aligned already, as those of a prepared dataset are. Needs nothing that finds faces.

        Args:
            faces: uint8 (B, S, S, 3) RGB with S = `size`.
            to, strength, action_units: what is asked for, see `Model`.
            shown: what the faces show: one expression, or a sequence with one for each.
            measured: numbers in [0, 1] of what the faces show, for models that are told action units or attributes:
                (B, 17) action units in the order AU01, AU02, AU04, AU05, AU06, AU07, AU09, AU10, AU12, AU14, AU15,
                AU17, AU20, AU23, AU25, AU26, AU45, or (B, A) in the order of `config["attributes"]`. In place of action
                units `shown` will do: the mean ones of that expression then stand for those of the face.

        Returns:
            uint8 (B, S, S, 3).

        Raises:
            TypeError: `faces` is no array of uint8, or an argument is of the wrong type.
            ValueError: an array has another shape, or `measured` is not in [0, 1].
            mimik.UserError: the model cannot be asked for this, or has to know more.
        """
        check_pictures("faces", faces, ("B", self.size, self.size, 3))
        wish = self._wish(to, strength, shown, action_units, aligned=True)
        if wish.shown is not None and not isinstance(wish.shown, str) and len(wish.shown) != len(faces):
            raise ValueError(f"shown: expected one expression, or one for each of {len(faces)} faces")
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
        to: str | None = None,
        *,
        strength: float = 1.0,
        shown: str | None = None,
        action_units: Mapping[str, float] | None = None,
        overwrite: bool = False,
    ) -> FileEdit:
        """Edit the faces of a photograph and write the result, as `mimik edit` does: marked as synthetic.

        Args:
            source: an image file.
            output: the picture to write. Its ending says how: png and tif keep every pixel; jpg, webp.
            to, strength, shown, action_units: what is asked for, see `Model`.
            overwrite: replace the output even if it is the photograph itself or was not written by mimik.

        Raises:
            TypeError: an argument is of the wrong type.
            mimik.UserError: an unreadable photograph, no face, an output that cannot be written or would replace
                somebody's file, mediapipe is not installed, or the model cannot be asked for this.
        """
        wish = self._wish(to, strength, shown, action_units)
        source, output = Path(source), Path(output)
        check_output(output, source, overwrite=overwrite, how=OVERWRITE)
        photograph = read(source)
        check_fits(photograph, output)
        seen = photograph.seen
        found = self._editor.faces(seen)
        if not found:
            raise UserError(no_face(str(source), seen))
        remark = write(self._editor, photograph, seen, found, wish, output)
        return FileEdit(source, output, len(found), remark=remark or "")

    def edit_folder(
        self,
        source: Path | str,
        output: Path | str,
        to: str | None = None,
        *,
        strength: float = 1.0,
        shown: str | None = None,
        action_units: Mapping[str, float] | None = None,
        overwrite: bool = False,
    ) -> list[FileEdit]:
        """Edit every photograph of a folder and of the folders in it, as `edit_file` does.

        An edit has the name of its photograph, in the same folder of `output`. Where mimik does not write the
        photograph's format, `.png` is added. What cannot be edited is skipped, and the record says why: a file that is
        no picture, a picture without a face, an edit that would replace a file that is not mimik's.

        Args:
            source: a folder.
            output: the folder to write to; it is made if needed and must not lie in `source`.
            to, strength, shown, action_units: what is asked for, see `Model`.
            overwrite: replace files in `output` even if mimik did not write them.

        Returns:
            one record for every file, in the order of their paths.

        Raises:
            TypeError: an argument is of the wrong type.
            mimik.UserError: no folder there, no picture in it, an `output` that is not fit for it, a full disk,
                mediapipe is not installed, or the model cannot be asked for this.
        """
        wish = self._wish(to, strength, shown, action_units)
        source, output = Path(source), Path(output)
        if not source.is_dir():
            raise UserError(f"{source}: expected a folder of photographs.")
        if output.exists() and not output.is_dir():
            raise UserError(f"{output}: expected a folder to write to, or a name that is still free.")
        check_outside(output, source)
        files = [path for path in sorted(source.rglob("*")) if not path.is_dir()]
        records: list[FileEdit] = []
        pictures, taken = 0, set()
        for file in tqdm(files, desc="edit", unit="file", leave=False, delay=1):
            suffix = "" if file.suffix.lower() in KINDS else ".png"
            target = output / file.relative_to(source).with_name(file.name + suffix)
            try:
                photograph = read(file)
                pictures += 1
                check_output(target, file, overwrite=overwrite, how=OVERWRITE)
                check_fits(photograph, target)
                if target in taken:  # a.bmp beside a.bmp.png
                    raise UserError(f"{target}: is the edit of another file. Rename one of the two.")
                taken.add(target)
            except UserError as error:
                records.append(FileEdit(file, None, 0, skipped=str(error)))
                continue
            seen = photograph.seen
            if found := self._editor.faces(seen):
                remark = write(self._editor, photograph, seen, found, wish, target)
                records.append(FileEdit(file, target, len(found), remark=remark or ""))
            else:
                records.append(FileEdit(file, None, 0, skipped=no_face(str(file), seen)))
        if not pictures:
            told = f"; the first of {len(files)}: {records[0].skipped}" if records else "."
            raise UserError(f"{source}: expected photographs, but no file in it is a picture{told}")
        return records

    def close(self) -> None:
        """Free what finds faces. The model can still be used: it is loaded again when it is needed."""
        self._editor.close()

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"mimik.Model({str(self.folder)!r}: {self._editor.name}, {self.size} px, {self.device})"

    def _wish(
        self,
        to: str | None,
        strength: float,
        shown: str | Sequence[str] | None,
        action_units: Mapping[str, float] | None,
        *,
        aligned: bool = False,
    ) -> Wish:
        """What is asked for, once it is known that the model can be asked for it."""
        if not (to is None or isinstance(to, str)):
            raise TypeError(f"to: expected a name, got {to!r}")
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
        wish = Wish(to, float(strength), shown, units, ARGUMENTS)
        if self.space == "attributes" and not aligned:
            raise UserError(
                f"{self.folder}: this model was trained for attributes, which no photograph is searched for. Edit "
                "aligned faces with `edit_faces`, and say by `measured` which attributes they have."
            )
        self._editor.check(wish, aligned=aligned)
        return wish


def load(folder: Path | str, device: torch.device | str | None = None) -> Model:
    """Load a trained method.

    Args:
        folder: results/<dataset>/<method>, with `generator.safetensors` and `config.json`.
        device: where to compute, as PyTorch names it ("cpu", "cuda:1"); None takes a free GPU, or the CPU where there
            is none.

    Raises:
        ValueError: this machine has no such device.
        mimik.UserError: no trained method is there, its files are damaged, or its faces were aligned otherwise than
            this version of mimik aligns them.
    """
    return Model(folder, device)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _picture(picture: Picture | Image.Image | Path | str) -> tuple[str, Picture]:
    """A name for messages, and uint8 (H, W, 3)."""
    if isinstance(picture, np.ndarray):
        check_pictures("picture", picture, ("H", "W", 3))
        if not picture.size:
            raise ValueError(f"picture: expected pixels, got an array {picture.shape}")
        return "picture", picture
    if isinstance(picture, Image.Image):
        try:
            return "picture", layers_of(picture).seen
        except UnreadableError as error:
            raise UserError(f"picture: expected a photograph, but it {error}.") from error
    if isinstance(picture, str | Path):
        return str(picture), read(Path(picture)).seen
    raise TypeError(f"picture: expected an array, an image of Pillow or a path, got {type(picture).__name__}")
