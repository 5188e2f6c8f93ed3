# Shared by the rules: validated settings, the part of them that each job gets, the source files it depends on, threads.
import os
import shlex
import sys
from pathlib import Path

# A copy of the repository (a clone, `dvc exp run --temp`) runs its own code, even if another copy is installed. A project
# of `mimik init` has none, and runs the installed one.
SOURCE = Path(workflow.basedir) / "src"
if (SOURCE / "mimik").is_dir():
    sys.path.insert(0, str(SOURCE))
    os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [str(SOURCE), os.getenv("PYTHONPATH")])))

from mimik.settings import agreement, papers, params, replicates, stages
from mimik.settings.checks import check_settings
from mimik.settings.imported import imported_methods, imported_segmenters, made_here
from mimik.settings.modules import PACKAGE, named
from mimik.errors import UserError
from mimik.settings.place import check_place
from mimik.settings.reading import read
from mimik.storage.files import file_sha256


class ShellWord(str):
    """A string that is quoted when it is formatted into a shell command, and unchanged everywhere else."""

    def __format__(self, specification):
        return format(shlex.quote(str(self)), specification)


# Snakemake puts the path of the Python that runs a job's script unquoted into a command line: a blank or a quote in the
# path of the project, which contains the virtual environment, made every job fail.
sys.executable = ShellWord(sys.executable)


def stop(error):
    """End with one message and no traceback, before any job has started."""
    sys.stderr.write(f"\nmimik: {error}\n")
    sys.stderr.flush()
    raise SystemExit(2)


# Read strictly before Snakemake reads it, because Snakemake silently drops one of two equal keys in a group.
try:
    _, origins = read(
        missing="Run snakemake in the project folder, which contains it, or make a new project: `mimik init DIR`."
    )
except UserError as error:
    stop(error)

# params.yaml and the files of params/, which never set the same thing; `--configfile` and `--config` win over them all.
for file in origins.files:

    configfile: str(file)


try:
    check_place(SOURCE.parent)
    check_place(Path.cwd())
    params.validate(config, params.SCHEMA, origins)
    check_settings(config, origins)
except UserError as error:
    stop(error)


def begin_agreement():
    """Lock DVC out during this run; stop if DVC is running."""
    try:
        agreement.begin(Path.cwd())
    except UserError as error:
        stop(error)


# Threads of one training job. A single thread at the small scales: two jobs side by side do more than one job with
# two threads, and the same number everywhere gives the same weights on every machine.
# `--set-threads train=4` overrides it for one call.
TRAINING_THREADS = {"paper": 16, "laptop": 2, "demo": 1, "smoke": 1}


def cores_at_most(number):
    """`number`, or the number of cores of this machine if that is lower: --cores may promise more."""
    return max(1, min(number, os.cpu_count() or 1))


def training_threads(wildcards):
    return cores_at_most(TRAINING_THREADS.get(params.scale_of(config, wildcards.dataset), 16))


# What decides a job's result, according to mimik.settings.stages: settings, source files, networks trained before.
def settings_of(rule):
    def settings(wildcards):
        return stages.settings(config, rule, wildcards)

    return settings


def code_of(rule):
    """A digest, as a parameter: with a hundred source files as inputs of every job, the scheduler, which checks all
    inputs whenever a job has ended, took seconds per job.
    """

    def code(wildcards):
        return stages.code_digest(config, rule, wildcards, PACKAGE)

    return code


def weights_of(kind):
    """Input function: the trained network of a kind that a job reads; no file if it needs none."""

    def weights(wildcards):
        path = stages.weights(config, kind, wildcards)
        return [] if path is None else [path]

    return weights


def segmented(wildcards):
    """Input function: the dataset that a method's segmenter is trained on, if another; mIoU is measured there."""
    folder = stages.segmented(config, wildcards)
    return [] if folder is None else [f"{folder}/manifest.json"]


def label_scores(wildcards):
    """Input function: the scores of the labels of a dataset; no file if they are not scored."""
    path = stages.label_scores(config, wildcards.dataset)
    return [] if path is None else [path]


def classifier_labels(wildcards):
    """Input function: the same for a classifier, if it learns these labels."""
    learns = "label_quality" in stages.settings(config, "classifier", wildcards)
    return label_scores(wildcards) if learns else []


def published_weights(wildcards):
    """Inception and ArcFace weights, if the user has placed them: their metrics are then computed."""
    return sorted(
        str(file) for file in Path("data/weights").glob("*") if file.is_file() and file.name[0] != "."
    )


def read_by_openface(wildcards):
    """The edits that the user has exported and run OpenFace on, if any: its metric is then computed."""
    edits = Path(f"data/openface/{wildcards.dataset}/{wildcards.method}/edits.json")
    return [str(edits)] if edits.exists() else []


def usable_archive(wildcards):
    """No file. If the archive is not usable, stops before any job starts and says what to obtain and where to put it.

    The same applies to the files of 3DDFA_V2 if depth comes from them.
    """
    if not Path(f"data/prepared/{wildcards.dataset}/manifest.json").exists():
        settings = stages.settings(config, "prepare", wildcards)
        try:
            dataset = named(
                "datasets", settings["module"], f"params.yaml: datasets.{wildcards.dataset}.dataset"
            )
            dataset.check(
                Path("data/raw") / settings["module"], settings["options"], params.mirror_of(config)
            )
            if "reconstruction" in settings["options"]:
                # Here, because it imports pandas, for which every other start of Snakemake would wait.
                from mimik.faces.reconstruction import tddfa

                if settings["options"]["reconstruction"] == tddfa.CHOICE:
                    tddfa.Files.find(params.mirror_of(config))
        except UserError as error:
            stop(error)
    return []


def experiment_files(pattern):
    """The files of a pattern for every experiment of params.yaml, in order."""
    return [
        pattern.format(dataset=experiment.dataset, method=experiment.method)
        for experiment in params.experiments(config)
    ]


def paper_files(file):
    """Input function: a file of every result that the papers' items and claims need, on datasets that can be had."""

    def files(wildcards):
        missing = papers.unobtainable(config, Path("data/prepared"), Path("data/raw"))
        return [
            f"results/{dataset}/{method}/{file}"
            for dataset, method in papers.wanted(config)
            if dataset not in missing
        ]

    return files


def all_results(wildcards):
    """What is in results/, with digests: the papers' pages show everything that they find."""
    return {str(file): file_sha256(file) for file in sorted(Path("results").glob("*/*/metrics.json"))}


def further_results(wildcards):
    """Results in results/ that are not among the experiments, with digests: the comparison shows them unchanged.

    They are not inputs, so that a page does not make a large dataset's results again because code has changed.
    """
    named = set(experiment_files("results/{dataset}/{method}/metrics.json"))
    found = sorted(str(file) for file in Path("results").glob("*/*/metrics.json"))
    return {str(Path(file).parent): file_sha256(file) for file in found if file not in named}
