"""docs/options.md: every option with its type, default and meaning, made from what checks it.

The options of methods, guides, networks, training, translation, evaluation and report are fields of dataclasses. What
they mean stands in the docstrings of these (`mimik.settings.meanings`). Groups of settings and options of every
dataset are those of the JSON schema: `description` says what is expected, `default` and `meaning` the rest. The same
three, in the same words, are in the `OPTIONS` of a dataset's module. Nothing here imports PyTorch.
"""

import dataclasses
import re
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mimik.settings import modules
from mimik.settings.checks import NETWORKS
from mimik.settings.declarations import declared
from mimik.settings.meanings import PACKAGE, meanings
from mimik.settings.params import SCHEMA
from mimik.storage.files import read_json, write_text

PAGE = Path("docs/options.md")
"""What `write` writes, relative to the project's folder."""

NONE = "none"
NEEDED = "needed"
"""What stands for the default of an option that may be left out, and of one that may not."""

_INTRODUCTION = """
Every option of params.yaml and of the files in params/, with its type, its default and what it means. `mimik params
--options` makes this page from the dataclasses and the schema that check the settings; change these, not the page.

One job's settings are the defaults below, overridden by `scales.<scale>.methods.<module>`, then by `methods.<name>`,
then by `methods.<name>.scales.<scale>`. A group of settings is merged key by key. `mimik params DATASET METHOD` prints
the result. The defaults of methods and guides are the published settings; what a scale changes is in
params/scale_<name>.yaml. Where the type says "or nothing", an option may be left empty.
"""

_LINKED: Mapping[str, str] = {
    "AdversaryConfig": "AdversaryConfig",
    "CriticConfig": "CriticConfig",
    "AugmentationConfig": "augmentation",
    "StarGANBranch": "StarGANBranch",
    "AttGANBranch": "AttGANBranch",
    "ClassFilter": "class_filter",
}
"""Dataclasses that are types of options, with the titles of their sections."""

_GROUPS = (
    *(
        "datasets",
        "scales",
        "methods",
        "condition",
        "training",
        "guidance",
        "quality",
        "label_quality",
        "translation",
        "evaluation",
    ),
    *("report", *NETWORKS),
)
"""Options that are groups of settings with sections of their own."""


class Row(NamedTuple):
    """One option; texts are Markdown."""

    name: str
    kind: str
    default: str
    meaning: str


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        level: of its heading, 2 or 3.
        title: its heading.
        text: what stands before the table.
        rows: of the table; without any there is none.
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
    """The whole page, in Markdown."""
    parts = list(sections(project))
    lines = ["# Options", *_INTRODUCTION.splitlines(), ""]
    lines += [f"{'  ' * (part.level - 2)}- {_link(part.title)}" for part in parts]
    for part in parts:
        lines += ["", f"{'#' * part.level} {part.title}"]
        lines += ["", *_wrapped(part.text)] if part.text else []
        lines += ["", "| option | type | default | meaning |", "|---|---|---|---|"] if part.rows else []
        lines += [f"| `{row.name}` | {row.kind} | {row.default} | {row.meaning} |" for row in part.rows]
    return "\n".join(lines) + "\n"


def sections(project: Path) -> Iterator[Section]:
    """The parts of the page, in their order."""
    schema = read_json(SCHEMA)
    yield Section(2, "Top level", "All of these are required.", _of_schema(schema, schema))
    yield from _datasets(schema)
    yield Section(2, "scales", "An entry of `scales`.", _of_schema(schema, schema["$defs"]["scale"]))
    yield from _methods(schema)
    yield from _networks(schema)
    yield _of_class(
        2, "training", "training.schedule", "TrainingConfig",
        "The training loop, of methods and of the networks that are trained before them. Settings that a method "
        "publishes itself are in its section and override these defaults.",
    )  # fmt: skip
    yield Section(2, "Critics", "Discriminators with their losses, for the options that are of one of these types.")
    yield _of_class(3, "AdversaryConfig", "components.adversary", "AdversaryConfig")
    inherited = f"AttGAN's critic: the options of {_link('AdversaryConfig')}, some with other defaults, and two more."
    yield _of_class(3, "CriticConfig", "methods.attgan", "CriticConfig", inherited)
    changed = "What a critic's images pass through on their way to it."
    yield _of_class(3, "augmentation", "components.augmentation", "AugmentationConfig", changed)
    shown = "How test faces are translated, and which continuous edits of a few of them are made for the report."
    yield _of_class(2, "translation", "evaluation.translation", "TranslationSettings", shown)
    measured = "What is measured on the translations."
    yield _of_class(2, "evaluation", "evaluation.measurements", "EvaluationSettings", measured)
    yield _of_class(3, "class_filter", "evaluation.measurements", "ClassFilter")
    yield _of_class(2, "report", "reporting.results", "ReportSettings", "What the pages show.")


def _datasets(schema: Mapping[str, Any]) -> Iterator[Section]:
    parts = schema["$defs"]
    needed = parts["dataset"]["required"]
    whole = f"An entry of `datasets`: these options, those of its {_link('preparation')} and those of its module."
    yield Section(2, "datasets", whole, _of_schema(schema, parts["dataset"]))
    every = "Options of every dataset. `scales.<scale>` of an entry may override them."
    yield Section(3, "preparation", every, _of_schema(schema, parts["preparation"], needed))
    faces = "Thresholds for photographs: a face that fails one of them is left out, with the reason in quarantine.csv."
    yield Section(3, "quality", faces, _of_schema(schema, parts["quality"]))
    yield _of_class(
        3, "label_quality", "faces.prepared.label_quality", "LabelQualityConfig",
        "Scores of the labels of the training faces, by classifiers that are trained on other persons: "
        "[datasets.md](datasets.md#labels-that-are-doubted). Validation and test faces stay as they are.",
    )  # fmt: skip
    for name, own in dataset_options().items():
        required = [key for key, option in own.items() if "default" not in option]
        yield Section(3, f"datasets: {name}", "", _of_schema(schema, {"properties": own, "required": required}))


def dataset_options() -> dict[str, Mapping[str, Mapping[str, Any]]]:
    """`OPTIONS` of every dataset of mimik, by the name of its module: what its entries may set besides."""
    found = {}
    for name in modules.names("datasets"):
        # What several datasets share is in the same folder, and has no entries.
        with suppress(AttributeError):
            found[name] = declared(f"datasets.{name}", "OPTIONS")
    return found


def _methods(schema: Mapping[str, Any]) -> Iterator[Section]:
    whole = "An entry of `methods`: these options, and those of its module."
    yield Section(2, "methods", whole, _of_schema(schema, schema["$defs"]["method"]))
    for name in modules.names("methods"):
        module = f"methods.{name}"
        yield _of_class(3, f"methods: {name}", module, "Config", _published(module))
    yield _of_class(
        3, "condition", "components.conditions", "ConditionConfig",
        "What a method is conditioned on. A method's own defaults are in its section.",
    )  # fmt: skip
    yield Section(
        2,
        "guidance",
        "Listed by the name of a guide. Any guide can be combined with any method that is trained on edits.",
    )
    for name in modules.names("guidance"):
        yield _of_class(3, f"guidance: {name}", f"guidance.{name}", "Config")
    for name, backbone in (("StarGANBranch", "stargan"), ("AttGANBranch", "attgan")):
        text = f"The branch of {_link('guidance: semantic')} with `backbone: {backbone}`."
        yield _of_class(3, name, "guidance.semantic", name, text)


def _networks(schema: Mapping[str, Any]) -> Iterator[Section]:
    groups = ", ".join(f"`{group}`" for group in NETWORKS)
    text = f"Entries of {groups}: these options, and those of their group."
    yield Section(2, "Networks trained before the methods", text, _of_schema(schema, schema["$defs"]["network"]))
    for group, (module, config) in NETWORKS.items():
        yield _of_class(3, group, module, config, _published(module))


def _of_class(level: int, title: str, module: str, name: str, text: str = "") -> Section:
    """The section of a dataclass; its own options come before those that it inherits."""
    cls = declared(module, name)
    meant: dict[str, str] = {}
    order: list[str] = []
    for base in cls.__mro__:
        if "__dataclass_fields__" in vars(base):
            place = base.__module__.removeprefix(f"{PACKAGE}.")
            meant = {**meanings(place, base.__name__), **meant}
            order += base.__annotations__
    fields = {field.name: field for field in dataclasses.fields(cls)}
    hints = typing.get_type_hints(cls)
    rows = [
        Row(option, _type(hints[option]), _default_of(fields[option]), _sentence(meant.get(option, "")))
        for option in dict.fromkeys(order)
    ]
    return Section(level, title, text, tuple(rows))


def _of_schema(schema: Mapping[str, Any], part: Mapping[str, Any], needed: tuple[str, ...] = ()) -> tuple[Row, ...]:
    """The rows of a part of the schema; `needed` are names beyond those that the part requires itself."""
    rows = []
    for name, option in part["properties"].items():
        if "not" in option:
            continue
        shared = option.get("$ref", "").rpartition("/")[2]
        kind = _escaped({**schema["$defs"].get(shared, {}), **option}["description"])
        if name in _GROUPS and (name != "scales" or part is schema):
            kind += f", see {_link(name)}"
        default = NEEDED if name in (*part.get("required", ()), *needed) else _shown(option.get("default"))
        rows.append(Row(name, kind, default, _sentence(option.get("meaning", ""))))
    return tuple(rows)


def _published(module: str) -> str:
    """What a module says of its own schedule, of what its method is told, and of each of its networks."""
    found = []
    for name, of in (("CONFIG", ""), ("TRAINING", _link("training")), ("CONDITION", _link("condition"))):
        try:
            values = declared(module, name)
        except AttributeError:
            continue
        by_network = any(isinstance(value, Mapping) for value in values.values())
        for network, own in values.items() if by_network else [("", values)]:
            if own:
                whose = " ".join(filter(None, ["Defaults", of and f"of {of}", network and f"for `{network}`"]))
                found.append(f"{whose}: {', '.join(f'`{key}: {_yaml(value)}`' for key, value in own.items())}.")
    return " ".join(found)


def _type(hint: Any) -> str:
    """A type in words."""
    if getattr(hint, "__name__", None) in _LINKED:
        return f"group of settings, see {_link(_LINKED[hint.__name__])}"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return f"{', '.join(_type(choice) for choice in arguments if choice is not type(None))}, or nothing"
    if origin is typing.Literal:
        *most, last = (f"`{_yaml(value)}`" for value in arguments)
        return f"{', '.join(most)} or {last}" if most else last
    if origin is tuple:
        return f"list of {_type(arguments[0])}s"
    words = {bool: "`true` or `false`", int: "whole number", float: "number", str: "text"}
    return words[hint]


def _default_of(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        return _shown(field.default)
    if field.default_factory is dataclasses.MISSING:
        return NEEDED
    value: Any = field.default_factory()
    cls: Any = type(value)
    if cls.__name__ not in _LINKED:
        return _shown(value)
    # A group: what differs from the defaults of its type.
    usual = cls()
    differing = [
        f"`{option.name}: {_yaml(getattr(value, option.name))}`"
        for option in dataclasses.fields(value)
        if getattr(value, option.name) != getattr(usual, option.name)
    ]
    return ", ".join(differing) or "its defaults"


def _shown(value: Any) -> str:
    """A default: as code, unless it is a phrase."""
    if value is None or value == {}:
        return NONE
    if isinstance(value, str) and not re.fullmatch(r"[\w./-]+", value):
        return value
    return NONE if value == NONE else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    """A value as it is written in params.yaml."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and "e" in repr(value):
        number, _, exponent = repr(value).partition("e")
        return f"{number if '.' in number else f'{number}.0'}e{int(exponent)}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return NONE if value is None else str(value)


def _sentence(text: str) -> str:
    """A meaning as a cell of a table: with a capital unless it starts with a symbol, and without the last full stop."""
    word = text.partition(" ")[0]
    if re.fullmatch(r"[a-z]{2,}(-[a-z0-9]+)?[,:;']?s?", word):
        text = text[0].upper() + text[1:]
    return _escaped(text.rstrip("."))


def _escaped(text: str) -> str:
    """A text in a cell: no bar ends it, and no bracket outside of code opens an HTML tag."""
    parts = text.replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)


def _wrapped(text: str) -> list[str]:
    """A paragraph as lines, none of which ends within code."""
    whole = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", "\0"), text)
    return [line.replace("\0", " ") for line in textwrap.wrap(whole, 120, break_on_hyphens=False)]


def _link(title: str) -> str:
    return f"[{title}](#{anchor(title)})"


def anchor(title: str) -> str:
    """The place of a heading within a page, as GitHub and GitLab name it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
