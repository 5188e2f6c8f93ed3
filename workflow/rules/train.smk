# faces (and networks trained before) -> a trained generator.


rule train:
    input:
        index="data/prepared/{dataset}/index.csv",
        manifest="data/prepared/{dataset}/manifest.json",
        segmenter=weights_of("segmenter"),
        segmented=segmented,
        depth_network=weights_of("depth_network"),
        starts_from=weights_of("starts_from"),
        labels=label_scores,
        judge=weights_of("judge"),
    output:
        generator="results/{dataset}/{method}/generator.safetensors",
        critic="results/{dataset}/{method}/critic.safetensors",
        guides="results/{dataset}/{method}/guides.safetensors",
        config="results/{dataset}/{method}/config.json",
        history="results/{dataset}/{method}/history.csv",
        samples="results/{dataset}/{method}/samples.png",
        validation="results/{dataset}/{method}/validation/validation.json",
    log:
        "logs/train/{dataset}_{method}.log",
    benchmark:
        "logs/train/{dataset}_{method}.tsv"
    # What was imported is no result of this rule: neither overwritten nor trained anew.
    wildcard_constraints:
        dataset=made_here(config["datasets"], imported_methods(Path.cwd())),
    priority: 1
    conda:
        "../envs/mimik.yaml"
    threads: training_threads
    resources:
        gpu=1,
    params:
        settings=settings_of("train"),
        code=code_of("train"),
    message:
        "Train {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/train.py"
