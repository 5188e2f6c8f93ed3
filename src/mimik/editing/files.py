"""Photographs on disk, edited: one, or many files and folders, of which a broken one does not stop the rest."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mimik.editing.composing import Found
from mimik.editing.editor import (
    FACES,
    PhotographEditor,
    chosen,
    no_face,
)
from mimik.editing.wishes import Wish
from mimik.errors import UserError
from mimik.faces.photograph import Photograph, read_layers
from mimik.faces.prepared.store import check_outside
from mimik.storage.pictures import ENDINGS, PICTURE_ENDINGS, UnreadableError, format_of, not_read
from mimik.storage.provenance import KINDS, check_output, check_size, png_of, usable_profile, write_edit

Picture = npt.NDArray[np.uint8]


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
        photograph: whether the file is a picture, or is called one, or was named: others in a folder need no edit.
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
    """A file that may be a photograph, and the place of its edit; `named` is false for one found in a folder."""

    source: Path
    output: Path
    named: bool = True


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
            planned.append(Job(file, output / place.with_name(file.name + _added(file)), not source.is_dir()))
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
            found = wanted(every, seen, which, job.source)
        except UserError as error:
            yield _skipped(job, error, begun)
            continue
        remarks = write(editor, picture, seen, found, wish, job.output)
        yield done_with(job, found, remarks, begun)


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
    found = wanted(editor.faces(seen), seen, which, job.source)
    return done_with(job, found, write(editor, picture, seen, found, wish, job.output), begun)


def _readable(job: Job, overwrite: bool, how: str) -> Photograph:
    """The photograph of a job whose edit can be written."""
    check_output(job.output, job.source, overwrite=overwrite, how=how)
    picture = read(job.source)
    check_fits(picture, job.output)
    return picture


def wanted(found: Sequence[Found], seen: Picture, which: str | int, source: Path) -> list[Found]:
    """The faces of a photograph that are to be edited. Raises `UserError` where there are none."""
    if not found:
        raise UserError(no_face(str(source), seen))
    return chosen(found, which, str(source))


def done_with(job: Job, found: Sequence[Found], remarks: Sequence[str], begun: float) -> FileEdit:
    """The outcome of a job whose faces were edited; `begun` is of `time.perf_counter`."""
    boxes = tuple(face.box for face in found)
    return FileEdit(job.source, job.output, len(found), "", "; ".join(remarks), boxes, time.perf_counter() - begun)


def _skipped(job: Job, error: UserError, begun: float) -> FileEdit:
    seconds = time.perf_counter() - begun
    photograph = job.named or _is_photograph(job.source)
    return FileEdit(job.source, None, 0, str(error), seconds=seconds, photograph=photograph)


def check_any(sources: Sequence[Path], done: Sequence[FileEdit]) -> None:
    """Raise `UserError` where there was no picture at all."""
    if any(edit.photograph for edit in done):
        return
    told = f"; the first of {len(done)}: {done[0].skipped}" if done else "."
    raise UserError(f"{', '.join(map(str, sources))}: expected photographs, but no file in it is a picture{told}")


def which_faces(text: str, word: str = "--face") -> str | int:
    """The faces that a text names, one of `FACES` or a number. Raises `UserError` for other texts."""
    if text in FACES:
        return text
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise UserError(f"{word} {text}: expected {', '.join(FACES)}, or the number of a face, counted from 1 on the left.")


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
    write_edit(output, result, editor.name, described(wish), profile)
    return [*([] if remark is None else [remark]), *editor.remarks(seen)]


def described(wish: Wish, sheet_of: str | None = None) -> str:
    """A wish in words, for the description that goes with the picture."""
    units = ", ".join(f"{name} {change:+g}" for name, change in wish.units.items())
    like = "" if wish.like is None else f"like the face in {Path(wish.like.name).name}"
    asked = wish.to if isinstance(wish.to, str) else " + ".join(f"{name} {w:g}" for name, w in (wish.to or {}).items())
    return ", ".join(filter(None, [asked, like, units, sheet_of or f"strength {wish.strength:g}"]))


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
    picture = opened(name, content)
    seen = picture.seen
    if aligned:
        if seen.shape[:2] != (editor.size, editor.size):
            height, width = seen.shape[:2]
            raise UserError(f"{name}: expected {editor.size} x {editor.size} pixels, found {width} x {height}.")
        profile, _ = usable_profile(picture.profile)
        return png_of(editor.edit_aligned(seen[None], wish)[0], editor.name, described(wish), profile), 1
    found = wanted(editor.faces(seen), seen, which, Path(name))
    return marked_png(editor, picture, found, wish), len(found)


def opened(name: str, content: bytes) -> Photograph:
    """A photograph from the bytes of its file, upright. Raises `UserError` when it is not readable."""
    try:
        return read_layers(Path(name), content=content)
    except UnreadableError as error:
        raise UserError(f"{name}: expected a photograph, but {error}.") from error


def marked_png(editor: PhotographEditor, photograph: Photograph, found: Sequence[Found], wish: Wish) -> bytes:
    """A photograph with the given faces edited, as the bytes of a PNG marked as synthetic."""
    profile, _ = usable_profile(photograph.profile)
    seen = photograph.seen
    edited = _layered(photograph, seen, editor.edit(seen, found, wish), Path("edit.png"))
    return png_of(edited, editor.name, described(wish), profile)


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
