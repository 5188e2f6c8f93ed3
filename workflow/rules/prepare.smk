# raw archive -> faces: found, aligned, with masks, depth and normals where the dataset's options ask for them.


def usable_archive(wildcards):
    """No file: stops with what to obtain and where to put it, before any job starts, if the archive is not usable."""
    if not Path(f"data/prepared/{wildcards.dataset}/manifest.json").exists():
        dataset = importlib.import_module(f"mimik.datasets.{wildcards.dataset}")
        try:
            dataset.check(
                Path("data/raw") / wildcards.dataset,
                stages.settings(config, "prepare", wildcards)["options"],
                params.mirror_of(config),
            )
        except UserError as error:
            stop(error)
    return []


rule prepare:
    input:
        archive=usable_archive,
        code=code_of("prepare"),
    output:
        # The arrays beside them (faces/store.py says which) belong to the manifest, which is written last.
        index="data/prepared/{dataset}/index.csv",
        quarantine="data/prepared/{dataset}/quarantine.csv",
        manifest="data/prepared/{dataset}/manifest.json",
    log:
        "logs/prepare/{dataset}.log",
    benchmark:
        "logs/prepare/{dataset}.tsv"
    conda:
        "../envs/mimik.yaml"
    threads: cores_at_most(64)
    params:
        settings=settings_of("prepare"),
    message:
        "Prepare the faces of {wildcards.dataset}"
    script:
        "../scripts/prepare.py"
