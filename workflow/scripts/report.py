"""Rule `report`: the results of one method to a page."""

from pathlib import Path

from mimik.console import reported

with reported(snakemake.log[0]):
    from mimik.reporting.report import method_report

    method_report(
        Path(snakemake.input.metrics).parent,
        Path(snakemake.input.manifest).parent,
        Path(snakemake.output.page),
        snakemake.params.settings,
    )
