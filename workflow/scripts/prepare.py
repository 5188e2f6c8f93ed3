"""Rule `prepare`: a dataset's archive to prepared faces."""

from pathlib import Path

from mimik.console import reported

with reported(snakemake.log[0]):
    from mimik.faces.prepared.prepare import prepare
    from mimik.settings.params import mirror_of

    settings = snakemake.params.settings
    segment = None
    if snakemake.input.segmenter:
        from mimik.pretraining.predicted_masks import PredictedMasks

        confidence = settings["options"].get("masks_confidence", 0.0)
        segment = PredictedMasks(Path(snakemake.input.segmenter[0]).parent, confidence)
    dataset = settings["dataset"]
    prepare(
        dataset,
        settings["options"],
        Path("data/raw") / settings["module"],
        Path(snakemake.output.manifest).parent,
        module_name=settings["module"],
        seed=settings["seed"],
        workers=snakemake.threads,
        mirror=mirror_of(snakemake.config),
        work=Path("checkpoints/prepare") / dataset,
        segment=segment,
    )
