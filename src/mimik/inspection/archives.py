"""A report on a dataset's archive before anything is prepared: `mimik data check`."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from mimik.datasets import released_depth
from mimik.datasets.listing import SPLITS, Listing, incomplete
from mimik.datasets.photographs import gaps, require_usable
from mimik.errors import NotFetchedError, UserError
from mimik.faces.action_units import extractors
from mimik.faces.reconstruction import tddfa
from mimik.settings.modules import named

REASONS = 12
"""Most reasons that are printed; the commonest come first."""

PATHS = 3
"""Paths that are printed of each reason."""


def inspect(
    name: str, module: str, raw: Path, options: Mapping[str, Any], seed: int, mirror: Path | None
) -> Iterator[str]:
    """Lines on one dataset: terms, layout, found against expected, faces by class and split, what is left out.

    The archive is read as preparing reads it, headers of images included, but no image is decoded.

    Args:
        name: entry of params.yaml.
        module: its module in `mimik.datasets`, or with a dot in another package.
        raw: folder of the archive.
        options: settings of the dataset.
        seed: of the splits.
        mirror: folder that is searched before any URL.

    Raises:
        UserError: the archive or an option is not usable; the lines before it say where to get the archive.
    """
    dataset = named("datasets", module, f"params.yaml, datasets.{name}.dataset")
    maps = released_depth.wanted(options) and hasattr(dataset, "depth")
    yield name if name == module else f"{name} (a selection of {module})"
    yield f"  access   {dataset.ACCESS}"
    if maps:
        yield f"  access   depth maps: {released_depth.ACCESS}"
    yield f"  licence  {dataset.LICENCE}"
    if maps:
        yield f"  licence  {released_depth.TERMS}"
    yield f"  cite     {dataset.CITATION}"
    model, choice = _checked(dataset, name, raw, options, mirror)
    if model is not None:
        yield f"  depth    {model}"
    try:
        listing = dataset.index(raw, options, seed)
    except NotFetchedError:
        yield "  found    nothing yet; the archive is available, and preparing the dataset fetches it"
    except UserError as error:
        raise _without_access(error, dataset.ACCESS) from error
    else:
        classes = sorted(set(listing.table["expression"]))
        require_usable(listing, raw, options)
        if choice.csv is not None:
            images = len(listing.table)
            listing, origin = extractors.annotate(listing, choice, name, rendered=False)
            require_usable(listing, choice.csv, options, classes)
            strangers = 0 if origin is None else origin.details["rows_without_image"]
            yield (
                f"  units    {len(listing.table):,} of {images:,} images have a usable row in {choice.csv}; "
                f"{strangers:,} names in it belong to no image"
            )
        yield from _contents(listing)
    yield "  usable   yes"


def _checked(
    dataset: ModuleType, name: str, raw: Path, options: Mapping[str, Any], mirror: Path | None
) -> tuple[tddfa.Files | None, extractors.Choice]:
    """What the options name in addition to the archive. Everything that is missing is reported at once.

    Raises:
        UserError: the archive, OpenFace's output or 3DDFA_V2's files are not usable or not there.
    """
    faults = []
    model, choice = None, extractors.Choice("none", None, 0.0)
    try:
        dataset.check(raw, options, mirror)
    except UserError as error:
        faults.append(str(_without_access(error, dataset.ACCESS)))
    try:
        if options.get("reconstruction") == tddfa.CHOICE:
            model = tddfa.Files.find(mirror)
    except UserError as error:
        faults.append(str(error))
    try:
        choice = extractors.Choice.of(name, options, raw)
    except UserError as error:
        faults.append(str(error))
    if faults:
        raise UserError(" In addition, ".join(faults))
    return model, choice


def _without_access(error: UserError, access: str) -> UserError:
    """The same error where the terms of access stand above it already."""
    return UserError(str(error).replace(access, "See `access` above."))


def _contents(listing: Listing) -> Iterator[str]:
    if listing.layout:
        yield f"  layout   {listing.layout}"
    for total in listing.totals:
        yield f"  found    {total}"
    if any(total.expected is not None for total in listing.totals):
        yield f"  release  {'incomplete; what is present can be used' if incomplete(listing) else 'complete'}"
    for note in (*listing.notes, *gaps(listing.table)):
        yield f"  note     {note}"
    if not (listing.table["identity"] != "").any():
        yield "  note     no persons are named: one person may be in both training and test, so results may be too good"
    yield "  images that this dataset's options choose:"
    yield from counted(listing.table)
    yield from left_out(listing.quarantine)


def counted(table: pd.DataFrame) -> Iterator[str]:
    """Counts by class and split, and persons by split."""
    counts = pd.crosstab(table["expression"], table["split"]).reindex(columns=list(SPLITS), fill_value=0)
    known = table[table["identity"] != ""]
    persons = known.groupby("split")["identity"].nunique().reindex(list(SPLITS), fill_value=0)
    rows = [
        (str(label) or "(no label)", [*values, sum(values)])
        for label, values in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    rows.append(("all classes", [*counts.sum(), len(table)]))
    if len(known):
        rows.append(("persons", [*persons, known["identity"].nunique()]))
    width = max(len(label) for label, _ in rows)
    yield f"    {'':{width}}" + "".join(f"{split:>10}" for split in (*SPLITS, "together"))
    for label, values in rows:
        yield f"    {label:{width}}" + "".join(f"{int(value):>10,}" for value in values)


def left_out(quarantine: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """How many images are left out for each reason, with the first paths."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, stage, reason in quarantine:
        groups[stage, reason].append(path)
    yield f"  left out {len(quarantine):,}"
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    for (stage, reason), paths in ordered[:REASONS]:
        more = ", ..." if len(paths) > PATHS else ""
        yield f"    {len(paths):>7,}  {stage}: {reason} ({', '.join(paths[:PATHS])}{more})"
    if len(ordered) > REASONS:
        rest = sum(len(paths) for _, paths in ordered[REASONS:])
        yield f"    {rest:>7,}  for {len(ordered) - REASONS:,} further reasons, each with fewer images"
