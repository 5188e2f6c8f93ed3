"""Rule `translate`: every test face asked for every class, and sent back again."""

from pathlib import Path

from mimik.console import reported

with reported(snakemake.log[0]):
    from mimik.evaluation.translation import TranslationSettings, translate
    from mimik.settings.configuration import build

    translate(
        Path(snakemake.input.generator).parent,
        Path(snakemake.input.manifest).parent,
        Path(snakemake.input.segmenter[0]).parent if snakemake.input.segmenter else None,
        Path(snakemake.output.manifest).parent,
        build(TranslationSettings, snakemake.params.settings, "translation"),
        segmented_dir=Path(snakemake.input.segmented[0]).parent if snakemake.input.segmented else None,
    )
