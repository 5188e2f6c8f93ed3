"""A prepared dataset as image folders for other programs: `mimik data export`.

Either all faces, or the test faces and a list of the edits of them that are wanted, for a method whose pictures are to
be measured here (`mimik.evaluation.submission`).
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock
from PIL import Image
from tqdm import tqdm

from mimik.datasets.listing import ATTRIBUTE
from mimik.errors import UserError
from mimik.evaluation.submission import (
    DECLARATION,
    FACES,
    Declaration,
    declaration_text,
    output_of,
    wanted_targets,
)
from mimik.evaluation.translation import translated_rows
from mimik.faces.masks import UNKNOWN, write_palette_png
from mimik.faces.prepared.store import SPLITS, FaceStore, check_outside, prepared_manifest
from mimik.inspection.description import TERMS
from mimik.labels import IGNORED, PALETTE, SEGMENTATION_CLASSES
from mimik.storage.files import atomic_path, read_json, write_json, write_text

LAYOUTS: Sequence[str] = ("folders", "stargan")
"""`folders`: every face, <split>/<class>/<id>.png, those without a label in <split>/_unlabelled. `stargan`: the same
tree with labelled faces only. StarGAN's code reads train/ and test/; the validation split stays in val/, which it does
not read, so that it trains on the faces that mimik's methods train on."""

TARGETS = "targets"
"""The layout of a list of wanted edits: the test faces as faces/<id>.png, targets.csv with a line for every picture
that is wanted (face, id, source, target, output), and method.json to be filled in and kept beside the pictures."""

UNLABELLED = "_unlabelled"
"""Folder of the faces whose expression is not known."""

COMPRESSION = 3
"""Of the PNGs. Pillow's default, 6, takes two and a half times as long for files 6 % smaller (photographs, 256 px)."""

MASKS = "masks"
"""Folder of the masks, in which each has the path of its face; no split has this name, so StarGAN does not read it."""

RECORD = "export.json"
"""Says what an export holds. It is the first file written: a folder with it is one of ours."""


@dataclass(frozen=True)
class Wanted:
    """Which faces the layout `targets` has, and what is wanted of them.

    Attributes:
        limit: maximum number of test faces, as results at this scale have; None for all.
        seed: seed of their selection.
        attributes: the attributes to reverse; empty: every expression is a target.
    """

    limit: int | None
    seed: int
    attributes: tuple[str, ...] = ()


def export(
    directory: Path,
    output: Path,
    layout: str,
    size: int | None = None,
    *,
    masks: bool = False,
    progress: bool = True,
    wanted: Wanted | None = None,
) -> int:
    """Write the faces of a store as PNG files, with index.csv (all columns, and `png`, the file) and LICENCE.txt.

    Every file is written whole or not at all. After an interruption the same command goes on: files that are there are
    kept. index.csv is written last, so that an export that has it is complete. The pictures are read through a memory
    map, one at a time.

    Args:
        directory: folder of the prepared dataset.
        output: folder for the export: new, empty, or begun by the same command.
        layout: one of `LAYOUTS`, or `TARGETS`.
        size: side in pixels, one of the store's; None for the largest.
        masks: write the mask of every face too, masks/<path of the face>, a PNG whose pixels are the classes and whose
            palette shows them; masks/classes.csv names them. index.csv has the file in the column `mask`.
        progress: show a progress bar with rate and remaining time.
        wanted: for the layout `TARGETS`, and only for it.

    Returns:
        How many faces of the store are not in the export, because the layout has no place for faces without a label; 0
        for `TARGETS`.

    Raises:
        UserError: the dataset is not prepared, not at this size, or without the masks that are wanted; `output` holds
            something else; a class cannot be the name of a folder; no face is left to export; the disk is full.
    """
    manifest = prepared_manifest(directory, ("licence", "citation"))
    store = FaceStore(directory, max(manifest["sizes"]) if size is None else size)
    if layout not in (*LAYOUTS, TARGETS):
        raise UserError(f"layout: expected one of {', '.join((*LAYOUTS, TARGETS))}; found {layout!r}.")
    if masks and store.masks is None:
        raise UserError(f"{directory}: has no masks_{store.size}.npy; add `masks` to the dataset's annotations.")
    check_outside(output, directory)
    labels = store.labels()
    if wanted is not None:
        targets = wanted_targets(store, wanted.attributes)
        _check_names(directory, targets, FACES)
        rows = translated_rows(store, bool(wanted.attributes), wanted.limit, wanted.seed)
    else:
        targets = []
        _check_names(directory, store.classes)
        rows = np.arange(len(store)) if layout == "folders" else np.flatnonzero(labels >= 0)
    if not len(rows):
        raise UserError(
            f"{directory / 'index.csv'}: no face has a label, so the layout {layout} would be empty. Use folders."
        )
    record = {
        "dataset": manifest["dataset"],
        "digest": store.digest,
        "layout": layout,
        "size": store.size,
        "faces": len(rows),
        **({"masks": True} if masks else {}),
        **({} if wanted is None else {"targets": targets, "seed": wanted.seed}),
    }
    _claim(output, record)
    with FileLock(output / ".lock"):
        _remove_unfinished(output)
        if wanted is not None:
            declaration = Declaration(
                manifest["dataset"], store.digest, store.size, name="", attributes=wanted.attributes
            )
            _write_wanted(store, rows, targets, declaration, output)
        _fill(store, labels, rows, layout, output, progress, masks)
    (output / ".lock").unlink(missing_ok=True)
    return 0 if wanted is not None else len(store) - len(rows)


def _write_wanted(
    store: FaceStore, rows: npt.NDArray[np.int64], targets: Sequence[str], declaration: Declaration, output: Path
) -> None:
    """targets.csv, and method.json unless it is there: its name may have been filled in."""
    table = store.table.iloc[rows]
    lines = [
        {
            "face": f"{FACES}/{face['id']}.png",
            "id": face["id"],
            "source": face[f"{ATTRIBUTE}{target}"] if declaration.attributes else face["expression"],
            "target": target,
            "output": output_of(target, face["id"]),
        }
        for _, face in table.iterrows()
        for target in targets
    ]
    with atomic_path(output / "targets.csv") as temporary:
        pd.DataFrame(lines).to_csv(temporary, index=False)
    if not (output / DECLARATION).exists():
        write_text(output / DECLARATION, declaration_text(declaration))


def _fill(
    store: FaceStore,
    labels: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    layout: str,
    output: Path,
    progress: bool,
    masks: bool,
) -> None:
    licence = f"{store.manifest['licence']}\n\nCite: {store.manifest['citation']}\n"
    terms = f"\nNote: {TERMS}\n" if store.manifest["source"] == "photographs" else ""
    write_text(output / "LICENCE.txt", licence + terms)
    if layout == "stargan":
        # Readers of such trees number the classes by their folders: every split needs all of them.
        for split in SPLITS:
            for name in store.classes:
                (output / split / name).mkdir(parents=True, exist_ok=True)
    table = store.table.iloc[rows]
    folders = [store.classes[label] if label >= 0 else UNLABELLED for label in labels[rows]]
    files = [
        f"{FACES}/{identifier}.png" if layout == TARGETS else f"{split}/{folder}/{identifier}.png"
        for split, folder, identifier in zip(table["split"], folders, table["id"], strict=True)
    ]
    drawn = store.masks if masks else None
    if drawn is not None:
        _write_classes(output / MASKS / "classes.csv")
    missing = [
        position
        for position, file in enumerate(files)
        if not _written(output / file) or (drawn is not None and not _written(output / MASKS / file))
    ]
    with tqdm(
        total=len(files),
        initial=len(files) - len(missing),
        desc=f"export {store.directory.name}",
        unit="img",
        disable=not progress,
    ) as bar:
        for position in missing:
            with atomic_path(output / files[position]) as temporary:
                Image.fromarray(store.images[rows[position]]).save(temporary, "PNG", compress_level=COMPRESSION)
            if drawn is not None:
                write_palette_png(output / MASKS / files[position], drawn[rows[position]])
            bar.update()
    columns = [pd.Series(files, name="png", index=table.index)]
    if drawn is not None:
        columns.append(pd.Series([f"{MASKS}/{file}" for file in files], name="mask", index=table.index))
    with atomic_path(output / "index.csv") as temporary:
        pd.concat([*columns, table], axis=1).to_csv(temporary, index=False)


def _write_classes(path: Path) -> None:
    """The one table of classes: value of a pixel, name, colour of the palette."""
    rows = [*zip(range(len(PALETTE)), SEGMENTATION_CLASSES, PALETTE, strict=True), (IGNORED, "unknown", UNKNOWN)]
    lines = [f"{value},{name},{','.join(map(str, colour))}" for value, name, colour in rows]
    write_text(path, "\n".join(["value,class,red,green,blue", *lines]) + "\n")


def _written(path: Path) -> bool:
    """Whether a picture is there. Without content it is what a power cut may leave of one."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _check_names(directory: Path, classes: Sequence[str], taken: str = UNLABELLED) -> None:
    """Raise `UserError` when a class cannot be a folder of its own, beside that called `taken`, on every system."""
    for name in classes:
        if name in ("", taken) or name.startswith(".") or name != name.strip() or set(name) & set('/\\:*?"<>|\0'):
            raise UserError(
                f"{directory / 'manifest.json'}: the class {name!r} cannot be the name of a folder. Rename it in the "
                "dataset's labels and prepare the dataset again."
            )
    if len({name.casefold() for name in classes}) < len(classes):
        raise UserError(
            f"{directory / 'manifest.json'}: two of the classes {', '.join(classes)} differ only in capitalisation, "
            "which makes them one folder on some systems. Rename one of them and prepare the dataset again."
        )


def _claim(output: Path, record: Mapping[str, Any]) -> None:
    """Make `output` the folder of this export, or find that it is. Raises `UserError` when it holds something else."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; expected the folder for the export. Name another one.")
    path = output / RECORD
    if path.exists():
        found = read_json(path, "Delete the folder, or name another one.")
        if found != record:
            found = found if isinstance(found, Mapping) else {}
            told = f"{found.get('dataset')} as {found.get('layout')} at {found.get('size')} px"
            raise UserError(
                f"{output}: contains another export ({told}, store {str(found.get('digest'))[:12]}; now requested: "
                f"store {str(record['digest'])[:12]}, {record['layout']} at {record['size']} px). Delete it, or name "
                "another folder."
            )
        return
    # What a run leaves that was stopped while it wrote the record is no foreign file.
    if output.exists() and any(not entry.name.startswith(f".{RECORD}.") for entry in output.iterdir()):
        raise UserError(f"{output}: is not empty and not an export of mimik. Name a new or empty folder.")
    write_json(path, record)


_UNFINISHED = re.compile(r"\..+\.\d+\.tmp(\.[A-Za-z]+)?")
"""Names of the temporary files of `mimik.storage.files.atomic_path`."""


def _remove_unfinished(output: Path) -> None:
    """Delete the temporary files of a run that was killed: their names end like pictures'."""
    for folder, _, names in os.walk(output):
        for name in names:
            if _UNFINISHED.fullmatch(name):
                (Path(folder) / name).unlink(missing_ok=True)
