# raw archive -> faces: found, aligned, with masks, depth and normals if the dataset's options require them.


rule prepare:
    input:
        archive=usable_archive,
        segmenter=weights_of("masks"),
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
        code=code_of("prepare"),
    message:
        "Prepare the faces of {wildcards.dataset}"
    script:
        "../scripts/prepare.py"
