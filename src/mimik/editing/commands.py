"""`mimik edit`: photographs in, marked edits out, and what was done told on the console and in a JSON file."""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mimik import __version__
from mimik.editing.editor import STRENGTHS, PhotographEditor, expressions, rows, sheet, sheet_size
from mimik.editing.files import (
    FileEdit,
    Job,
    check_any,
    check_fits,
    described,
    done_with,
    edits,
    jobs,
    read,
    wanted,
    write,
)
from mimik.editing.wishes import Exemplar, Wish, check_strength, spelt
from mimik.errors import UserError
from mimik.labels import ACTION_UNITS
from mimik.storage.files import file_sha256, write_json
from mimik.storage.provenance import check_output, check_size, write_edit

NOT_ALL = 3
"""Exit status of `mimik edit` when some of several photographs were not edited."""


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
    found = wanted(editor.faces(seen), seen, which, photograph)
    if sheet_of is None:
        remarks = write(editor, picture, seen, found, wish, output)
    else:
        check_size(output, *sheet_size(len(wishes), len(found)))
        write_edit(
            output, sheet(rows(editor, seen, found, wishes), list(wishes)), editor.name, described(wish, sheet_of)
        )
        remarks = editor.remarks(seen)
    editor.close()
    for remark in remarks:
        print(f"{photograph}: {remark}.", file=sys.stderr)
    print(f"{output}: {len(found)} face(s) edited by {editor.name}.")
    if record is not None:
        write_record(record, editor, wish, [done_with(Job(photograph, output), found, remarks, begun)], sheet_of)


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
            "to": spelt(wish.to) or None,
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
