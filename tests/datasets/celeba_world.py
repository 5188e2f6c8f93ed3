"""Small archives in the layouts of CelebA, CelebA-HQ and CelebAMask-HQ, for the tests of these datasets."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mimik.datasets.listing import Listing
from mimik.labels import CELEBA_ATTRIBUTES


def attribute_line(name: str, ones: Sequence[str] = ()) -> str:
    """A line of a list of attributes, blank-padded as in the authors' file."""
    return name + "".join("  1" if attribute in ones else " -1" for attribute in CELEBA_ATTRIBUTES)


def write_attributes(path: Path, lines: Sequence[str], *, count: int | None = None) -> None:
    header = [str(len(lines) if count is None else count), " ".join(CELEBA_ATTRIBUTES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*header, *lines]) + "\n")


def write_mapping(path: Path, origins: Mapping[int, int]) -> None:
    """The mapping of CelebAMask-HQ, in its columns: idx -> orig_idx."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{idx}\t\t{orig}\t\t{orig + 1:06d}.jpg" for idx, orig in origins.items()]
    path.write_text("\n".join(["idx\t\torig_idx\torig_file", *rows]) + "\n")


def touch(path: Path) -> None:
    """An image's file of no content: `index` looks at names only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def draw(folder: Path, number: int, name: str, box: tuple[int, int, int, int], side: int = 64, mode: str = "L") -> Path:
    """Write the mask of a class, a rectangle (left, top, right, bottom), where CelebAMask-HQ has it."""
    mask = np.zeros((side, side), np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 255
    path = folder / str(number // 2000) / f"{number:05d}_{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).convert(mode).save(path)
    return path


def reasons(listing: Listing) -> dict[str, tuple[str, str]]:
    """Stage and reason by path; every image is in the table or, once, in the quarantine."""
    entries = {path: (stage, reason) for path, stage, reason in listing.quarantine}
    assert len(entries) == len(listing.quarantine)
    assert not entries.keys() & set(listing.table["source"])
    return entries
