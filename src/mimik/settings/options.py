"""docs/options.md: every option with its type, default and meaning, made from what reads it.

The options of methods, guides, networks, training, translation, evaluation and report are the fields of dataclasses;
what they mean stands in the `Attributes:` of these. Groups of params.yaml and options of datasets stand in its JSON
schema: `description` says what is expected, `default` and `meaning` the rest. Nothing here imports PyTorch.
"""

import ast
import dataclasses
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mimik.settings import modules
from mimik.settings.checks import NETWORKS
from mimik.settings.declarations import declared
from mimik.settings.params import SCHEMA
from mimik.storage.files import read_json, write_text

PAGE = Path("docs/options.md")
"""What `write` writes, relative to the project's folder."""

_INTRODUCTION = """\
# Options

Every option of params.yaml and of the files in params/, with its type, its default and what it means. This page is made
by `mimik params --options` from the dataclasses and the schema that check the settings; change these, not the page.

How one job's settings come about: the defaults below, which are the published settings of a method, then
`scales.<scale>.methods.<module>`, then `methods.<name>`, then `methods.<name>.scales.<scale>`; the later ones win, and a
group of settings is merged key by key. `mimik params DATASET METHOD` prints the outcome for one method on one dataset.
"""


class Row(typing.NamedTuple):
    """One option; texts are Markdown."""

    name: str
    kind: str
    default: str
    meaning: str


class Section(typing.NamedTuple):
    """A part of the page.

    Attributes:
        level: of its heading, 2 or 3.
        title: its heading.
        text: what stands before the table.
        rows: of the table; none for a text alone.
    """

    level: int
    title: str
    text: str
    rows: tuple[Row, ...] = ()


def write(project: Path) -> bool:
    """Write the page of a project. Returns whether that changed anything."""
    path, made = project / PAGE, page(project)
    if path.is_file() and path.read_text(encoding="utf-8") == made:
        return False
    write_text(path, made)
    return True


def page(project: Path) -> str:
    """The whole page."""
    found = list(sections(project))
    contents = "\n".join(f"{'  ' * (part.level - 2)}- [{part.title}](#{_anchor(part.title)})" for part in found)
    return "\n".join([_INTRODUCTION, contents, *map(_written, found)]).rstrip("\n") + "\n"


def sections(project: Path) -> Iterator[Section]:
    """The parts of the page, in their order."""
    schema = read_json(project / SCHEMA)
    parts = schema["$defs"]
    yield Section(2, "Groups of params.yaml", "What stands at the top level; all of them have to be there.", _listed(schema, parts))
    yield Section(2, "datasets", "An entry of `datasets`. Its name is free; its module is a file of `mimik.datasets`.", _listed(parts["dataset"], parts))
    yield Section(3, "Preparation", "Options of every dataset, which `scales.<scale>` of an entry may override.", _listed(parts["preparation"], parts))
    for name, own in parts["modules"]["properties"].items():
        yield Section(3, f"datasets of module {name}", "", _listed(own, parts))
    yield Section(3, "quality", "Thresholds that every face of photographs must keep; a face beyond one is left out.", _listed(parts["quality"], parts))
    yield Section(2, "scales", "An entry of `scales`.", _listed(parts["scale"], parts))
    yield Section(2, "methods", "An entry of `methods`: these, and the options of its module below.", _listed(parts["method"], parts))
    for name in modules.names("methods"):
        yield _configuration(3, name, f"methods.{name}", "Config", _published(f"methods.{name}"))
    yield _configuration(3, "condition", "components.conditions", "ConditionConfig", "What a method is told of source and target.")
    yield _configuration(2, "training", "training.schedule", "TrainingConfig", "The training loop, of methods and of the networks that are trained before them. The defaults are overridden by\nwhat a method publishes (its section) and by the scale.")
    yield Section(2, "Critics", "Discriminators with their losses, wherever an option is of this type.")
    yield _configuration(3, "AdversaryConfig", "components.adversary", "AdversaryConfig")
    yield _configuration(3, "CriticConfig", "methods.attgan", "CriticConfig", "AttGAN's critic: the options of [AdversaryConfig](#adversaryconfig), some with other defaults, and two more.")
    yield Section(2, "guidance", "By the name of a guide; any guide goes with any method.")
    for name in modules.names("guidance"):
        yield _configuration(3, f"guidance {name}", f"guidance.{name}", "Config")
    for name, backbone in (("StarGANBranch", "stargan"), ("AttGANBranch", "attgan")):
        yield _configuration(3, name, "guidance.semantic", name, f"The branch of [guidance semantic](#guidance-semantic) with `backbone: {backbone}`.")
    yield Section(2, "Networks that are trained before the methods", "Entries of `segmenters`, `depth_networks`, `classifiers` and `readers`: these, the options of their group\nbelow, and [training](#training).", _listed(parts["network"], parts))
    for group, (module, config) in NETWORKS.items():
        yield _configuration(3, group, module, config)
    yield _configuration(2, "translation", "evaluation.translation", "TranslationSettings", "How test faces are translated.")
    yield _configuration(2, "evaluation", "evaluation.measurements", "EvaluationSettings", "What is measured on the translations.")
    yield _configuration(3, "class_filter", "evaluation.measurements", "ClassFilter")
    yield _configuration(2, "report", "reporting.results", "ReportSettings", "What the pages show.")


_LINKS: Mapping[str, str] = {
    "AdversaryConfig": "adversaryconfig",
    "CriticConfig": "criticconfig",
    "StarGANBranch": "starganbranch",
    "AttGANBranch": "attganbranch",
    "ClassFilter": "class_filter",
}
"""Sections of the dataclasses that are options of others."""


def _configuration(level: int, title: str, module: str, config: str, text: str = "") -> Section:
    cls = declared(module, config)
    meanings = _attributes(module, config)
    for base in cls.__mro__[1:-1]:
        meanings = {**_attributes(base.__module__.partition(".")[2], base.__name__), **meanings}
    hints = typing.get_type_hints(cls)
    rows = tuple(
        Row(field.name, _type(hints[field.name]), _default(field), meanings.get(field.name, ""))
        for field in dataclasses.fields(cls)
    )
    return Section(level, title, text, rows)


def _published(module: str) -> str:
    """What a method says of its own schedule and of what it is told."""
    told = []
    for name, place in (("TRAINING", "training"), ("CONDITION", "condition")):
        values = declared(module, name)
        if values:
            listed = ", ".join(f"`{key}: {_value(value)}`" for key, value in values.items())
            told.append(f"Its own defaults of [{place}](#{place}): {listed}.")
    return "\n".join(told)
