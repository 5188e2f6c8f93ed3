"""Where these runs depart from the published settings: what the scale and the variant change, sizes listed last."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mimik.errors import UserError
from mimik.reporting.plotting import Absent
from mimik.reporting.results import ReportSettings, Result
from mimik.reporting.tabular import EMPTY, Cell, Column, Line, Table
from mimik.settings.complete import published_network
from mimik.settings.external import is_external
from mimik.settings.outside import named_in_file

TITLE = "What differs from the published settings"
CAPTION = (
    "Every setting in which a run differs from the defaults of its method, of its guides and of the networks that it "
    "started from, which are the published ones (small: the default). Changes to the objective, the critic, the output "
    "head or the optimisation come first, because they do more than make things smaller. Mere sizes and lengths follow."
)
PAGES = frozenset({"method", "comparison"})

SIZES = re.compile(r"(^|[_.])(conv_dim|blocks|layers|size|steps)$")
"""Settings (last part of the name) that are sizes or lengths."""

UNSCIENTIFIC = frozenset(
    {
        "log_every",
        "sample_every",
        "checkpoint_seconds",
        "precision",
        "channels_last",
        "compile",
        "graphs",
        "deterministic",
        "accumulate",
        "recompute",
    }
)
"""Settings of the run that do not change the result, or only its rounding; they are left out."""


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names; sequences become lists, so that JSON and dataclasses compare equal."""
    flattened: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flattened.update(flat(value, f"{prefix}{key}."))
        else:
            flattened[prefix + key] = list(value) if isinstance(value, tuple | list) else value
    return flattened


def published(config: Mapping[str, Any]) -> dict[str, Any]:
    """The published settings of a run's method and guides, with dotted names.

    Args:
        config: config.json of the run.

    Returns:
        the defaults of the method's Config; its TRAINING as `training.*`; its CONDITION, over the defaults of
        `ConditionConfig`, as `condition.*`; the defaults of each guide's Config as `guidance.<guide>.*`.
    """
    from mimik.components.conditions import ConditionConfig

    module = named_in_file("methods", config.get("module"), "config.json: module")
    guides = {name: named_in_file("guidance", name, "config.json: guidance") for name in config.get("guidance") or {}}
    return flat(
        {
            **dataclasses.asdict(module.Config()),
            "training": module.TRAINING,
            "condition": dataclasses.asdict(ConditionConfig(**module.CONDITION)),
            "guidance": {name: dataclasses.asdict(guide.Config()) for name, guide in guides.items()},
        }
    )


def differences(result: Result) -> dict[str, tuple[Any, Any]]:
    """{setting: (published, here)} where they differ; empty when config.json does not name the method's file.

    Settings of the training that the method does not publish are compared with `TrainingConfig`'s defaults.
    """
    if not isinstance(result.config.get("module"), str):
        return {}
    from mimik.training.loop import TrainingConfig

    defaults: dict[str, Any] = {
        f"training.{key}": value for key, value in flat(dataclasses.asdict(TrainingConfig())).items()
    }
    defaults.update(published(result.config))
    groups = {group: dict(result.config.get(group) or {}) for group in ("training", "condition", "guidance")}
    if groups["training"].get("epochs") and groups["training"]["epochs"] == defaults.get("training.epochs"):
        # Counted for this dataset; what decides is the number of epochs.
        groups["training"].pop("steps", None)
    defaults.update(_published_networks(result.config))
    start = {key: result.config[key] for key in ("starts_from", "freeze") if result.config.get(key)}
    defaults.update(dict.fromkeys(start))
    here = flat({**dict(result.config.get("config", {})), **groups, **_networks(result.config), **start})
    return {
        key: (defaults.get(key), value)
        for key, value in here.items()
        if key.rpartition(".")[2] not in UNSCIENTIFIC and (key not in defaults or defaults[key] != value)
    }


def _networks(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the networks that a run started from, by kind."""
    return {
        kind: {"config": dict(network.get("config") or {}), "training": dict(network.get("training") or {})}
        for kind, network in dict(config.get("networks") or {}).items()
    }


def _published_networks(config: Mapping[str, Any]) -> dict[str, Any]:
    """Their published settings, with dotted names: the defaults that `_networks` is compared with."""
    made: dict[str, Any] = {}
    for kind, network in _networks(config).items():
        name = network["config"].get("network")
        if name is not None:
            made[kind] = published_network(f"{kind}s", str(name))
    return flat(made)


def build(results: Sequence[Result], settings: ReportSettings) -> Table | Absent:
    """Rows: settings; columns: the results, each with its own default in small type."""
    unknown = {result.method: told for result in results if (told := _unreadable(result))}
    results = [result for result in results if result.method not in unknown]
    changed = {result.method: differences(result) for result in results}
    names = list(dict.fromkeys(name for found in changed.values() for name in found))
    if not names:
        return Absent("; ".join(unknown.values()) or "all settings are the published ones")
    known = {
        result.method: {**published(result.config), **_published_networks(result.config)}
        for result in results
        if isinstance(result.config.get("module"), str)
    }
    lines = []
    for name in sorted(names, key=lambda name: bool(SIZES.search(name))):
        cells = [Cell("size or length" if SIZES.search(name) else "method", muted=True)]
        for result in results:
            if name in changed[result.method]:
                default, here = changed[result.method][name]
                cells.append(Cell(shown(here), f"default {shown(default)}"))
            elif name in known.get(result.method, {}):
                cells.append(Cell("as published", muted=True))
            else:
                cells.append(EMPTY)
        lines.append(Line(name, cells))
    columns = [Column("kind", "Changes", text=True), *(Column(r.method, r.method, text=True) for r in results)]
    return Table("Setting", columns, lines, tuple(f"{name} left out: {told}" for name, told in unknown.items()), True)


def _unreadable(result: Result) -> str:
    """Why the defaults of something from another package cannot be read; empty if they can or are mimik's."""
    guides = (("guidance", name) for name in result.config.get("guidance") or {})
    networks = (("networks", network["config"].get("network")) for network in _networks(result.config).values())
    try:
        for kind, name in (("methods", result.config.get("module")), *guides, *networks):
            if is_external(name):
                named_in_file(kind, name, f"{result.directory / 'config.json'}: {kind}")
    except UserError as error:
        return str(error)
    return ""


def shown(value: Any) -> str:
    """A setting in readable form: yes and no for booleans, short floats, lists with commas."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(shown(item) for item in value)
    return str(value)
