"""params.yaml, with the files of params/: loaded, checked, and resolved into the settings of one job.

Every rule of the workflow gets only the slice that decides its result, so that one changed number reruns what
depends on it and nothing else. Resolution (docs/architecture.md): a Config's defaults are the published settings;
`scales.<scale>.methods.<module>` overrides them, `methods.<name>` overrides both, and its own `scales.<scale>` all of
them. Groups of settings are merged key by key, anything else is replaced. The same rule, but for an entry's own
`scales`, serves segmenters, depth networks, classifiers and readers.

This module stays light (no torch, no pandas): the Snakefile imports it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mimik.errors import UserError, unknown_name
from mimik.settings.declarations import declared
from mimik.settings.imported import is_imported
from mimik.settings.merging import merge, merge_method
from mimik.settings.merging import merged_training as merged_training
from mimik.settings.reading import FILE, Origins, group_faults, read
from mimik.settings.references import unknown_names
from mimik.settings.replicates import replicate, seed_of, trainings
from mimik.settings.trained import PRETRAINED as PRETRAINED
from mimik.settings.trained import Trained, segmenter, trained
from mimik.storage.files import read_json
from mimik.storage.records import faults

Params = dict[str, Any]
Settings = dict[str, Any]

SCHEMA = Path(__file__).with_name("params.schema.json")
"""The JSON schema of params.yaml and the files of params/."""


PROTOCOLS = ("published", "equal")
"""Under which terms systems are trained. `published`: each with its own published length and batch size; `equal`: all
with those of `scales.<scale>.equal`. A scale without `equal` has `published` only."""


class Experiment(NamedTuple):
    """One method on one dataset: an entry of `methods`, or a further training of it (`mimik.settings.replicates`)."""

    dataset: str
    method: str


def load(path: Path | str = FILE, schema: Path | str = SCHEMA) -> Params:
    """Read and validate params.yaml and the files of params/ beside it.

    Args:
        path: params.yaml; it stands in the project's folder.
        schema: the JSON schema.

    Raises:
        UserError: `mimik.settings.reading.read` or `validate` refuses them.
    """
    path = Path(path)
    values, origins = read(path)
    validate(values, schema, origins)
    return values


def validate(params: Mapping[str, Any], schema: Path | str, origins: Origins | None = None) -> None:
    """Check params against the schema, then what a schema cannot express: that names refer to something.

    Args:
        params: all settings, with overrides of the command line.
        schema: path of the JSON schema (draft 2020-12).
        origins: which file each stands in, for messages; None: params.yaml.

    Raises:
        UserError: lists every fault with its place, what was expected and what stands there; or jsonschema, which
            looks for them, is not installed.
    """
    origins = origins or Origins()
    rules = read_json(schema)
    found = [
        *group_faults(params, rules, origins),
        *faults(params, {**rules, "required": [], "additionalProperties": True}),
    ]
    if not found:
        found = [*unknown_names(params), *_unprepared_sizes(params)]
    if found:
        raise origins.refusal(found)


def mirror_of(params: Mapping[str, Any]) -> Path | None:
    """The folder that is searched before any download: `mirror`, else the variable MIMIK_MIRROR, else none."""
    folder = params.get("mirror") or os.environ.get("MIMIK_MIRROR")
    return Path(folder) if folder else None


def experiments(params: Mapping[str, Any]) -> list[Experiment]:
    """The trainings that plain `snakemake`, `dvc repro` and the report cover, in their order."""
    pairs = [(entry["dataset"], entry["method"]) for entry in params["experiments"]]
    return [Experiment(dataset, name) for dataset, method in pairs for name in trainings_of(params, dataset, method)]


def trainings_of(params: Mapping[str, Any], dataset: str, method: str) -> list[str]:
    """The names of the trainings of an entry of `methods` (`replicates`). Imported weights are there once."""
    number = 1 if is_imported(Path("results", dataset, method)) else params.get("replicates", 1)
    return trainings(method, number)


def scale_of(params: Mapping[str, Any], dataset: str, scale: str | None = None) -> str:
    """The scale a dataset runs at: the argument, else `scale` of params (the command line), else the dataset's own."""
    chosen = scale or params.get("scale") or params["datasets"][dataset]["scale"]
    if chosen not in params["scales"]:
        raise UserError(f"scale {chosen!r} is unknown. {unknown_name(chosen, params['scales'])}")
    return str(chosen)


def protocol_of(params: Mapping[str, Any]) -> str:
    """The protocol of `PROTOCOLS` under which methods are trained."""
    return str(params.get("protocol") or PROTOCOLS[0])


def image_size_of(params: Mapping[str, Any], dataset: str, scale: str | None = None) -> int:
    """Side in pixels of the images of everything that is trained on a dataset: its own `image_size`, else the scale's.

    Tables of the papers compare methods at one size, so the size belongs to the dataset that a table is about.
    """
    chosen = scale_of(params, dataset, scale)
    own = _dataset_values(params, dataset, scale).get("image_size")
    return int(params["scales"][chosen]["image_size"] if own is None else own)


def method_module(params: Mapping[str, Any], method: str) -> str:
    """The module that an entry of `methods` configures: of `mimik.methods` or, with a dot, of another package."""
    return str(_entry(params, "methods", method)["method"])


def dataset_module(params: Mapping[str, Any], dataset: str) -> str:
    """The module that an entry of `datasets` configures: its `dataset`, else its own name.

    It is also the name of the archive's folder in data/raw, which all entries of a module share.
    """
    return str(_entry(params, "datasets", dataset).get("dataset", dataset))


def pretrained_of(params: Mapping[str, Any], dataset: str, method: str, scale: str | None = None) -> dict[str, Trained]:
    """The pre-trained networks that a method starts from, by kind (of `PRETRAINED`)."""
    values = _method_values(params, dataset, method, scale)
    found = {kind: Trained(dataset, str(values[kind])) for kind in PRETRAINED if values.get(kind) is not None}
    if "segmenter" in found:
        own = bool(_dataset_values(params, dataset, scale).get("own_segmenter"))
        default = _scale(params, dataset, scale)["segmenter"]
        found["segmenter"] = segmenter(values["segmenter"], dataset, default, own=own)
    return found


def starts_from(params: Mapping[str, Any], dataset: str, method: str) -> Trained | None:
    """The training whose networks a method starts from, and on which dataset; None: it does not.

    A further training starts from the other method's training of the same number, from imported weights if there are.
    """
    reference = _entry(params, "methods", method).get("starts_from")
    if reference is None:
        return None
    first = trained(str(reference), dataset)
    if is_imported(Path("results", *first)):
        return first
    return first._replace(name=replicate(method)._replace(method=first.name).name)


def masks_of(params: Mapping[str, Any], dataset: str, scale: str | None = None) -> Trained | None:
    """The segmenter that makes the masks of a dataset (`masks: segmenter`, `masks_from`); None when none does."""
    options = resolve_dataset(params, dataset, scale)["options"]
    if options.get("masks") != "segmenter":
        return None
    return trained(str(options.get("masks_from")), dataset)


def classifier_of(params: Mapping[str, Any], dataset: str, method: str, scale: str | None = None) -> str:
    """The classifier that evaluates a method on this dataset: of attributes if the method is conditioned on them."""
    told = _method_values(params, dataset, method, scale).get("condition", {}).get("space")
    kind = "attribute_classifier" if told == "attributes" else "classifier"
    return str(params["scales"][scale_of(params, dataset, scale)][kind])


def reader_of(params: Mapping[str, Any], dataset: str, scale: str | None = None) -> str | None:
    """The face reader that evaluates on this dataset; None unless the dataset has `ground_truth`."""
    if not params["datasets"][dataset].get("ground_truth"):
        return None
    return str(params["scales"][scale_of(params, dataset, scale)]["reader"])


def label_quality_of(params: Mapping[str, Any], dataset: str, scale: str | None = None) -> Any:
    """How a dataset's labels are scored and used (`LabelQualityConfig`); None without an `action`: they are not."""
    values = _dataset_values(params, dataset, scale).get("label_quality")
    if not values:
        return None
    from mimik.settings.configuration import build  # here: jobs that score no labels do not depend on it

    schema = declared("faces.prepared.label_quality", "LabelQualityConfig")
    config = build(schema, values, f"datasets.{dataset}.label_quality")
    return config if config.action else None


def resolve_label_quality(params: Mapping[str, Any], dataset: str, scale: str | None = None) -> Settings:
    """Settings of the scoring of a dataset's labels: dataset, scale, seed, image_size, folds, classifier (as of
    `resolve_classifier`). Raises `UserError` when they are not scored.
    """
    config = label_quality_of(params, dataset, scale)
    if config is None:
        raise UserError(f"datasets.{dataset}.label_quality: has no `action`. Set it to keep, weight or leave_out.")
    classifier = resolve_classifier(params, dataset, config.classifier, scale)
    classifier.pop("label_quality", None)
    return {"dataset": dataset, **_common(params, dataset, scale), "folds": config.folds, "classifier": classifier}


def resolve(params: Mapping[str, Any], dataset: str, method: str, scale: str | None = None) -> Settings:
    """Settings of the training of one method.

    Returns:
        dataset, method (name of the entry), module (its file in `mimik.methods`), scale, seed, image_size, protocol,
        pretrained (the networks it starts from, by kind: NAME or DATASET/NAME), starts_from (a method, likewise, or
        None), freeze (patterns of parameters or None), label_quality (`action` and `reliable`; only where the dataset's
        labels are scored), condition (overrides of the method's `CONDITION`), guidance (by
        the name of a file in `mimik.guidance`, overrides of its Config), config (overrides of the method's Config),
        training (overrides of TrainingConfig).

    Raises:
        UserError: a name that params.yaml does not know.
    """
    values = _method_values(params, dataset, method, scale)
    training = _training(
        params,
        dataset,
        _scale(params, dataset, scale)["training"],
        values.pop("training", {}),
        _equal(params, dataset, scale).get("training", {}),
    )
    for kind in (*PRETRAINED, "starts_from"):
        values.pop(kind, None)
    at_scale = _scale(params, dataset, scale).get("guidance", {})
    first = starts_from(params, dataset, method)
    guidance = {name: merge(at_scale.get(name, {}), own or {}) for name, own in values.pop("guidance", {}).items()}
    return {
        "dataset": dataset,
        "method": method,
        "module": values.pop("method"),
        **_common(params, dataset, scale),
        "seed": seed_of(method, params["seed"]),
        "protocol": protocol_of(params) if _equal(params, dataset, scale) else PROTOCOLS[0],
        "pretrained": _names(pretrained_of(params, dataset, method, scale), dataset),
        "starts_from": None if first is None else first.seen_from(dataset),
        "freeze": values.pop("freeze", None),
        **_label_use(params, dataset, scale),
        "condition": values.pop("condition", {}),
        "guidance": guidance,
        "config": values,
        "training": training,
    }


def resolve_dataset(params: Mapping[str, Any], dataset: str, scale: str | None = None) -> Settings:
    """Settings of the preparation of one dataset.

    Returns:
        dataset (name of the entry), module (its file in `mimik.datasets`), seed, options (the entry with the scale's
        overrides, and under `name` its name, for messages about an option).
    """
    options = _dataset_values(params, dataset, scale)
    # Which module and scale, and how methods are trained and evaluated.
    for key in ("dataset", "scale", "evaluation", "flip", "image_size", "own_segmenter", "label_quality"):
        options.pop(key, None)
    return {
        "dataset": dataset,
        "module": dataset_module(params, dataset),
        "seed": params["seed"],
        "options": {**options, "name": dataset},
    }


def resolve_segmenter(params: Mapping[str, Any], dataset: str, name: str, scale: str | None = None) -> Settings:
    """Settings of the training of one segmenter: dataset, name, scale, seed, image_size, config, training."""
    return _pretraining(params, dataset, "segmenters", name, scale)


def resolve_depth_network(params: Mapping[str, Any], dataset: str, name: str, scale: str | None = None) -> Settings:
    """Settings of the training of one depth network; the keys are those of `resolve_segmenter`."""
    return _pretraining(params, dataset, "depth_networks", name, scale)


def resolve_classifier(params: Mapping[str, Any], dataset: str, name: str, scale: str | None = None) -> Settings:
    """Settings of the training of one classifier; the keys are those of `resolve_segmenter`."""
    return _pretraining(params, dataset, "classifiers", name, scale)


def resolve_reader(params: Mapping[str, Any], dataset: str, name: str, scale: str | None = None) -> Settings:
    """Settings of the training of one face reader; the keys are those of `resolve_segmenter`."""
    return _pretraining(params, dataset, "readers", name, scale)


def resolve_translation(params: Mapping[str, Any], dataset: str, method: str, scale: str | None = None) -> Settings:
    """Settings of the translation of the test split (`mimik.evaluation.translation.TranslationSettings`)."""
    _entry(params, "methods", method)
    overrides = _scale(params, dataset, scale).get("translation", {})
    return {**merge(params["translation"], overrides), "seed": params["seed"]}


def resolve_evaluation(params: Mapping[str, Any], dataset: str, method: str, scale: str | None = None) -> Settings:
    """Settings of the evaluation of one method.

    Returns:
        dataset, method, scale, seed, image_size, classifier, reader (names or None), pretrained (by kind), evaluation
        (`mimik.evaluation.measurements.EvaluationSettings`, with the dataset's own overrides).
    """
    scale = scale_of(params, dataset, scale)
    evaluation = merge(params["evaluation"], params["scales"][scale].get("evaluation", {}))
    return {
        "dataset": dataset,
        "method": method,
        **_common(params, dataset, scale),
        "classifier": classifier_of(params, dataset, method, scale),
        "pretrained": _names(pretrained_of(params, dataset, method, scale), dataset),
        "reader": reader_of(params, dataset, scale),
        "evaluation": {
            **merge(evaluation, params["datasets"][dataset].get("evaluation", {})),
            "seed": params["seed"],
        },
    }


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level with dotted keys, in their order; lists stay values."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _common(params: Mapping[str, Any], dataset: str, scale: str | None) -> Settings:
    return {
        "scale": scale_of(params, dataset, scale),
        "seed": params["seed"],
        "image_size": image_size_of(params, dataset, scale),
    }


def _label_use(params: Mapping[str, Any], dataset: str, scale: str | None) -> Settings:
    """What a training that reads labels does with their scores; nothing where there are none."""
    config = label_quality_of(params, dataset, scale)
    return {} if config is None else {"label_quality": {"action": config.action, "reliable": config.reliable}}


def _scale(params: Mapping[str, Any], dataset: str, scale: str | None) -> Settings:
    _entry(params, "datasets", dataset)
    values: Settings = params["scales"][scale_of(params, dataset, scale)]
    return values


def _dataset_values(params: Mapping[str, Any], dataset: str, scale: str | None) -> Settings:
    """An entry of `datasets` with its overrides at a scale."""
    entry = dict(_entry(params, "datasets", dataset))
    overrides = entry.pop("scales", {}).get(scale_of(params, dataset, scale), {})
    return merge(entry, overrides)


def _names(networks: Mapping[str, Trained], dataset: str) -> dict[str, str]:
    return {kind: network.seen_from(dataset) for kind, network in networks.items()}


def _entry(params: Mapping[str, Any], group: str, name: str) -> Settings:
    """One named entry of params.yaml, also of a further training, or a UserError that lists the names there are."""
    known = replicate(name).method if group == "methods" else name
    if known not in params[group]:
        raise UserError(f"{name!r} is not in params.yaml under '{group}'. {unknown_name(known, params[group])}")
    entry: Settings = params[group][known]
    return entry


def _method_values(params: Mapping[str, Any], dataset: str, method: str, scale: str | None) -> Settings:
    entry, chosen = dict(_entry(params, "methods", method)), _scale(params, dataset, scale)
    own = entry.pop("scales", {}).get(scale_of(params, dataset, scale), {})
    values = merge_method(merge_method(chosen.get("methods", {}).get(entry["method"], {}), entry), own)
    return merge_method(values, _equal(params, dataset, scale).get("methods", {}).get(entry["method"], {}))


def _equal(params: Mapping[str, Any], dataset: str, scale: str | None) -> Settings:
    """The overrides of the protocol `equal` at a scale; none under another protocol."""
    equal: Settings = _scale(params, dataset, scale).get("equal", {}) if protocol_of(params) == "equal" else {}
    return equal


def _pretraining(params: Mapping[str, Any], dataset: str, group: str, name: str, scale: str | None) -> Settings:
    entry = _entry(params, group, name)
    values = merge(_scale(params, dataset, scale).get(group, {}).get(entry["network"], {}), entry)
    training = _training(params, dataset, values.pop("training", {}))
    learns_labels = group == "classifiers" and values.get("predicts", "expression") == "expression"
    return {
        "dataset": dataset,
        "name": name,
        **_common(params, dataset, scale),
        **(_label_use(params, dataset, scale) if learns_labels else {}),
        "config": values,
        "training": training,
    }


def _training(params: Mapping[str, Any], dataset: str, *settings: Mapping[str, Any]) -> Settings:
    """Settings of the loop, later ones winning, but nothing mirrors faces of a dataset with `flip: false`."""
    training: Settings = {}
    for overrides in settings:
        training = merged_training(training, overrides)
    return training if params["datasets"][dataset].get("flip", True) else {**training, "flip": False}


def _unprepared_sizes(params: Mapping[str, Any]) -> list[str]:
    """Datasets that are not prepared at the size that methods are trained at.

    Checked for the scale each dataset runs at and for those it has overrides for.
    """
    if unknown_names(params):
        return []
    found = []
    for name, dataset in params["datasets"].items():
        for scale in dict.fromkeys([scale_of(params, name), dataset["scale"], *dataset.get("scales", {})]):
            wanted = image_size_of(params, name, scale)
            sizes = resolve_dataset(params, name, scale)["options"]["sizes"]
            if wanted not in sizes:
                found.append(
                    f"datasets.{name}.sizes: {sizes} at scale {scale}, but everything on it is trained at {wanted} "
                    f"(`image_size` of the dataset, else of the scale). Add {wanted} to the sizes."
                )
    return found
