"""What a table of a paper needs before anything starts: jobs, data, weights, operations, hours on a card, disk."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mimik.components.adversary import Adversary
from mimik.components.conditions import Condition, ConditionConfig
from mimik.errors import UserError
from mimik.evaluation.extractors import PUBLISHED
from mimik.evaluation.places import Missing, Places
from mimik.evaluation.translation import TranslationSettings, bytes_of
from mimik.faces.prepared.settings import Settings as StoreSettings
from mimik.labels import EXPRESSIONS, SECGAN_ATTRIBUTES
from mimik.networks import depth_network, face_classifier, face_reader, segmenter
from mimik.pretraining.depth_network import DepthNetworkConfig, DepthNetworkTask
from mimik.settings import papers, stages
from mimik.settings import params as resolution
from mimik.settings.complete import complete_network, complete_training
from mimik.settings.configuration import build
from mimik.settings.modules import named
from mimik.settings.params import Experiment, Params, Settings
from mimik.settings.replicates import replicate
from mimik.storage.arrays import read_table
from mimik.training.operations import run_operations
from mimik.training.schedule import TrainingConfig, Update
from mimik.training.untrained import untrained_method

MEASURED = 100e12
"""Operations per second of training on an H100. Measured (docs/gpu.md): 97 to 146 TFLOP/s for StarGAN with graphs, 73
for hier_seg without."""

CARDS: Mapping[str, float] = {"h200": 989, "h100": 989, "a100": 312, "rtx4090": 165, "rtx3090": 71}
"""Peak of dense bfloat16 products with sums in float32, in TFLOP/s, by the makers' data sheets."""

PREPARING_GB, LISTED_KB, EVALUATING_GB = 0.6, 3.7, 1.3
"""Memory by benchmarks/scale.py (with everything on at 256 px; a row of the table with landmarks) and
benchmarks/evaluation_scale.py (4,000 faces; it grows little from there)."""

IDENTITY = 64
"""Numbers that describe a rendered person, about; their layer does not count next to the others."""


class Job(NamedTuple):
    """One job of the workflow.

    Attributes:
        rule: of the workflow.
        name: what it is about, such as `affectnet/hier_seg`.
        done: whether its result is there.
        operations: of a training; None: not counted.
    """

    rule: str
    name: str
    done: bool
    operations: int | None = None


def plan(params: Params, item: str, card: str, rate: float | None = None) -> Iterator[str]:
    """Lines of text about what an item needs.

    Args:
        params: checked params.
        item: a table or figure of the papers (`hier_seg/table1`), `papers` for all of them and their claims, an
            experiment (`affectnet/hier_seg`), or `experiments` for those of params.yaml.
        card: of `CARDS`.
        rate: operations per second in TFLOP/s, in place of the estimate for the card.

    Raises:
        UserError: an unknown item, card or name.
    """
    if card not in CARDS:
        raise UserError(f"{card!r} is not a card that mimik knows: {', '.join(CARDS)}. Give its rate with --rate.")
    wanted = experiments(params, item)
    params = {**params, "experiments": [pair._asdict() for pair in wanted], "replicates": 1}
    protocols = sorted({resolution.resolve(params, *pair)["protocol"] for pair in wanted})
    yield f"{item}: {len(wanted)} experiments, protocol {' and '.join(protocols)}."
    for pair in wanted:
        scale = resolution.scale_of(params, pair.dataset)
        yield f"  {pair.dataset}/{pair.method} (scale {scale}, {resolution.image_size_of(params, pair.dataset)} px)"
    yield ""
    yield from _missing(params, wanted)
    yield ""
    per_second = rate * 1e12 if rate else MEASURED * CARDS[card] / CARDS["h100"]
    yield f"Trainings (operations counted; hours on one {card} at {per_second / 1e12:,.0f} TFLOP/s):"
    hours, uncounted = 0.0, []
    for job in jobs(params):
        if job.operations is None:
            uncounted.append(job)
            continue
        each = job.operations / per_second / 3600
        hours += 0 if job.done else each
        there = "done" if job.done else f"{each:,.1f} h"
        yield f"  {job.rule:<14} {job.name:<44} {job.operations / 1e15:>10,.1f} PFLOP  {there:>9}"
    yield f"  together, without what is done: {hours:,.1f} h"
    if rate is None:
        yield (
            "  The rate is StarGAN's on an H100, scaled by the cards' peaks: an estimate. A rate of your own: --rate."
        )
    yield ""
    yield from _room(params, wanted)
    if uncounted:
        counts: dict[str, int] = {}
        for job in uncounted:
            counts[job.rule] = counts.get(job.rule, 0) + (not job.done)
        yield "Not counted: " + ", ".join(f"{rule} ({number} to do)" for rule, number in counts.items()) + "."


def experiments(params: Params, item: str) -> list[Experiment]:
    """The trainings of an item, each once: all `replicates` of an item's methods, one of DATASET/METHOD."""
    if item == "experiments":
        return resolution.experiments(params)
    dataset, _, method = item.partition("/")
    known = dataset in params["datasets"] and replicate(method).method in params["methods"]
    if item not in papers.names(params) and known:
        return [Experiment(dataset, method)]
    if item == "papers":
        return papers.wanted(params)
    return papers.experiments(params, [item])


def jobs(params: Params) -> Iterator[Job]:
    """The jobs that the experiments of params need, in the order of the workflow."""
    table = stages.stage_table(params)
    for rule, free in table["jobs"].items():
        for at in (*free.values(), *table["restricted"].get(rule, {}).values()):
            wildcards = {key: str(value) for key, value in at.items() if key != "reads"}
            name = "/".join(wildcards.values())
            if rule in ("segmenter", "depth_network", "classifier", "reader"):
                output = Path("data/pretrained") / wildcards["dataset"] / rule / wildcards[rule] / "model.safetensors"
                settings = complete_network(params, wildcards["dataset"], f"{rule}s", wildcards[rule])
                yield Job(rule, name, output.is_file(), _pretraining(params, rule, settings))
            elif rule == "train":
                output = Path("results") / wildcards["dataset"] / wildcards["method"] / "generator.safetensors"
                yield Job(rule, name, output.is_file(), training_operations(params, **wildcards))
            else:
                yield Job(rule, name, _there(rule, wildcards))


def _prepared(params: Params) -> list[str]:
    """Datasets that the experiments of params read, those that segmenters are trained on among them."""
    table = stages.stage_table(params)
    places = (*table["jobs"]["prepare"].values(), *table["restricted"]["prepare"].values())
    return list(dict.fromkeys(at["dataset"] for at in places))


def _room(params: Params, wanted: Sequence[Experiment]) -> Iterator[str]:
    """Room on the disk for what is not there yet: prepared faces, and the translations of their test faces."""
    free = shutil.disk_usage(Path.cwd()).free
    yield f"Room on the disk ({free / 1e9:,.1f} GB are free here):"
    for dataset in _prepared(params):
        at = resolution.resolve_dataset(params, dataset)
        faces = _faces(params, dataset)
        each = StoreSettings.of(dataset, at["module"], at["options"]).bytes_of_a_face
        if _there("prepare", {"dataset": dataset}):
            yield f"  prepare        {dataset:<44} done"
            continue
        together = "" if faces is None else f"; {faces * each / 1e9:,.1f} GB for {faces:,} training faces"
        yield f"  prepare        {dataset:<44} {each / 1e6:,.3f} MB a face{together}; twice that while it is made"
    for pair in wanted:
        name, size = "/".join(pair), resolution.image_size_of(params, pair.dataset)
        if _there("translate", pair._asdict()):
            yield f"  translate      {name:<44} done"
            continue
        settings = build(TranslationSettings, resolution.resolve_translation(params, *pair), "translation")
        condition = build(ConditionConfig, complete_training(params, *pair)["condition"], f"methods.{pair.method}")
        classes = resolution.resolve_dataset(params, pair.dataset)["options"].get("classes") or EXPRESSIONS
        targets = len(Condition(condition, classes, SECGAN_ATTRIBUTES).edits)
        tested = _split(pair.dataset, "test")
        faces = min(tested or settings.limit or 1000, settings.limit or tested or 1000)
        room = bytes_of(faces, targets, size, settings) / 1e9
        who = "" if tested else "at most " if settings.limit else "every "
        yield f"  translate      {name:<44} {room:,.1f} GB for {who}{faces:,} test faces, {targets} targets"
    yield (
        f"Memory of the computer, measured (docs/scale.md): preparing {PREPARING_GB} GB with two workers, and "
        f"{LISTED_KB} kB for each listed photograph; evaluating up to {EVALUATING_GB} GB beside the networks."
    )


def _there(rule: str, at: Mapping[str, str]) -> bool:
    results = Path("results") / at["dataset"] / at.get("method", "")
    return {
        "prepare": Path("data/prepared") / at["dataset"] / "manifest.json",
        "translate": results / "translations" / "manifest.json",
        "evaluate": results / "metrics.json",
        "report": results / "report.html",
    }[rule].is_file()


def _missing(params: Params, wanted: Sequence[Experiment]) -> Iterator[str]:
    """Data and weights that are not there, with what to do."""
    mirror = resolution.mirror_of(params)
    found = []
    for dataset in _prepared(params):
        settings = resolution.resolve_dataset(params, dataset)
        if _there("prepare", {"dataset": dataset}):
            continue
        try:
            module = named("datasets", settings["module"], f"params.yaml: datasets.{dataset}.dataset")
            module.check(Path("data/raw") / settings["module"], settings["options"], mirror)
        except UserError as error:
            found.append(f"  {dataset}: {error}")
    metrics = {
        metric
        for pair in wanted
        for metric in resolution.resolve_evaluation(params, pair.dataset, pair.method)["evaluation"]["metrics"]
    }
    for network, opened in PUBLISHED.items():
        needed = [
            name for name in sorted(metrics) if getattr(named("metrics", name, "metrics"), "NEEDS", None) == network
        ]
        extractor = opened(Places(Path("data/weights"), mirror)) if needed else None
        if isinstance(extractor, Missing):
            found.append(f"  {', '.join(needed)}: {extractor.reason}")
    yield "Missing:" if found else "All data and weights are there."
    yield from found


def training_operations(params: Params, dataset: str, method: str) -> int | None:
    """Operations of the training of a method."""
    settings = complete_training(params, dataset, method)
    return _counted(params, dataset, untrained_method(params, dataset, method), settings)


class _Supervised(nn.Module):
    """A network whose outputs are all compared with something: its passes are what such a training computes."""

    updates = (Update("network"),)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def network_parameters(self) -> list[dict[str, Any]]:
        return [{"params": list(self.network.parameters())}]

    def network_loss(self, batch: Mapping[str, Tensor], _step: int) -> tuple[Tensor, dict[str, Tensor]]:
        outputs = self.network(batch["image"])
        outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        return torch.stack([output.float().sum() for output in outputs]).sum(), {}


def _pretraining(params: Params, kind: str, settings: Settings) -> int | None:
    """Operations of the training of a network that methods start from, or that measures them."""
    config, size = settings["config"], settings["image_size"]
    task: Any
    if kind == "depth_network":
        chosen = build(DepthNetworkConfig, config, kind)
        adversary = Adversary(chosen.adversary, size, Condition(ConditionConfig(), EXPRESSIONS))
        # Without the perceptual term, whose network needs weights.
        task = DepthNetworkTask(depth_network.build(config), replace(chosen, perceptual="none"), adversary, None)
    elif kind == "segmenter":
        task = _Supervised(segmenter.build({**config, "image_size": size}))
    elif kind == "classifier":
        classes = EXPRESSIONS if config["predicts"] == "expression" else SECGAN_ATTRIBUTES
        task = _Supervised(face_classifier.build(config, classes))
    else:
        task = _Supervised(face_reader.build(config, IDENTITY))
    return _counted(params, settings["dataset"], task, settings)


def _counted(params: Params, dataset: str, task: Any, settings: Settings) -> int | None:
    training = build(TrainingConfig, settings["training"], "training")
    faces = _faces(params, dataset)
    if training.epochs is not None and faces is None:
        return None
    training = training.counted(faces or 1, task.updates)
    return run_operations(task, settings["image_size"], training.batch_size, training.steps)


def _faces(params: Params, dataset: str) -> int | None:
    """Training faces of a dataset: counted where it is prepared, else what its module expects; None: not known."""
    prepared = _split(dataset, "train")
    if prepared is not None:
        return prepared
    settings = resolution.resolve_dataset(params, dataset)
    expected = getattr(named("datasets", settings["module"], f"datasets.{dataset}"), "training_faces", None)
    faces: int | None = None if expected is None else expected(settings["options"])
    return faces


def _split(dataset: str, split: str) -> int | None:
    """Faces of a split of a dataset; None before it is prepared."""
    path = Path("data/prepared") / dataset / "index.csv"
    if not path.is_file():
        return None
    return int((read_table(path, f"Run `mimik data prepare {dataset}`.", ("split",))["split"] == split).sum())
