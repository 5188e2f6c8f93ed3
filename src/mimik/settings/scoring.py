"""Settings of the measurement of pictures that another program made: those of a dataset and scale, without a method.

This module stays light (no torch, no pandas).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mimik.settings import params as resolution
from mimik.settings.merging import merge

MARK = "submitted"
"""Key of config.json under which it says what is known of a method whose pictures were made elsewhere."""


def is_submitted(folder: Path) -> bool:
    """Whether a result folder holds pictures that were made elsewhere. Unreadable files are not a matter for this."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and MARK in config


def told_elsewhere(method: str, submitted: Mapping[str, Any]) -> str:
    """Sentences on where the pictures of a method come from, from what its config.json has under `MARK`."""
    parts = [f"{method}: pictures made elsewhere, measured here", submitted["description"].rstrip(".")]
    licence = submitted["licence"].rstrip(".")
    return ". ".join(part for part in [*parts, licence and f"Licence: {licence}"] if part) + "."


def resolve_scoring(params: Mapping[str, Any], dataset: str, *, by_attribute: bool = False) -> resolution.Settings:
    """What decides which test faces are wanted, and how pictures of them are measured.

    Args:
        params: validated params.
        dataset: an entry of `datasets`.
        by_attribute: attributes are reversed, instead of expressions shown.

    Returns:
        dataset, scale, protocol, seed, image_size, limit (of the test faces, see
        `mimik.evaluation.translation.TranslationSettings`), classifier and reader (folders; the reader may be None),
        evaluation (as of `mimik.settings.params.resolve_evaluation`).

    Raises:
        UserError: params.yaml does not know the dataset.
    """
    resolution.dataset_module(params, dataset)
    scale = resolution.scale_of(params, dataset)
    values = params["scales"][scale]
    reader = resolution.reader_of(params, dataset)
    pretrained = Path("data/pretrained") / dataset
    evaluation = merge(params["evaluation"], values.get("evaluation", {}))
    return {
        "dataset": dataset,
        "scale": scale,
        "protocol": resolution.protocol_of(params) if values.get("equal") else resolution.PROTOCOLS[0],
        "seed": params["seed"],
        "image_size": resolution.image_size_of(params, dataset),
        "limit": merge(params["translation"], values.get("translation", {})).get("limit"),
        "classifier": pretrained / "classifier" / values["attribute_classifier" if by_attribute else "classifier"],
        "reader": None if reader is None else pretrained / "reader" / reader,
        "evaluation": {**merge(evaluation, params["datasets"][dataset].get("evaluation", {})), "seed": params["seed"]},
    }
