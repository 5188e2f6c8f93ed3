"""Rule `papers`: all results to every table and figure of the papers and the ledger of claims."""

from pathlib import Path

from mimik.console import reported

with reported(snakemake.log[0]):
    from mimik.reporting.papers.pages import write_existing
    from mimik.tracking.papers import mirror_tables

    shown = write_existing(
        snakemake.params.settings, Path("results"), Path("data/prepared"), Path("data/raw"), Path("report")
    )
    mirror_tables(shown)
