"""Rules `segmenter`, `depth_network`, `classifier`, `reader`: prepared faces to a supervised network."""

from importlib import import_module
from pathlib import Path

from mimik.console import reported
from mimik.settings.params import mirror_of

with reported(snakemake.log[0]):
    pretrain = getattr(import_module(f"mimik.pretraining.{snakemake.rule}"), f"pretrain_{snakemake.rule}")
    folder = mirror_of(snakemake.config)
    settings = {**snakemake.params.settings, "mirror": None if folder is None else str(folder)}
    # Only a classifier can have any.
    labels = getattr(snakemake.input, "labels", [])
    pretrain(
        settings,
        Path(snakemake.input.manifest).parent,
        Path(snakemake.output.model).parent,
        Path("checkpoints/pretrain") / settings["dataset"] / snakemake.rule / settings["name"],
        None,
        **({"labels_dir": Path(labels[0]).parent} if labels else {}),
    )
