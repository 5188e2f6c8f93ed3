"""Results and pages: `mimik translate`, `evaluate`, `score`, `report`, `compare` and `papers`."""

import argparse
from pathlib import Path

from mimik.errors import UserError
from mimik.settings import params, scoring
from mimik.verbs.chosen import (
    OPENFACE,
    PREPARED,
    RAW,
    RESULTS,
    WEIGHTS,
    segmented_by,
    settings_of,
    shown_on,
    weights_of,
)


def translate_faces(chosen: argparse.Namespace) -> None:
    """`mimik translate`."""
    from mimik.evaluation.translation import TranslationSettings, translate
    from mimik.settings.configuration import build

    values = settings_of(chosen)
    result = RESULTS / chosen.dataset / chosen.method
    settings = params.resolve_translation(values, chosen.dataset, chosen.method)
    translate(
        result,
        PREPARED / chosen.dataset,
        weights_of(values, "segmenter", chosen),
        result / "translations",
        build(TranslationSettings, settings, "translation"),
        segmented_dir=segmented_by(values, chosen),
    )


def evaluate_method(chosen: argparse.Namespace) -> None:
    """`mimik evaluate`."""
    from mimik.evaluation.evaluate import evaluate
    from mimik.evaluation.measurements import EvaluationSettings
    from mimik.settings.configuration import build
    from mimik.tracking import runs as tracking

    values = settings_of(chosen)
    result, store = RESULTS / chosen.dataset / chosen.method, PREPARED / chosen.dataset
    settings = params.resolve_evaluation(values, chosen.dataset, chosen.method)
    with tracking.evaluated_run(result, store) as run_id:
        evaluate(
            build(EvaluationSettings, settings["evaluation"], "evaluation"),
            result,
            store,
            weights_of(values, "classifier", chosen),
            weights_of(values, "segmenter", chosen),
            weights_of(values, "reader", chosen),
            WEIGHTS,
            result / "metrics.json",
            params.mirror_of(values),
            run_id,
            segmented_dir=segmented_by(values, chosen),
            openface_dir=OPENFACE / chosen.dataset / chosen.method,
        )


def score_pictures(chosen: argparse.Namespace) -> None:
    """`mimik score`."""
    from mimik.evaluation.evaluate import evaluate
    from mimik.evaluation.measurements import EvaluationSettings
    from mimik.evaluation.submission import DECLARATION, read_declaration, take_in
    from mimik.reporting.report import method_report
    from mimik.settings.configuration import build
    from mimik.tracking import runs as tracking

    values, folder = settings_of(chosen), Path(chosen.folder).expanduser()
    declared = read_declaration(folder)
    if declared.name in values["methods"]:
        raise UserError(
            f"{folder / DECLARATION}: name: {declared.name!r} is one of params.yaml's methods. Choose another."
        )
    settings = scoring.resolve_scoring(values, declared.dataset, by_attribute=bool(declared.attributes))
    store, result = PREPARED / declared.dataset, RESULTS / declared.dataset / declared.name
    take_in(folder, declared, store, settings, result)
    with tracking.evaluated_run(result, store) as run_id:
        evaluate(
            build(EvaluationSettings, settings["evaluation"], "evaluation"),
            result,
            store,
            settings["classifier"],
            None,
            settings["reader"],
            WEIGHTS,
            result / "metrics.json",
            params.mirror_of(values),
            run_id,
            openface_dir=OPENFACE / declared.dataset / declared.name,
        )
    method_report(result, store, result / "report.html", values["report"])
    print(f"{result / 'report.html'}: complete. `mimik compare` puts {declared.name} beside the other methods.")


def report_method(chosen: argparse.Namespace) -> None:
    """`mimik report`."""
    from mimik.reporting.report import method_report

    result = RESULTS / chosen.dataset / chosen.method
    method_report(result, PREPARED / chosen.dataset, result / "report.html", settings_of(chosen)["report"])


def compare_results(chosen: argparse.Namespace) -> None:
    """`mimik compare`."""
    from mimik.reporting.report import comparison

    values = settings_of(chosen)
    first = [RESULTS / dataset / method for dataset, method in params.experiments(values)]
    found = [file.parent for file in sorted(RESULTS.glob("*/*/metrics.json"))]
    results = [folder for folder in dict.fromkeys([*first, *found]) if folder in found]
    if chosen.readme:
        from mimik.reporting.overview import systems_in, write_systems

        found = systems_in(RESULTS / "synthetic", values["systems"])
        write_systems(Path(chosen.readme), found, PREPARED / "synthetic")
        return
    comparison(results, PREPARED, Path("report/index.html"), values["report"])


def write_papers(chosen: argparse.Namespace) -> None:
    """`mimik papers`."""
    from mimik.reporting.papers.pages import write_existing
    from mimik.tracking.papers import mirror_tables

    shown = write_existing(shown_on(settings_of(chosen), chosen), RESULTS, PREPARED, RAW, Path("report"))
    mirror_tables(shown)
    made = sum(not item.absent for item in shown)
    print(f"report/papers/index.html: {made} of {len(shown)} items. report/claims.html: the ledger of claims.")
