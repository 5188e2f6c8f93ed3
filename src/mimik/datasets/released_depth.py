"""AffectNet-D and RaFD-D: depth maps that were released for photographs of AffectNet and RaFD.

What it holds, and which part of it each paper uses: docs/papers/datasets.md#affectnet-d-and-rafd-d.

Bodur, Bhattarai and Kim (3D Dense Geometry-Guided Facial Expression Synthesis by Adversarial Learning, WACV 2021)
released the depth maps of the images that they use. Their page counts the maps of each expression and says no more of
the archives, so a map is found by its name: it is that of the photograph, whatever folder, ending or format it has.
That a map shows the whole photograph, near parts bright and no surface black, is checked for every face when it is
prepared (`mimik.faces.reconstruction.released`).

Modules of datasets that have such maps pass `depth` and `depth_files` on, and call the rest in `index` where the option
`reconstruction` is `released`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from mimik.datasets.listing import Listing, Total, UnusableError
from mimik.datasets.lists import composed
from mimik.datasets.photographs import EXCLUDED
from mimik.datasets.tree import find_images
from mimik.errors import UserError
from mimik.storage.pictures import UnreadableError, decode, read_content

PAGE = "https://github.com/rumi-b/affectnet-d_rafd-d"
MAPS = "depth"
"""Folder of the maps in the archive of the photographs."""

ACCESS = f"They are linked from {PAGE}. Unpack them into {MAPS}/, beside the photographs; subfolders do not matter."
"""Where to get the maps, and where to put them."""

COLUMN = "depth_map"
"""Column of the index: path of the map relative to the archive, empty for a face without one."""

TERMS = (
    f"The depth maps ({PAGE}) are for non-commercial research only; no redistribution. Cite R. Bodur, B. Bhattarai, "
    "T.-K. Kim, 3D Dense Geometry-Guided Facial Expression Synthesis by Adversarial Learning, WACV, 2021."
)

NONE = "no depth map was released for it"

AFFECTNET_D = {
    "neutral": 15_000,
    "happiness": 15_000,
    "sadness": 15_000,
    "surprise": 13_604,
    "fear": 6_073,
    "disgust": 3_726,
    "anger": 15_000,
    "contempt": 3_703,
}
RAFD_D = {
    "neutral": 585,
    "happiness": 557,
    "sadness": 569,
    "surprise": 515,
    "fear": 548,
    "disgust": 576,
    "anger": 564,
    "contempt": 580,
}
"""Maps of each expression, by the page of the release."""


def wanted(options: Mapping[str, Any]) -> bool:
    """Whether an entry of a dataset asks for released maps."""
    return options.get("reconstruction") == "released"


def name_of(path: str) -> str:
    """What a photograph and its map have in common: the name without folder and ending, accents composed."""
    return composed(PurePosixPath(path).stem)


def check_with_maps(raw: Path, options: Mapping[str, Any], photographs: Callable[[], object]) -> None:
    """Check the photographs of an archive, and its maps if wanted; everything missing is reported at once.

    Args:
        raw: the archive.
        options: of the dataset.
        photographs: the check of the photographs.

    Raises:
        UserError: photographs or maps are not there, or cannot be used.
    """
    faults = []
    for check in (photographs, *([lambda: find_maps(raw)] if wanted(options) else [])):
        try:
            check()
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError(" In addition, ".join(faults))


def find_maps(raw: Path) -> dict[str, str]:
    """`name_of` -> path relative to `raw` of every map.

    Raises:
        UserError: there is none, or two have the same name.
    """
    maps: dict[str, str] = {}
    for path in find_images(raw / MAPS):
        name = name_of(path)
        if name in maps:
            raise UserError(f"{raw}: {maps[name]} and {MAPS}/{path} are maps of the same photograph. Keep one of them.")
        maps[name] = f"{MAPS}/{path}"
    if not maps:
        raise UserError(
            f"{raw / MAPS}: no depth map (an image file) is there. The maps are linked from {PAGE}. Unpack them into "
            "that folder; subfolders do not matter."
        )
    return maps


def with_maps(
    listing: Listing, raw: Path, maps: Mapping[str, str], splits: Sequence[str], released: Mapping[str, int]
) -> Listing:
    """The photographs of a listing that have a map; those of the split test stay without one, too.

    Evaluating an edit takes no depth of the photograph, and the test images of AffectNet have no released map.

    Args:
        listing: of all photographs.
        raw: the archive, for messages.
        maps: from `find_maps`.
        splits: those whose photographs have maps.
        released: maps of each expression that the page counts.

    Raises:
        UserError: no map belongs to a photograph.
    """
    table = listing.table.copy()
    stems = [name_of(source) for source in table["source"].tolist()]
    table[COLUMN] = [
        maps.get(stem, "") if split in splits else "" for stem, split in zip(stems, table["split"], strict=True)
    ]
    mapped = table[COLUMN] != ""
    if not mapped.any():
        names = (
            f"found {next(iter(maps.values()))} and {table['source'].iloc[0]}" if len(table) else "found no photograph"
        )
        raise UserError(
            f"{raw}: none of the {len(maps):,} depth maps is named like any of the {len(table):,} photographs; "
            f"expected the same name apart from the ending, {names}. Rename the maps."
        )
    kept = mapped | (table["split"] == "test")
    quarantine = [*listing.quarantine, *((source, EXCLUDED, NONE) for source in table["source"][~kept])]
    found = Counter(table["expression"][mapped])
    told = ", ".join(f"{name} {found[name]:,} of {released[name]:,}" for name in released if found[name])
    notes = [f"Photographs with a depth map, of the maps that were released for that expression: {told}."]
    known = {*stems, *(name_of(path) for path, _, _ in listing.quarantine)}
    if alone := sorted(maps.keys() - known):
        named = ", ".join(maps[stem] for stem in alone[:3]) + (", ..." if len(alone) > 3 else "")
        notes.append(f"{len(alone):,} depth maps belong to no photograph: {named}.")
    return replace(
        listing,
        table=table[kept].reset_index(drop=True),
        quarantine=sorted(quarantine),
        totals=[*listing.totals, Total("depth maps", len(maps), sum(released.values()))],
        notes=(*listing.notes, *notes, TERMS),
    )


def depth(raw: Path, row: Mapping[str, Any]) -> npt.NDArray[np.uint8] | None:
    """The map of one row of the index, uint8 (h, w): 0 no surface, brighter is nearer; None where there is none.

    Raises:
        UnusableError: it cannot be read, is in colour, or shows nothing.
    """
    if not row[COLUMN]:
        return None
    try:
        opened = decode(read_content(raw / row[COLUMN]))
        values = np.asarray(opened if opened.mode.startswith("I") else opened.convert("RGB"))
    except (UnreadableError, ValueError) as error:  # a mode that cannot become RGB
        raise UnusableError(f"the depth map {row[COLUMN]} cannot be read: {error}") from error
    if values.ndim == 3:
        if np.ptp(values.astype(np.int16), axis=2).max() > 16:  # a little colour is JPEG's
            raise UnusableError(f"the depth map {row[COLUMN]} is in colour")
        values = values[..., 1]
    else:
        values = (values.clip(0, 65535) / 257.0).round().astype(np.uint8)
    if np.ptp(values) == 0:
        raise UnusableError(f"the depth map {row[COLUMN]} shows nothing")
    grey: npt.NDArray[np.uint8] = np.ascontiguousarray(values)
    return grey


def depth_files(raw: Path, row: Mapping[str, Any]) -> list[Path]:
    """What `depth` reads."""
    return [raw / row[COLUMN]] if row[COLUMN] else []
