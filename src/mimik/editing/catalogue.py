"""Trained methods that are given away: what there is, where it is, whether it is what it should be.

`models/index.yaml` lists them. The small ones come with mimik, in folders of `models`; the others are archives, fetched
from a mirror or their address. A name of the list can be given wherever mimik takes the folder of a model.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimik.errors import UserError, unknown_name
from mimik.mirror import extract, locate
from mimik.storage.files import file_sha256
from mimik.storage.yaml_file import read_yaml

MODELS = Path(__file__).with_name("models")
"""The list, and the models that come with mimik."""

INDEX = "index.yaml"

VARIABLE = "MIMIK_MODELS"
"""Environment variable that names the folder for fetched models, in the place of ~/.cache/mimik/models."""

LARGEST = 2 << 30
"""Most bytes that an archive of a model may unpack to."""


@dataclass(frozen=True)
class Archive:
    """A model as one file.

    Attributes:
        bytes: its size.
        sha256: of its bytes, hexadecimal.
        address: where to download it; None: handed from person to person, found in a mirror folder only.
    """

    bytes: int
    sha256: str
    address: str | None

    @staticmethod
    def name(model: str) -> str:
        """The name of the file."""
        return f"{model}.tar.gz"


@dataclass(frozen=True)
class Entry:
    """A model of the list.

    Attributes:
        name: by which it is asked for.
        dataset, method, scale: what was trained on what, at which scale.
        image_size: side of its faces, pixels.
        commit: of mimik, that it was trained with.
        terms: what may be done with it.
        note: what to know before using it, a sentence.
        figures: some of its measures, by their names in metrics.json; the others are in its card.
        files: SHA-256 of its files, hexadecimal, by name.
        archive: None for a model that comes with mimik.
    """

    name: str
    dataset: str
    method: str
    scale: str
    image_size: int
    commit: str
    terms: str
    note: str
    figures: Mapping[str, float]
    files: Mapping[str, str]
    archive: Archive | None


def entries(folder: Path | None = None) -> dict[str, Entry]:
    """The list, by name, in its order; `folder`: in the place of `MODELS`."""
    values: Mapping[str, Mapping[str, Any]] = read_yaml((folder or MODELS) / INDEX, "Install mimik again.")
    return {
        name: Entry(name=name, **{**value, "archive": Archive(**value["archive"]) if value.get("archive") else None})
        for name, value in values.items()
    }


def entry(name: str) -> Entry:
    """A model of the list. Raises `UserError` where there is none of this name."""
    listed = entries()
    if name not in listed:
        raise UserError(f"{name}: no model of this name is given away. {unknown_name(name, listed)}")
    return listed[name]


def fetched() -> Path:
    """The folder of fetched models, which may not be there yet."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "mimik" / "models"


def folder_of(model: Entry) -> Path | None:
    """Where a model is on this machine; None where it has to be fetched."""
    if model.archive is None:
        return MODELS / model.name
    folder = fetched() / model.name
    return folder if folder.is_dir() else None


def name_of(folder: Path) -> str | None:
    """The name of a model of the list that is in a folder; None for any other folder."""
    return folder.name if folder.parent in (MODELS, fetched()) else None


def verify(model: Entry, folder: Path) -> None:
    """Raise `UserError` unless the files of a model are those of the list."""
    again = f"Delete the folder and run `mimik models fetch {model.name}`"
    remedy = "Install mimik again" if model.archive is None else again
    for name, sha256 in model.files.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: missing, so this is not the model {model.name}. {remedy}.")
        if (found := file_sha256(folder / name)) != sha256:
            raise UserError(
                f"{folder / name}: damaged or changed: its SHA-256 is {found}, that of {model.name} is {sha256}. "
                f"{remedy}."
            )


def fetch(model: Entry, mirror: Path | str | None = None) -> Path:
    """Bring a model to this machine, from a mirror or its address, and verify it.

    Args:
        model: of the list.
        mirror: folder that is searched before any download, and before the one in MIMIK_MIRROR.

    Returns:
        its folder.

    Raises:
        UserError: it is nowhere, cannot be downloaded, or is not what the list says.
    """
    folder = folder_of(model)
    if folder is None:
        assert model.archive is not None  # else it comes with mimik
        place, name = fetched(), Archive.name(model.name)
        archive = locate(name, url=model.archive.address, sha256=model.archive.sha256, mirror=mirror, destination=place)
        folder = place / model.name
        extract(archive, folder, top=model.name, max_bytes=LARGEST, max_files=2 * len(model.files))
        if archive.parent == place:
            archive.unlink()
    verify(model, folder)
    return folder


def model_folder(model: Path | str) -> Path:
    """The folder of a model that is named by its folder, or as in the list.

    Raises:
        UserError: a model of the list is not here yet, or damaged; a single word that is neither.
    """
    path = Path(model)
    if path.exists() or len(path.parts) != 1:
        return path
    listed = entries()
    if path.name not in listed:
        raise UserError(
            f"{model}: there is no such folder, and no model of this name is given away. {unknown_name(model, listed)}"
        )
    folder = folder_of(listed[path.name])
    if folder is None:
        raise UserError(f"{model}: not on this machine yet. Run `mimik models fetch {model}`.")
    verify(listed[path.name], folder)
    return folder
