"""CelebA (Liu, Luo, Wang, Tang 2015): 202,599 aligned photographs of 178 x 218 px with 40 binary attributes.

What it holds, and which part of it each paper uses: docs/papers/datasets.md#celeba.

Layout: `img_align_celeba/000001.jpg ...`, `list_attr_celeba.txt`, `list_eval_partition.txt` (for the official split)
and, where it was given, `identity_CelebA.txt`. The lists and the folder may also lie in the authors' folders Anno,
Eval and Img.

`expression` is `smiling` or `not_smiling`, so that methods for expressions run on it; all 40 attributes stand in the
columns `attribute_<name>`.
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mimik.datasets.celeba_lists import (
    ATTRIBUTE_LIST,
    CELEBA_NAME,
    IDENTITY_LIST,
    count_option,
    first_existing,
    list_images,
    read_attributes,
    read_values,
    require,
    split_choice,
    split_note,
)
from mimik.datasets.listing import SPLITS, Listing
from mimik.datasets.photographs import setting
from mimik.errors import UserError

LICENCE = (
    "For non-commercial research only. The photographs come from the internet and are not the authors' property; do "
    "not redistribute them."
)
RESTRICTED = True
CITATION = (
    "Z. Liu, P. Luo, X. Wang, X. Tang, Deep Learning Face Attributes in the Wild, Proceedings of the IEEE "
    "International Conference on Computer Vision (ICCV), 3730-3738, 2015."
)
ACCESS = (
    "Get CelebA from http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (aligned and cropped images, attributes, "
    "partitions; the list of persons is available on request) and put it into data/raw/celeba/ (a link to another disk "
    "will do), so that img_align_celeba/, list_attr_celeba.txt and list_eval_partition.txt are there."
)

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "split": {
        "description": "official, attgan or stargan",
        "default": "official",
        "meaning": "CelebA's own lists, ranges of file numbers (AttGAN, STGAN, SeCGAN), or StarGAN's public test set.",
    },
    "held_out": {
        "description": "a whole number above 0",
        "default": 1999,
        "meaning": "Number of images in the test set of `split: stargan`, and as many more in `val`.",
    },
}
"""What an entry of this dataset may set besides the options of every dataset, for docs/options.md."""

PARTITION_LIST = "list_eval_partition.txt"
STARGAN_SEED = 1234
"""Of the shuffle in StarGAN's public code."""

SPLIT_CHOICES = ("official", "attgan", "stargan")

ATTGAN_BOUNDS = (182_000, 182_637)
"""Last file of train and of val in AttGAN's and SeCGAN's split; files are counted from 1."""

_SIZES = {"official": (162_770, 19_867, 19_962), "attgan": (182_000, 637, 19_962)}
"""Images of train, val and test in the complete set."""


def check(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Check options and lists. Raises `UserError` that says what is missing or damaged."""
    _options(options)
    parts = _parts(raw, options)
    read_attributes(raw / parts["attributes"], CELEBA_NAME)
    if "partition" in parts:
        read_values(raw / parts["partition"])


def training_faces(options: Mapping[str, Any]) -> int | None:
    """Images of the split `train` in the complete set; None where they are drawn (`per_class`, StarGAN's split)."""
    split = str(options.get("split", SPLIT_CHOICES[0]))
    return None if options.get("per_class") or split not in _SIZES else _SIZES[split][0]


def fetch(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Nothing to fetch: CelebA is downloaded by hand. Raises `UserError` when it is not there."""
    _parts(raw, options)


def index(raw: Path, options: Mapping[str, Any], seed: int) -> Listing:
    """List the usable images.

    Options:
        classes: default not_smiling, smiling.
        split: `official` (default; list_eval_partition.txt), `attgan` (182,000, 637 and 19,962 by the number of the
            file; also SeCGAN's) or `stargan` (the test set that StarGAN's public code draws).
        held_out: images of the test set of `stargan`, and as many more for val; default 1999, as in that code, which
            has no val and trains on these images too.
        per_class: most images of a class in each split; default: all.

    Raises:
        UserError: a part is missing or damaged, an option is unusable, or a split is empty.
    """
    split, held_out = _options(options)
    parts = _parts(raw, options)
    attributes = read_attributes(raw / parts["attributes"], CELEBA_NAME)
    identity_list = first_existing(raw, (IDENTITY_LIST, f"Anno/{IDENTITY_LIST}"))
    identities = read_values(raw / identity_list) if identity_list else {}
    excuses: dict[str, str] = {}
    known: dict[str, str] = {}
    if split == "official":
        partition = read_values(raw / parts["partition"])
        for name in attributes.table.index.tolist():
            if partition.get(name) in ("0", "1", "2"):
                known[name] = SPLITS[int(partition[name])]
            else:
                excuses[name] = f"{PARTITION_LIST} does not assign it 0, 1 or 2"
    elif split == "attgan":
        known = {name: SPLITS[sum(int(name[:6]) > bound for bound in ATTGAN_BOUNDS)] for name in attributes.table.index}
    else:
        known = _stargan_split(attributes.order, held_out, options)
    return list_images(
        "celeba",
        raw,
        parts["images"],
        attributes,
        lambda _: known,
        options,
        seed,
        excuses=excuses,
        identities=identities,
        notes=[split_note(split, known.values(), _SIZES[split])] if split in _SIZES else [],
    )


def _stargan_split(order: Sequence[str], held_out: int, options: Mapping[str, Any]) -> dict[str, str]:
    """Split by name: lines of the list shuffled as in StarGAN's public code, the first for the test, the next for val.

    The code seeds Python's generator with 1234 whatever else is drawn, so the seed of params.yaml has no part in it:
    its released networks have seen all but these 1,999 images.
    """
    if 2 * held_out >= len(order):
        raise UserError(
            f"{setting(options, 'celeba', 'held_out')}: {held_out} images for val and for test each leave none of "
            f"{len(order)} for training. Give a smaller number."
        )
    shuffled = list(order)
    random.Random(STARGAN_SEED).shuffle(shuffled)
    splits = dict.fromkeys(shuffled, "train") | dict.fromkeys(shuffled[held_out : 2 * held_out], "val")
    return splits | dict.fromkeys(shuffled[:held_out], "test")


def _options(options: Mapping[str, Any]) -> tuple[str, int]:
    held_out = count_option(options, "held_out", "celeba")
    return split_choice(options, "celeba", SPLIT_CHOICES), 1999 if held_out is None else held_out


def _parts(raw: Path, options: Mapping[str, Any]) -> dict[str, str]:
    """Paths (relative to `raw`) of images, attributes and, for the official split, partition."""
    wanted = {
        "images": ("img_align_celeba", "Img/img_align_celeba"),
        "attributes": (ATTRIBUTE_LIST, f"Anno/{ATTRIBUTE_LIST}"),
        "partition": (PARTITION_LIST, f"Eval/{PARTITION_LIST}"),
    }
    if _options(options)[0] != "official":
        del wanted["partition"]
    return require(raw, wanted, ACCESS)
