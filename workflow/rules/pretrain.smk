# faces -> supervised networks: the segmenters that methods start from, and the networks that measure results.


rule segmenter:
    input:
        index="data/prepared/{dataset}/index.csv",
        manifest="data/prepared/{dataset}/manifest.json",
    output:
        model="data/pretrained/{dataset}/segmenter/{segmenter}/model.safetensors",
        config="data/pretrained/{dataset}/segmenter/{segmenter}/config.json",
        history="data/pretrained/{dataset}/segmenter/{segmenter}/history.csv",
        metrics="data/pretrained/{dataset}/segmenter/{segmenter}/metrics.json",
    log:
        "logs/segmenter/{dataset}_{segmenter}.log",
    benchmark:
        "logs/segmenter/{dataset}_{segmenter}.tsv"
    wildcard_constraints:
        dataset=made_here(config["datasets"], imported_segmenters(Path.cwd())),
    # The longest chains of jobs go through the segmenter and the depth network and the methods that start from them.
    priority: 2
    conda:
        "../envs/mimik.yaml"
    threads: training_threads
    resources:
        gpu=1,
    params:
        settings=settings_of("segmenter"),
        code=code_of("segmenter"),
    message:
        "Train the segmenter {wildcards.segmenter} on {wildcards.dataset}"
    script:
        "../scripts/pretrain.py"


rule depth_network:
    input:
        index="data/prepared/{dataset}/index.csv",
        manifest="data/prepared/{dataset}/manifest.json",
    output:
        model="data/pretrained/{dataset}/depth_network/{depth_network}/model.safetensors",
        config="data/pretrained/{dataset}/depth_network/{depth_network}/config.json",
        history="data/pretrained/{dataset}/depth_network/{depth_network}/history.csv",
        metrics="data/pretrained/{dataset}/depth_network/{depth_network}/metrics.json",
    log:
        "logs/depth_network/{dataset}_{depth_network}.log",
    benchmark:
        "logs/depth_network/{dataset}_{depth_network}.tsv"
    priority: 2
    conda:
        "../envs/mimik.yaml"
    threads: training_threads
    resources:
        gpu=1,
    params:
        settings=settings_of("depth_network"),
        code=code_of("depth_network"),
    message:
        "Train the depth network {wildcards.depth_network} on {wildcards.dataset}"
    script:
        "../scripts/pretrain.py"


rule label_quality:
    input:
        index="data/prepared/{dataset}/index.csv",
        manifest="data/prepared/{dataset}/manifest.json",
    output:
        scores="data/label_quality/{dataset}/scores.csv",
        sheet="data/label_quality/{dataset}/doubted.png",
        record="data/label_quality/{dataset}/label_quality.json",
    log:
        "logs/label_quality/{dataset}.log",
    benchmark:
        "logs/label_quality/{dataset}.tsv"
    # Everything that is trained by labels waits for it.
    priority: 3
    conda:
        "../envs/mimik.yaml"
    threads: training_threads
    resources:
        gpu=1,
    params:
        settings=settings_of("label_quality"),
        code=code_of("label_quality"),
    message:
        "Score the labels of {wildcards.dataset}"
    script:
        "../scripts/label_quality.py"


rule classifier:
    input:
        index="data/prepared/{dataset}/index.csv",
        manifest="data/prepared/{dataset}/manifest.json",
        labels=classifier_labels,
    output:
        model="data/pretrained/{dataset}/classifier/{classifier}/model.safetensors",
        config="data/pretrained/{dataset}/classifier/{classifier}/config.json",
        history="data/pretrained/{dataset}/classifier/{classifier}/history.csv",
        metrics="data/pretrained/{dataset}/classifier/{classifier}/metrics.json",
    log:
        "logs/classifier/{dataset}_{classifier}.log",
    benchmark:
        "logs/classifier/{dataset}_{classifier}.tsv"
    conda:
        "../envs/mimik.yaml"
    threads: training_threads
    resources:
        gpu=1,
    params:
        settings=settings_of("classifier"),
        code=code_of("classifier"),
    message:
        "Train the classifier {wildcards.classifier} on {wildcards.dataset}"
    script:
        "../scripts/pretrain.py"


rule reader:
    input:
        index="data/prepared/{dataset}/index.csv",
        manifest="data/prepared/{dataset}/manifest.json",
    output:
        model="data/pretrained/{dataset}/reader/{reader}/model.safetensors",
        config="data/pretrained/{dataset}/reader/{reader}/config.json",
        history="data/pretrained/{dataset}/reader/{reader}/history.csv",
        metrics="data/pretrained/{dataset}/reader/{reader}/metrics.json",
    log:
        "logs/reader/{dataset}_{reader}.log",
    benchmark:
        "logs/reader/{dataset}_{reader}.tsv"
    conda:
        "../envs/mimik.yaml"
    threads: training_threads
    resources:
        gpu=1,
    params:
        settings=settings_of("reader"),
        code=code_of("reader"),
    message:
        "Train the reader {wildcards.reader} on {wildcards.dataset}"
    script:
        "../scripts/pretrain.py"
