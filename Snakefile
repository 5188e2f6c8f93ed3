# Entry point and table of contents. Without a target, `snakemake` makes the experiments of params.yaml and the report.
# To make any other pair, name it: snakemake --cores 8 results/affectnet/hier_seg/metrics.json
from snakemake.utils import min_version

min_version("9.0")


# For `snakemake --sdm apptainer` alone: an image in the project's folder, made from the Dockerfile (docs/projects.md).
container: "mimik.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"


wildcard_constraints:
    dataset="|".join(config["datasets"]),
    # With all its trainings: stargan, stargan@2, ...
    method=replicates.pattern(config["methods"]),
    segmenter="|".join(config["segmenters"]),
    depth_network="|".join(config["depth_networks"]),
    classifier="|".join(config["classifiers"]),
    reader="|".join(config["readers"]),


localrules:
    all,
    systems,


rule all:
    default_target: True
    input:
        expand(
            "results/{experiment[0]}/{experiment[1]}/{file}",
            experiment=params.experiments(config),
            file=["metrics.json", "report.html"],
        ),
        "report/index.html",
    message:
        "Everything that was asked for is there"


rule systems:
    input:
        expand(
            "results/synthetic/{method}/{file}",
            method=[
                name
                for method in config["systems"]
                for name in params.trainings_of(config, "synthetic", method)
            ],
            file=["metrics.json", "report.html"],
        ),
    message:
        "Everything that was asked for is there"


# DVC deletes the outputs of a stage before it runs it. It is therefore locked out while jobs run. When the run ends,
# even if it failed, what was made is recorded in DVC (mimik.settings.agreement). `--no-hooks` skips this for one run.
onstart:
    begin_agreement()


onsuccess:
    agreement.end(Path.cwd())


onerror:
    agreement.end(Path.cwd())
