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

SHA256 = "generator_sha256"
"""Entry of a run's tags and of a model's metadata: the digest of its generator.safetensors."""


def register(result: Path, config: Mapping[str, Any], run_id: str, sha256: str) -> None:
    """The generator as a new version of the model `<method>-<dataset>`, unless this run has registered it before.

    Args:
        result: folder of generator.safetensors and config.json.
        config: what is in config.json.
        run_id: the run, which is active.
        sha256: digest of generator.safetensors.
    """
    import mlflow
    import numpy as np
    import pandas as pd
    import torch
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from PIL import Image

    name = f"{config['method']}-{config['dataset']}"
    if _is_registered(name, run_id, sha256):
        return
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
        for file in ("generator.safetensors", "config.json"):
            Path(folder, file).symlink_to((result / file).resolve())
        mlflow.pyfunc.log_model(
            name="generator",
            loader_module="mimik.editing.serving",
            data_path=folder,
            registered_model_name=name,
            metadata={SHA256: sha256},
            signature=ModelSignature(inputs=Schema(columns), outputs=Schema(returned)),
            input_example=pd.DataFrame([example]),
            pip_requirements=_requirements(torch.__version__),
        )


def _is_registered(name: str, run_id: str, sha256: str) -> bool:
    """Whether a run has registered a generator: it may have been killed before it could say so in its own tag."""
    from mlflow import MlflowClient
    from mlflow.models import get_model_info

    versions = [one for one in MlflowClient().search_model_versions(f"name = '{name}'") if one.run_id == run_id]
    found = (get_model_info(one.source).metadata for one in versions if one.source and one.status == "READY")
    return any(metadata is not None and metadata.get(SHA256) == sha256 for metadata in found)


def _requirements(torch_version: str) -> Sequence[str]:
    from mimik import __version__

    return [f"mimik[mesh]=={__version__}", f"torch=={torch_version.partition('+')[0]}"]
