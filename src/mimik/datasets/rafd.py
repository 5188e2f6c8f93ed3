"""RaFD, the Radboud Faces Database (Langner et al. 2010), given out on request.

What it holds, and which part of it each paper uses: docs/papers/datasets.md#rafd.

Layout: `Rafd<angle>_<model>_<ethnicity>_<gender>_<expression>_<gaze>.jpg`, such as
`Rafd090_28_Caucasian_male_angry_frontal.jpg`, in one folder or in any tree of folders. A complete release has 67 models
with 8 expressions, 3 directions of gaze and 5 cameras each: 8,040 photographs. The models' numbers go up to 73, six of
them were never given. Everything about a photograph is in its name, so that folders may be named at will.

Every model is in one split. The published subsets choose cameras and expressions, and put 7 models into the test split;
which ones was never published, so they are drawn with the seed. No paper has a validation split: `val` takes further
models from those that train.

With `reconstruction: released` photographs that train or validate are those of RaFD-D
(`mimik.datasets.released_depth`), whose maps lie in `depth/`; no photograph is looked for there.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mimik.datasets import released_depth
from mimik.datasets.listing import SPLITS, Listing, Total
from mimik.datasets.photographs import (
    EXCLUDED,
    FAULT,
    classes_option,
    drop_same_bytes,
    file_fault,
    flag_option,
    make_listing,
    require_usable,
    seeded_rank,
    setting,
    split_by_group,
    split_option,
)
from mimik.datasets.released_depth import depth as depth
from mimik.datasets.released_depth import depth_files as depth_files
from mimik.datasets.tree import Tree, look
from mimik.errors import UserError
from mimik.labels import EXPRESSIONS

LICENCE = (
    "Available from Radboud University under an agreement, for non-commercial research; no redistribution. Its terms "
    "limit which faces may be shown in publications, especially those of children."
)
RESTRICTED = True
CITATION = (
    "O. Langner, R. Dotsch, G. Bijlstra, D. H. J. Wigboldus, S. T. Hawk, A. van Knippenberg, Presentation and "
    "validation of the Radboud Faces Database, Cognition and Emotion 24(8), 1377-1388, 2010."
)
ACCESS = (
    "Request the Radboud Faces Database at https://rafd.nl (for researchers, after an agreement). Put the photographs "
    "with their own names, such as Rafd090_28_Caucasian_male_angry_frontal.jpg, into data/raw/rafd/, in subfolders or "
    "not (a link to another disk will do)."
)

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "angles": {
        "description": "a list of 0, 45, 90, 135, 180",
        "default": "all of them",
        "meaning": "Cameras to keep; 90 is in front.",
    },
    "gazes": {
        "description": "a list of left, frontal, right",
        "default": "all of them",
        "meaning": "Gaze directions to keep.",
    },
    "include_kids": {
        "description": "true or false",
        "default": False,
        "meaning": "Also use the ten children; the published counts include them.",
    },
    "split": {
        "description": "{train: SHARE, val: SHARE, test: SHARE}, which add up to 1",
        "default": {"train": 0.8, "val": 0.1, "test": 0.1},
        "meaning": "Shares of the models, for splits whose number is not set.",
    },
    "test_identities": {
        "description": "a whole number above 0, or a list of models' numbers",
        "default": "by `split`",
        "meaning": "The number of test models (drawn with the seed), or a list of them.",
    },
    "val_identities": {
        "description": "a whole number above 0, or a list of models' numbers",
        "default": "by `split`",
        "meaning": "The same for `val`.",
    },
}
"""What an entry of this dataset may set besides the options of every dataset, for docs/options.md."""

ANGLES: Mapping[str, int] = {"000": 0, "045": 45, "090": 90, "135": 135, "180": 180}
"""Cameras by the name that they have in file names; 90 is in front of the face."""

GAZES = ("left", "frontal", "right")
ETHNICITIES = ("Caucasian", "Moroccan", "Kid")
GENDERS = ("female", "male")

TOKENS: Mapping[str, str] = dict(
    zip(
        ("neutral", "happy", "sad", "surprised", "fearful", "disgusted", "angry", "contemptuous"),
        EXPRESSIONS,
        strict=True,
    )
)
"""Expression of each word in file names."""

MODELS: Sequence[str] = tuple(f"{number:02d}" for number in range(1, 74) if number not in (6, 13, 17, 34, 62, 66))
"""Numbers of the 67 models."""

PHOTOGRAPHS = len(MODELS) * len(ANGLES) * len(TOKENS) * len(GAZES)
"""Photographs of the complete release: 8,040."""

_NAME = re.compile(r"Rafd([0-9]+)_([0-9]+)_([A-Za-z]+)_([A-Za-z]+)_([A-Za-z]+)_([A-Za-z]+)")
_CONVENTION = "Rafd<angle>_<model>_<ethnicity>_<gender>_<expression>_<gaze>"


class _Photograph(NamedTuple):
    """What a file name says, in the words of the file name."""

    angle: str
    model: str
    ethnicity: str
    gender: str
    expression: str
    gaze: str

    @property
    def shot(self) -> tuple[str, str, str, str]:
        """What there is one photograph of."""
        return self.angle, self.model, self.expression, self.gaze


class _Options(NamedTuple):
    classes: list[str]
    angles: list[int]
    gazes: list[str]
    include_kids: bool
    shares: dict[str, float]
    chosen: dict[str, int | list[str]]
    """Models of a split, or how many of them are drawn; of `test` and `val`, where they are given."""


def check(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Check the options, and that photographs with RaFD's names are at `raw`. Raises `UserError`."""
    _options(options)
    released_depth.check_with_maps(raw, options, lambda: _parsed(raw, look(raw)))


def training_faces(options: Mapping[str, Any]) -> int | None:
    """Photographs of the split `train` in the complete set; None where models are left out or drawn by shares."""
    chosen = _options(options)
    held = [len(models) if isinstance(models, list) else models for models in chosen.chosen.values()]
    if not chosen.include_kids or len(held) < 2:
        return None
    return (len(MODELS) - sum(held)) * len(chosen.classes) * len(chosen.gazes) * len(chosen.angles)


def fetch(raw: Path, options: Mapping[str, Any], mirror: Path | None) -> None:
    """Nothing to fetch: RaFD is given out on request only. Raises `UserError` when it is not there."""
    check(raw, options, mirror)


def index(raw: Path, options: Mapping[str, Any], seed: int) -> Listing:
    """List the usable photographs.

    Options:
        classes: expressions to keep; default all eight.
        angles: cameras to keep, of 0, 45, 90 (in front), 135 and 180; default all.
        gazes: directions of gaze to keep, of left, frontal and right; default all.
        include_kids: also take the ten children; default false.
        split: shares of the models that are train, val and test; default 0.8, 0.1, 0.1. A model is in one split.
        test_identities, val_identities: the models of that split: how many (drawn with the seed), or a list of their
            numbers. Where they are given `split` divides the other models only, in the ratio of the other shares.
        reconstruction: with "released" only photographs with a map train and validate; the table has `depth_map`.

    Further columns are `yaw` (degrees, angle - 90: the camera's, whatever the head does) and `gaze`; `identity` is the
    model's number.

    Raises:
        UserError: no photograph with a name of RaFD's, an unusable option, or an empty split.
    """
    wanted = _options(options)
    tree = look(raw)
    parsed, left_out = _parsed(raw, tree)
    sound: dict[str, str] = {}
    shots: dict[tuple[str, ...], str] = {}
    for path, photograph in parsed.items():
        if fault := file_fault(raw / path):
            left_out[path] = (FAULT, fault)
        elif photograph.shot in shots:
            left_out[path] = (FAULT, f"the same photograph as {shots[photograph.shot]}, by its name")
        else:
            shots[photograph.shot] = path
            sound[path] = TOKENS[photograph.expression]
    totals = _totals([parsed[path] for path in sound])
    left_out |= {path: (FAULT, reason) for path, reason in drop_same_bytes(raw, sound).items()}
    kept = []
    for path in sound:
        if excuse := _excuse(parsed[path], wanted):
            left_out[path] = (EXCLUDED, excuse)
        else:
            kept.append(path)
    splits = _splits({parsed[path].model for path in kept}, wanted, options, seed)
    rows = [
        {
            "id": PurePosixPath(path).stem,
            "split": splits[parsed[path].model],
            "source": path,
            "expression": sound[path],
            "identity": parsed[path].model,
            "yaw": ANGLES[parsed[path].angle] - 90,
            "gaze": parsed[path].gaze,
        }
        for path in kept
    ]
    layout = "in folders" if any("/" in path for path in parsed) else "in one folder"
    quarantine = [(path, *excuse) for path, excuse in left_out.items()]
    listing = make_listing(rows, quarantine, f"photographs {layout}", totals, tree.notes())
    if released_depth.wanted(options):
        maps = released_depth.find_maps(raw)
        listing = released_depth.with_maps(listing, raw, maps, SPLITS, released_depth.RAFD_D)
    return require_usable(listing, raw, options)


def _options(options: Mapping[str, Any]) -> _Options:
    chosen = {
        split: models
        for split in ("test", "val")
        if (models := _identities(options, f"{split}_identities")) is not None
    }
    return _Options(
        classes_option(options, "rafd", EXPRESSIONS, EXPRESSIONS),
        _some_of(options, "angles", list(ANGLES.values())),
        _some_of(options, "gazes", list(GAZES)),
        flag_option(options, "include_kids", False, "rafd"),
        split_option(options, "rafd"),
        chosen,
    )


def _some_of(options: Mapping[str, Any], key: str, known: Sequence[Any]) -> list[Any]:
    """A list of different ones of `known`; all of them when the option is absent or empty."""
    values = options.get(key) or list(known)
    if (
        not isinstance(values, list | tuple)
        or any(isinstance(value, bool) or value not in known for value in values)
        or len(set(values)) != len(values)
    ):
        raise UserError(
            f"{setting(options, 'rafd', key)}: {values!r} is not usable; give a list of different ones of "
            f"{', '.join(map(str, known))}."
        )
    return list(values)


def _identities(options: Mapping[str, Any], key: str) -> int | list[str] | None:
    """A number of models, or models by their numbers, as they stand in file names."""
    value = options.get(key)
    if value is None:
        return None
    if type(value) is int and value >= 1:
        return value
    if isinstance(value, list | tuple) and value and all(type(number) is int for number in value):
        models = [f"{number:02d}" for number in value]
        if len(set(models)) == len(models) and set(models) <= set(MODELS):
            return models
    raise UserError(
        f"{setting(options, 'rafd', key)}: {value!r} is not usable; give how many models, at least 1, or a list of "
        "different numbers of models, written without leading zeros."
    )


def _parsed(raw: Path, tree: Tree) -> tuple[dict[str, _Photograph], dict[str, tuple[str, str]]]:
    """Photographs by path, and the images whose names are not RaFD's, or that are not read, with the reason."""
    if not raw.is_dir():
        raise UserError(f"{raw}: no such folder. {ACCESS}")
    parsed: dict[str, _Photograph] = {}
    maps = f"{released_depth.MAPS}/"
    left_out = {path: (FAULT, reason) for path, reason in tree.unread.items() if not path.startswith(maps)}
    for path in tree.images:
        if path.startswith(maps):
            continue
        found = _parse(PurePosixPath(path).stem)
        if isinstance(found, str):
            left_out[path] = (FAULT, found)
        else:
            parsed[path] = found
    if not parsed:
        told = "no image"
        if left_out:
            path, (_, reason) = next(iter(left_out.items()))
            told = f"none of the {len(left_out)} images has a name of RaFD's ({path}: {reason})"
        raise UserError(f"{raw}: {told}. {ACCESS}")
    return parsed, left_out


def _parse(stem: str) -> _Photograph | str:
    """What a file name without its ending says, or what is wrong with it."""
    match = _NAME.fullmatch(stem)
    if match is None:
        return f"the name is not {_CONVENTION}"
    found = _Photograph(*match.groups())
    for what, word, known in (
        ("angle", found.angle, ANGLES),
        ("model", found.model, MODELS),
        ("ethnicity", found.ethnicity, ETHNICITIES),
        ("gender", found.gender, GENDERS),
        ("expression", found.expression, TOKENS),
        ("gaze", found.gaze, GAZES),
    ):
        if word not in known:
            return f"unknown {what} {word!r} in the name"
    return found


def _excuse(photograph: _Photograph, wanted: _Options) -> str | None:
    """Why a sound photograph is left out, or None."""
    if ANGLES[photograph.angle] not in wanted.angles:
        return f"angle {photograph.angle} is not among `angles`"
    if photograph.gaze not in wanted.gazes:
        return f"gaze {photograph.gaze} is not among `gazes`"
    if TOKENS[photograph.expression] not in wanted.classes:
        return f"expression {TOKENS[photograph.expression]} is not among `classes`"
    if photograph.ethnicity == "Kid" and not wanted.include_kids:
        return "a child, and `include_kids` is false"
    return None


def _totals(photographs: Sequence[_Photograph]) -> list[Total]:
    """Photographs and models against the complete release; what is missing of the models that are there, by name."""
    people: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for photograph in photographs:
        people[photograph.model][photograph.ethnicity, photograph.gender] += 1
    there = {photograph.shot for photograph in photographs}
    missing = [
        f"Rafd{angle}_{model}_{'_'.join(people[model].most_common(1)[0][0])}_{expression}_{gaze}.jpg"
        for model, angle, expression, gaze in product(sorted(people), ANGLES, TOKENS, GAZES)
        if (angle, model, expression, gaze) not in there
    ]
    absent = [f"model {model}" for model in MODELS if model not in people]
    return [
        Total("photographs", len(there), PHOTOGRAPHS, missing or absent),
        Total("models", len(people), len(MODELS), absent),
    ]


def _splits(models: set[str], wanted: _Options, options: Mapping[str, Any], seed: int) -> dict[str, str]:
    """Split of each model. Shares are those of models: all of them show the same."""
    free = set(models)
    splits: dict[str, str] = {}
    # Lists first: a number is drawn from what they leave.
    for split, asked in sorted(wanted.chosen.items(), key=lambda item: isinstance(item[1], int)):
        where = setting(options, "rafd", f"{split}_identities")
        if isinstance(asked, int):
            if asked > len(free):
                raise UserError(f"{where}: {asked} models are requested, but only {len(free)} are left to draw from.")
            chosen = sorted(free, key=lambda model: seeded_rank(seed, f"{split} {model}"))[:asked]
        else:
            chosen = asked
            if absent := [model for model in asked if model not in free]:
                raise UserError(
                    f"{where}: the models {', '.join(absent)} have no usable photograph, or are already in another "
                    "split. Remove them."
                )
        splits |= dict.fromkeys(chosen, split)
        free -= set(chosen)
    rest = sorted(free)
    shares = {split: share for split, share in wanted.shares.items() if split not in wanted.chosen}
    shares = {split: share / sum(shares.values()) for split, share in shares.items()}
    return splits | dict(zip(rest, split_by_group(rest, [""] * len(rest), shares, seed), strict=True))
