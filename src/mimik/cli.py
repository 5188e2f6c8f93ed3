"""`mimik <verb>`: every step of the workflow by hand, with the settings that params.yaml resolves to.

The verbs write to the same places as the rules of the workflow. `snakemake` runs them in the right order, and only
where something has changed, so it is the better choice for more than one step.
"""

import argparse
from collections.abc import Callable, Sequence

from mimik import __version__
from mimik.console import reported
from mimik.settings import params
from mimik.verbs.asking import analyse_study, make_study, serve_study
from mimik.verbs.data import check_data, describe_data, export_data, prepare_data, score_data
from mimik.verbs.models import (
    edit_photograph,
    export_model,
    fetch_model,
    list_models,
    pack_model,
    serve_app,
    verify_models,
    write_gallery,
)
from mimik.verbs.project import init_project, plan_item, show_params, tell_dvc, tell_mlflow
from mimik.verbs.results import (
    compare_results,
    evaluate_method,
    report_method,
    score_pictures,
    translate_faces,
    write_papers,
)
from mimik.verbs.training import import_weights, pretrain_network, train_method

MODEL = "results/<dataset>/<method>, an exported folder, or a name of `mimik models list`"


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
        epilog="Run it in the project folder, which holds params.yaml; `mimik init DIR` makes one. To run the whole "
        "workflow: snakemake --cores 2",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"mimik {__version__}")
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB")

    started = _verb(
        verbs, "init", init_project, "make a new project, with the settings and the workflow that come with mimik",
        "mimik init ~/faces", dataset=None,
    )  # fmt: skip
    started.add_argument("folder", metavar="DIR", help="new or empty folder")

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
    _verb(
        data_verbs, "score", score_data, "score the labels of the training faces, and draw those that are doubted",
        "mimik data score open_faces", "mimik data score folder --scale smoke",
    )  # fmt: skip
    describe = _verb(
        data_verbs, "describe", describe_data, "summarise a prepared dataset and draw contact sheets of it",
        "mimik data describe synthetic", "mimik data describe rafd --output ~/sheets", scaled=False,
    )  # fmt: skip
    describe.add_argument("--output", metavar="DIR", help="folder for the sheets (default: report/<dataset>)")
    export = _verb(
        data_verbs, "export", export_data, "write the faces of a prepared dataset as PNG files in folders",
        "mimik data export synthetic --layout folders ~/faces",
        "mimik data export rafd --layout stargan --size 128 ~/stargan/data/rafd",
        "mimik data export synthetic --layout targets ~/wanted",
        output="new folder, or the folder of an interrupted export",
    )  # fmt: skip
    export.add_argument(
        "--layout", choices=("folders", "stargan", "targets"), required=True,
        help="how the folders are arranged; targets: the test faces, and which edits `mimik score` measures",
    )  # fmt: skip
    export.add_argument(
        "--attributes", nargs="+", default=[], metavar="NAME",
        help="with the layout targets: the attributes to reverse, instead of the expressions",
    )  # fmt: skip
    export.add_argument("--masks", action="store_true", help="write masks too, as PNG with a palette of the 19 classes")
    export.add_argument(
        "--size", type=int, metavar="PX", help="side length of the faces (default: the largest prepared)"
    )

    _verb(
        verbs, "pretrain", pretrain_network, "train a segmenter, depth network, classifier or face reader",
        "mimik pretrain synthetic segmenter bisenet", "mimik pretrain open_faces classifier small --scale smoke",
        kind=(*params.PRETRAINED, "classifier", "reader"), name="an entry of params.yaml's segmenters, readers, ...",
    )  # fmt: skip
    trained = _verb(
        verbs, "train", train_method, "train a method",
        "mimik train synthetic stargan", "torchrun --nproc-per-node 4 -m mimik.cli train affectnet hier_seg",
        method="an entry of params.yaml's methods",
    )  # fmt: skip
    trained.add_argument("--protocol", choices=params.PROTOCOLS, help="instead of params.yaml's")
    given = _verb(
        verbs, "import", import_weights, "take released weights as a trained method or segmenter",
        "mimik import celeba stargan_attributes 200000-G.ckpt --as stargan",
        "mimik import celebamask_hq bisenet 79999_iter.pth --as face_parsing",
        name="an entry of params.yaml's methods, or segmenters", weights="the file as it was released",
    )  # fmt: skip
    given.add_argument(
        "--as", dest="release", required=True, choices=("stargan", "attgan", "face_parsing", "celebamask_hq"),
        help="the code that the weights are of: docs/weights.md",
    )  # fmt: skip
    given.add_argument(
        "--labels", nargs="+", default=[], metavar="LABEL", help="what the weights' labels mean, in their order"
    )
    _verb(
        verbs, "translate", translate_faces, "translate every test face to every class",
        "mimik translate synthetic hier_seg", method="a trained method",
    )  # fmt: skip
    evaluate = _verb(
        verbs, "evaluate", evaluate_method, "measure the translations of a method",
        "mimik evaluate synthetic hier_seg", method="a method whose translations exist",
    )  # fmt: skip
    evaluate.add_argument("--mirror", metavar="DIR", help="folder searched for Inception and ArcFace weights")
    score = _verb(
        verbs, "score", score_pictures, "measure the pictures that another program made of the test faces",
        "mimik score ~/liveportrait", dataset=None,
    )  # fmt: skip
    score.add_argument("folder", metavar="DIR", help="<target>/<id>.png and method.json: docs/scoring.md")
    score.add_argument("--scale", help="paper, laptop, demo or smoke instead of the dataset's own")
    score.add_argument("--protocol", choices=params.PROTOCOLS, help="beside the results of which protocol it stands")
    score.add_argument("--mirror", metavar="DIR", help="folder searched for the weights of published networks")
    _verb(
        verbs, "report", report_method, "write the report page of one method",
        "mimik report synthetic hier_seg", method="an evaluated method",
    )  # fmt: skip
    edit = _verb(
        verbs, "edit", edit_photograph, "edit the faces of photographs with a trained method",
        "mimik edit me.jpg --to happiness --model stargan-rendered -o happy.png",
        "mimik edit me.jpg --to happiness --model results/open_faces/hier_seg -o happy.png",
        "mimik edit me.jpg --to happiness=0.6,surprise=0.4 --model results/open_faces/stargan -o mixed.png",
        "mimik edit me.jpg --au 12=+0.5 --au 6=+0.3 --model results/affectnet/relative_au -o smile.jpg",
        "mimik edit me.jpg --like you.jpg --model results/affectnet/relative_au -o like_you.jpg",
        "mimik edit me.jpg --sheet expressions --model results/open_faces/stargan -o all.png",
        "mimik edit me.jpg holiday --to happiness --face largest --model results/open_faces/stargan -o happy",
        dataset=None,
    )  # fmt: skip
    edit.description = f"{edit.description} The exit status is 3 when some of several photographs were not edited."
    edit.add_argument("photographs", nargs="+", metavar="PHOTO", help="image files, and folders of them")
    edit.add_argument("--model", required=True, metavar="MODEL", help=MODEL)
    edit.add_argument(
        "-o", "--output", required=True, metavar="OUT",
        help="png or tif (lossless), jpg or webp; for several photographs or a folder of them, a folder",
    )  # fmt: skip
    edit.add_argument(
        "--to", metavar="EXPRESSION",
        help="the target expression, or the attribute to reverse; or a mix: happiness=0.6,surprise=0.4",
    )  # fmt: skip
    edit.add_argument(
        "--like", metavar="OTHER", help="imitate the main face of this photograph (models of action units)"
    )
    edit.add_argument("--has", metavar="A,B", help="the attributes that the face has, or none (models of attributes)")
    edit.add_argument(
        "--face", default="all", metavar="WHICH", help="all (default), largest, left, or N, counted from 1 on the left"
    )
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
    edit.add_argument("--json", metavar="FILE", help="write what was done into this file")
    edit.add_argument(
        "--overwrite", action="store_true",
        help="replace OUT even if it is PHOTO or was not written by mimik, and files in a folder OUT",
    )  # fmt: skip
    gallery = _verb(
        verbs, "gallery", write_gallery, "write one picture with the faces of a folder of photographs before and after",
        "mimik gallery photographs --model results/open_faces/stargan -o gallery.jpg", dataset=None,
    )  # fmt: skip
    gallery.add_argument("photographs", metavar="FOLDER", help="photographs; the main face of each becomes a row")
    gallery.add_argument("--model", required=True, metavar="MODEL", help=MODEL)
    gallery.add_argument("-o", "--output", required=True, metavar="OUT", help="png or tif (lossless), jpg or webp")
    gallery.add_argument(
        "--from", dest="shown", metavar="EXPRESSION", help="the expression in the photographs, if the edits need it"
    )
    gallery.add_argument("--most", type=int, default=20, metavar="N", help="number of rows (default: 20)")
    gallery.add_argument("--overwrite", action="store_true", help="replace OUT even if it was not written by mimik")
    app = _verb(
        verbs, "app", serve_app, "edit photographs on a page in the browser",
        "mimik app", "mimik app --model results/open_faces/stargan --port 8000", dataset=None,
    )  # fmt: skip
    app.add_argument(
        "--model", nargs="+", action="extend", default=[], metavar="MODEL",
        help=f"{MODEL}; several (default: all in results/, or else those of `mimik models list` that are here)",
    )  # fmt: skip
    app.add_argument("--host", default="127.0.0.1", help="where to listen (default: this machine alone)")
    app.add_argument("--port", type=int, default=7860, help="port to listen on (default: 7860)")
    given_away = _verb(
        verbs, "export", export_model, "write a trained method for use elsewhere: ONNX, or a folder with a model card",
        "mimik export results/synthetic/stargan --onnx stargan.onnx",
        "mimik export results/open_faces/stargan --folder ~/models/stargan", dataset=None,
    )  # fmt: skip
    given_away.add_argument("model", metavar="MODEL", help=MODEL)
    given_away.add_argument("--onnx", metavar="FILE", help="write the generator as an ONNX graph (.onnx)")
    given_away.add_argument(
        "--torch-export", dest="program", metavar="FILE", help="write the generator as a program of torch.export (.pt2)"
    )
    given_away.add_argument(
        "--folder", metavar="DIR", help="write a folder that works elsewhere: weights, config, ONNX graph, model card"
    )
    given_away.add_argument(
        "--edits", metavar="DIR", help="write the edits of the test faces as PNG files in folders, for OpenFace"
    )
    given_away.add_argument(
        "--half", action="store_true", help="with --folder: weights at half precision, half the size"
    )
    given_away.add_argument("--overwrite", action="store_true", help="replace what exists")
    _add_models(verbs)
    compare = _verb(
        verbs, "compare", compare_results, "write report/index.html from everything in results/",
        "mimik compare", "mimik compare --readme README.md", dataset=None,
    )  # fmt: skip
    compare.add_argument("--readme", metavar="FILE", help="write the table of systems into this file instead")
    study = verbs.add_parser("study", help="ask people to compare the edits of methods, and analyse what they say")
    study_verbs = study.add_subparsers(title="verbs", required=True, metavar="VERB")
    asked = _verb(
        study_verbs, "make", make_study, "write a page of blinded comparisons for every rater",
        "mimik study make synthetic stargan hier_seg -o studies/first",
        "mimik study make affectnet200k ganimation relative_au -o studies/table2 --pairs 100 --raters 20",
    )  # fmt: skip
    asked.add_argument("methods", nargs="+", metavar="METHOD", help="two or more evaluated methods")
    asked.add_argument("-o", "--output", required=True, metavar="DIR", help="new folder for the study")
    asked.add_argument("--pairs", type=int, default=100, metavar="N", help="pairs of every question (default: 100)")
    asked.add_argument("--raters", type=int, default=20, metavar="N", help="number of people (default: 20)")
    asked.add_argument(
        "--repeats", type=int, metavar="N", help="pairs of every question shown twice (default: a tenth of them)"
    )
    asked.add_argument("--seed", type=int, metavar="N", help="seed of all draws (default: that of params.yaml)")
    served = _verb(
        study_verbs, "serve", serve_study, "show the pages of a study on this computer, and store the answers",
        "mimik study serve studies/first", dataset=None,
    )  # fmt: skip
    served.add_argument("--port", type=int, default=8765, metavar="N", help="default: 8765")
    analysed = _verb(
        study_verbs, "analyse", analyse_study, "count the votes of a study, with intervals and agreement",
        "mimik study analyse studies/first", dataset=None,
    )  # fmt: skip
    for verb in (served, analysed):
        verb.add_argument("folder", metavar="DIR", help="folder of `mimik study make`")
    _verb(
        verbs, "dvc", tell_dvc, "record in DVC what snakemake made, so that `dvc repro` does not make it again",
        "mimik dvc", dataset=None,
    )  # fmt: skip
    _verb(
        verbs, "mlflow", tell_mlflow, "send to MLflow what it lacks of everything that was evaluated in results/",
        "mimik mlflow", dataset=None,
    )  # fmt: skip
    written = _verb(
        verbs, "papers", write_papers, "write the papers' tables, figures and claims from everything in results/",
        "mimik papers", "mimik papers --dataset synthetic", dataset=None,
    )  # fmt: skip
    written.add_argument("--dataset", dest="on", metavar="DATASET", help="the one to show in the place of the papers'")
    written.add_argument("--scale", help="the scale of results that are missing, instead of the dataset's own")
    planned = _verb(
        verbs, "plan", plan_item, "say what an item of a paper needs: jobs, data, weights, hours on a card, disk",
        "mimik plan hier_seg/table1", "mimik plan papers --dataset synthetic", "mimik plan affectnet/hier_seg",
        dataset=None,
    )  # fmt: skip
    planned.add_argument(
        "item", help="PAPER/ITEM (hier_seg/table1), papers for all of them, DATASET/METHOD, or experiments"
    )
    planned.add_argument("--dataset", dest="on", metavar="DATASET", help="the one to use in the place of the papers'")
    planned.add_argument("--card", default="h100", help="h100 (default), h200, a100, rtx4090 or rtx3090")
    planned.add_argument("--rate", type=float, metavar="TFLOPS", help="measured operations per second, in 10^12")
    planned.add_argument("--scale", help="paper, laptop, demo or smoke instead of the dataset's own")
    planned.add_argument("--protocol", choices=params.PROTOCOLS, help="instead of params.yaml's")
    planned.add_argument("--mirror", metavar="DIR", help="folder searched before any download")
    show = _verb(
        verbs, "params", show_params, "check params.yaml, print what it resolves to, or write the files that DVC reads",
        "mimik params", "mimik params synthetic hier_seg --scale paper", "mimik params --stages",
        dataset=None,
    )  # fmt: skip
    show.add_argument("dataset", nargs="?", help="print the settings of this dataset")
    show.add_argument("method", nargs="?", help="print every setting of this method on it, published defaults included")
    show.add_argument("--scale", help="paper, laptop, demo or smoke instead of the dataset's own")
    show.add_argument("--protocol", choices=params.PROTOCOLS, help="instead of params.yaml's")
    show.add_argument("--stages", action="store_true", help="write the stages of dvc.yaml")
    show.add_argument("--options", action="store_true", help="write docs/options.md, the page of all options")
    show.add_argument(
        "--tables", action="store_true", help="write docs/papers/tables.md, the rows of the papers' tables"
    )
    show.add_argument("--outside", metavar="PACKAGE", help="write digests of a package beside params.yaml (for DVC)")
    show.add_argument(
        "--settings", action="store_true", help="write the settings and source digests of every job (DVC's first stage)"
    )
    return top


def _add_models(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`mimik models` and its verbs."""
    models = verbs.add_parser("models", help="list, fetch and verify trained methods that are given away")
    models_verbs = models.add_subparsers(title="verbs", required=True, metavar="VERB")
    _verb(
        models_verbs, "list", list_models, "say which there are, and which are here", "mimik models list", dataset=None
    )
    bring = _verb(
        models_verbs, "fetch", fetch_model, "bring a model to this machine, from a mirror or its address",
        "mimik models fetch NAME --mirror ~/downloads", dataset=None,
    )  # fmt: skip
    bring.add_argument("model", metavar="NAME", help="of `mimik models list`")
    bring.add_argument("--mirror", metavar="DIR", help="folder searched before any download")
    verify = _verb(
        models_verbs, "verify", verify_models, "compare the files of models that are here with their digests",
        "mimik models verify", "mimik models verify stargan-rendered", dataset=None,
    )  # fmt: skip
    verify.add_argument("models", nargs="*", metavar="NAME", help="of `mimik models list` (default: all that are here)")
    pack = _verb(
        models_verbs, "pack", pack_model, "write the archive of a model of rendered faces, and its entry for the list",
        "mimik models pack stargan-rendered results/synthetic/stargan -o release --half", dataset=None,
    )  # fmt: skip
    pack.add_argument("name", metavar="NAME", help="of the model in the list")
    pack.add_argument("result", metavar="RESULT", help="results/<dataset>/<method>, evaluated")
    pack.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the archive")
    pack.add_argument("--half", action="store_true", help="weights at half precision, half the size")


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
            verb.add_argument("--scale", help="paper, laptop, demo or smoke instead of the dataset's own")
    verb.set_defaults(action=action)
    return verb


if __name__ == "__main__":
    main()
