"""`mimik <verb>`: every step of the workflow by hand, with the settings that params.yaml resolves to.

The verbs write to the same places as the rules of the workflow. `snakemake` runs them in the right order, and only
where something has changed, so it is the better choice for more than one step.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from mimik import __version__
from mimik.console import reported
from mimik.settings import agreement, params, stages
from mimik.settings.checks import check_settings
from mimik.settings.complete import complete
from mimik.settings.params import Params
from mimik.settings.reading import read

PREPARED, RAW, RESULTS, WEIGHTS = Path("data/prepared"), Path("data/raw"), Path("results"), Path("data/weights")


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point. Exits with status 2 and one message when something outside mimik is wrong."""
    chosen = parser().parse_args(arguments)
    action: Callable[[argparse.Namespace], None] = chosen.action
    with reported():
        action(chosen)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="mimik",
        description="Editing of facial expressions with conditional GANs, step by step.",
        epilog="Run it in the project folder, which holds params.yaml. To run the whole workflow: snakemake --cores 2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"mimik {__version__}")
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB")

    data = verbs.add_parser("data", help="check, prepare, describe or export a dataset")
    data_verbs = data.add_subparsers(title="verbs", required=True, metavar="VERB")
    check = _verb(
        data_verbs, "check", check_data, "say what is present, whether the dataset is usable, and what to put where",
        "mimik data check affectnet", "mimik data check open_faces --mirror ~/downloads",
    )  # fmt: skip
    prepare = _verb(
        data_verbs, "prepare", prepare_data, "find, align and annotate the faces of a dataset",
        "mimik data prepare synthetic", "mimik data prepare folder --scale smoke --workers 4",
    )  # fmt: skip
    prepare.add_argument("--workers", type=int, default=1, metavar="N", help="number of processes (default: 1)")
    for verb in (check, prepare):
        verb.add_argument("--mirror", metavar="DIR", help="folder searched before any download")
    describe = _verb(
        data_verbs, "describe", describe_data, "summarise a prepared dataset and draw contact sheets of it",
        "mimik data describe synthetic", "mimik data describe rafd --output ~/sheets", scaled=False,
    )  # fmt: skip
    describe.add_argument("--output", metavar="DIR", help="folder for the sheets (default: report/<dataset>)")
    export = _verb(
        data_verbs, "export", export_data, "write the faces of a prepared dataset as PNG files in folders",
        "mimik data export synthetic --layout folders ~/faces",
        "mimik data export rafd --layout stargan --size 128 ~/stargan/data/rafd",
        scaled=False, output="new folder, or the folder of an interrupted export",
    )  # fmt: skip
    export.add_argument("--layout", choices=("folders", "stargan"), required=True, help="how the folders are arranged")
    export.add_argument("--masks", action="store_true", help="write masks too, as PNG with a palette of the 19 classes")
    export.add_argument(
        "--size", type=int, metavar="PX", help="side length of the faces (default: the largest prepared)"
    )

    _verb(
        verbs, "pretrain", pretrain_network, "train a segmenter, depth network, classifier or face reader",
        "mimik pretrain synthetic segmenter bisenet", "mimik pretrain open_faces classifier small --scale smoke",
        kind=(*params.PRETRAINED, "classifier", "reader"), name="an entry of params.yaml's segmenters, readers, ...",
    )  # fmt: skip
    _verb(
        verbs, "train", train_method, "train a method",
        "mimik train synthetic stargan", "torchrun --nproc-per-node 4 -m mimik.cli train affectnet hier_seg",
        method="an entry of params.yaml's methods",
    )  # fmt: skip
    _verb(
        verbs, "translate", translate_faces, "translate every test face to every class",
        "mimik translate synthetic hier_seg", method="a trained method",
    )  # fmt: skip
    evaluate = _verb(
        verbs, "evaluate", evaluate_method, "measure the translations of a method",
        "mimik evaluate synthetic hier_seg", method="a method whose translations exist",
    )  # fmt: skip
    evaluate.add_argument("--mirror", metavar="DIR", help="folder searched for Inception and ArcFace weights")
    _verb(
        verbs, "report", report_method, "write the report page of one method",
        "mimik report synthetic hier_seg", method="an evaluated method",
    )  # fmt: skip
    edit = _verb(
        verbs, "edit", edit_photograph, "edit the faces of a photograph with a trained method",
        "mimik edit me.jpg --to happiness --model results/open_faces/hier_seg -o happy.png",
        "mimik edit me.jpg --au 12=+0.5 --au 6=+0.3 --model results/affectnet/relative_au -o smile.jpg",
        "mimik edit me.jpg --sheet expressions --model results/open_faces/stargan -o all.png", dataset=None,
    )  # fmt: skip
    edit.add_argument("photograph", metavar="PHOTO", help="any image file; every face in it is edited")
    edit.add_argument("--model", required=True, metavar="DIR", help="results/<dataset>/<method>")
    edit.add_argument("-o", "--output", required=True, metavar="OUT", help="png or tif (lossless), jpg or webp")
    edit.add_argument("--to", metavar="EXPRESSION", help="the target expression")
    edit.add_argument(
        "--from", dest="shown", metavar="EXPRESSION", help="the expression in the photograph, if the edit needs it"
    )
    edit.add_argument(
        "--strength", type=float, default=1.0, metavar="S", help="strength of the edit, 0 to 2 (default: 1)"
    )
    edit.add_argument("--au", action="append", default=[], metavar="N=CHANGE", help="change an action unit: 12=+0.5")
    edit.add_argument(
        "--sheet", choices=("expressions", "strengths"), help="write one picture that shows the faces with all of these"
    )
    edit.add_argument(
        "--overwrite", action="store_true", help="replace OUT even if it is PHOTO or was not written by mimik"
    )
    compare = _verb(
        verbs, "compare", compare_results, "write report/index.html from everything in results/",
        "mimik compare", "mimik compare --readme README.md", dataset=None,
    )  # fmt: skip
    compare.add_argument("--readme", metavar="FILE", help="write the table of systems into this file instead")
    _verb(
        verbs, "dvc", tell_dvc, "record in DVC what snakemake made, so that `dvc repro` does not make it again",
        "mimik dvc", dataset=None,
    )  # fmt: skip
    show = _verb(
        verbs, "params", show_params, "check params.yaml, print what it resolves to, or write the files that DVC reads",
        "mimik params", "mimik params synthetic hier_seg --scale paper", "mimik params --stages",
        dataset=None,
    )  # fmt: skip
    show.add_argument("dataset", nargs="?", help="print the settings of this dataset")
    show.add_argument("method", nargs="?", help="print every setting of this method on it, published defaults included")
    show.add_argument("--scale", help="paper, demo or smoke instead of the dataset's own")
    show.add_argument("--protocol", choices=params.PROTOCOLS, help="instead of params.yaml's")
    show.add_argument("--stages", action="store_true", help="write the stages of dvc.yaml")
    show.add_argument("--options", action="store_true", help="write docs/options.md, the page of all options")
    show.add_argument("--outside", metavar="PACKAGE", help="write digests of a package beside params.yaml (for DVC)")
    show.add_argument(
        "--settings", action="store_true", help="write the settings and source digests of every job (DVC's first stage)"
    )
    return top


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    word: str,
    action: Callable[[argparse.Namespace], None],
    summary: str,
    *examples: str,
    dataset: str | None = "an entry of params.yaml's datasets",
    scaled: bool = True,
    **positionals: str | tuple[str, ...],
) -> argparse.ArgumentParser:
    """Add a verb; `positionals` are name and help text, or the choices, of what follows the dataset."""
    verb = verbs.add_parser(
        word,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog="examples:\n" + "\n".join(f"  {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if dataset is not None:
        verb.add_argument("dataset", help=dataset)
        for key, value in positionals.items():
            if isinstance(value, tuple):
                verb.add_argument(key, choices=value)
            else:
                verb.add_argument(key, help=value)
        if scaled:
            verb.add_argument("--scale", help="paper, demo or smoke instead of the dataset's own")
    verb.set_defaults(action=action)
    return verb


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


def describe_data(chosen: argparse.Namespace) -> None:
    """`mimik data describe`."""
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
    for line in describe(store):
        print(line)
    for path in draw_sheets(store, raw, output):
        print(f"  sheet    {path}", flush=True)


def export_data(chosen: argparse.Namespace) -> None:
    """`mimik data export`."""
    from mimik.faces.prepared.store import check_outside
    from mimik.inspection.export import export

    output = Path(chosen.output).expanduser()
    values = _params(chosen)
    params.dataset_module(values, chosen.dataset)
    check_outside(output, *_inputs(values))
    omitted = export(PREPARED / chosen.dataset, output, chosen.layout, chosen.size, masks=chosen.masks)
    note = f"; this layout leaves out the {omitted:,} faces without a label" if omitted else ""
    print(f"{output}: complete{note}. Its LICENCE.txt states the terms of use.")


def pretrain_network(chosen: argparse.Namespace) -> None:
    """`mimik pretrain`."""
    values = _params(chosen)
    at = {"dataset": chosen.dataset, chosen.kind: chosen.name}
    settings = stages.settings(values, chosen.kind, at)
    pretrain = getattr(import_module(f"mimik.pretraining.{chosen.kind}"), f"pretrain_{chosen.kind}")
    pretrain(
        settings,
        PREPARED / chosen.dataset,
        Path("data/pretrained") / chosen.dataset / chosen.kind / chosen.name,
        Path("checkpoints/pretrain") / chosen.dataset / chosen.kind / chosen.name,
        None,
    )


def train_method(chosen: argparse.Namespace) -> None:
    """`mimik train`."""
    from mimik import tracking
    from mimik.training.runs import train_method

    values = _params(chosen)
    settings = params.resolve(values, chosen.dataset, chosen.method)
    store = PREPARED / chosen.dataset
    kinds = (*params.PRETRAINED, "starts_from")
    pretrained = {kind: folder for kind in kinds if (folder := _weights(values, kind, chosen))}
    with tracking.training_run(settings, store) as (settings, logger):
        train_method(
            settings,
            store,
            pretrained,
            RESULTS / chosen.dataset / chosen.method,
            Path("checkpoints/train") / chosen.dataset / chosen.method,
            logger,
        )


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
    )


def evaluate_method(chosen: argparse.Namespace) -> None:
    """`mimik evaluate`."""
    from mimik import tracking
    from mimik.evaluation.evaluate import evaluate
    from mimik.evaluation.measurements import EvaluationSettings
    from mimik.settings.configuration import build

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
        )


def report_method(chosen: argparse.Namespace) -> None:
    """`mimik report`."""
    from mimik.reporting.report import method_report

    result = RESULTS / chosen.dataset / chosen.method
    method_report(result, PREPARED / chosen.dataset, result / "report.html", _params(chosen)["report"])


def edit_photograph(chosen: argparse.Namespace) -> None:
    """`mimik edit`."""
    from mimik.editing import editor
    from mimik.editing.wishes import Wish, unit_changes
    from mimik.faces.prepared.store import check_outside

    check_outside(Path(chosen.output), *_inputs())
    editor.run(
        Path(chosen.photograph),
        Path(chosen.model),
        Path(chosen.output),
        Wish(chosen.to, chosen.strength, chosen.shown, unit_changes(chosen.au)),
        chosen.sheet,
        overwrite=chosen.overwrite,
    )


def compare_results(chosen: argparse.Namespace) -> None:
    """`mimik compare`."""
    from mimik.reporting.report import comparison

    values = _params(chosen)
    first = [RESULTS / dataset / method for dataset, method in params.experiments(values)]
    found = [file.parent for file in sorted(RESULTS.glob("*/*/metrics.json"))]
    results = [folder for folder in dict.fromkeys([*first, *found]) if folder in found]
    if chosen.readme:
        from mimik.reporting.overview import write_systems

        systems = [RESULTS / "synthetic" / method for method in values["systems"]]
        write_systems(Path(chosen.readme), [folder for folder in systems if folder in found], PREPARED / "synthetic")
        return
    comparison(results, PREPARED, Path("report/index.html"), values["report"])


def tell_dvc(chosen: argparse.Namespace) -> None:
    """`mimik dvc`."""
    print(agreement.tell(Path.cwd()))


def show_params(chosen: argparse.Namespace) -> None:
    """`mimik params`."""
    values = _params(chosen)
    if chosen.stages:
        print(f"{stages.TABLE}: {'written' if stages.write_table(values, Path.cwd()) else 'up to date'}")
    if chosen.options:
        from mimik.settings import options

        print(f"{options.PAGE}: {'written' if options.write(Path.cwd()) else 'up to date'}")
    if chosen.outside:
        stages.write_outside(values, Path.cwd(), chosen.outside)
    if chosen.settings:
        agreement.check(Path.cwd())
        stages.write_decisions(values, Path.cwd())
    if chosen.method:
        json.dump(complete(values, chosen.dataset, chosen.method), sys.stdout, indent=2)
        print()
    elif chosen.dataset:
        json.dump(params.resolve_dataset(values, chosen.dataset), sys.stdout, indent=2)
        print()
    elif not (chosen.stages or chosen.options or chosen.settings or chosen.outside):
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


def _weights(values: Params, kind: str, chosen: argparse.Namespace) -> Path | None:
    path = stages.weights(values, kind, vars(chosen))
    return None if path is None else Path(path).parent


if __name__ == "__main__":
    main()
