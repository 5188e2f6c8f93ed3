"""What `mimik <verb>` does: one function for each verb of `mimik.cli`, from the parsed command line.

They write to the same places as the rules of the workflow. Heavy libraries are imported by the verbs that need them.
"""

import argparse
import json
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

from mimik.errors import UserError
from mimik.settings import agreement, params, scoring, stages
from mimik.settings.checks import check_settings
from mimik.settings.imported import check_trainable
from mimik.settings.params import Params
from mimik.settings.reading import read

PREPARED, RAW, RESULTS, WEIGHTS = Path("data/prepared"), Path("data/raw"), Path("results"), Path("data/weights")
OPENFACE = Path("data/openface")
LABELS = Path("data/label_quality")


def check_data(chosen: argparse.Namespace) -> None:
    """`mimik data check`."""
    from mimik.inspection.archives import inspect

    values = _params(chosen)
    settings = params.resolve_dataset(values, chosen.dataset)
    module, options, seed = settings["module"], settings["options"], settings["seed"]
    for line in inspect(chosen.dataset, module, RAW / module, options, seed, params.mirror_of(values)):
        print(line, flush=True)


def prepare_data(chosen: argparse.Namespace) -> None:
    """`mimik data prepare`."""
    from mimik.faces.prepared.prepare import prepare

    values = _params(chosen)
    settings = params.resolve_dataset(values, chosen.dataset)
    segmenter = _weights(values, "masks", chosen)
    segment = None
    if segmenter is not None:
        from mimik.pretraining.predicted_masks import PredictedMasks

        segment = PredictedMasks(segmenter, settings["options"].get("masks_confidence", 0.0))
    prepare(
        chosen.dataset,
        settings["options"],
        RAW / settings["module"],
        PREPARED / chosen.dataset,
        module_name=settings["module"],
        seed=settings["seed"],
        workers=chosen.workers,
        mirror=params.mirror_of(values),
        work=Path("checkpoints/prepare") / chosen.dataset,
        segment=segment,
    )


def score_data(chosen: argparse.Namespace) -> None:
    """`mimik data score`."""
    from mimik.inspection.contact_sheets import draw_doubted
    from mimik.pretraining.label_quality import score_labels

    settings = params.resolve_label_quality(_params(chosen), chosen.dataset)
    store, output = PREPARED / chosen.dataset, LABELS / chosen.dataset
    score_labels(settings, store, output, Path("checkpoints/label_quality") / chosen.dataset)
    for line in draw_doubted(store, output):
        print(line)


def describe_data(chosen: argparse.Namespace) -> None:
    """`mimik data describe`."""
    from mimik.faces.prepared.label_quality import RECORD, read_scores
    from mimik.faces.prepared.store import FaceStore, check_outside, prepared_manifest
    from mimik.inspection.contact_sheets import check_free, draw_sheets, size_drawn
    from mimik.inspection.description import NEEDS, describe

    values = _params(chosen)
    raw = RAW / params.dataset_module(values, chosen.dataset)
    directory = PREPARED / chosen.dataset
    output = Path(chosen.output).expanduser() if chosen.output else Path("report") / chosen.dataset
    store = FaceStore(directory, size_drawn(prepared_manifest(directory, NEEDS)["sizes"]))
    check_outside(output, *_inputs(values))
    if chosen.output:
        check_free(output)
    scores = LABELS / chosen.dataset
    for line in describe(store, read_scores(scores, store) if (scores / RECORD).exists() else None):
        print(line)
    for path in draw_sheets(store, raw, output):
        print(f"  sheet    {path}", flush=True)


def export_data(chosen: argparse.Namespace) -> None:
    """`mimik data export`."""
    from mimik.faces.prepared.store import check_outside
    from mimik.inspection.export import TARGETS, Wanted, export

    output = Path(chosen.output).expanduser()
    values = _params(chosen)
    params.dataset_module(values, chosen.dataset)
    check_outside(output, *_inputs(values))
    size, wanted = chosen.size, None
    if chosen.layout == TARGETS:
        if size is not None:
            raise UserError("--size: the layout targets has the size of the results at this scale; leave it out.")
        attributes = tuple(chosen.attributes)
        settings = scoring.resolve_scoring(values, chosen.dataset, by_attribute=bool(attributes))
        size = settings["image_size"]
        wanted = Wanted(settings["limit"], settings["seed"], attributes)
    elif chosen.attributes or chosen.scale:
        raise UserError("--attributes, --scale: are for the layout targets only; leave them out.")
    omitted = export(PREPARED / chosen.dataset, output, chosen.layout, size, masks=chosen.masks, wanted=wanted)
    note = f"; this layout leaves out the {omitted:,} faces without a label" if omitted else ""
    print(f"{output}: complete{note}. Its LICENCE.txt states the terms of use.")


def pretrain_network(chosen: argparse.Namespace) -> None:
    """`mimik pretrain`."""
    values = _params(chosen)
    at = {"dataset": chosen.dataset, chosen.kind: chosen.name}
    mirror = params.mirror_of(values)
    settings = {**stages.settings(values, chosen.kind, at), "mirror": None if mirror is None else str(mirror)}
    folder = _network_folder(chosen.dataset, chosen.kind, chosen.name)
    check_trainable(folder)
    pretrain = getattr(import_module(f"mimik.pretraining.{chosen.kind}"), f"pretrain_{chosen.kind}")
    labels = {"labels_dir": LABELS / chosen.dataset} if "label_quality" in settings else {}
    pretrain(
        settings,
        PREPARED / chosen.dataset,
        folder,
        Path("checkpoints/pretrain") / chosen.dataset / chosen.kind / chosen.name,
        None,
        **labels,
    )


def train_method(chosen: argparse.Namespace) -> None:
    """`mimik train`."""
    from mimik.tracking import runs as tracking
    from mimik.training.runs import train_method

    values = _params(chosen)
    settings = params.resolve(values, chosen.dataset, chosen.method)
    store, result = PREPARED / chosen.dataset, RESULTS / chosen.dataset / chosen.method
    check_trainable(result)
    kinds = (*params.PRETRAINED, "starts_from")
    pretrained = {kind: folder for kind in kinds if (folder := _weights(values, kind, chosen))}
    judge = None
    if classifier := _weights(values, "judge", chosen):
        from mimik.evaluation.validation import ValidationJudge

        judge = partial(ValidationJudge, classifier)
    with tracking.training_run(settings, store) as (settings, logger):
        train_method(
            settings,
            store,
            pretrained,
            result,
            Path("checkpoints/train") / chosen.dataset / chosen.method,
            logger,
            segmented_dir=_segmented(values, chosen),
            labels_dir=LABELS / chosen.dataset if "label_quality" in settings else None,
            judge=judge,
        )


def import_weights(chosen: argparse.Namespace) -> None:
    """`mimik import`."""
    from mimik.faces.prepared.store import prepared_manifest
    from mimik.released import importing
    from mimik.tracking import runs as tracking

    values, store = _params(chosen), PREPARED / chosen.dataset
    weights = Path(chosen.weights).expanduser()
    if chosen.release in importing.METHODS:
        settings = params.resolve(values, chosen.dataset, chosen.name)
        keyed = {**settings, "run_key": tracking.run_key(settings, prepared_manifest(store, ("digest",))["digest"])}
        result = RESULTS / chosen.dataset / chosen.name
        importing.import_method(keyed, weights, chosen.release, chosen.labels, store, result)
        print(f"{result}: the weights of {weights}. Next: `mimik translate {chosen.dataset} {chosen.name}`.")
        return
    if chosen.labels:
        raise UserError("--labels: the classes of face parsers are known; leave it out.")
    folder = _network_folder(chosen.dataset, "segmenter", chosen.name)
    settings = params.resolve_segmenter(values, chosen.dataset, chosen.name)
    reason = importing.import_segmenter(settings, weights, chosen.release, store, folder)
    print(f"{folder}: the weights of {weights}.{'' if reason is None else ' ' + reason}")


def translate_faces(chosen: argparse.Namespace) -> None:
    """`mimik translate`."""
    from mimik.evaluation.translation import TranslationSettings, translate
    from mimik.settings.configuration import build

    values = _params(chosen)
    result = RESULTS / chosen.dataset / chosen.method
    settings = params.resolve_translation(values, chosen.dataset, chosen.method)
    translate(
        result,
        PREPARED / chosen.dataset,
        _weights(values, "segmenter", chosen),
        result / "translations",
        build(TranslationSettings, settings, "translation"),
        segmented_dir=_segmented(values, chosen),
    )


def evaluate_method(chosen: argparse.Namespace) -> None:
    """`mimik evaluate`."""
    from mimik.evaluation.evaluate import evaluate
    from mimik.evaluation.measurements import EvaluationSettings
    from mimik.settings.configuration import build
    from mimik.tracking import runs as tracking

    values = _params(chosen)
    result, store = RESULTS / chosen.dataset / chosen.method, PREPARED / chosen.dataset
    settings = params.resolve_evaluation(values, chosen.dataset, chosen.method)
    with tracking.evaluated_run(result, store) as run_id:
        evaluate(
            build(EvaluationSettings, settings["evaluation"], "evaluation"),
            result,
            store,
            _weights(values, "classifier", chosen),
            _weights(values, "segmenter", chosen),
            _weights(values, "reader", chosen),
            WEIGHTS,
            result / "metrics.json",
            params.mirror_of(values),
            run_id,
            segmented_dir=_segmented(values, chosen),
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

    values, folder = _params(chosen), Path(chosen.folder).expanduser()
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
    method_report(result, PREPARED / chosen.dataset, result / "report.html", _params(chosen)["report"])


def edit_photograph(chosen: argparse.Namespace) -> None:
    """`mimik edit`."""
    from mimik.editing import commands
    from mimik.editing.files import which_faces
    from mimik.editing.wishes import Wish, attributes, unit_changes
    from mimik.faces.prepared.store import check_outside
    from mimik.storage.provenance import KINDS

    photographs, output = [Path(name) for name in chosen.photographs], Path(chosen.output)
    check_outside(output, *_inputs())
    has = None if chosen.has is None else attributes(chosen.has)
    wish = Wish(chosen.to, chosen.strength, chosen.shown, unit_changes(chosen.au), has)
    like, record = (None if name is None else Path(name) for name in (chosen.like, chosen.json))
    if record is not None:
        check_outside(record, *_inputs())
    which, model = which_faces(chosen.face), Path(chosen.model)
    options = {"which": which, "like": like, "record": record, "overwrite": chosen.overwrite}
    if len(photographs) == 1 and not photographs[0].is_dir() and not output.is_dir():
        commands.run(photographs[0], model, output, wish, chosen.sheet, **options)
        return
    if chosen.sheet:
        raise UserError("--sheet: shows the faces of one photograph. For several, use `mimik gallery`.")
    if output.suffix.lower() in KINDS and not output.is_dir():
        raise UserError(f"{output}: expected a folder, because several photographs are edited.")
    if not commands.run_many(photographs, model, output, wish, **options):
        raise SystemExit(commands.NOT_ALL)


def serve_app(chosen: argparse.Namespace) -> None:
    """`mimik app`."""
    from mimik.editing.app import serve

    weights, given = "generator.safetensors", [Path(name) for name in chosen.model]
    if missing := [str(folder) for folder in given if not (folder / weights).is_file()]:
        raise UserError(
            f"--model {missing[0]}: expected results/<dataset>/<method> or an exported folder, with {weights}."
        )
    models = given or sorted(file.parent for file in RESULTS.glob(f"*/*/{weights}"))
    values = _params(chosen) if Path("params.yaml").is_file() else None
    serve.run(models, values, chosen.host, chosen.port)


def export_model(chosen: argparse.Namespace) -> None:
    """`mimik export`."""
    from mimik.editing.exporting import export
    from mimik.faces.prepared.store import check_outside

    named = {key: getattr(chosen, key) for key in ("onnx", "program", "folder", "edits")}
    paths = {key: Path(value) for key, value in named.items() if value is not None}
    for path in paths.values():
        check_outside(path, *_inputs())
    values = _params(chosen) if Path("params.yaml").is_file() else None
    export(Path(chosen.model), values, **paths, overwrite=chosen.overwrite)


def write_gallery(chosen: argparse.Namespace) -> None:
    """`mimik gallery`."""
    from mimik.editing import gallery
    from mimik.faces.prepared.store import check_outside

    output = Path(chosen.output)
    check_outside(output, *_inputs())
    folder, model = Path(chosen.photographs), Path(chosen.model)
    gallery.run(folder, model, output, chosen.shown, chosen.most, overwrite=chosen.overwrite)


def compare_results(chosen: argparse.Namespace) -> None:
    """`mimik compare`."""
    from mimik.reporting.report import comparison

    values = _params(chosen)
    first = [RESULTS / dataset / method for dataset, method in params.experiments(values)]
    found = [file.parent for file in sorted(RESULTS.glob("*/*/metrics.json"))]
    results = [folder for folder in dict.fromkeys([*first, *found]) if folder in found]
    if chosen.readme:
        from mimik.reporting.overview import systems_in, write_systems

        found = systems_in(RESULTS / "synthetic", values["systems"])
        write_systems(Path(chosen.readme), found, PREPARED / "synthetic")
        return
    comparison(results, PREPARED, Path("report/index.html"), values["report"])


def make_study(chosen: argparse.Namespace) -> None:
    """`mimik study make`."""
    from mimik.faces.prepared.store import check_outside
    from mimik.reporting.results import read_result
    from mimik.study.pages import make

    values = _params(chosen)
    params.dataset_module(values, chosen.dataset)
    output = Path(chosen.output).expanduser()
    check_outside(output, *_inputs(values))
    results = [read_result(RESULTS / chosen.dataset / name, PREPARED / chosen.dataset) for name in chosen.methods]
    numbers = {"pairs": chosen.pairs, "raters": chosen.raters, "repeats": chosen.repeats}
    seed = values["seed"] if chosen.seed is None else chosen.seed
    for line in make(results, output, **numbers, seed=seed)[1]:
        print(line)
    if stages.restricted(values, chosen.dataset):
        print(
            "  terms    these faces may not be passed on: do not send or upload the pages; show them on this computer "
            f"with `mimik study serve {output}`"
        )


def serve_study(chosen: argparse.Namespace) -> None:
    """`mimik study serve`."""
    from mimik.study.serving import serve

    serve(Path(chosen.folder).expanduser(), chosen.port, partial(print, flush=True))


def analyse_study(chosen: argparse.Namespace) -> None:
    """`mimik study analyse`."""
    from mimik.study.analysis import analyse

    print(analyse(Path(chosen.folder).expanduser()), end="")


def write_papers(chosen: argparse.Namespace) -> None:
    """`mimik papers`."""
    from mimik.reporting.papers.pages import write_existing
    from mimik.tracking.papers import mirror_tables

    shown = write_existing(_on(_params(chosen), chosen), RESULTS, PREPARED, RAW, Path("report"))
    mirror_tables(shown)
    made = sum(not item.absent for item in shown)
    print(f"report/papers/index.html: {made} of {len(shown)} items. report/claims.html: the ledger of claims.")


def _on(values: Params, chosen: argparse.Namespace) -> Params:
    """All settings, with `--dataset` in the place of the papers' datasets."""
    if chosen.on is None:
        return values
    params.dataset_module(values, chosen.on)
    return {**values, "dataset": chosen.on}


def tell_dvc(chosen: argparse.Namespace) -> None:
    """`mimik dvc`."""
    print(agreement.tell(Path.cwd()))


def plan_item(chosen: argparse.Namespace) -> None:
    """`mimik plan`."""
    from mimik.inspection.plan import plan

    for line in plan(_on(_params(chosen), chosen), chosen.item, chosen.card, chosen.rate):
        print(line, flush=True)


def show_params(chosen: argparse.Namespace) -> None:
    """`mimik params`."""
    values = _params(chosen)
    if chosen.stages:
        print(f"{stages.TABLE}: {'written' if stages.write_table(values, Path.cwd()) else 'up to date'}")
    if chosen.options:
        from mimik.settings import options

        print(f"{options.PAGE}: {'written' if options.write(Path.cwd()) else 'up to date'}")
    if chosen.tables:
        from mimik.settings import published

        print(f"{published.PAGE}: {'written' if published.write(values, Path.cwd()) else 'up to date'}")
    if chosen.outside:
        stages.write_outside(values, Path.cwd(), chosen.outside)
    if chosen.settings:
        agreement.check(Path.cwd())
        stages.write_decisions(values, Path.cwd())
    if chosen.method:
        from mimik.settings.complete import complete

        json.dump(complete(values, chosen.dataset, chosen.method), sys.stdout, indent=2)
        print()
    elif chosen.dataset:
        json.dump(params.resolve_dataset(values, chosen.dataset), sys.stdout, indent=2)
        print()
    elif not (chosen.stages or chosen.options or chosen.tables or chosen.settings or chosen.outside):
        print("params.yaml: fine. Experiments: " + ", ".join("/".join(pair) for pair in params.experiments(values)))


def _inputs(values: Params | None = None) -> list[Path]:
    """Folders of archives and prepared datasets, to which nothing may be added that a person names."""
    named = [entry.get("path") for entry in (values or {"datasets": {}})["datasets"].values()]
    # Those below, too: an archive is often a link to another place.
    folders = [below for folder in (RAW, PREPARED) if folder.is_dir() for below in folder.iterdir() if below.is_dir()]
    return [RAW, PREPARED, *folders, *(Path(path).expanduser() for path in named if path)]


def _params(chosen: argparse.Namespace) -> Params:
    """All settings with what the command line overrides."""
    values, origins = read()
    if getattr(chosen, "scale", None):
        values["scale"] = chosen.scale
    if getattr(chosen, "protocol", None):
        values["protocol"] = chosen.protocol
    if getattr(chosen, "mirror", None):
        values["mirror"] = chosen.mirror
    params.validate(values, params.SCHEMA, origins)
    check_settings(values, origins)
    return values


def _network_folder(dataset: str, kind: str, name: str) -> Path:
    return Path("data/pretrained") / dataset / kind / name


def _weights(values: Params, kind: str, chosen: argparse.Namespace) -> Path | None:
    path = stages.weights(values, kind, vars(chosen))
    return None if path is None else Path(path).parent


def _segmented(values: Params, chosen: argparse.Namespace) -> Path | None:
    folder = stages.segmented(values, vars(chosen))
    return None if folder is None else Path(folder)
