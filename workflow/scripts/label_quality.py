"""Rule `label_quality`: prepared faces to scores of their labels, and a sheet of those that are doubted."""

from pathlib import Path

from mimik.console import reported

with reported(snakemake.log[0]):
    from mimik.inspection.contact_sheets import draw_doubted
    from mimik.pretraining.label_quality import score_labels

    settings = snakemake.params.settings
    store, output = Path(snakemake.input.manifest).parent, Path(snakemake.output.record).parent
    score_labels(settings, store, output, Path("checkpoints/label_quality") / settings["dataset"])
    draw_doubted(store, output)
