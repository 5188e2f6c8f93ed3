"""CelebA-HQ (Karras, Aila, Laine, Lehtinen 2018): 30,000 photographs of CelebA, restored to 1024 px.

What it holds, and which part of it each paper uses: docs/papers/datasets.md#celeba-hq.

Layout: the images `<idx>.jpg`, idx from 0, in `CelebA-HQ-img/` (as in CelebAMask-HQ) or `celeba-hq/celeba-<side>/`
(as AttGAN's code has it); the list that leads to CelebA, `CelebA-HQ-to-CelebA-mapping.txt` or `image_list.txt`; and
CelebA's own `list_attr_celeba.txt`, which labels them, with `identity_CelebA.txt` where it was given.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mimik.datasets.celeba_lists import (
    ATTRIBUTE_LIST,
    CELEBA_NAME,
    HQ_SIZES,
    HQ_SPLITS,
    IDENTITY_LIST,
    MAPPINGS,
    AttributeList,
    Origin,
    hq_notes,
    hq_split,
    list_images,
    read_attributes,
    read_mapping,
    read_values,
    require,
    split_choice,
)
from mimik.datasets.listing import Listing

LICENCE = (
    "For non-commercial research only, like CelebA. The photographs come from the internet; do not redistribute them."
)
RESTRICTED = True
CITATION = (
    "T. Karras, T. Aila, S. Laine, J. Lehtinen, Progressive Growing of GANs for Improved Quality, Stability, and "
    "Variation, International Conference on Learning Representations (ICLR), 2018. Z. Liu, P. Luo, X. Wang, X. Tang, "
    "Deep Learning Face Attributes in the Wild, ICCV, 2015."
)
ACCESS = (
    "Put CelebA-HQ into data/raw/celeba_hq/: its images as CelebA-HQ-img/0.jpg to 29999.jpg (they are a part of "
    "CelebAMask-HQ, https://github.com/switchablenorms/CelebAMask-HQ, with CelebA-HQ-to-CelebA-mapping.txt; both can "
    "be links) and list_attr_celeba.txt of CelebA, http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html."
)

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "split": {
        "description": "secgan or official",
        "default": "secgan",
        "meaning": "By the number of the image, 28,000 / 500 / 1,500, or the split of CelebAMask-HQ.",
    }
}
"""What an entry of this dataset may set besides the options of every dataset, for docs/options.md."""

FOLDERS = ("CelebA-HQ-img", *(f"celeba-hq/celeba-{side}" for side in (1024, 512, 256, 128)))
"""Where the images may lie; the first that exists is taken."""

_PARTS = {"images": FOLDERS, "mapping": MAPPINGS, "attributes": (ATTRIBUTE_LIST,)}


def check(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Check options and lists. Raises `UserError` that says what is missing or damaged."""
    split_choice(options, "celeba_hq", tuple(reversed(HQ_SPLITS)))
    parts = require(raw, _PARTS, ACCESS)
    read_attributes(raw / parts["attributes"], CELEBA_NAME)
    read_mapping(raw / parts["mapping"])


def training_faces(options: Mapping[str, Any]) -> int | None:
    """Images of the split `train` in the complete set; None where they are drawn (`per_class`)."""
    split = split_choice(options, "celeba_hq", tuple(reversed(HQ_SPLITS)))
    return None if options.get("per_class") else HQ_SIZES[split][0]


def fetch(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Nothing to fetch: CelebA-HQ is put together by hand. Raises `UserError` when it is not there."""
    require(raw, _PARTS, ACCESS)


def index(raw: Path, options: Mapping[str, Any], seed: int) -> Listing:
    """List the usable images.

    Options:
        classes: default not_smiling, smiling.
        split: `secgan` (default; 28,000, 500 and 1,500 by the number of the image) or `official` (CelebA's, by the
            rule of CelebAMask-HQ; 24,183, 2,993 and 2,824).
        per_class: most images of a class in each split; default: all.

    Raises:
        UserError: a part is missing or damaged, an option is unusable, or a split is empty.
    """
    split = split_choice(options, "celeba_hq", tuple(reversed(HQ_SPLITS)))
    parts = require(raw, _PARTS, ACCESS)
    origins = read_mapping(raw / parts["mapping"])
    attributes = _mapped(read_attributes(raw / parts["attributes"], CELEBA_NAME), origins)
    persons = read_values(raw / IDENTITY_LIST) if (raw / IDENTITY_LIST).exists() else {}
    splits = {name: assigned for name in origins if (assigned := hq_split(split, name, origins))}
    return list_images(
        "celeba_hq",
        raw,
        parts["images"],
        attributes,
        lambda names: splits,
        options,
        seed,
        excuses={},
        identities={name: persons.get(origin.name, "") for name, origin in origins.items()},
        notes=hq_notes(split, origins, origins),
    )


def _mapped(attributes: AttributeList, origins: Mapping[str, Origin]) -> AttributeList:
    """Attributes by names of CelebA-HQ instead of CelebA's."""
    faults = {}
    known = set(attributes.table.index)
    for name, origin in origins.items():
        if origin.name in attributes.faults:
            faults[name] = f"{origin.name}: {attributes.faults[origin.name]}"
        elif origin.name not in known:
            faults[name] = f"{origin.name}, from which it was made, is not in {ATTRIBUTE_LIST}"
    sound = [name for name in origins if name not in faults]
    table = attributes.table.loc[[origins[name].name for name in sound]]
    return AttributeList(table.set_axis(pd.Index(sound, dtype=str)), faults)
