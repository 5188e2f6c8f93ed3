"""A trained method of random weights, for tests of editing."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from mimik.components.conditions import Condition, ConditionConfig
from mimik.components.context import Context
from mimik.faces import alignment
from mimik.labels import ACTION_UNITS
from mimik.methods import stargan
from mimik.settings.configuration import build

CLASSES = ["neutral", "happiness", "anger"]


def make_model(folder: Path, attributes: Sequence[str] = (), **condition: Any) -> Path:
    """A StarGAN of random weights in `folder`; `condition` are settings of its ConditionConfig."""
    torch.manual_seed(0)
    made = Condition(ConditionConfig(**condition), CLASSES, attributes)
    if made.class_units is not None:
        made.set_class_units(torch.rand(3, len(ACTION_UNITS)))
    settings = {"conv_dim": 4, "residual_blocks": 1, "adversary": {"conv_dim": 4, "layers": 3}}
    method = stargan.Method(build(stargan.Config, settings, "test"), Context(made, 64))
    folder.mkdir()
    save_file(method.generator_state(), folder / "generator.safetensors")
    config = {
        "dataset": "open_faces", "method": "stargan", "module": "stargan", "scale": "smoke", "image_size": 64,
        "sizes": [128, 64], "classes": CLASSES, "attributes": list(attributes), "config": settings,
        "condition": condition, "architectures": {}, "template": alignment.TEMPLATE_NAME,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder
