"""The jobs of the workflow: what decides the result of each. Snakemake's rules and DVC's stages both take it from here.

A job is a rule with its wildcards, for example `train` of {dataset: synthetic, method: hier_seg}. Its result is
decided by its settings (a slice of params.yaml), by the source files it runs, and by the files it reads.

DVC cannot resolve settings nor follow imports. So its first stage writes, for every job, one small file with the
settings and the digests of the source files (`write_decisions`); the other stages depend on these files. Which stages
there are stands in a file that dvc.yaml loads (`stage_table`), as dvc.yaml cannot work it out from params.yaml.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mimik.errors import UserError
from mimik.settings import modules
from mimik.settings import params as resolution
from mimik.settings.external import is_external
from mimik.settings.imported import imported_methods, imported_segmenters
from mimik.settings.modules import full_name, named
from mimik.settings.outside import folders_of
from mimik.settings.params import Params, Settings
from mimik.settings.reading import FILE
from mimik.settings.replicates import MARK
from mimik.settings.sources import source_files
from mimik.settings.trained import Trained
from mimik.storage.files import digest, file_sha256, read_json, write_json

Wildcards = Mapping[str, str]

TABLE = Path("workflow/stages.json")
"""What dvc.yaml loads, relative to the project's folder: `stage_table`, and what the first stage reads beside
params.yaml. Under `params` that is the whole folder params/, so that a new file is noticed too. DVC wants everything
that a stage depends on to be there: without that folder the Snakefile takes its place.
Under `package` it is the folder of mimik (`package_of`): in a project of `mimik init`, where it is installed."""

DECISIONS = Path("data/settings")
"""Where `write_decisions` writes, relative to the project's folder."""

OUTSIDE = Path("data/outside")
"""Where `write_outside` writes, relative to the project's folder."""

START: Mapping[str, tuple[str, ...]] = {
    "prepare": ("faces.prepared.prepare", "{dataset}", "{masks}"),
    "segmenter": ("pretraining.segmenter", "{networks}"),
    "depth_network": ("pretraining.depth_network",),
    "label_quality": ("pretraining.label_quality", "inspection.contact_sheets", "{networks}"),
    "classifier": ("pretraining.classifier", "{networks}"),
    "reader": ("pretraining.reader",),
    "train": ("training.runs", "{method}", "{guidance}", "{networks}", "{judge}"),
    "translate": ("evaluation.translation", "{method}", "{guidance}", "{dataset}", "{networks}"),
    "evaluate": ("evaluation.evaluate", "{method}", "{metrics}", "{networks}"),
    "report": ("reporting.report", "reporting.figures.*", "reporting.tables.*", "{shown}"),
    "compare": ("reporting.report", "reporting.figures.*", "reporting.tables.*", "{shown}"),
    "papers": ("reporting.papers.pages", "reporting.papers.plots.*", "reporting.figures.*"),
}
"""Modules where the jobs of a rule start. `folder.*` is a whole folder; those in braces depend on the wildcards
(`_CHOSEN`)."""

_RESOLVE: Mapping[str, Callable[[Params, Wildcards], Settings]] = {
    "prepare": lambda params, at: resolution.resolve_dataset(params, at["dataset"]),
    "segmenter": lambda params, at: resolution.resolve_segmenter(params, at["dataset"], at["segmenter"]),
    "depth_network": lambda params, at: resolution.resolve_depth_network(params, at["dataset"], at["depth_network"]),
    "label_quality": lambda params, at: resolution.resolve_label_quality(params, at["dataset"]),
    "classifier": lambda params, at: resolution.resolve_classifier(params, at["dataset"], at["classifier"]),
    "reader": lambda params, at: resolution.resolve_reader(params, at["dataset"], at["reader"]),
    "train": lambda params, at: resolution.resolve(params, at["dataset"], at["method"]),
    "translate": lambda params, at: resolution.resolve_translation(params, at["dataset"], at["method"]),
    "evaluate": lambda params, at: resolution.resolve_evaluation(params, at["dataset"], at["method"]),
    "report": lambda params, at: dict(params["report"]),
    "compare": lambda params, at: dict(params["report"]),
    # Its tables name datasets, methods, scales and settings of all kinds.
    "papers": lambda params, at: dict(params),
}


def settings(params: Params, rule: str, wildcards: Wildcards) -> Settings:
    """The slice of params.yaml that a job uses, JSON-able."""
    return _RESOLVE[rule](params, wildcards)


def code(params: Params, rule: str, wildcards: Wildcards, package: Path) -> dict[str, Path]:
    """The source files that decide what a job does, by names that are the same on every machine, sorted.

    Args:
        params: validated params.
        rule: of the workflow.
        wildcards: of the job.
        package: the folder of the package `mimik`.
    """
    files = source_files(package, *_modules(params, rule, wildcards, package))
    if rule in ("report", "compare", "papers"):
        folder = package / "reporting" / "templates"
        files |= {file.relative_to(package).as_posix(): file for file in folder.iterdir() if file.is_file()}
    return dict(sorted(files.items()))


def code_digest(params: Params, rule: str, wildcards: Wildcards, package: Path) -> str:
    """One digest of names and contents of the files of `code`; arguments like there."""
    return digest(_digests(code(params, rule, wildcards, package)))


def _digests(files: Mapping[str, Path]) -> dict[str, str]:
    return {name: _sha256(file, file.stat().st_mtime_ns) for name, file in files.items()}


@cache
def _sha256(file: Path, modified: int) -> str:
    """Of a file that was last written at `modified`: hundreds of jobs depend on the same files."""
    return file_sha256(file)


def weights(params: Params, kind: str, wildcards: Wildcards) -> str | None:
    """Path of the trained network of a kind that a job reads, if any.

    Kinds: those of `params.PRETRAINED`, of which a segmenter may be trained on another dataset; `classifier` and
    `reader`, trained on the job's; `judge`, the same classifier, for a training that is validated; `starts_from` for
    another training's generator, perhaps on another dataset; `masks`, the segmenter that makes the masks of the dataset
    when it is prepared, trained on another one.
    """
    if kind == "starts_from":
        first = resolution.starts_from(params, wildcards["dataset"], wildcards["method"])
        return None if first is None else f"results/{first.dataset}/{first.name}/generator.safetensors"
    network = _trained_network(params, kind, wildcards)
    if network is None:
        return None
    room = {"masks": "segmenter", "judge": "classifier"}.get(kind, kind)
    return f"data/pretrained/{network.dataset}/{room}/{network.name}/model.safetensors"


def _trained_network(params: Params, kind: str, wildcards: Wildcards) -> Trained | None:
    """The network of a kind of `weights` that a job reads, generators excepted."""
    dataset = wildcards["dataset"]
    if kind == "masks":
        return resolution.masks_of(params, dataset)
    if kind == "judge" and not is_validated(params, wildcards):
        return None
    if kind in ("classifier", "judge"):
        return Trained(dataset, resolution.classifier_of(params, dataset, wildcards["method"]))
    if kind == "reader":
        name = resolution.reader_of(params, dataset)
        return None if name is None else Trained(dataset, name)
    return resolution.pretrained_of(params, dataset, wildcards["method"]).get(kind)


def label_scores(params: Params, dataset: str) -> str | None:
    """Path of the record of the scores of a dataset's labels; None where they are not scored."""
    if resolution.label_quality_of(params, dataset) is None:
        return None
    return f"data/label_quality/{dataset}/label_quality.json"


def segmented(params: Params, wildcards: Wildcards) -> str | None:
    """Folder of the prepared dataset that a method's segmenter is trained on, where that is another than the job's.

    It has the masks by which the segmenter is measured.
    """
    network = _trained_network(params, "segmenter", wildcards)
    return None if network is None or network.dataset == wildcards["dataset"] else f"data/prepared/{network.dataset}"


def is_validated(params: Params, wildcards: Wildcards) -> bool:
    """Whether a training is validated on the way, for which the evaluating classifier has to be there."""
    found = settings(params, "train", wildcards)
    return bool(found["training"].get("validate_every")) and found["condition"].get("space") != "attributes"


def restricted(params: Params, dataset: str, method: str | None = None) -> bool:
    """Whether what is made of a dataset may not be passed on.

    So says its module, or that of a dataset from which it has its masks; for a method also that of its segmenter's
    dataset, or what holds for the method that it starts from.
    """
    module = named("datasets", resolution.dataset_module(params, dataset), f"params.yaml: datasets.{dataset}.dataset")
    if module.RESTRICTED:
        return True
    sources = [resolution.masks_of(params, dataset)]
    if method is not None:
        sources += resolution.pretrained_of(params, dataset, method).values()
        first = resolution.starts_from(params, dataset, method)
        if first is not None and restricted(params, *first):
            return True
    return any(restricted(params, source.dataset) for source in sources if source and source.dataset != dataset)


ABSENT: Mapping[str, str] = MappingProxyType(
    {
        "segmenter": "manifest.json",
        "depth_network": "quarantine.csv",
        "starts_from": "index.csv",
        "judge": "images_{size}.npy",
        "classifier": "index.csv",
        "reader": "index.csv",
        "labels": "refused.csv",
    }
)
"""dvc.yaml lists the same number of dependencies for every job of a rule. Where a method or dataset has no network of a
kind, a file of the prepared dataset, which the job reads anyway, stands in its place; another one for every kind that
the same job lists."""


NOTHING = "workflow/nothing.txt"
"""What a stage of dvc.yaml reads in the place of something that it does not need: a file that never changes."""


def stage_table(params: Params, project: Path = Path()) -> dict[str, Any]:
    """The stages that the experiments need: `jobs.<rule>.<name>` holds the wildcards of a job and what it reads.

    Jobs on restricted datasets, or with their segmenters, stand under `restricted` instead, those of `evaluate`
    excepted, which make numbers only.
    `outside.folders` are the folders of the project from which modules are taken, by package; `outside.watched` is what
    DVC's stage `settings` reads for them. What was imported into `project` has no stage
    (`mimik.settings.imported`): DVC would delete it and train.
    """
    starts = (*resolution.PRETRAINED, "starts_from")
    networks = (*resolution.PRETRAINED, "classifier", "reader")
    names = ("prepare", "label_quality", *networks, "train", "translate", "evaluate", "report")
    free: dict[str, dict[str, Any]] = {rule: {} for rule in names}
    kept: dict[str, dict[str, Any]] = {rule: {} for rule in names if rule != "evaluate"}

    def add_preparation(dataset: str) -> None:
        masks = resolution.masks_of(params, dataset)
        if masks is not None:
            add_network("segmenter", masks)
        table = kept if restricted(params, dataset) else free
        table["prepare"][dataset] = _preparation(params, dataset)

    def add_scores(dataset: str) -> str | None:
        """The folder of the scores of a dataset's labels, if they are scored."""
        path = label_scores(params, dataset)
        if path is None:
            return None
        table = kept if restricted(params, dataset) else free
        table["label_quality"][dataset] = {"dataset": dataset}
        return str(Path(path).parent)

    def add_network(kind: str, network: Trained) -> None:
        add_preparation(network.dataset)
        table = kept if restricted(params, network.dataset) else free
        job: dict[str, Any] = {"dataset": network.dataset, kind: network.name}
        if kind == "classifier":
            learns = "label_quality" in settings(params, kind, job)
            job["reads"] = {"labels": (add_scores(network.dataset) if learns else None) or NOTHING}
        table[kind]["-".join(network)] = job

    pairs = resolution.experiments(params)
    for dataset, method in _trained(params):
        at = {"dataset": dataset, "method": method}
        add_preparation(dataset)
        jobs = {
            "train": (*starts, "judge", "segmented", "labels"),
            "translate": ("segmenter", "segmented"),
            "evaluate": ("segmenter", "segmented", "classifier", "reader"),
            "report": ("segmented",),
        }
        if (dataset, method) not in pairs:
            # Trained for what starts from it, and no more.
            jobs = {"train": jobs["train"]}
        reads = {"segmented": segmented(params, at) or NOTHING}
        reads["labels"] = add_scores(dataset) or f"data/prepared/{dataset}/{ABSENT['labels']}"
        for kind in dict.fromkeys(kind for read in jobs.values() for kind in read if kind not in reads):
            path = weights(params, kind, at)
            if path is None:
                size = resolution.image_size_of(params, dataset)
                reads[kind] = f"data/prepared/{dataset}/{ABSENT[kind].format(size=size)}"
            elif kind == "starts_from":
                reads[kind] = path
            else:
                reads[kind] = str(Path(path).parent)
                network = _trained_network(params, kind, at)
                assert network is not None  # it has a path
                add_network("classifier" if kind == "judge" else kind, network)
        table = kept if restricted(params, dataset, method) else free
        for rule, read in jobs.items():
            home = free if rule == "evaluate" else table
            home[rule][_stage(dataset, method)] = {**at, "reads": {kind: reads[kind] for kind in read}}
    for stages in (free, kept):
        for place in imported_methods(project):
            stages["train"].pop(_stage(*place.split("/")), None)
        for place in imported_segmenters(project):
            stages["segmenter"].pop(place.replace("/segmenter/", "-"), None)
    folders = folders_of(params, Path.cwd())
    watched = OUTSIDE.as_posix() if folders else NOTHING
    return {"jobs": free, "restricted": kept, "outside": {"folders": folders, "watched": watched}}


def _stage(dataset: str, method: str) -> str:
    """The name of a training's stages in dvc.yaml; DVC does not find stages with a second `@` in their names."""
    return f"{dataset}-{method.replace(MARK, '-')}"


def _trained(params: Params) -> list[resolution.Experiment]:
    """The experiments, each after those whose generators it starts from: these are trained too, if no more."""
    found: list[resolution.Experiment] = []
    for dataset, method in resolution.experiments(params):
        chain: list[resolution.Experiment] = []
        wanted: tuple[str, str] | None = (dataset, method)
        while wanted is not None and resolution.Experiment(*wanted) not in (*found, *chain):
            chain.append(resolution.Experiment(*wanted))
            wanted = resolution.starts_from(params, *wanted)
        found += chain[::-1]
    return found


def dvc_table(params: Params, project: Path) -> dict[str, Any]:
    """What `TABLE` is to hold for a project."""
    folder = FILE.with_suffix("")
    package, here = package_of(project), project.resolve()
    # Relative where it can be: a project with its environment in it may be moved.
    inside = package.is_relative_to(here)
    return {
        "package": (package.relative_to(here) if inside else package).as_posix(),
        "params": str(folder if (project / folder).is_dir() else Path("Snakefile")),
        **stage_table(params, project),
    }


def package_of(project: Path) -> Path:
    """The folder of mimik that a project runs: its own in a copy of the repository, or else the installed one."""
    here = project.resolve()
    own = here / "src" / "mimik"
    return own if own.is_dir() else modules.PACKAGE


def write_table(params: Params, project: Path) -> bool:
    """Write `dvc_table` where dvc.yaml loads it. Returns whether that changed anything."""
    path, table = project / TABLE, dvc_table(params, project)
    if _current_table(path) == table:
        return False
    write_json(path, table)
    return True


def write_decisions(params: Params, project: Path) -> None:
    """Write settings and source digests of every job of the experiments, as DVC's stages depend on them.

    Files of jobs that are gone are removed.

    Raises:
        UserError: the stages that dvc.yaml has are not those of the experiments.
    """
    table = dvc_table(params, project)
    if _current_table(project / TABLE) != table:
        raise UserError(
            f"{TABLE}: the stages of dvc.yaml no longer match the experiments in params.yaml. Run "
            "`mimik params --stages`, then the same command again."
        )
    jobs = [
        (rule, {key: value for key, value in stage.items() if key != "reads"})
        for group in (table[key] for key in ("jobs", "restricted"))
        for rule, stages in group.items()
        for stage in stages.values()
    ]
    package = package_of(project)
    wanted = set()
    for rule, at in [*jobs, ("compare", {})]:
        path = project / _decisions(rule, at)
        wanted.add(path)
        write_json(path, {"settings": settings(params, rule, at), "code": _digests(code(params, rule, at, package))})
    for path in sorted((project / DECISIONS).rglob("*.json")):
        if path not in wanted:
            path.unlink()


def write_outside(params: Params, project: Path, package: str) -> None:
    """Write digests of the source files in a folder of the project from which params.yaml takes modules.

    DVC cannot have a list of dependencies that changes. So each such folder has a stage that writes this file, and the
    stage `settings` depends on the folder of these files.

    Args:
        params: validated params.
        project: its folder.
        package: of `outside.folders` in `stage_table`.

    Raises:
        UserError: params.yaml takes nothing from this package any more.
    """
    folders = folders_of(params, project)
    if package not in folders:
        raise UserError(f"params.yaml no longer takes a module from {package!r}. Run `mimik params --stages`.")
    place = project / folders[package]
    files = {file.relative_to(project).as_posix(): file for file in ([place] if place.is_file() else place.rglob("*"))}
    kept = {name: file for name, file in sorted(files.items()) if file.suffix in (".py", ".json") and file.is_file()}
    write_json(project / OUTSIDE / f"{package}.json", _digests(kept))


def _preparation(params: Params, dataset: str) -> dict[str, Any]:
    """Of the table: the job that prepares a dataset. Without a segmenter it reads `NOTHING`."""
    path = weights(params, "masks", {"dataset": dataset})
    masks = NOTHING if path is None else str(Path(path).parent)
    return {"dataset": dataset, "reads": {"masks": masks}}


def _decisions(rule: str, at: Wildcards) -> str:
    return f"{DECISIONS}/{rule}/{'-'.join(at.values()) or 'all'}.json"


def _current_table(path: Path) -> Any:
    return read_json(path) if path.exists() else None


_CHOSEN: Mapping[str, Callable[[Params, str, Wildcards], list[str]]] = {
    "{dataset}": lambda params, _, at: [full_name("datasets", resolution.dataset_module(params, at["dataset"]))],
    "{method}": lambda params, _, at: [full_name("methods", resolution.method_module(params, at["method"]))],
    "{guidance}": lambda params, _, at: [
        full_name("guidance", name) for name in settings(params, "train", at)["guidance"]
    ],
    "{metrics}": lambda params, rule, at: [
        full_name("metrics", name) for name in settings(params, rule, at)["evaluation"]["metrics"]
    ],
    "{masks}": lambda params, _, at: _masks(params, at["dataset"]),
    "{networks}": lambda params, rule, at: _networks(params, rule, at),
    "{judge}": lambda params, _, at: ["mimik.evaluation.validation"] if is_validated(params, at) else [],
    # Those of mimik are watched whatever params.yaml shows.
    "{shown}": lambda params, rule, at: [
        name for kind in ("tables", "figures") for name in settings(params, rule, at).get(kind, ()) if is_external(name)
    ],
}
"""Full names of the modules that a pattern of `START` stands for, from params, rule and wildcards."""


def _modules(params: Params, rule: str, wildcards: Wildcards, package: Path) -> list[str]:
    """Full names of the modules where a job starts."""
    names: list[str] = []
    for pattern in START[rule]:
        if pattern in _CHOSEN:
            names += _CHOSEN[pattern](params, rule, wildcards)
        elif pattern.endswith(".*"):
            folder = pattern.removesuffix(".*")
            files = package.joinpath(*folder.split(".")).glob("*.py")
            names += [f"mimik.{folder}.{file.stem}" for file in files if file.stem[0] != "_"]
        else:
            names.append(f"mimik.{pattern}")
    return names


def _masks(params: Params, dataset: str) -> list[str]:
    source = resolution.masks_of(params, dataset)
    if source is None:
        return []
    return ["mimik.pretraining.predicted_masks", *_external_networks(params, {"segmenters": source.name})]


def _networks(params: Params, rule: str, wildcards: Wildcards) -> list[str]:
    """Networks of other packages that a job trains, or builds to read their weights."""
    dataset = wildcards["dataset"]
    if rule == "label_quality":
        config = resolution.label_quality_of(params, dataset)
        return [] if config is None else _external_networks(params, {"classifiers": config.classifier})
    if rule in ("segmenter", "classifier"):
        return _external_networks(params, {f"{rule}s": wildcards[rule]})
    method = wildcards["method"]
    found = resolution.pretrained_of(params, dataset, method)
    read = {resolution.PRETRAINED[kind]: network.name for kind, network in found.items()}
    if rule == "evaluate" or (rule == "train" and is_validated(params, wildcards)):
        read["classifiers"] = resolution.classifier_of(params, dataset, method)
    return _external_networks(params, read)


def _external_networks(params: Params, entries: Mapping[str, str]) -> list[str]:
    """Of entries by their groups in params.yaml."""
    networks = [params[group][name]["network"] for group, name in entries.items()]
    return [name for name in networks if is_external(name)]
