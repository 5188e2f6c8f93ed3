"""How settings override others: groups are merged key by key, anything else is replaced."""

from collections.abc import Mapping
from typing import Any

Settings = dict[str, Any]


def merge_method(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> Settings:
    """`merge` of entries of `methods`, whose `training` has a rule of its own (`merged_training`)."""
    merged = merge(base, overrides)
    if "training" in base and "training" in overrides:
        merged["training"] = merged_training(base["training"], overrides["training"])
    return merged


def merged_training(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> Settings:
    """Settings of the loop with overrides. A length in steps takes the place of one in epochs."""
    in_steps = "steps" in overrides and "epochs" not in overrides
    kept = {key: value for key, value in base.items() if not (in_steps and key in ("epochs", "decay_every"))}
    return merge(kept, overrides)


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> Settings:
    """`base` with `overrides`; where both hold a group of settings, the groups are merged the same way."""
    merged = dict(base)
    for key, value in overrides.items():
        both_groups = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both_groups else value
    return merged
