"""Modules that are chosen by name: those of mimik's own folders, and, with a dot, those of other packages.

A name from a file of data or results never reaches an import here: `mimik.settings.outside.named_in_file` checks it
first.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType

from mimik.errors import UserError, unknown_name
from mimik.settings import external

PACKAGE = Path(__file__).parents[1]
"""The folder of mimik itself."""

FOLDERS: Mapping[str, str] = MappingProxyType(
    {
        "datasets": "datasets",
        "methods": "methods",
        "guidance": "guidance",
        "networks": "networks",
        "metrics": "evaluation.metrics",
        "tables": "reporting.tables",
        "figures": "reporting.figures",
    }
)
"""Kinds of modules that are chosen by name, with the folder of mimik where each is found."""

_LOSSES = {
    f"{{0}}.{update}_{part}": f"of the update `{update}`"
    for update in ("discriminator", "generator")
    for part in ("loss", "parameters")
}

CONTRACTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "datasets": {
            "LICENCE": "a text",
            "CITATION": "a text",
            "ACCESS": "a text: where to get it",
            "RESTRICTED": "True or False: whether what is made from it must not be passed on",
            "check": "check(raw, options, mirror)",
            "fetch": "fetch(raw, options, mirror)",
            "index": "index(raw, options, seed) -> mimik.datasets.listing.Listing",
        },
        "methods": {
            "Config": "a frozen dataclass: its settings",
            "TRAINING": "a mapping: its schedule, overrides of TrainingConfig",
            "CONDITION": "a mapping: its conditioning, overrides of ConditionConfig",
            "Method": "a torch.nn.Module, Method(config, context)",
            **{key.format("Method"): text for key, text in _LOSSES.items()},
            "Method.translate": "translate(images, source, target)",
            "Method.generator_state": "generator_state()",
            "Method.load_generator_state": "load_generator_state(state)",
        },
        "guidance": {
            "Config": "a frozen dataclass: its settings",
            "Guide": "a torch.nn.Module, Guide(config, context)",
            **{key.format("Guide"): text for key, text in _LOSSES.items()},
        },
        "networks": {
            "TRAINING": "a mapping: its schedule, overrides of TrainingConfig",
            "Network": "a torch.nn.Module, Network(outputs, width)",
        },
        "metrics": {
            "NAMES": "the entries of metrics.json that it makes",
            "PROTOCOL": "a text: what is measured on what",
            "HIGHER_IS_BETTER": "True, False or None for each name",
            "UNIT": "a text for each name",
            "FORMAT": "a format such as '{:.3f}' for each name",
            "compute": "compute(measurements) -> entries by name",
        },
        "tables": {
            "TITLE": "a text",
            "CAPTION": "a text",
            "PAGES": "a frozenset of 'method' and 'comparison'",
            "build": "build(results, settings) -> Table or Absent",
        },
        "figures": {
            "TITLE": "a text",
            "CAPTION": "a text",
            "PAGES": "a frozenset of 'method' and 'comparison'",
            "draw": "draw(results, settings) -> Drawing or Absent",
        },
    }
)
"""What a module of each kind offers (docs/architecture.md, Contracts), with a word on each; `Method.translate` is an
attribute of a class."""


@cache
def names(kind: str) -> tuple[str, ...]:
    """The modules and packages of mimik of a kind (of `FOLDERS`), sorted; none that begins with `_`."""
    folder = PACKAGE.joinpath(*FOLDERS[kind].split("."))
    found = {entry.stem for entry in folder.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file()}
    return tuple(sorted(name for name in found if not name.startswith(("_", "."))))


def full_name(kind: str, name: str) -> str:
    """The name by which Python imports a module of a kind."""
    return name if external.is_external(name) else f"{external.OWN}.{FOLDERS[kind]}.{name}"


def fault(kind: str, name: object) -> str | None:
    """Why there is no module of a kind by a name of params.yaml, as a sentence; None where there is one.

    Nothing is imported; what a module offers is looked at when it is.
    """
    if external.is_external(name):
        return external.fault(str(name))
    if name in names(kind):
        return None
    return f"there is no {name!r} in mimik.{FOLDERS[kind]}. {unknown_name(name, names(kind))}"


def named(kind: str, name: object, where: str) -> ModuleType:
    """The module of a kind by a name of params.yaml.

    Args:
        kind: of `FOLDERS`.
        name: as it was given; with a dot it is the full name of a module of another package.
        where: what gives the name, for the message: a file and key, or a setting.

    Raises:
        UserError: no such module; one of another package cannot be imported, or lacks what its kind offers.
    """
    if not external.is_external(name):
        if (told := fault(kind, name)) is not None:
            raise UserError(f"{where}: {told}")
        return import_module(full_name(kind, str(name)))
    module = external.load(str(name), where)
    lacking = [offered for offered in CONTRACTS[kind] if not _offers(module, offered)]
    if lacking:
        expected = "; ".join(f"`{offered}`, {CONTRACTS[kind][offered]}" for offered in lacking)
        raise UserError(
            f"{where}: {name} ({module.__file__}) lacks {expected}. docs/architecture.md (Contracts) states what mimik "
            "requires, docs/adding.md shows an example."
        )
    return module


def _offers(module: ModuleType, offered: str) -> bool:
    value: object = module
    for part in offered.split("."):
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True
