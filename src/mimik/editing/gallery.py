"""A gallery: one picture with the faces of many photographs, before and after, as `mimik gallery` writes it."""

import sys
from pathlib import Path

from mimik.editing.editor import PhotographEditor, Picture, expressions, no_face, rows, sheet, sheet_size
from mimik.editing.files import read
from mimik.editing.wishes import Wish
from mimik.errors import UserError
from mimik.storage.provenance import check_output, check_size, write_edit


def run(
    photographs: Path, model: Path, output: Path, shown: str | None = None, most: int = 20, *, overwrite: bool = False
) -> None:
    """Write a sheet with one row per photograph: its main face, then this face with every expression of the model.

    Files that are no pictures, and pictures without a face, are skipped and named.

    Args:
        photographs: a folder; the pictures in it and its subfolders are taken in the order of their paths.
        model: results/<dataset>/<method>.
        output: the picture to write; its extension determines the format.
        shown: the expression that the photographs show, for models that need it.
        most: number of rows after which the sheet is full, at least 1.
        overwrite: replace the output even if mimik did not write it.

    Raises:
        UserError: there is no such folder, or no face in it; the model is missing or does not support such edits, or
            the output cannot be written or would replace a file not written by mimik.
    """
    check_output(output, overwrite=overwrite)
    if not photographs.is_dir():
        raise UserError(f"{photographs}: expected a folder of photographs.")
    if most < 1:
        raise UserError(f"--most {most}: expected a whole number from 1.")
    editor = PhotographEditor(model)
    wishes = expressions(editor, Wish(shown=shown))
    for wish in wishes.values():
        editor.check(wish)
    # An earlier gallery may have been written into the folder.
    files = [
        path
        for path in sorted(photographs.rglob("*"))
        if path.is_file() and not (output.exists() and path.samefile(output))
    ]
    check_size(output, *sheet_size(len(wishes), min(most, len(files))))
    faces: list[list[Picture]] = []
    remarks: dict[str, None] = {}
    for file in files:
        if len(faces) == most:
            break
        try:
            seen = read(file).seen
            found = editor.faces(seen)[:1]
            if not found:
                raise UserError(no_face(str(file), seen))
        except UserError as error:
            print(f"skipped: {error}", file=sys.stderr)
            continue
        faces += rows(editor, seen, found, wishes)
        remarks |= dict.fromkeys(editor.remarks(seen))
    editor.close()
    if not faces:
        raise UserError(f"{photographs}: expected photographs, but no file in it is a picture with a face.")
    write_edit(output, sheet(faces, list(wishes)), editor.name, f"gallery of {len(faces)} faces")
    for remark in remarks:
        print(f"{output}: {remark}.", file=sys.stderr)
    print(f"{output}: the faces of {len(faces)} photograph(s) edited by {editor.name}.")
