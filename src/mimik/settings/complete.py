"""Every setting of an experiment with its value, whether params.yaml has it or it is a published default.

What `mimik.settings.params` resolves holds overrides only: the defaults are in the dataclasses that read the settings.
Here both are put together, without PyTorch (`mimik.settings.declarations`).
"""

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mimik.settings import modules
from mimik.settings import params as resolution
from mimik.settings.checks import NETWORKS
from mimik.settings.configuration import build
from mimik.settings.declarations import declared, declared_in
from mimik.settings.external import is_external
from mimik.settings.params import Params, Settings


def complete(params: Params, dataset: str, method: str, scale: str | None = None) -> Settings:
    """Every setting that decides the result of one method on one dataset.

    Args:
        params: checked params (`mimik.settings.checks.check_settings`).
        dataset: an entry of `datasets`.
        method: an entry of `methods`.
        scale: None: the one that the dataset runs at.

    Returns:
        what `params.resolve` returns, with all of `config`, `condition`, `guidance` and `training`; under `networks`
        the networks that the method starts from, under `judges` those that measure it, each with `dataset`, `name`,
        `image_size`, `config` and `training`; `preparation` of the dataset, `translation` and `evaluation`. A length
        in epochs (`training.epochs`) is not counted in steps, since the number of faces is known only once they are
        prepared.

    Raises:
        UserError: a name that params.yaml does not know.
    """
    settings = complete_training(params, dataset, method, scale)
    evaluation = resolution.resolve_evaluation(params, dataset, method, scale)
    names = {"classifiers": evaluation["classifier"], "readers": evaluation["reader"]}
    return {
        **settings,
        "networks": {
            kind: _network(params, dataset, resolution.PRETRAINED[kind], name, scale)
            for kind, name in settings["pretrained"].items()
        },
        "judges": {
            group.removesuffix("s"): _network(params, dataset, group, name, scale)
            for group, name in names.items()
            if name is not None
        },
        "preparation": resolution.resolve_dataset(params, dataset, scale)["options"],
        "translation": _filled(
            declared("evaluation.translation", "TranslationSettings"),
            resolution.resolve_translation(params, dataset, method, scale),
            "translation",
        ),
        "evaluation": _filled(
            declared("evaluation.measurements", "EvaluationSettings"), evaluation["evaluation"], "evaluation"
        ),
    }


def complete_training(params: Params, dataset: str, method: str, scale: str | None = None) -> Settings:
    """Of `complete`: what decides the training alone."""
    settings = resolution.resolve(params, dataset, method, scale)
    where = f"methods.{method}"
    full = modules.full_name("methods", settings["module"])
    training = resolution.merged_training(declared_in(full, "TRAINING"), settings["training"])
    condition = {**declared_in(full, "CONDITION"), **settings["condition"]}
    return {
        **settings,
        "config": _filled(declared_in(full, "Config"), settings["config"], where),
        "condition": _filled(declared("components.conditions", "ConditionConfig"), condition, f"{where}.condition"),
        "guidance": {
            guide: _filled(declared_in(modules.full_name("guidance", guide), "Config"), values, f"{where}.guidance")
            for guide, values in settings["guidance"].items()
        },
        "training": _filled(declared("training.schedule", "TrainingConfig"), training, f"{where}.training"),
    }


def published_network(group: str, network: str) -> Settings:
    """Every published setting of a network that is trained before the methods.

    Args:
        group: a group of `mimik.settings.checks.NETWORKS`.
        network: what entries of that group name as their `network`.

    Returns:
        `config` and `training`, complete.

    Raises:
        AttributeError, FileNotFoundError: a network of another package that does not declare its schedule.
    """
    return _complete_network(group, {"network": network}, {}, group)


def _network(params: Params, dataset: str, group: str, name: str, scale: str | None) -> Settings:
    settings: Settings = getattr(resolution, f"resolve_{group.removesuffix('s')}")(params, dataset, name, scale)
    return {**settings, **_complete_network(group, settings["config"], settings["training"], f"{group}.{name}")}


def _complete_network(group: str, config: Settings, training: Settings, where: str) -> Settings:
    module, settings = NETWORKS[group]
    network = config["network"]
    details: Settings = {}
    if is_external(network):
        schedule = declared_in(network, "TRAINING")
    else:
        # Of one network, or of several by their names.
        schedule = declared(module, "TRAINING")
        schedule = schedule.get(network, schedule)
        with suppress(AttributeError):
            details = declared(module, "CONFIG").get(network, {})
    merged = resolution.merged_training(schedule, training)
    return {
        "config": _filled(declared(module, settings), {**details, **config}, where),
        "training": _filled(declared("training.schedule", "TrainingConfig"), merged, f"{where}.training"),
    }


def _filled(cls: type[Any], values: Mapping[str, Any], where: str) -> Settings:
    return dict(dataclasses.asdict(build(cls, values, where)))
