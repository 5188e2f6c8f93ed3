"""Rule `evaluate`: translations to metrics.json, which MLflow gets with all else about the run."""

from pathlib import Path

from mimik.console import reported


def folder(files):
    """The folder of an input that a method or dataset may not have."""
    return Path(files[0]).parent if files else None


with reported(snakemake.log[0]):
    from mimik.evaluation.evaluate import evaluate
    from mimik.evaluation.measurements import EvaluationSettings
    from mimik.settings.configuration import build
    from mimik.settings.params import mirror_of
    from mimik.tracking.runs import evaluated_run

    result = Path(snakemake.input.generator).parent
    store = Path(snakemake.input.manifest).parent
    # MLflow is opened first: a server that does not answer is told before the work, not after it.
    with evaluated_run(result, store) as run_id:
        evaluate(
            build(EvaluationSettings, snakemake.params.settings["evaluation"], "evaluation"),
            result,
            store,
            folder(snakemake.input.classifier),
            folder(snakemake.input.segmenter),
            folder(snakemake.input.reader),
            Path("data/weights"),
            Path(snakemake.output.metrics),
            mirror_of(snakemake.config),
            run_id,
            segmented_dir=folder(snakemake.input.segmented),
            openface_dir=Path("data/openface") / snakemake.wildcards.dataset / snakemake.wildcards.method,
        )
