"""Rule `train`: prepared faces to a trained generator, mirrored to MLflow on the way."""

from pathlib import Path

from mimik.console import reported

with reported(snakemake.log[0]):
    from mimik.method_training import train_method
    from mimik.tracking import training_run

    settings = snakemake.params.settings
    store = Path(snakemake.input.manifest).parent
    with training_run(settings, store) as (settings, logger):
        train_method(
            settings,
            store,
            Path(snakemake.input.segmenter[0]).parent if snakemake.input.segmenter else None,
            Path(snakemake.output.generator).parent,
            Path("checkpoints/train") / settings["dataset"] / settings["method"],
            logger,
        )
