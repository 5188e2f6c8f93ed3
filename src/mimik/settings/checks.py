"""Every setting of params.yaml against what reads it, before any job: all entries, at every scale, without PyTorch.

A schema defines the groups of params.yaml; the `Config` in a method's file defines which settings the method has and
what they may be (`mimik.settings.declarations`). A setting that nothing reads would silently change nothing.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any

from mimik.errors import UserError, unknown_name
from mimik.settings import modules
from mimik.settings import params as resolution
from mimik.settings.configuration import build, check
from mimik.settings.declarations import declared, declared_in
from mimik.settings.external import is_external
from mimik.settings.params import Params, Settings
from mimik.settings.reading import Origins
from mimik.settings.sources import outside_files
from mimik.storage.files import read_json
from mimik.storage.records import shown

NETWORKS: Mapping[str, tuple[str, str]] = {
    "segmenters": ("pretraining.segmenter", "SegmenterConfig"),
    "depth_networks": ("pretraining.depth_network", "DepthNetworkConfig"),
    "classifiers": ("pretraining.classifier", "ClassifierConfig"),
    "readers": ("pretraining.reader", "ReaderConfig"),
}
"""Groups of pre-trained networks, with the module and the dataclass of their settings."""


def check_settings(params: Params, origins: Origins | None = None) -> None:
    """Check that every setting is read by something and has a value that it accepts.

    Args:
        params: that `mimik.settings.params.validate` has passed.
        origins: which file each stands in, for messages; None: params.yaml.

    Raises:
        UserError: lists every fault with its place.
    """
    found = list(dict.fromkeys(_faults(params)))
    if found:
        raise (origins or Origins()).refusal(found)


def _faults(params: Params) -> Iterator[str]:
    yield from _dataset_faults(params)
    labels = list(_label_faults(params))
    yield from labels
    # A fault of a group that many entries share is told once, where it stands.
    shared = list(_scale_faults(params))
    yield from shared
    if shared or labels:
        return
    report = params["report"]
    yield from _told(lambda: build(declared("reporting.results", "ReportSettings"), report, "report"))
    for room in ("tables", "figures"):
        yield from _unknown(room, report.get(room, ()), f"report.{room}")
    dataset = next(iter(params["datasets"]))
    for scale in params["scales"]:
        for name in params["methods"]:
            yield from _method_faults(params, dataset, name, scale)
        for group, (module, config) in NETWORKS.items():
            for name, entry in params[group].items():
                if is_external(entry["network"]):
                    yield from _unknown("networks", [entry["network"]], f"{group}.{name}.network")
                settings = getattr(resolution, f"resolve_{group.removesuffix('s')}")(params, dataset, name, scale)
                where = f"{group}.{name}"
                yield from _told(build, declared(module, config), settings["config"], where)
                yield from _told(build, _training(), settings["training"], f"{where}.training")
        translation = resolution.resolve_translation(params, dataset, next(iter(params["methods"])), scale)
        yield from _told(build, declared("evaluation.translation", "TranslationSettings"), translation, "translation")
        for name in params["datasets"]:
            method = next(iter(params["methods"]))
            evaluation = resolution.resolve_evaluation(params, name, method, scale)["evaluation"]
            yield from _told(build, _evaluation(), evaluation, "evaluation")
            yield from _unknown("metrics", evaluation.get("metrics", ()), "evaluation.metrics")


def _method_faults(params: Params, dataset: str, name: str, scale: str) -> Iterator[str]:
    where = f"methods.{name}"
    unknown = list(_unknown("methods", [resolution.method_module(params, name)], f"{where}.method"))
    if unknown:
        yield from unknown
        return
    settings = resolution.resolve(params, dataset, name, scale)
    module = settings["module"]
    try:
        published = {offered: _offered("methods", module, offered) for offered in ("Config", "TRAINING", "CONDITION")}
        guides = {guide: _offered("guidance", guide, "Config") for guide in settings["guidance"]}
    except UserError as error:
        yield f"{where}: {error}"
        return
    training = resolution.merged_training(published["TRAINING"], settings["training"])
    condition = {**published["CONDITION"], **settings["condition"]}
    yield from _told(build, published["Config"], settings["config"], where)
    yield from _told(build, _training(), training, f"{where}.training")
    yield from _told(build, declared("components.conditions", "ConditionConfig"), condition, f"{where}.condition")
    for guide, values in settings["guidance"].items():
        yield from _told(build, guides[guide], values, f"{where}.guidance.{guide}")


def _offered(kind: str, name: str, offered: str) -> Any:
    """What a method or guide declares; nothing of it is imported.

    Raises:
        UserError: a module of another package does not declare it, or not so that it can be read without libraries.
    """
    full = modules.full_name(kind, name)
    if not is_external(name):
        return declared_in(full, offered)
    expected = f"expected `{offered}`, {modules.CONTRACTS[kind][offered]}"
    try:
        value = declared_in(full, offered)
    except AttributeError as error:
        raise UserError(f"{name}: {expected}; {error}. docs/adding.md shows an example.") from error
    except SyntaxError as error:
        raise UserError(f"{name}: {error.filename}, line {error.lineno}: {error.msg}.") from error
    except Exception as error:
        raise UserError(
            f"{name}: {expected}, that can be read without importing any library other than mimik and Python's own; "
            f"{type(error).__name__}: {error}."
        ) from error
    if not (is_dataclass(value) if offered == "Config" else isinstance(value, Mapping)):
        raise UserError(f"{name}: {expected}; it is {shown(value)}.")
    return value


def _scale_faults(params: Params) -> Iterator[str]:
    """Names and types of what a scale says for all; combinations are looked at with the entries."""
    for scale, values in params["scales"].items():
        where = f"scales.{scale}"
        yield from _told(check, _training(), values["training"], f"{where}.training")
        equal = values.get("equal", {})
        yield from _told(check, _training(), equal.get("training", {}), f"{where}.equal.training")
        for kind, groups, place in (
            ("methods", values.get("methods", {}), f"{where}.methods"),
            ("methods", equal.get("methods", {}), f"{where}.equal.methods"),
            ("guidance", values.get("guidance", {}), f"{where}.guidance"),
        ):
            yield from _unknown(kind, groups, place)
            for name in (name for name in groups if modules.fault(kind, name) is None):
                own = {key: value for key, value in groups[name].items() if key not in _BESIDES or kind == "guidance"}
                yield from _told(_check_offered, kind, name, own, f"{place}.{name}")
                training = groups[name].get("training", {}) if kind == "methods" else {}
                yield from _told(check, _training(), training, f"{place}.{name}.training")
        for group, (module, config) in NETWORKS.items():
            for name, settings in values.get(group, {}).items():
                own = {key: value for key, value in settings.items() if key != "training"}
                yield from _told(check, declared(module, config), own, f"{where}.{group}.{name}")
                yield from _told(check, _training(), settings.get("training", {}), f"{where}.{group}.{name}.training")
        for name, (module, config) in {
            "translation": ("evaluation.translation", "TranslationSettings"),
            "evaluation": ("evaluation.measurements", "EvaluationSettings"),
        }.items():
            yield from _told(check, declared(module, config), values.get(name, {}), f"{where}.{name}")


def _check_offered(kind: str, name: str, settings: Settings, where: str) -> None:
    check(_offered(kind, name, "Config"), settings, where)


_BESIDES = ("training", "condition", "guidance", "starts_from", "freeze", *resolution.PRETRAINED)
"""What an entry of `methods` may hold beside the settings of its Config."""


def _dataset_faults(params: Params) -> Iterator[str]:
    for name, entry in params["datasets"].items():
        read, ends, asked = _words(resolution.dataset_module(params, name))
        places = {"": entry} | {f".scales.{scale}": own for scale, own in entry.get("scales", {}).items()}
        yield from _told(check, _evaluation(), entry.get("evaluation", {}), f"datasets.{name}.evaluation")
        for place, options in places.items():
            for key in options:
                if key not in read and not key.endswith(ends):
                    yield (
                        f"datasets.{name}{place}.{key}: nothing that prepares this dataset reads it. "
                        f"{unknown_name(key, _schema_keys() | asked)}"
                    )


def _label_faults(params: Params) -> Iterator[str]:
    """Of `label_quality`, on which the settings of every training on a dataset depend."""
    config = declared("faces.prepared.label_quality", "LabelQualityConfig")
    for name, entry in params["datasets"].items():
        places = {"": entry} | {f".scales.{scale}": own for scale, own in entry.get("scales", {}).items()}
        for place, options in places.items():
            yield from _told(build, config, options.get("label_quality") or {}, f"datasets.{name}{place}.label_quality")


@cache
def _words(module: str) -> tuple[frozenset[str], tuple[str, ...], frozenset[str]]:
    """Texts in the sources that decide what becomes of a dataset: an option that is in none of them nobody reads.

    Returns:
        whole texts; ends of texts that begin with something else (f"{split}_identities"); those that look like options.
    """
    if is_external(module):
        own = outside_files(module).files
    else:
        whole = modules.PACKAGE / "datasets" / module
        own = sorted(whole.glob("*.py")) if whole.is_dir() else [whole.with_suffix(".py")]
    text = "".join(file.read_text(encoding="utf-8") for file in own)
    shared = {
        name for name in modules.names("datasets") if re.search(rf"mimik\.datasets(\.| import .*\b){name}\b", text)
    }
    files = [
        *(modules.PACKAGE / "datasets" / f"{name}.py" for name in sorted(shared)),
        *sorted((modules.PACKAGE / "faces").rglob("*.py")),
    ]
    text += "".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
    words = set(re.findall(r"[\"']([a-z][a-z0-9_]*)[\"']", text))
    # What params itself takes out of an entry before the dataset sees it.
    words |= {"dataset", "scale", "scales", "evaluation", "flip", "ground_truth", "image_size", "own_segmenter"}
    words.add("label_quality")  # read by what is trained
    asked = re.findall(r"options(?:\.get\(|\[|, )[\"']([a-z][a-z0-9_]*)[\"']", text)
    return frozenset(words), tuple(set(re.findall(r"\}(_[a-z0-9_]+)[\"']", text))), frozenset(asked)


@cache
def _schema_keys() -> frozenset[str]:
    return frozenset(read_json(resolution.SCHEMA)["$defs"]["dataset"]["properties"]) - {"name"}


def _training() -> Any:
    return declared("training.schedule", "TrainingConfig")


def _evaluation() -> Any:
    return declared("evaluation.measurements", "EvaluationSettings")


def _unknown(room: str, names: Any, where: str) -> Iterator[str]:
    for name in names:
        if (told := modules.fault(room, name)) is not None:
            yield f"{where}: {told}"


def _told(action: Callable[..., object], *arguments: Any) -> Iterator[str]:
    try:
        action(*arguments)
    except UserError as error:
        yield str(error)
