"""Rule `train`: prepared faces to a trained generator, mirrored to MLflow on the way."""

from functools import partial
from pathlib import Path

from mimik.console import reported

with reported(snakemake.log[0]):
    from mimik.settings.params import PRETRAINED
    from mimik.tracking.runs import training_run
    from mimik.training.runs import train_method

    settings = snakemake.params.settings
    judge = snakemake.input.judge
    if judge:  # measures need more than a training
        from mimik.evaluation.validation import ValidationJudge
    store = Path(snakemake.input.manifest).parent
    with training_run(settings, store) as (settings, logger):
        train_method(
            settings,
            store,
            {kind: Path(files[0]).parent for kind in (*PRETRAINED, "starts_from") if (files := snakemake.input[kind])},
            Path(snakemake.output.generator).parent,
            Path("checkpoints/train") / settings["dataset"] / settings["method"],
            logger,
            judge=partial(ValidationJudge, Path(judge[0]).parent) if judge else None,
            segmented_dir=Path(snakemake.input.segmented[0]).parent if snakemake.input.segmented else None,
            labels_dir=Path(snakemake.input.labels[0]).parent if snakemake.input.labels else None,
        )
