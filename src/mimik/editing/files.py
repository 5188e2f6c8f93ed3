"""Photographs on disk, edited: one, or many files and folders, of which a broken one does not stop the rest."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mimik import __version__
from mimik.editing.composing import Found
from mimik.editing.editor import (
    FACES,
    STRENGTHS,
    PhotographEditor,
    chosen,
    expressions,
    no_face,
    rows,
    sheet,
    sheet_size,
)
from mimik.editing.wishes import Exemplar, Wish, check_strength
from mimik.errors import UserError
from mimik.faces.photograph import Photograph, read_layers
from mimik.faces.prepared.store import check_outside
from mimik.labels import ACTION_UNITS
from mimik.storage.files import file_sha256, write_json
from mimik.storage.pictures import ENDINGS, PICTURE_ENDINGS, UnreadableError, format_of, not_read
from mimik.storage.provenance import KINDS, check_output, check_size, png_of, usable_profile, write_edit

Picture = npt.NDArray[np.uint8]

NOT_ALL = 3
"""Exit status of `mimik edit` when some of several photographs were not edited."""


@dataclass(frozen=True)
class FileEdit:
    """The outcome for one file.

    Attributes:
        source: the file that was read.
        output: the picture that was written; None if none was.
        faces: the number of faces edited.
        skipped: why nothing was written; empty if a picture was written.
        remark: what could not be kept, such as a damaged colour profile, or how far the model suits the photograph (it
            was trained on rendered or on grey faces); empty if there is nothing to report.
        boxes: left, top, right and bottom of every edited face, pixels of the upright photograph.
        seconds: that it took, reading and writing included.
        photograph: whether the file is a picture, or at least is called one: others need no edit.
    """

    source: Path
    output: Path | None
    faces: int
    skipped: str = ""
    remark: str = ""
    boxes: tuple[tuple[int, int, int, int], ...] = field(default=(), compare=False)
    seconds: float = field(default=0.0, compare=False)
    photograph: bool = field(default=True, compare=False)


class Job(NamedTuple):
    """A file that may be a photograph, and the place of its edit."""

    source: Path
    output: Path


def run(
    photograph: Path,
    model: Path,
    output: Path,
    wish: Wish,
    sheet_of: str | None = None,
    *,
    which: str | int = "all",
    like: Path | None = None,
    record: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Edit faces of a photograph and write the result, or a sheet of its faces under several wishes.

    Transparent parts stay transparent and keep their colours.

    Args:
        photograph: an image file.
        model: results/<dataset>/<method>, or an exported folder.
        output: the picture to write; its extension determines the format.
        wish: the requested edit.
        sheet_of: `expressions` (all that the model knows, at `wish.strength`), `strengths` (of `wish`), or None.
        which: the faces to edit, see `mimik.editing.editor.chosen`.
        like: a photograph whose main face is to be imitated, for models of action units.
        record: a JSON file to write that says what was done.
        overwrite: replace the output even if it is the photograph, or another file not written by mimik.

    Raises:
        UserError: the photograph is unreadable or has no face, the model is missing or does not support this edit, or
            the output cannot be written or would replace a file not written by mimik.
    """
    begun = time.perf_counter()
    check_output(output, photograph, overwrite=overwrite)
    check_record(record, overwrite=overwrite)
    check_strength(wish)
    picture = read(photograph)
    if sheet_of is None:
        check_fits(picture, output)
    editor = PhotographEditor(model)
    wish = imitating(editor, wish, like)
    if sheet_of == "expressions":
        wishes = expressions(editor, wish)
    elif sheet_of == "strengths":
        wishes = {f"{strength:g}": replace(wish, strength=strength) for strength in STRENGTHS}
    else:
        wishes = {"": wish}
    for asked in wishes.values():
        editor.check(asked)
    seen = picture.seen
    found = _wanted(editor.faces(seen), seen, which, photograph)
    if sheet_of is None:
        remarks = write(editor, picture, seen, found, wish, output)
    else:
        check_size(output, *sheet_size(len(wishes), len(found)))
        write_edit(output, sheet(rows(editor, seen, found, wishes), list(wishes)), editor.name, _words(wish, sheet_of))
        remarks = editor.remarks(seen)
    editor.close()
    for remark in remarks:
        print(f"{photograph}: {remark}.", file=sys.stderr)
    print(f"{output}: {len(found)} face(s) edited by {editor.name}.")
    if record is not None:
        write_record(record, editor, wish, [_done(Job(photograph, output), found, remarks, begun)], sheet_of)


def run_many(
    photographs: Sequence[Path],
    model: Path,
    output: Path,
    wish: Wish,
    *,
    which: str | int = "all",
    like: Path | None = None,
    record: Path | None = None,
    overwrite: bool = False,
) -> bool:
    """Edit several photographs and folders of them with one model, and say at the end what became of them.

    Args:
        photographs: image files, and folders, which are searched with their subfolders.
        output: the folder for the edits, see `jobs`.
        model, wish, which, like, record, overwrite: as for `run`; without `overwrite` no file that exists is replaced.

    Returns:
        whether every photograph was edited.

    Raises:
        UserError: none of the files is a picture, the model is missing or does not support this edit, or nothing can be
            written.
    """
    check_record(record, overwrite=overwrite)
    check_strength(wish)
    planned = jobs(photographs, output)
    editor = PhotographEditor(model)
    wish = imitating(editor, wish, like)
    editor.check(wish)
    done: list[FileEdit] = []
    try:
        with tqdm(total=len(planned), desc="edit", unit="file", leave=False, delay=1) as bar:
            for edit in edits(editor, planned, wish, which, overwrite=overwrite):
                done.append(edit)
                bar.update()
                if edit.skipped and edit.photograph:
                    bar.write(f"not edited: {edit.skipped}", file=sys.stderr)
    finally:
        editor.close()
        if record is not None and done:
            write_record(record, editor, wish, done)
    check_any(photographs, done)
    for remark in dict.fromkeys(edit.remark for edit in done if edit.remark):
        which_ones = [edit.source for edit in done if edit.remark == remark]
        others = f" and {len(which_ones) - 1} more" if len(which_ones) > 1 else ""
        print(f"{which_ones[0]}{others}: {remark}.", file=sys.stderr)
    edited = [edit for edit in done if not edit.skipped]
    left = sum(bool(edit.skipped) and edit.photograph for edit in done)
    passed = len(done) - len(edited) - left
    told = f"{output}: {len(edited)} of {len(edited) + left} photograph(s) edited by {editor.name}"
    told += f", {sum(edit.faces for edit in edited)} face(s)."
    told += f" {left} not edited, see above." if left else ""
    told += f" {passed} other file(s) passed over." if passed else ""
    print(told)
    return not left


def jobs(sources: Sequence[Path], output: Path) -> list[Job]:
    """What is to be edited, and where it goes.

    The edit of a file has its name; that of a file in a folder has the same place below `output`. Where mimik does not
    write the photograph's format, `.png` is added.

    Args:
        sources: files, and folders, which are searched with their subfolders, in the order of the paths.
        output: a folder, which need not exist.

    Raises:
        UserError: there is no such file, or the output is a file, or is in a folder of photographs.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: expected a folder to write to, or a path that does not exist yet.")
    planned = []
    for source in sources:
        if not os.path.lexists(source):
            raise UserError(f"{source}: expected a photograph or a folder of photographs, but there is no such file.")
        files = [source]
        if source.is_dir():
            check_outside(output, source)
            files = [path for path in sorted(source.rglob("*")) if not path.is_dir()]
        for file in files:
            place = file.relative_to(source) if source.is_dir() else Path(file.name)
            planned.append(Job(file, output / place.with_name(file.name + _added(file))))
    return planned


def edits(
    editor: PhotographEditor,
    planned: Sequence[Job],
    wish: Wish,
    which: str | int = "all",
    *,
    overwrite: bool = False,
    how: str = "add --overwrite",
) -> Iterator[FileEdit]:
    """Edit files one after the other; one that cannot be edited gets a record that says why.

    Args:
        editor: the model.
        planned: of `jobs`.
        wish: the requested edit.
        which: the faces to edit, see `mimik.editing.editor.chosen`.
        overwrite: replace files that exist.
        how: how to say so, for messages.

    Raises:
        UserError: the model does not support this edit, or nothing more can be written.
    """
    editor.check(wish)
    taken: set[Path] = set()
    for job in planned:
        begun = time.perf_counter()
        try:
            if job.output in taken:  # a.bmp beside a.bmp.png, or two files of one name
                raise UserError(f"{job.output}: is already the edit of another file. Rename {job.source}.")
            if os.path.lexists(job.output) and not overwrite:
                raise UserError(f"{job.output}: already exists. Choose another folder, or {how}.")
            picture = _readable(job, overwrite, how)
        except UserError as error:
            yield _skipped(job, error, begun)
            continue
        taken.add(job.output)
        seen = picture.seen
        every = editor.faces(seen)
        try:
            found = _wanted(every, seen, which, job.source)
        except UserError as error:
            yield _skipped(job, error, begun)
            continue
        remarks = write(editor, picture, seen, found, wish, job.output)
        yield _done(job, found, remarks, begun)


def edit_one(
    editor: PhotographEditor,
    job: Job,
    wish: Wish,
    which: str | int = "all",
    *,
    overwrite: bool = False,
    how: str = "add --overwrite",
) -> FileEdit:
    """Edit one photograph; arguments as for `edits`, but a picture written by mimik is replaced in any case.

    Raises:
        UserError: the photograph is unreadable or has no face, the output cannot be written or would replace a file not
            written by mimik, or the model does not support this edit.
    """
    begun = time.perf_counter()
    editor.check(wish)
    picture = _readable(job, overwrite, how)
    seen = picture.seen
    found = _wanted(editor.faces(seen), seen, which, job.source)
    return _done(job, found, write(editor, picture, seen, found, wish, job.output), begun)


def _readable(job: Job, overwrite: bool, how: str) -> Photograph:
    """The photograph of a job whose edit can be written."""
    check_output(job.output, job.source, overwrite=overwrite, how=how)
    picture = read(job.source)
    check_fits(picture, job.output)
    return picture


def _wanted(found: Sequence[Found], seen: Picture, which: str | int, source: Path) -> list[Found]:
    """The faces of a photograph that are to be edited. Raises `UserError` where there are none."""
    if not found:
        raise UserError(no_face(str(source), seen))
    return chosen(found, which, str(source))


def _done(job: Job, found: Sequence[Found], remarks: Sequence[str], begun: float) -> FileEdit:
    boxes = tuple(face.box for face in found)
    return FileEdit(*job, len(found), "", "; ".join(remarks), boxes, time.perf_counter() - begun)


def _skipped(job: Job, error: UserError, begun: float) -> FileEdit:
    seconds = time.perf_counter() - begun
    return FileEdit(job.source, None, 0, str(error), seconds=seconds, photograph=_is_photograph(job.source))


def check_any(sources: Sequence[Path], done: Sequence[FileEdit]) -> None:
    """Raise `UserError` where there was no picture at all."""
    if any(edit.photograph for edit in done):
        return
    told = f"; the first of {len(done)}: {done[0].skipped}" if done else "."
    raise UserError(f"{', '.join(map(str, sources))}: expected photographs, but no file in it is a picture{told}")


def imitating(editor: PhotographEditor, wish: Wish, like: Path | None) -> Wish:
    """A wish to show what the main face of a photograph shows; unchanged without one.

    Raises:
        UserError: the model cannot imitate a face, or there is no such photograph, or no face in it.
    """
    if like is None:
        return wish
    # Refused before a face is looked for.
    editor.check(replace(wish, like=Exemplar(str(like), np.zeros(len(ACTION_UNITS), np.float32))))
    return replace(wish, like=editor.exemplar(read(like).seen, str(like)))


def which_faces(text: str, word: str = "--face") -> str | int:
    """The faces that a text names, one of `FACES` or a number. Raises `UserError` for other texts."""
    if text in FACES:
        return text
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise UserError(f"{word} {text}: expected {', '.join(FACES)}, or the number of a face, counted from 1 on the left.")


def check_record(path: Path | None, *, overwrite: bool) -> None:
    """Raise `UserError` when a JSON file of what was done would replace another file."""
    if path is not None and os.path.lexists(path) and not overwrite:
        raise UserError(f"{path}: already exists. Name another file, or add --overwrite.")


def write_record(
    path: Path, editor: PhotographEditor, wish: Wish, done: Sequence[FileEdit], sheet_of: str | None = None
) -> None:
    """Write what was done as JSON: model, wish, and one entry per file."""
    config = editor.config
    facts: dict[str, Any] = {
        "mimik": __version__,
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "folder": str(editor.folder.absolute()),
            "method": config["method"],
            "dataset": config["dataset"],
            "scale": config["scale"],
            "generator_sha256": file_sha256(editor.folder / "generator.safetensors"),
        },
        "wish": {
            "to": wish.to,
            "strength": wish.strength,
            "from": wish.shown if wish.shown is None or isinstance(wish.shown, str) else list(wish.shown),
            "has": None if wish.has is None else list(wish.has),
            "action_units": dict(wish.units),
            "like": None if wish.like is None else wish.like.name,
            "sheet": sheet_of,
        },
        "photographs": [
            {
                "source": str(edit.source),
                "output": None if edit.output is None else str(edit.output),
                "faces": [list(box) for box in edit.boxes],
                "seconds": round(edit.seconds, 3),
                "not_edited": edit.skipped,
                "remark": edit.remark,
            }
            for edit in done
            if edit.photograph
        ],
    }
    write_json(path, facts)


def read(path: Path) -> Photograph:
    """A photograph, upright. Raises `UserError` when it is not readable."""
    try:
        return read_layers(path)
    except UnreadableError as error:
        # HEIC and AVIF go by the content: phones save them under other names, too.
        advice = not_read(path.name) or (not_read(f"a{ENDINGS[kind][0]}") if (kind := _kind(path)) else None)
        raise UserError(f"{path}: expected a photograph, but {advice or error}.") from error


def _kind(path: Path) -> str | None:
    """The format of a file by its content, of `mimik.storage.pictures.ENDINGS`."""
    try:
        with path.open("rb") as opened:
            return format_of(opened.read(32))
    except OSError:
        return None


def _is_photograph(path: Path) -> bool:
    """Whether a file that was not edited is a picture, by its name or its content."""
    ending = path.suffix.lower()
    return ending in PICTURE_ENDINGS or not_read(path.name) is not None or _kind(path) is not None


def _added(file: Path) -> str:
    return "" if file.suffix.lower() in KINDS else ".png"


def write(
    editor: PhotographEditor, photograph: Photograph, seen: Picture, found: Sequence[Found], wish: Wish, output: Path
) -> list[str]:
    """Edit a photograph and write it, marked as synthetic.

    Args:
        editor: the model.
        photograph: what was read.
        seen: its `seen`, uint8 (H, W, 3).
        found: the faces to edit.
        wish: the requested edit.
        output: the picture to write.

    Returns:
        remarks for the user: what could not be kept, and those of the model.

    Raises:
        UserError: the model does not support this edit, or the file cannot be written.
    """
    profile, remark = usable_profile(photograph.profile)
    result = _layered(photograph, seen, editor.edit(seen, found, wish), output)
    write_edit(output, result, editor.name, _words(wish), profile)
    return [*([] if remark is None else [remark]), *editor.remarks(seen)]


def _words(wish: Wish, sheet_of: str | None = None) -> str:
    """A wish in words, for the description that goes with the picture."""
    units = ", ".join(f"{name} {change:+g}" for name, change in wish.units.items())
    like = "" if wish.like is None else f"like the face in {Path(wish.like.name).name}"
    return ", ".join(filter(None, [wish.to or "", like, units, sheet_of or f"strength {wish.strength:g}"]))


def edited_png(
    editor: PhotographEditor, content: bytes, wish: Wish, which: str | int, name: str, *, aligned: bool = False
) -> tuple[bytes, int]:
    """An edit of a photograph in memory: the bytes of a PNG marked as synthetic, and the number of faces edited.

    Args:
        editor: the model.
        content: the bytes of an image file.
        wish, which: as for `edits`.
        name: of the photograph, for messages.
        aligned: the picture is an aligned face of the model's size, and is edited as a whole.

    Raises:
        UserError: it is no picture, or has no face or another size; the model does not support this edit.
    """
    editor.check(wish, aligned=aligned)
    try:
        picture = read_layers(Path(name), content=content)
    except UnreadableError as error:
        raise UserError(f"{name}: expected a photograph, but {error}.") from error
    profile, _ = usable_profile(picture.profile)
    seen = picture.seen
    if aligned:
        if seen.shape[:2] != (editor.size, editor.size):
            height, width = seen.shape[:2]
            raise UserError(f"{name}: expected {editor.size} x {editor.size} pixels, found {width} x {height}.")
        return png_of(editor.edit_aligned(seen[None], wish)[0], editor.name, _words(wish), profile), 1
    found = _wanted(editor.faces(seen), seen, which, Path(name))
    edited = _layered(picture, seen, editor.edit(seen, found, wish), Path("edit.png"))
    return png_of(edited, editor.name, _words(wish), profile), len(found)


def check_fits(photograph: Photograph, output: Path) -> None:
    """Raise `UserError` when the format of the output cannot hold the edit of a photograph."""
    height, width = photograph.colours.shape[:2]
    transparent = photograph.alpha is not None and bool((photograph.alpha < 255).any())
    check_size(output, width, height, transparent=transparent)


def _layered(photograph: Photograph, seen: Picture, edited: Picture, output: Path) -> Picture:
    """The edit of a photograph as it was seen, uint8 (H, W, 3), or (H, W, 4) where it has transparency.

    The less opaque a colour is, the more it is changed, so that on white the edit looks as it was made. The colours of
    the photograph stay where nothing was edited or nothing is visible.
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
