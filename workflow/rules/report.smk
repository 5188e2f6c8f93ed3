# results -> pages: one for every method, one that compares everything that exists.


rule report:
    input:
        metrics="results/{dataset}/{method}/metrics.json",
        config=rules.train.output.config,
        history=rules.train.output.history,
        samples=rules.train.output.samples,
        translations=rules.translate.output.manifest,
        masks=rules.translate.output.masks,
        strengths=rules.translate.output.strengths,
        action_units=rules.translate.output.action_units,
        manifest="data/prepared/{dataset}/manifest.json",
        segmenter=weights_of("segmenter"),
        segmented=segmented,
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
        code=code_of("report"),
    message:
        "Report on {wildcards.method} on {wildcards.dataset}"
    script:
        "../scripts/report.py"


rule compare:
    input:
        metrics=experiment_files("results/{dataset}/{method}/metrics.json"),
        per_face=experiment_files("results/{dataset}/{method}/per_face.safetensors"),
        histories=experiment_files("results/{dataset}/{method}/history.csv"),
        translations=experiment_files("results/{dataset}/{method}/translations/manifest.json"),
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
        code=code_of("compare"),
        further=further_results,
    message:
        "Compare everything that is in results/"
    script:
        "../scripts/compare.py"


# Every table and figure of the papers, and the ledger of claims. `--config dataset=synthetic` makes all of them on that
# dataset; without it, those whose data is there. `mimik papers` makes the pages of the results that exist.
rule papers:
    input:
        metrics=paper_files("metrics.json"),
        per_face=paper_files("per_face.safetensors"),
        histories=paper_files("history.csv"),
        translations=paper_files("translations/manifest.json"),
    output:
        page=report("report/papers/index.html", category="Papers", caption="../report/papers.rst"),
        claims=report("report/claims.html", category="Papers", caption="../report/papers.rst"),
        texts=expand("report/claims.{suffix}", suffix=["md", "json"]),
    log:
        "logs/report/papers.log",
    benchmark:
        "logs/report/papers.tsv"
    conda:
        "../envs/mimik.yaml"
    threads: 1
    params:
        settings=settings_of("papers"),
        code=code_of("papers"),
        further=all_results,
    message:
        "Make every table and figure of the papers"
    script:
        "../scripts/papers.py"
