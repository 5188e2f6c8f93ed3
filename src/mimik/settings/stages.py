"""The jobs of the workflow: what decides the result of each. Snakemake's rules and DVC's stages both take it from here.

A job is a rule with its wildcards, for example `train` of {dataset: synthetic, method: hier_seg}. Its result is
decided by its settings (a slice of params.yaml), by the source files it runs, and by the files it reads.

DVC cannot resolve settings nor follow imports. So its first stage writes, for every job, one small file with the
settings and the digests of the source files (`write_decisions`); the other stages depend on these files. Which stages
there are stands in a file that dvc.yaml loads (`stage_table`), as dvc.yaml cannot work it out from params.yaml.
"""

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mimik.errors import UserError
from mimik.settings import params as resolution
from mimik.settings.params import Params, Settings
from mimik.settings.sources import source_files
from mimik.storage.files import digest, file_sha256, read_json, write_json

Wildcards = Mapping[str, str]

TABLE = Path("workflow/stages.json")
"""What dvc.yaml loads, relative to the project's folder."""

DECISIONS = Path("data/settings")
"""Where `write_decisions` writes, relative to the project's folder."""

START: Mapping[str, tuple[str, ...]] = {
    "prepare": ("faces.prepared.prepare", "datasets.{dataset_module}", "{masks}"),
    "segmenter": ("pretraining.segmenter",),
    "depth_network": ("pretraining.depth_network",),
    "classifier": ("pretraining.classifier",),
    "reader": ("pretraining.reader",),
    "train": ("training.runs", "methods.{module}", "{guidance}"),
    "translate": ("evaluation.translation", "methods.{module}", "datasets.{dataset_module}"),
    "evaluate": ("evaluation.evaluate", "methods.{module}", "{metrics}"),
    "report": ("reporting.report", "reporting.figures.*", "reporting.tables.*"),
    "compare": ("reporting.report", "reporting.figures.*", "reporting.tables.*"),
}
"""Modules where the jobs of a rule start. `folder.*` is a whole folder; those in braces depend on the wildcards."""

_RESOLVE: Mapping[str, Callable[[Params, Wildcards], Settings]] = {
    "prepare": lambda params, at: resolution.resolve_dataset(params, at["dataset"]),
    "segmenter": lambda params, at: resolution.resolve_segmenter(params, at["dataset"], at["segmenter"]),
    "depth_network": lambda params, at: resolution.resolve_depth_network(params, at["dataset"], at["depth_network"]),
    "classifier": lambda params, at: resolution.resolve_classifier(params, at["dataset"], at["classifier"]),
    "reader": lambda params, at: resolution.resolve_reader(params, at["dataset"], at["reader"]),
    "train": lambda params, at: resolution.resolve(params, at["dataset"], at["method"]),
    "translate": lambda params, at: resolution.resolve_translation(params, at["dataset"], at["method"]),
    "evaluate": lambda params, at: resolution.resolve_evaluation(params, at["dataset"], at["method"]),
    "report": lambda params, at: dict(params["report"]),
    "compare": lambda params, at: dict(params["report"]),
}


def settings(params: Params, rule: str, wildcards: Wildcards) -> Settings:
    """The slice of params.yaml that a job uses, JSON-able."""
    return _RESOLVE[rule](params, wildcards)


def code(params: Params, rule: str, wildcards: Wildcards, package: Path) -> list[Path]:
    """The source files that decide what a job does, sorted.

    Args:
        params: validated params.
        rule: of the workflow.
        wildcards: of the job.
        package: the folder of the package `mimik`.
    """
    files = source_files(package, *_modules(params, rule, wildcards, package))
    if rule in ("report", "compare"):
        files += [file for file in (package / "reporting" / "templates").iterdir() if file.is_file()]
        files.sort()
    return files


def code_digest(params: Params, rule: str, wildcards: Wildcards, package: Path) -> str:
    """One digest of names and contents of the files of `code`; arguments like there."""
    return digest(_digests(params, rule, wildcards, package))


def _digests(params: Params, rule: str, wildcards: Wildcards, package: Path) -> dict[str, str]:
    files = code(params, rule, wildcards, package)
    return {_name(file, package): _sha256(file, file.stat().st_mtime_ns) for file in files}


@cache
def _name(file: Path, package: Path) -> str:
    return file.relative_to(package).as_posix()


@cache
def _sha256(file: Path, modified: int) -> str:
    """Of a file that was last written at `modified`: hundreds of jobs depend on the same files."""
    return file_sha256(file)


def weights(params: Params, kind: str, wildcards: Wildcards) -> str | None:
    """Path of the trained network of a kind that a job reads, if any.

    Kinds: those of `params.PRETRAINED`, `classifier` and `reader`, trained on the job's dataset; `starts_from` for
    another method's generator; `masks`, the segmenter that makes the masks of the dataset when it is prepared, trained
    on another one.
    """
    dataset = wildcards["dataset"]
    if kind == "masks":
        source = resolution.masks_of(params, dataset)
        return None if source is None else _network(source.dataset, "segmenter", source.segmenter)
    if kind == "starts_from":
        method = resolution.starts_from(params, wildcards["method"])
        return None if method is None else f"results/{dataset}/{method}/generator.safetensors"
    if kind == "classifier":
        name: str | None = resolution.classifier_of(params, dataset, wildcards["method"])
    elif kind == "reader":
        name = resolution.reader_of(params, dataset)
    else:
        name = resolution.pretrained_of(params, dataset, wildcards["method"]).get(kind)
    return None if name is None else _network(dataset, kind, name)


def restricted(params: Params, dataset: str) -> bool:
    """Whether what is made of a dataset may not be passed on: so says its module, or that of its masks' segmenter."""
    module = import_module(f"mimik.datasets.{resolution.dataset_module(params, dataset)}")
    masks = resolution.masks_of(params, dataset)
    return bool(module.RESTRICTED) or (masks is not None and restricted(params, masks.dataset))


ABSENT: Mapping[str, str] = MappingProxyType(
    {
        "segmenter": "manifest.json",
        "depth_network": "quarantine.csv",
        "starts_from": "index.csv",
        "classifier": "index.csv",
        "reader": "index.csv",
    }
)
"""dvc.yaml lists the same number of dependencies for every job of a rule. Where a method or dataset has no network of a
kind, a file of the prepared dataset, which the job reads anyway, stands in its place; another one for every kind that
the same job lists."""


def stage_table(params: Params) -> dict[str, Any]:
    """The stages that the experiments need: `jobs.<rule>.<name>` holds the wildcards of a job and what it reads.

    Jobs on restricted datasets stand under `restricted` instead, those of `evaluate` excepted, which make numbers only.
    """
    starts = (*resolution.PRETRAINED, "starts_from")
    networks = (*resolution.PRETRAINED, "classifier", "reader")
    names = ("prepare", *networks, "train", "translate", "evaluate", "report")
    free: dict[str, dict[str, Any]] = {rule: {} for rule in names}
    kept: dict[str, dict[str, Any]] = {rule: {} for rule in names if rule != "evaluate"}
    pairs = resolution.experiments(params)
    for dataset, method in _trained(params):
        at = {"dataset": dataset, "method": method}
        table = kept if restricted(params, dataset) else free
        masks = resolution.masks_of(params, dataset)
        if masks is not None:
            theirs = kept if restricted(params, masks.dataset) else free
            theirs["prepare"][masks.dataset] = _preparation(params, masks.dataset)
            theirs["segmenter"]["-".join(masks)] = {"dataset": masks.dataset, "segmenter": masks.segmenter}
        table["prepare"][dataset] = _preparation(params, dataset)
        reads = {}
        for kind in dict.fromkeys((*networks, *starts)):
            path = weights(params, kind, at)
            if path is None:
                reads[kind] = f"data/prepared/{dataset}/{ABSENT[kind]}"
                continue
            reads[kind] = path if kind == "starts_from" else str(Path(path).parent)
            if kind != "starts_from":
                name = Path(path).parent.name
                table[kind][f"{dataset}-{name}"] = {"dataset": dataset, kind: name}
        key = f"{dataset}-{method}"
        table["train"][key] = {**at, "reads": {kind: reads[kind] for kind in starts}}
        if (dataset, method) not in pairs:
            continue
        table["translate"][key] = {**at, "reads": {"segmenter": reads["segmenter"]}}
        free["evaluate"][key] = {**at, "reads": {kind: reads[kind] for kind in ("segmenter", "classifier", "reader")}}
        table["report"][key] = at
    return {"jobs": free, "restricted": kept}


def _trained(params: Params) -> list[resolution.Experiment]:
    """The experiments, each after those whose generators it starts from: these are trained too, if no more."""
    found: list[resolution.Experiment] = []
    for dataset, method in resolution.experiments(params):
        chain: list[resolution.Experiment] = []
        wanted: str | None = method
        while wanted is not None and resolution.Experiment(dataset, wanted) not in (*found, *chain):
            chain.append(resolution.Experiment(dataset, wanted))
            wanted = resolution.starts_from(params, wanted)
        found += chain[::-1]
    return found


def write_table(params: Params, project: Path) -> bool:
    """Write `stage_table` where dvc.yaml loads it. Returns whether that changed anything."""
    path = project / TABLE
    if _current_table(path) == stage_table(params):
        return False
    write_json(path, stage_table(params))
    return True


def write_decisions(params: Params, project: Path) -> None:
    """Write settings and source digests of every job of the experiments, as DVC's stages depend on them.

    Files of jobs that are gone are removed.

    Raises:
        UserError: the stages that dvc.yaml has are not those of the experiments.
    """
    table = stage_table(params)
    if _current_table(project / TABLE) != table:
        raise UserError(
            f"{TABLE}: dvc.yaml's stages are not those of the experiments in params.yaml any more. Run "
            "`mimik params --stages`, then the same command again."
        )
    jobs = [
        (rule, {key: value for key, value in stage.items() if key != "reads"})
        for group in table.values()
        for rule, stages in group.items()
        for stage in stages.values()
    ]
    package = project / "src" / "mimik"
    wanted = set()
    for rule, at in [*jobs, ("compare", {})]:
        path = project / _decisions(rule, at)
        wanted.add(path)
        write_json(path, {"settings": settings(params, rule, at), "code": _digests(params, rule, at, package)})
    for path in sorted((project / DECISIONS).rglob("*.json")):
        if path not in wanted:
            path.unlink()


def _preparation(params: Params, dataset: str) -> dict[str, Any]:
    """Of the table: the job that prepares a dataset. Without a segmenter it reads mimik's version in its place."""
    path = weights(params, "masks", {"dataset": dataset})
    masks = "src/mimik/__init__.py" if path is None else str(Path(path).parent)
    return {"dataset": dataset, "reads": {"masks": masks}}


def _network(dataset: str, kind: str, name: str) -> str:
    return f"data/pretrained/{dataset}/{kind}/{name}/model.safetensors"


def _decisions(rule: str, at: Wildcards) -> str:
    return f"{DECISIONS}/{rule}/{'-'.join(at.values()) or 'all'}.json"


def _current_table(path: Path) -> Any:
    return read_json(path) if path.exists() else None


def _modules(params: Params, rule: str, wildcards: Wildcards, package: Path) -> list[str]:
    names: list[str] = []
    for pattern in START[rule]:
        if pattern == "{guidance}":
            names += [f"guidance.{name}" for name in settings(params, rule, wildcards)["guidance"]]
        elif pattern == "{metrics}":
            chosen = settings(params, rule, wildcards)["evaluation"]["metrics"]
            names += [f"evaluation.metrics.{name}" for name in chosen]
        elif pattern == "{masks}":
            predicted = resolution.masks_of(params, wildcards["dataset"]) is not None
            names += ["pretraining.predicted_masks"] if predicted else []
        elif pattern.endswith(".*"):
            folder = pattern.removesuffix(".*")
            files = package.joinpath(*folder.split(".")).glob("*.py")
            names += [f"{folder}.{file.stem}" for file in files if file.stem[0] != "_"]
        elif "{dataset_module}" in pattern:
            names.append(pattern.format(dataset_module=resolution.dataset_module(params, wildcards["dataset"])))
        elif "{module}" in pattern:
            names.append(pattern.format(module=resolution.method_module(params, wildcards["method"])))
        else:
            names.append(pattern.format(**wildcards))
    return names
