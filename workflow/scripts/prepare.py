"""Rule `prepare`: a dataset's archive to prepared faces."""

from pathlib import Path

from mimik.console import reported

with reported(snakemake.log[0]):
    from mimik.faces.prepare import prepare
    from mimik.params import mirror_of

    settings = snakemake.params.settings
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
    )
