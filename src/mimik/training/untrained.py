"""A method as its training starts with it, without data: to count or to time its steps."""

import dataclasses
from typing import Any

from torch import nn

from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.context import Context
from mimik.labels import EXPRESSIONS, SECGAN_ATTRIBUTES
from mimik.settings import params as resolution
from mimik.settings.complete import complete_network, complete_training
from mimik.settings.configuration import build
from mimik.settings.modules import named
from mimik.settings.params import PRETRAINED, Params
from mimik.training.guided import Guided
from mimik.training.runs import guide_module, method_module


def untrained_method(
    params: Params, dataset: str, method: str, scale: str | None = None, image_size: int | None = None
) -> Any:
    """The task that trains an entry of `methods`, with fresh networks where it starts from trained ones.

    Args:
        params: of params.yaml.
        dataset, method: entries of it. The task knows the 8 expressions and SeCGAN's 13 attributes, as
            `mimik.training.operations.random_batch` has them.
        scale: None: the one that the dataset runs at.
        image_size: side in pixels; None: the dataset's.

    Returns:
        a `mimik.training.loop.Task`.

    Raises:
        UserError: a name that params.yaml does not know, or settings that do not fit together.
    """
    settings = complete_training(params, dataset, method, scale)
    size, where = image_size or settings["image_size"], f"methods.{method}"

    def networks() -> dict[str, nn.Module]:
        made = {}
        for kind, (at, name) in resolution.pretrained_of(params, dataset, method, scale).items():
            config = complete_network(params, at, PRETRAINED[kind], name, scale)["config"]
            made[kind] = named("networks", kind, where).build({**config, "image_size": size})
        return made

    condition = build(ConditionConfig, settings["condition"], f"{where}.condition")
    context = Context(Condition(condition, EXPRESSIONS, SECGAN_ATTRIBUTES), size, networks())
    module = method_module(settings["module"])
    task = module.Method(build(module.Config, settings["config"], where), context)
    guides = {}
    for name, values in settings["guidance"].items():
        guide = guide_module(name)
        own = dataclasses.replace(context, pretrained=networks())
        guides[name] = guide.Guide(build(guide.Config, values, f"{where}.guidance.{name}"), own)
    return Guided(task, guides) if guides else task
