"""Takes in pictures that another program made of the test faces, as the translations of a method without a generator.

    <folder>/method.json                  whose pictures they are, and of which faces
    <folder>/<target>/<id of the face>.png     every face with every target, its own expression included

`mimik data export --layout targets` writes the faces, method.json and the list of the wanted pictures. What is written
here are files like those of `mimik.evaluation.translation`, so that evaluation and report read them like any others.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from mimik.errors import UserError
from mimik.evaluation.translation import translated_rows
from mimik.faces.prepared.store import FaceStore
from mimik.settings.scoring import MARK
from mimik.storage.arrays import new_array
from mimik.storage.files import digest, file_sha256, write_json
from mimik.storage.pictures import UnreadableError, decode, read_content
from mimik.storage.records import NAME, read_record

DECLARATION = "method.json"

FACES = "faces"
"""Folder of the input faces in an export; no target has this name."""

DEPTH = 24
"""Position in a PNG file of the number of bits of a colour (PNG specification, IHDR)."""

TOLD = 5
"""Faults of a kind that a message lists."""


@dataclass(frozen=True)
class Declaration:
    """What method.json says.

    Attributes:
        dataset: name of the dataset whose test faces were edited.
        digest: of its preparation, see `FaceStore.digest`.
        size: side of the faces and of the pictures.
        name: what the method is called in tables: small letters, digits and _.
        description: what it is, in a sentence or two; may be empty.
        licence: the terms of its pictures or of its code; may be empty.
        attributes: the attributes that are reversed, one per target; empty where the targets are the expressions.
    """

    dataset: str
    digest: str
    size: int
    name: str
    description: str = ""
    licence: str = ""
    attributes: tuple[str, ...] = ()


def read_declaration(folder: Path) -> Declaration:
    """method.json of a folder of pictures.

    Raises:
        UserError: the folder or the file is missing, or something in it is.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Name the one that holds the pictures, with {DECLARATION} in it.")
    path = folder / DECLARATION
    if not path.is_file():
        raise UserError(
            f"{path}: missing. `mimik data export DATASET --layout targets` writes it beside the faces: copy it here "
            "and fill in `name`."
        )
    values = read_record(path, "submission", ("dataset", "digest", "size", "name"))
    if not re.fullmatch(NAME, str(values["name"])):
        raise UserError(
            f"{path}: name: expected what the method is to be called in tables, of small letters, digits and _, the "
            f"first a letter; it is {values['name']!r}."
        )
    known = {name: values[name] for name in Declaration.__dataclass_fields__ if name in values}
    return Declaration(**{**known, "attributes": tuple(values.get("attributes", ()))})


def declaration_text(declaration: Declaration) -> str:
    """method.json of an export, whose name is still to be filled in."""
    return json.dumps({**asdict(declaration), "attributes": list(declaration.attributes)}, indent=2) + "\n"


def wanted_targets(store: FaceStore, attributes: Sequence[str]) -> list[str]:
    """The targets of every face, in the order of the columns: the attributes to reverse, or else the expressions.

    Raises:
        UserError: an attribute that the dataset does not have, or there is no target at all.
    """
    if unknown := [name for name in attributes if name not in store.attribute_names]:
        known = ", ".join(store.attribute_names) or "none"
        raise UserError(f"{store.directory}: has no attribute {', '.join(unknown)}; it has {known}.")
    if not attributes and not store.classes:
        raise UserError(f"{store.directory}: has no expressions. Name the attributes to reverse.")
    return list(attributes) or store.classes


def output_of(target: str, identifier: str) -> str:
    """Where the picture of a face with a target belongs, relative to the folder."""
    return f"{target}/{identifier}.png"


def take_in(folder: Path, declaration: Declaration, store_dir: Path, settings: Mapping[str, Any], result: Path) -> None:
    """Check the pictures of a folder and write config.json and translations/ of a result.

    Args:
        folder: holds `DECLARATION` and the pictures.
        declaration: of the folder.
        store_dir: the prepared dataset.
        settings: see `mimik.settings.scoring.resolve_scoring`.
        result: results/<dataset>/<name>.

    Raises:
        UserError: the faces were exported from another preparation or at another size than results at this scale
            have, pictures are missing, of other sizes or no PNG of 8-bit RGB, there are pictures that nobody asked for,
            or the folder `result` holds what was trained or imported.
    """
    path = folder / DECLARATION
    if declaration.size != settings["image_size"]:
        raise UserError(
            f"{path}: size {declaration.size}, but results on {declaration.dataset} at scale {settings['scale']} are "
            f"of {settings['image_size']} px. Name another --scale, or export the faces again and edit those."
        )
    store = FaceStore(store_dir, declaration.size)
    if declaration.digest != store.digest:
        raise UserError(
            f"{path}: the faces were exported from another preparation of the dataset (digest "
            f"{declaration.digest[:12]}) than the one now in {store_dir} ({store.digest[:12]}). Export them again and "
            "edit those."
        )
    _check_free(result)
    targets = wanted_targets(store, declaration.attributes)
    rows = translated_rows(store, bool(declaration.attributes), settings["limit"], settings["seed"])
    identifiers = store.table["id"].iloc[rows].tolist()
    _check_files(folder, targets, identifiers)
    translations = result / "translations"
    # If this run is killed between two renames, an old manifest would make arrays of another run look valid.
    (translations / "manifest.json").unlink(missing_ok=True)
    shape = (len(rows), len(targets), store.size, store.size, 3)
    with new_array(translations / "images.npy", shape) as images:
        _read_all(folder, targets, identifiers, images)
    labels = np.full(len(rows), -1) if declaration.attributes else store.labels()[rows]
    write_json(
        translations / "manifest.json",
        {
            "rows": rows.tolist(),
            "ids": identifiers,
            "source_labels": labels.tolist(),
            "mask_rows": [],
            "classes": targets,
            "size": store.size,
            "store_digest": store.digest,
            "limit": settings["limit"],
        },
    )
    config = {
        "dataset": declaration.dataset,
        "method": declaration.name,
        "scale": settings["scale"],
        "protocol": settings["protocol"],
        "seed": settings["seed"],
        "image_size": store.size,
        "classes": store.classes,
        "attributes": store.attribute_names,
        "config": {},
        "training": {},
        "dataset_digest": store.digest,
        MARK: {
            "description": declaration.description,
            "licence": declaration.licence,
            "attributes": list(declaration.attributes),
            "pictures_sha256": file_sha256(translations / "images.npy"),
        },
    }
    identity = digest(config)
    write_json(result / "config.json", {**config, "config_digest": identity, "run_key": identity[:16]})


def _check_free(result: Path) -> None:
    """Raise `UserError` if a result folder holds anything but pictures that were taken in before."""
    path = result / "config.json"
    if not path.exists() and not (result / "generator.safetensors").exists():
        return
    if not path.exists() or MARK not in read_record(path, "method"):
        raise UserError(
            f"{result}: holds a method that was trained or imported here. Choose another `name` in {DECLARATION}, or "
            "delete the folder."
        )


def _check_files(folder: Path, targets: Sequence[str], identifiers: Sequence[str]) -> None:
    """Raise one `UserError` that says which pictures are missing, by target, and which files nobody asked for."""
    missing: dict[str, list[str]] = {}
    strange: list[str] = []
    for target in targets:
        wanted = {output_of(target, identifier) for identifier in identifiers}
        found = {path.relative_to(folder).as_posix() for path in _files(folder / target)}
        if lacking := sorted(wanted - found):
            missing[target] = lacking
        strange += sorted(found - wanted)
    known = {*targets, FACES}
    strange += sorted(
        f"{entry.name}/" for entry in folder.iterdir() if entry.is_dir() and entry.name not in known and _shown(entry)
    )
    faults = []
    if missing:
        count = sum(map(len, missing.values()))
        by_target = ", ".join(f"{target} {len(files):,}" for target, files in missing.items())
        some = [file for files in missing.values() for file in files][:TOLD]
        faults.append(
            f"{count:,} of {len(targets) * len(identifiers):,} pictures are missing ({by_target}): "
            f"{_listed(some, count)}"
        )
    if strange:
        faults.append(f"{len(strange):,} files or folders are not wanted: {_listed(strange[:TOLD], len(strange))}")
    if faults:
        raise UserError(
            f"{folder}: expected a picture of each of {len(identifiers):,} faces with each of {len(targets)} targets, "
            f"<target>/<id>.png as in targets.csv of the export, and nothing else in those folders. "
            f"{'. '.join(faults)}."
        )


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.rglob("*") if path.is_file() and _shown(path))


def _shown(path: Path) -> bool:
    """Whether it is no file of the file manager's or of a program that was stopped."""
    return not path.name.startswith(".") and path.name not in ("Thumbs.db", "desktop.ini", "__MACOSX")


def _listed(some: Sequence[str], count: int) -> str:
    return ", ".join(some) + (f" and {count - len(some):,} more" if count > len(some) else "")


def _read_all(folder: Path, targets: Sequence[str], identifiers: Sequence[str], images: npt.NDArray[np.uint8]) -> None:
    """Fill uint8 (N, C, S, S, 3). Raises one `UserError` for all pictures that cannot be used."""
    faults: list[str] = []
    with tqdm(total=len(targets) * len(identifiers), unit="image", desc="read") as progress:
        for face, identifier in enumerate(identifiers):
            for column, target in enumerate(targets):
                file = output_of(target, identifier)
                try:
                    images[face, column] = _pixels(folder / file, images.shape[2])
                except UnreadableError as error:
                    faults.append(f"{file}: {error}")
                progress.update()
    if faults:
        told = "\n  ".join(faults[:TOLD])
        rest = f"\n  and {len(faults) - TOLD:,} more" if len(faults) > TOLD else ""
        raise UserError(
            f"{folder}: {len(faults):,} pictures cannot be used; expected PNG files of 8-bit RGB, {images.shape[2]} x "
            f"{images.shape[2]} pixels.\n  {told}{rest}"
        )


def _pixels(path: Path, size: int) -> npt.NDArray[np.uint8]:
    """uint8 (S, S, 3). Raises `UnreadableError`."""
    content = read_content(path)
    picture = decode(content)
    if picture.format != "PNG":
        # JPEG and its like change pixels, which distances between sets of pictures notice.
        raise UnreadableError(f"is {picture.format}, not PNG")
    # Pillow gives 8 of the 16 bits that a PNG may have; the header tells.
    if picture.mode != "RGB" or content[DEPTH] != 8:
        raise UnreadableError(f"its pixels are {picture.mode} of {content[DEPTH]} bits, not RGB of 8 bits")
    if picture.size != (size, size):
        raise UnreadableError("is {} x {} pixels".format(*picture.size))
    return np.asarray(picture)
