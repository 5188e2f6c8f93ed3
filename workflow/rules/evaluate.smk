# generator + test split -> translations -> metrics.json.


rule translate:
    input:
        index="data/prepared/{dataset}/index.csv",
        manifest="data/prepared/{dataset}/manifest.json",
        generator="results/{dataset}/{method}/generator.safetensors",
        guides="results/{dataset}/{method}/guides.safetensors",
        config="results/{dataset}/{method}/config.json",
        segmenter=weights_of("segmenter"),
        segmented=segmented,
    output:
        images="results/{dataset}/{method}/translations/images.npy",
        cycle="results/{dataset}/{method}/translations/cycle.npy",
        masks="results/{dataset}/{method}/translations/masks.npy",
        strengths="results/{dataset}/{method}/translations/strengths.npy",
        action_units="results/{dataset}/{method}/translations/action_units.npy",
        unit_changes="results/{dataset}/{method}/translations/unit_changes.npy",
        exemplars="results/{dataset}/{method}/translations/exemplars.npy",
        guided_maps="results/{dataset}/{method}/translations/guided_maps.npy",
        manifest="results/{dataset}/{method}/translations/manifest.json",
    log:
        "logs/translate/{dataset}_{method}.log",
    benchmark:
        "logs/translate/{dataset}_{method}.tsv"
    conda:
        "../envs/mimik.yaml"
    threads: training_threads
    resources:
        gpu=1,
    params:
        settings=settings_of("translate"),
        code=code_of("translate"),
    message:
        "Translate the test faces of {wildcards.dataset} with {wildcards.method}"
    script:
        "../scripts/translate.py"


rule evaluate:
    input:
        index="data/prepared/{dataset}/index.csv",
        manifest="data/prepared/{dataset}/manifest.json",
        translations=rules.translate.output.manifest,
        images=rules.translate.output.images,
        cycle=rules.translate.output.cycle,
        generator=rules.train.output.generator,
        config=rules.train.output.config,
        history=rules.train.output.history,
        samples=rules.train.output.samples,
        classifier=weights_of("classifier"),
        segmenter=weights_of("segmenter"),
        segmented=segmented,
        reader=weights_of("reader"),
        weights=published_weights,
        openface=read_by_openface,
    output:
        metrics="results/{dataset}/{method}/metrics.json",
        per_face="results/{dataset}/{method}/per_face.safetensors",
        scores="results/{dataset}/{method}/scores.json",
        by_target="results/{dataset}/{method}/by_target.csv",
    log:
        "logs/evaluate/{dataset}_{method}.log",
    benchmark:
        "logs/evaluate/{dataset}_{method}.tsv"
    conda:
        "../envs/mimik.yaml"
    threads: training_threads
    resources:
        gpu=1,
    params:
        settings=settings_of("evaluate"),
        code=code_of("evaluate"),
    message:
        "Evaluate {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/evaluate.py"
