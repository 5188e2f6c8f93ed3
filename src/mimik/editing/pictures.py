"""The edits of a method as image files, for programs that measure pictures: `mimik export --edits`."""

from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mimik.editing.cards import Terms
from mimik.errors import UserError
from mimik.evaluation.openface import COMMAND, EDITS, content_digest
from mimik.evaluation.submission import FACES, output_of
from mimik.reporting.results import read_result
from mimik.storage.files import atomic_path, read_json, write_json, write_text


def write_edits(model: Path, store: Path, folder: Path, terms: Terms, *, overwrite: bool) -> None:
    """Write every edit of the test faces as <target>/<id>.png, and the unedited faces as faces/<id>.png.

    Args:
        model: results/<dataset>/<method>, evaluated.
        store: the prepared dataset.
        folder: new, empty, or with edits of the same translations, of which those that lack are added.
        terms: of the dataset.
        overwrite: replace edits of other translations. What else lies there stays, but CSV files beside the pictures:
            they are about the others.

    Raises:
        UserError: there are no translations, or `folder` holds something else.
    """
    result = read_result(model, store)
    images = result.optional("images.npy")
    if images is None:
        raise UserError(f"{model / 'translations/images.npy'}: no such file. Translate first.")
    record = {"dataset": result.dataset, "method": result.method, "images": content_digest(images)}
    _claim(folder, record, overwrite)
    write_text(folder / "LICENCE.txt", f"{terms.licence}\n\nCite: {terms.citation}\n")
    identifiers = result.store.table["id"].iloc[result.rows].tolist()
    pictures = len(identifiers) * (len(result.classes) + 1)
    with tqdm(total=pictures, unit="image", desc="edits") as progress:
        for face, identifier in enumerate(identifiers):
            own = np.asarray(result.store.images[result.rows[face]])
            edits = dict(zip(result.classes, images[face], strict=True))
            for target, picture in {FACES: own, **edits}.items():
                path = folder / output_of(target, identifier)
                path.parent.mkdir(exist_ok=True)
                if not path.exists():
                    with atomic_path(path) as temporary:
                        Image.fromarray(np.asarray(picture)).save(temporary, "PNG", compress_level=3)
                progress.update()
    print(f"{folder}: {pictures:,} pictures. For OpenFace: {COMMAND.format(folder)}")


def _claim(folder: Path, record: dict[str, str], overwrite: bool) -> None:
    """Make a folder that of these edits; earlier ones are deleted where that is wanted."""
    path = folder / EDITS
    if path.is_file():
        if read_json(path, "Name another folder.") == record:
            return
        if not overwrite:
            raise UserError(f"{folder}: holds the edits of other translations. Add --overwrite to replace them.")
        path.unlink()
        for file in [*folder.glob("*/*.png"), *folder.glob("*/*.csv")]:
            file.unlink()
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: already holds files. Name a new or empty folder.")
    write_json(path, record)
