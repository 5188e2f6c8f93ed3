"""What CelebA and the two sets made from it share: lists of attributes, partitions and persons, the mapping, splits.

What the three hold: docs/papers/datasets.md#celeba.

The lists are texts of fields separated by blanks. A list whose structure is broken (a line with too few fields, another
number of lines than line 1 says) was cut off or edited and is refused. A wrong value concerns one image, which is
then left out with the reason.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mimik.datasets.listing import ATTRIBUTE, SPLITS, Listing
from mimik.datasets.lists import Listed
from mimik.datasets.photographs import (
    EXCLUDED,
    FAULT,
    UNKNOWN,
    classes_option,
    identifier,
    make_listing,
    require_usable,
    seeded_rank,
    setting,
)
from mimik.datasets.tree import elsewhere, look
from mimik.errors import UserError
from mimik.labels import CELEBA_ATTRIBUTES

CLASSES = ("not_smiling", "smiling")
"""The expressions: `Smiling` is the one attribute of the 40 that is an expression. A label is its value."""

ATTRIBUTE_LIST = "list_attr_celeba.txt"
IDENTITY_LIST = "identity_CelebA.txt"
MAPPINGS = ("CelebA-HQ-to-CelebA-mapping.txt", "image_list.txt")
"""Names of the list that leads from CelebA-HQ to CelebA: in CelebAMask-HQ, and in progressive GAN's repository."""

CELEBA_NAME = re.compile(r"\d{6}\.jpg")
HQ_NAME = re.compile(r"(?:0|[1-9]\d{0,4})\.jpg")

HQ_SPLITS = ("official", "secgan")

HQ_SIZES = {"official": (24_183, 2_993, 2_824), "secgan": (28_000, 500, 1_500)}
"""Images of train, val and test in the complete set."""


@dataclass
class AttributeList:
    """Attributes of images.

    Attributes:
        table: int8 of 0 and 1, one row per image with its name as the index, columns `attribute_<name>` in the order
            of `CELEBA_ATTRIBUTES`.
        faults: reason why an image is listed in vain, by its name.
        order: the name in every line of the list, faulty and repeated ones included.
    """

    table: pd.DataFrame
    faults: dict[str, str] = field(default_factory=dict)
    order: Sequence[str] = ()


@dataclass(frozen=True)
class Origin:
    """Where an image of CelebA-HQ comes from: its 0-based position in CelebA, and its name there."""

    position: int
    name: str


def first_existing(raw: Path, candidates: Iterable[str]) -> str | None:
    """The first of `candidates` (relative to `raw`) that exists."""
    return next((name for name in candidates if (raw / name).exists()), None)


def require(raw: Path, wanted: Mapping[str, Sequence[str]], access: str) -> dict[str, str]:
    """Find the parts of an archive.

    Args:
        raw: folder of the archive.
        wanted: by any key, the paths below `raw` at which a part may lie.
        access: where to get the archive.

    Returns:
        the first existing path of each part.

    Raises:
        UserError: parts are missing; all of them are named, and what lies elsewhere under their names.
    """
    found = {key: first_existing(raw, candidates) for key, candidates in wanted.items()}
    if missing := [" or ".join(wanted[key]) for key, path in found.items() if path is None]:
        astray = elsewhere(raw, [path for key, place in found.items() if place is None for path in wanted[key]])
        raise UserError(" ".join(filter(None, [f"{raw}: {'; '.join(missing)} is missing.", astray, access])))
    return {key: path for key, path in found.items() if path is not None}


def read_attributes(path: Path, pattern: re.Pattern[str]) -> AttributeList:
    """Read a list of attributes: the number of images, the 40 names, then a line of 1 and -1 for every image.

    Args:
        path: the list.
        pattern: what the name of an image looks like.

    Raises:
        UserError: no such file, or its structure is broken; line and expectation are named.
    """
    lines = _lines(path)
    header = lines[1].split() if len(lines) > 1 else []
    if sorted(header) != sorted(CELEBA_ATTRIBUTES):
        unknown = sorted(set(header) ^ set(CELEBA_ATTRIBUTES))[:3]
        raise UserError(
            f"{path}, line 2: expected the names of CelebA's 40 attributes, found {len(header)} names; the first "
            f"that do not fit: {', '.join(unknown) or 'repeated ones'}. Get the list again."
        )
    if not lines[0].strip().isdecimal() or int(lines[0]) != len(lines) - 2:
        raise UserError(
            f"{path}, line 1: expected the number of images, of which {len(lines) - 2:,} are listed; found "
            f"{lines[0].strip()[:40]!r}. The list was cut off or edited; get it again."
        )
    rows: dict[str, bytes] = {}
    faults: dict[str, str] = {}
    for number, line in enumerate(lines[2:], 3):
        name, *values = line.split() or [""]
        if len(values) != len(header):
            raise UserError(
                f"{path}, line {number}: expected the name of an image and {len(header)} values, found "
                f"{len(values)} values. The list is damaged; get it again."
            )
        row = bytes([value == "1" for value in values])
        if not pattern.fullmatch(name):
            faults[name] = f"listed in {path.name}, line {number}, under a name that no image of this set has"
        elif wrong := set(values) - {"1", "-1"}:
            faults[name] = f"attribute values other than 1 and -1 in {path.name}: {', '.join(sorted(wrong))}"
        elif rows.setdefault(name, row) != row:
            faults[name] = f"listed twice in {path.name} with different attributes"
    sound = [name for name in rows if name not in faults]
    values_of = np.frombuffer(b"".join(rows[name] for name in sound), np.int8).reshape(-1, len(header))
    table = pd.DataFrame(values_of, index=sound, columns=[ATTRIBUTE + name for name in header])
    order = [(line.split() or [""])[0] for line in lines[2:]]
    return AttributeList(table[[ATTRIBUTE + name for name in CELEBA_ATTRIBUTES]], faults, order)


def read_values(path: Path) -> dict[str, str]:
    """Read a list of names and one value each, such as partitions and persons.

    Returns:
        value by name; `UNKNOWN` for a name that is listed with two values.

    Raises:
        UserError: no such file, or a line does not hold two fields.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        fields = line.split()
        if len(fields) != 2:
            raise UserError(
                f"{path}, line {number}: expected the name of an image and one value, found {len(fields)} fields. "
                "The list is damaged; get it again."
            )
        name, value = fields
        if values.setdefault(name, value) != value:
            values[name] = UNKNOWN
    return values


def read_mapping(path: Path) -> dict[str, Origin]:
    """Read the list that leads from CelebA-HQ to CelebA: a header, then idx, orig_idx, orig_file and perhaps more.

    Returns:
        origin of each image of CelebA-HQ by its name, `<idx>.jpg`.

    Raises:
        UserError: no such file, a line without these three, or an image twice.
    """
    origins: dict[str, Origin] = {}
    lines = _lines(path)
    if lines[0].split()[:3] != ["idx", "orig_idx", "orig_file"]:
        raise UserError(
            f"{path}, line 1: expected the header 'idx orig_idx orig_file', found {lines[0].strip()[:60]!r}. Get the "
            "list again."
        )
    for number, line in enumerate(lines[1:], 2):
        fields = line.split()
        sound = len(fields) >= 3 and fields[0].isdecimal() and fields[1].isdecimal()
        if not sound or f"{int(fields[0])}.jpg" in origins:
            raise UserError(
                f"{path}, line {number}: expected two numbers, the first not listed before, and the name of an image "
                f"of CelebA; found {line.strip()[:60]!r}. The list is damaged; get it again."
            )
        origins[f"{int(fields[0])}.jpg"] = Origin(int(fields[1]), fields[2])
    return origins


def hq_split(split: str, name: str, origins: Mapping[str, Origin]) -> str | None:
    """Split of an image of CelebA-HQ; None where it cannot be said.

    Args:
        split: `official`: the rule of CelebAMask-HQ's g_partition.py, CelebA's partition by the position there.
            Its bounds suit positions from 1, but orig_idx counts from 0; the rule is kept as it is. `secgan`: by the
            number of the image, 28,000, 500 and 1,500 (Sun et al., section 4.1; the code of AttGAN).
        name: `<idx>.jpg`.
        origins: of `read_mapping`.
    """
    if split == "secgan":
        position, bounds = int(Path(name).stem), (28_000, 28_500)
    elif name in origins:
        position, bounds = origins[name].position, (162_771, 182_638)
    else:
        return None
    return SPLITS[sum(position >= bound for bound in bounds)]


def hq_notes(split: str, names: Iterable[str], origins: Mapping[str, Origin]) -> list[str]:
    """What to tell about splits and mapping of a set of CelebA-HQ images."""
    splits = {name: assigned for name in names if (assigned := hq_split(split, name, origins))}
    notes = [split_note(split, splits.values(), HQ_SIZES[split])]
    shifted = [name for name, origin in origins.items() if origin.name != f"{origin.position + 1:06d}.jpg"]
    if shifted:
        notes.append(
            f"for {len(shifted):,} of {len(origins):,} images orig_file is not orig_idx + 1 (first: {shifted[0]}); "
            "labels follow orig_file, the split orig_idx"
        )
    return notes


def split_note(split: str, splits: Iterable[str], complete: Sequence[int]) -> str:
    """The sizes of a split as listed, against those of the complete set."""
    counts = Counter(splits)
    listed = [counts[name] for name in SPLITS]
    told = ", ".join(f"{name} {count:,}" for name, count in zip(SPLITS, listed, strict=True))
    if listed == list(complete):
        return f"split {split}: {told} images are listed, as in the complete set"
    expected = ", ".join(f"{name} {count:,}" for name, count in zip(SPLITS, complete, strict=True))
    return f"split {split}: {told} images are listed, but the complete set has {expected}"


def split_choice(options: Mapping[str, Any], module: str, known: Sequence[str]) -> str:
    """Check the options that the three sets share, and return `split`: one of `known`, the first when it is absent.

    Raises:
        UserError: `classes`, `per_class` or `split` is unusable.
    """
    classes_option(options, module, CLASSES, CLASSES)
    count_option(options, "per_class", module)
    value = options.get("split", known[0])
    if value not in known:
        raise UserError(
            f"{setting(options, module, 'split')}: {value!r} is not usable; choose one of {', '.join(known)}."
        )
    return str(value)


def count_option(options: Mapping[str, Any], key: str, module: str) -> int | None:
    """An option that is a whole number above 0, or None. Raises `UserError` for another value."""
    value = options.get(key)
    if value is not None and (type(value) is not int or value < 1):
        raise UserError(
            f"{setting(options, module, key)}: {value!r} is not usable; give a whole number above 0, or nothing."
        )
    return value


def list_images(
    module: str,
    raw: Path,
    folder: str,
    attributes: AttributeList,
    splits: Callable[[Sequence[str]], Mapping[str, str]],
    options: Mapping[str, Any],
    seed: int,
    *,
    excuses: Mapping[str, str],
    identities: Mapping[str, str],
    further: Mapping[str, str] | None = None,
    notes: Iterable[str] = (),
) -> Listing:
    """The usable images of a folder with their attributes.

    Options read here: `classes` (default both of `CLASSES`) and `per_class`, the most images of a class in each
    split, drawn under the seed (default: all).

    Args:
        module: of the dataset, for messages.
        raw: folder of the archive.
        folder: the images' folder, relative to `raw`.
        attributes: of the listed images.
        splits: split of each of the names it is given, which are listed, present and without excuse.
        options: of the dataset.
        seed: of the draw.
        excuses: further reasons why images are at fault, by name.
        identities: person by name of the image, where known.
        further: further columns with one value for all rows.
        notes: what else to tell.

    Returns:
        the listing, with one column per attribute.

    Raises:
        UserError: an option is unusable, or a split is empty.
    """
    classes = classes_option(options, module, CLASSES, CLASSES)
    per_class = count_option(options, "per_class", module)
    listed = set(attributes.table.index.tolist())
    tree = look(raw / folder)
    listed_files = Listed.of(sorted(listed), tree, raw / folder, "the list of attributes")
    found = {*tree.images, *(listed_files.files & listed)}
    left_out: dict[str, tuple[str, str]] = {}
    usable = []
    for name in sorted(listed | found | attributes.faults.keys() | tree.unread.keys()):
        if name in attributes.faults:
            left_out[name] = (FAULT, attributes.faults[name])
        elif name not in listed:
            left_out[name] = (FAULT, tree.unread.get(name, "not in the list of attributes"))
        elif name not in found:
            left_out[name] = (FAULT, tree.unread.get(name, "listed, but there is no such file"))
        elif name in excuses:
            left_out[name] = (FAULT, excuses[name])
        else:
            usable.append(name)
    assigned = splits(usable)
    smiling = attributes.table[f"{ATTRIBUTE}Smiling"]
    expressions = {name: CLASSES[value] for name, value in zip(smiling.index.tolist(), smiling.tolist(), strict=True)}
    rows = []
    counts: Counter[tuple[str, str]] = Counter()
    for name in sorted(usable, key=lambda name: seeded_rank(seed, name)) if per_class else usable:
        group = (assigned[name], expressions[name])
        if expressions[name] not in classes:
            left_out[name] = (EXCLUDED, f"expression {expressions[name]} is not among `classes`")
        elif per_class and counts[group] == per_class:
            left_out[name] = (
                EXCLUDED,
                f"beyond the {per_class} images of {group[1]} in {group[0]} that `per_class` keeps",
            )
        else:
            counts[group] += 1
            rows.append(
                {
                    "id": identifier(name),
                    "split": assigned[name],
                    "source": f"{folder}/{name}",
                    "expression": expressions[name],
                    "identity": identities.get(name, UNKNOWN),
                    **(further or {}),
                }
            )
    quarantine = [(f"{folder}/{name}", *excuse) for name, excuse in left_out.items()]
    listing = make_listing(rows, quarantine)
    # Joined as one block of numbers: a dict of forty more entries per row would take gigabytes.
    names = [source.removeprefix(f"{folder}/") for source in listing.table["source"]]
    block = attributes.table.loc[names].reset_index(drop=True)
    table = pd.concat([listing.table, block], axis=1)
    told = (*notes, *([listed_files.note] if listed_files.note else []), *tree.notes())
    return require_usable(replace(listing, table=table, notes=told), raw, options)


def _lines(path: Path) -> list[str]:
    """Lines of a list without the empty ones at its end; at least one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file. Put it there; it belongs to the archive.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: expected a text file, but it cannot be read ({error}). Get it again.") from error
    if not lines:
        raise UserError(f"{path}: the file is empty. Get it again.")
    return lines
