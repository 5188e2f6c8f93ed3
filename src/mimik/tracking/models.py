"""The generator as a registered model."""

import tempfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

SERVED: Mapping[str, str] = {
    "photograph": "binary", "to": "string", "strength": "double", "shown": "string", "action_units": "string",
    "has": "string", "faces": "string", "aligned": "boolean",
}  # fmt: skip
"""Columns of what a registered model is given, with MLflow's words for their types; only the first is required. See
`mimik.editing.serving.Editor.predict`, which is not imported: trainings would depend on how photographs are edited."""


def register(result: Path, config: Mapping[str, Any]) -> None:
    """The generator as a new version of the model `<method>-<dataset>`."""
    import mlflow
    import numpy as np
    import pandas as pd
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from PIL import Image

    size, attributes = int(config["image_size"]), config["condition"]["space"] == "attributes"
    first = (config["condition"].get("names") or config["attributes"])[0] if attributes else config["classes"][0]
    grey = BytesIO()
    Image.fromarray(np.full((size, size, 3), 128, np.uint8)).save(grey, "PNG")
    example = {
        "photograph": grey.getvalue(),
        "to": first,
        "aligned": True,
        **({"has": "none"} if attributes else {"shown": config["classes"][0]}),
    }
    columns: list[Any] = [ColSpec(kind, name, required=name == "photograph") for name, kind in SERVED.items()]
    returned: list[Any] = [ColSpec("binary", "photograph"), ColSpec("long", "faces"), ColSpec("string", "refused")]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("generator.safetensors", "config.json"):
            Path(folder, name).symlink_to((result / name).resolve())
        mlflow.pyfunc.log_model(
            name="generator",
            loader_module="mimik.editing.serving",
            data_path=folder,
            registered_model_name=f"{config['method']}-{config['dataset']}",
            signature=ModelSignature(inputs=Schema(columns), outputs=Schema(returned)),
            input_example=pd.DataFrame([example]),
            pip_requirements=_requirements(torch.__version__),
        )


def _requirements(torch_version: str) -> Sequence[str]:
    from mimik import __version__

    return [f"mimik[mesh]=={__version__}", f"torch=={torch_version.partition('+')[0]}"]
