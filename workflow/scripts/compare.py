"""Rule `compare`: all results to the page that compares them."""

from pathlib import Path

from mimik.console import reported

with reported(snakemake.log[0]):
    from mimik.reporting.report import comparison

    comparison(
        [*(Path(file).parent for file in snakemake.input.metrics), *map(Path, snakemake.params.further)],
        Path("data/prepared"),
        Path(snakemake.output.page),
        snakemake.params.settings,
    )
