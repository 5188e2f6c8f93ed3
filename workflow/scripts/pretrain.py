"""Rules `segmenter`, `classifier`, `reader`: prepared faces to a supervised network."""

from pathlib import Path

from mimik.console import reported

with reported(snakemake.log[0]):
    from mimik.pretraining.classifier import pretrain_classifier
    from mimik.pretraining.reader import pretrain_reader
    from mimik.pretraining.segmenter import pretrain_segmenter

    pretrain = {"segmenter": pretrain_segmenter, "classifier": pretrain_classifier, "reader": pretrain_reader}
    settings = snakemake.params.settings
    pretrain[snakemake.rule](
        settings,
        Path(snakemake.input.manifest).parent,
        Path(snakemake.output.model).parent,
        Path("checkpoints/pretrain") / settings["dataset"] / snakemake.rule / settings["name"],
        None,
    )
