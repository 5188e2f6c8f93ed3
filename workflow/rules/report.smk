# results -> pages: one for every method, one that compares everything that exists.


def experiment_files(pattern):
    """The files of a pattern for every experiment of params.yaml, in their order."""
    return [
        pattern.format(dataset=experiment.dataset, method=experiment.method)
        for experiment in params.experiments(config)
    ]


def further_results(wildcards):
    """Results that stand in results/ besides the experiments, with digests: the comparison shows them as they are.

    They are no inputs, so that a page does not make a large dataset's results again because code has changed.
    """
    named = set(experiment_files("results/{dataset}/{method}/metrics.json"))
    found = sorted(str(file) for file in Path("results").glob("*/*/metrics.json"))
    return {str(Path(file).parent): file_sha256(file) for file in found if file not in named}


rule report:
    input:
        metrics="results/{dataset}/{method}/metrics.json",
        config=rules.train.output.config,
        history=rules.train.output.history,
        samples=rules.train.output.samples,
        translations=rules.translate.output.manifest,
        manifest="data/prepared/{dataset}/manifest.json",
        segmenter=weights_of("segmenter"),
        code=code_of("report"),
    output:
        page=report(
            "results/{dataset}/{method}/report.html",
            category="Methods",
            labels={"dataset": "{dataset}", "method": "{method}"},
            caption="../report/method.rst",
        ),
    log:
        "logs/report/{dataset}_{method}.log",
    benchmark:
        "logs/report/{dataset}_{method}.tsv"
    conda:
        "../envs/mimik.yaml"
    threads: 1
    params:
        settings=settings_of("report"),
    message:
        "Report on {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/report.py"


rule compare:
    input:
        metrics=experiment_files("results/{dataset}/{method}/metrics.json"),
        histories=experiment_files("results/{dataset}/{method}/history.csv"),
        translations=experiment_files("results/{dataset}/{method}/translations/manifest.json"),
        code=code_of("compare"),
    output:
        page=report("report/index.html", category="Comparison", caption="../report/comparison.rst"),
    log:
        "logs/report/comparison.log",
    benchmark:
        "logs/report/comparison.tsv"
    conda:
        "../envs/mimik.yaml"
    threads: 1
    params:
        settings=settings_of("compare"),
        further=further_results,
    message:
        "Compare everything that is in results/"
    script:
        "../scripts/compare.py"
