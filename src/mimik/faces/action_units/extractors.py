"""Where a dataset's action units come from, and how that is recorded.

The option `action_units` of a dataset of photographs is one of

- `none`: those that the dataset's own annotation holds, if any;
- `geometric`: estimated from the face mesh of every photograph (`mimik.faces.action_units.geometric`);
- `openface`: read from what OpenFace 2 wrote about the photographs (`mimik.faces.action_units.openface`); its place is
  the option `openface_csv`, and `openface_confidence` (0 to 1) the lowest confidence of a row that is used.

Extractors disagree about what an intensity is, so the manifest names the extractor with its version, and what is
trained on action units or compared with them carries that name along.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mimik.datasets.listing import Listing
from mimik.errors import UserError
from mimik.faces.action_units import geometric, openface
from mimik.faces.landmarks import packages
from mimik.labels import ACTION_UNITS

CHOICES: Sequence[str] = ("none", "geometric", "openface")

CONFIDENCE = 0.8
"""Of `openface_confidence` when it is absent."""

STAGE = "action units"
"""Quarantine stage of an image whose action units are wanted and not known."""

RENDERED, ANNOTATED = "rendered", "annotated"
"""Extractors of a dataset with ground truth, and of one that brings action units of its own."""


@dataclass(frozen=True)
class Choice:
    """The options that are read here, checked.

    Attributes:
        extractor: of `CHOICES`.
        csv: OpenFace's file or folder, None without.
        confidence: see the module's docstring.
    """

    extractor: str
    csv: Path | None
    confidence: float

    @classmethod
    def of(cls, dataset: str, options: Mapping[str, Any], raw: Path) -> "Choice":
        """From a dataset's options; `openface_csv` is relative to `raw`, or absolute.

        Raises:
            UserError: a setting is unusable, or nothing is at `openface_csv`.
        """
        where = f"params.yaml, datasets.{dataset}"
        extractor = options.get("action_units") or "none"
        if extractor not in CHOICES:
            raise UserError(f"{where}.action_units: {extractor!r} is unknown; choose one of {', '.join(CHOICES)}.")
        confidence = options.get("openface_confidence", CONFIDENCE)
        if not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
            raise UserError(f"{where}.openface_confidence: expected a number from 0 to 1, found {confidence!r}.")
        if extractor != "openface":
            return cls(extractor, None, 0.0)
        csv = options.get("openface_csv")
        if not isinstance(csv, str) or not csv:
            raise UserError(
                f"{where}.openface_csv: expected the path of OpenFace 2's CSV, or of the folder of its CSVs, found "
                f"{csv!r}. Name it, or choose `action_units: geometric`."
            )
        path = raw / Path(csv).expanduser()
        openface.require(path)
        return cls(extractor, path, float(confidence))


@dataclass(frozen=True)
class Origin:
    """Where action units come from.

    Attributes:
        extractor: its name. version: its version, empty where there is none.
        details: files, digests, counts.
    """

    extractor: str
    version: str
    details: Mapping[str, Any]

    def record(self) -> dict[str, Any]:
        """As it stands in a manifest."""
        return {"extractor": self.extractor, "version": self.version, **self.details}


def annotate(listing: Listing, choice: Choice, dataset: str, rendered: bool) -> tuple[Listing, Origin | None]:
    """Add the action units that are known before a photograph is opened, and say where all of them come from.

    With OpenFace, images without a usable row go to the quarantine, each with its reason.

    Args:
        listing: of the dataset.
        choice: of the dataset.
        dataset: its name.
        rendered: whether it is rendered with ground truth.

    Returns:
        the listing, and the origin; None when there will be no action units.

    Raises:
        UserError: the choice does not fit the dataset, OpenFace's output cannot be read, or fits none of the images.
    """
    own = [name for name in ACTION_UNITS if name in listing.table]
    if choice.extractor == "none":
        if len(own) < len(ACTION_UNITS):
            return listing, None
        return listing, Origin(RENDERED if rendered else ANNOTATED, "" if rendered else dataset, {})
    if rendered or own:
        raise UserError(
            f"params.yaml, datasets.{dataset}.action_units: '{choice.extractor}', but the dataset has action units of "
            "its own, and two extractors must not be mixed. Set `none`."
        )
    if choice.csv is None:
        (mesh,) = packages("mediapipe", mesh=True)
        return listing, Origin(geometric.NAME, geometric.version(mesh), {})
    readings = openface.read(choice.csv, choice.confidence)
    sources = listing.table["source"].tolist()
    matched = openface.match(readings, sources)
    if len(matched.faults) == len(sources):
        position, reason = next(iter(matched.faults.items()), (0, "there are no images"))
        raise UserError(
            f"{choice.csv}: matches none of the {len(sources)} images of {dataset}; {sources[position]}: {reason}. The "
            "images have to be named like the dataset's files, with or without folder and ending."
        )
    kept = [position for position in range(len(sources)) if position not in matched.faults]
    table = listing.table.iloc[kept].reset_index(drop=True)
    table[list(ACTION_UNITS)] = matched.units[kept].astype(float).round(4)
    excuses = [(sources[position], STAGE, reason) for position, reason in matched.faults.items()]
    if matched.unused:
        told = ", ".join(matched.unused[:3])
        print(f"{choice.csv}: {len(matched.unused)} images are not in {dataset} ({told}, ...)", file=sys.stderr)
    details = {
        "csv": str(choice.csv),
        "csv_sha256": readings.sha256,
        "confidence": choice.confidence,
        "images_without": len(matched.faults),
        "rows_without_image": len(matched.unused),
        "first_rows_without_image": list(matched.unused[:5]),
    }
    changed = replace(listing, table=table, quarantine=sorted([*listing.quarantine, *excuses]))
    return changed, Origin(openface.NAME, openface.VERSION, details)
