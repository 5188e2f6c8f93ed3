"""Training a method on a prepared dataset: from settings and a store to a generator on disk.

Writes into the result folder, each file atomically and the weights last:
    generator.safetensors   weights that translate (averaged where the run averages)
    critic.safetensors      the critics, for a training that starts from this one (`mimik.training.starting`)
    guides.safetensors      networks of guides that draw maps of edits (`mimik.training.guided`); empty without any
    config.json             the fully resolved settings, classes, image size, digests, machine
    history.csv             `step`, then `<update>/<term>`
    samples.png             rows of validation faces, columns of target classes
    validation/             measures and grids while training, the generator of the best step
                            (`mimik.training.validation`)
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn

from mimik.components.conditions import Condition, ConditionConfig, stored_class_means, stored_states
from mimik.components.context import Context
from mimik.errors import UserError, unknown_name
from mimik.faces.prepared.label_quality import Drawn, drawn
from mimik.faces.prepared.store import FaceStore
from mimik.labels import IGNORED, SEGMENTATION_CLASSES
from mimik.settings.configuration import build
from mimik.settings.modules import named
from mimik.settings.outside import named_in_file
from mimik.settings.params import PRETRAINED, merged_training
from mimik.statistics.confusion import confusion_matrix, intersection_over_union
from mimik.storage.files import atomic_path, digest, file_sha256, write_json, write_text
from mimik.storage.records import command_for, read_record
from mimik.storage.weights import built, fill, read_safetensors, save_safetensors
from mimik.training.batches import to_tensor, to_uint8
from mimik.training.devices import run_environment
from mimik.training.guided import Drawing, Guided, guides_state, load_guide_state
from mimik.training.loop import Logger, TrainingConfig, train
from mimik.training.starting import CRITICS, critics_state, frozen, load_critics, take_over, told
from mimik.training.validation import FOLDER, Judge, Validation, write_none

GUIDES = "guides.safetensors"
"""File in the result folder with the networks that guides keep."""


def method_module(name: str) -> ModuleType:
    """The module of a method by its name in params.yaml. Raises `UserError` for a name without a file."""
    return named("methods", name, "params.yaml: methods")


def guide_module(name: str) -> ModuleType:
    """The module of a guide by its name in params.yaml. Raises `UserError` for a name without a file."""
    return named("guidance", name, "params.yaml: guidance")


def train_method(
    settings: Mapping[str, Any],
    store_dir: Path | str,
    pretrained_dirs: Mapping[str, Path | str],
    output_dir: Path | str,
    checkpoint_dir: Path | str,
    logger: Logger | None = None,
    *,
    segmented_dir: Path | str | None = None,
    labels_dir: Path | str | None = None,
    judge: Callable[[FaceStore, npt.NDArray[np.int64]], Judge] | None = None,
) -> None:
    """Train one method and write its results.

    Args:
        settings: resolved for (dataset, method, scale): `dataset`, `method` (the entry's name), `module` (the file's
            name), `scale`, `seed`, `image_size`, `condition`, `guidance`, `config` (overrides of the method's Config),
            `training` (overrides of its published schedule), optionally `freeze` (patterns of parameters that keep
            their values), with `labels_dir` `label_quality` (`action`, `reliable`); see
            `mimik.settings.params.resolve`.
        store_dir: the prepared dataset.
        pretrained_dirs: folders of the networks that it starts from, by kind (`mimik.settings.params.PRETRAINED`);
            under `starts_from` the results of another training.
        output_dir: results/<dataset>/<method>.
        checkpoint_dir: where the run's state is kept during training.
        logger: mirror of losses and pictures.
        segmented_dir: the prepared dataset that the segmenter was trained on, where that is another one; its validation
            faces and masks show during training what becomes of the segmenter.
        labels_dir: scores of the training faces' labels (`mimik.faces.prepared.label_quality`), for a method that reads
            labels.
        judge: opens what judges the edits of faces of `val` while training, where `training.validate_every` asks for
            it, see `mimik.training.validation`.

    Raises:
        UserError: settings do not fit, a file is missing, or the run diverges.
    """
    output, checkpoints = Path(output_dir), Path(checkpoint_dir)
    module = method_module(settings["module"])
    store = FaceStore(store_dir, settings["image_size"])
    where = f"methods.{settings['method']}"
    config = build(module.Config, settings["config"], where)
    training = build(TrainingConfig, merged_training(module.TRAINING, settings["training"]), f"{where}.training")
    condition = build(ConditionConfig, {**module.CONDITION, **settings["condition"]}, f"{where}.condition")
    torch.manual_seed(settings["seed"])
    starts_from = pretrained_dirs.get("starts_from")
    folders = {kind: Path(folder) for kind, folder in pretrained_dirs.items() if kind != "starts_from"}
    networks = {kind: _load_pretrained(kind, folder) for kind, folder in folders.items()}
    attributes = store.attribute_names
    context = _context(condition, store.classes, attributes, store.size, networks, where)
    method = _make(module, config, context, where)
    _set_class_units(method, store, where)
    if starts_from is not None:
        label = f"{settings['dataset']}/{settings['method']}"
        _start_from(method, Path(starts_from), where, label)
    held = frozen(method, settings.get("freeze") or (), where)
    guides, guidance = {}, {}
    for name, values in settings["guidance"].items():
        guide = guide_module(name)
        guidance[name] = build(guide.Config, values, f"{where}.guidance.{name}")
        # A guide gets its own copy of the networks it starts from, because the method may train its copy.
        own = {kind: _load_pretrained(kind, folder) for kind, folder in folders.items()}
        surroundings = dataclasses.replace(context, pretrained=own)
        try:
            guides[name] = guide.Guide(guidance[name], surroundings)
        except ValueError as error:
            raise UserError(f"{where}.guidance.{name}: {error}.") from error
    try:
        task = Guided(method, guides) if guides else method
    except ValueError as error:
        raise UserError(f"{where}.guidance: {error}.") from error
    chosen: Drawn | None = None
    if labels_dir is not None and task.reads & {"label", "target"}:
        chosen = drawn(labels_dir, store, **settings["label_quality"])
    rows = store.training_rows() if chosen is None else chosen.rows
    training = training.counted(len(rows), task.updates)
    validation = None
    if training.validate_every and condition.space == "attributes":
        print(f"{where}: not validated while it trains; validation measures expressions, and it edits attributes.")
        training = dataclasses.replace(training, validate_every=0, keep="last")
    if training.validate_every:
        if judge is None:
            raise UserError(f"{where}.training.validate_every: there is no classifier to judge. Set it to 0.")
        # After the task, whose weights are drawn from the seed.
        validation = Validation(method, store, training, judge, checkpoints / FOLDER, settings["seed"])
    resolved = {
        **settings,
        "config": to_plain(config),
        "condition": to_plain(condition),
        "guidance": to_plain(guidance),
        "training": to_plain(training),
        "classes": store.classes,
        "attributes": attributes,
        "action_units": store.action_unit_extractor,
        "dataset_digest": store.digest,
        "trained_on": store.kind_of_pictures(),
        # load_method builds the method from these.
        "architectures": {kind: network.settings for kind, network in networks.items()},
        # What they were trained with: part of what a run's settings are, see reporting.tables.settings.
        "networks": {kind: _trained_with(folder) for kind, folder in folders.items()},
        "pretrained_sha256": {kind: file_sha256(folder / "model.safetensors") for kind, folder in folders.items()},
        "starts_from_sha256": None if starts_from is None else file_sha256(Path(starts_from) / "generator.safetensors"),
        "starts_from_critic_sha256": None if starts_from is None else _critics_sha256(Path(starts_from)),
        "freeze": list(settings.get("freeze") or ()),
        "template": store.manifest.get("template"),
        "sizes": store.manifest["sizes"],  # faces are cut out at the largest and shrunk, see faces.alignment.crops
    }
    resolved.pop("label_quality", None)  # what was made of it, where labels are read at all
    if chosen is not None:
        resolved["label_quality"] = dict(chosen.facts)
    started = ("pretrained_sha256", "starts_from_sha256", "starts_from_critic_sha256")
    decisive = ("module", "config", "condition", "guidance", *started, "freeze", *(["label_quality"] if chosen else []))
    segmented = None if segmented_dir is None else FaceStore(segmented_dir, networks["segmenter"].input_size)
    probe = _Probe(method, store, checkpoints / "samples.png", segmented)
    history = train(
        task,
        store,
        rows,
        training,
        seed=settings["seed"],
        checkpoint_dir=checkpoints,
        fingerprint={
            **{key: resolved[key] for key in decisive},
            **({"judge_sha256": validation.judge.sha256} if validation else {}),
        },
        label=f"{settings['dataset']}/{settings['method']}",
        logger=logger,
        sample=probe,
        keep_checkpoint=True,
        frozen=[f"method.{name}" for name in held] if guides else held,
        weights=None if chosen is None else chosen.weights,
        validation=validation,
    )
    if torch.distributed.is_initialized() and torch.distributed.get_rank() != 0:
        return
    if validation is None:
        write_none(output)
    else:
        resolved["kept_step"] = validation.keep()
        validation.write(output, resolved)
    write_text(output / "history.csv", pd.DataFrame(history).to_csv(index=False))
    with atomic_path(output / "samples.png") as temporary:
        Image.fromarray(probe.grid()).save(temporary)
    write_json(
        output / "config.json", {**resolved, "config_digest": digest(resolved), "environment": run_environment()}
    )
    save_safetensors(output / GUIDES, guides_state(guides))
    save_safetensors(output / CRITICS, critics_state(method))
    save_safetensors(
        output / "generator.safetensors", method.generator_state(), metadata={"config": json.dumps(resolved)}
    )
    (checkpoints / "last.pt").unlink(missing_ok=True)
    if validation is not None:
        validation.remove()


def load_method(result_dir: Path | str, also: Sequence[str] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """A trained method, in evaluation mode on the CPU, and its config.json, which must also have the keys `also`.

    Raises:
        UserError: there is no trained method; config.json or generator.safetensors is missing or damaged, or they do
            not belong together; a weight is not finite; the method is from another package that is named only in the
            file (`mimik.settings.outside.named_in_file`).
    """
    directory = Path(result_dir)
    _check_trained(directory)
    path, weights = directory / "config.json", directory / "generator.safetensors"
    where, remedy = str(path), f"Train it with `{command_for(path, 'method')}`."
    needs = ("module", "config", "condition", "architectures", "classes", "attributes", "image_size")
    resolved = read_record(path, "method", (*needs, *also))
    module = named_in_file("methods", resolved["module"], f"{where}: module")
    config = build(module.Config, resolved["config"], f"{where}: config")
    condition = build(ConditionConfig, resolved["condition"], f"{where}: condition")

    def make() -> Any:
        networks = {kind: _network_module(kind).build(made) for kind, made in resolved["architectures"].items()}
        context = _context(
            condition, resolved["classes"], resolved["attributes"], resolved["image_size"], networks, where
        )
        return _make(module, config, context, where)

    method = built(make, where, remedy)
    state = read_safetensors(weights, remedy)
    fill(lambda: method.load_generator_state(state), weights, remedy)
    return method.eval(), resolved


def load_guides(result_dir: Path | str) -> dict[str, Drawing]:
    """The guides of a trained method that can draw maps of its edits, by name, in evaluation mode on the CPU.

    None for a result of an earlier version, which has no `guides.safetensors`. Guides that keep nothing are not built.

    Raises:
        UserError: a file is damaged, or they do not belong together; see `load_method`.
    """
    directory = Path(result_dir)
    path, weights = directory / "config.json", directory / GUIDES
    if not weights.exists():
        return {}
    where, remedy = str(path), f"Train the method again with `{command_for(path, 'method')}`."
    state = read_safetensors(weights, remedy)
    if not state:
        return {}
    needs = ("condition", "guidance", "architectures", "classes", "attributes", "image_size")
    resolved = read_record(path, "method", needs)
    condition = build(ConditionConfig, resolved["condition"], f"{where}: condition")
    guides: dict[str, Drawing] = {}
    for name in dict.fromkeys(key.partition("/")[0] for key in state):
        if name not in resolved["guidance"]:
            raise UserError(f"{weights}: holds networks of the guide {name!r}, which {path} does not name. {remedy}")
        module = named_in_file("guidance", name, f"{where}: guidance")
        config = build(module.Config, resolved["guidance"][name], f"{where}: guidance.{name}")

        def make(module: ModuleType = module, config: Any = config) -> Any:
            networks = {kind: _network_module(kind).build(made) for kind, made in resolved["architectures"].items()}
            classes, attributes = resolved["classes"], resolved["attributes"]
            return module.Guide(
                config, _context(condition, classes, attributes, resolved["image_size"], networks, where)
            )

        guide = built(make, where, remedy)

        def load(guide: Any = guide, name: str = name) -> None:
            load_guide_state(guide, name, state)

        fill(load, weights, remedy)
        guides[name] = guide.eval()
    return guides


def _check_trained(directory: Path) -> None:
    """Raise `UserError` if a folder contains no trained method; the message names folders nearby that do."""
    try:
        is_file, is_folder = directory.is_file(), directory.is_dir()
        if (directory / "config.json").is_file():
            return
    except OSError as error:  # a name that is too long, circular links, a folder without permission
        raise UserError(f"{directory}: expected the folder of a trained method, but: {error.strerror}.") from error
    if is_file:
        told = "is a file; expected the folder of a trained method"
        near = [directory.parent] if (directory.parent / "generator.safetensors").is_file() else []
    else:
        told = "has no config.json, so no trained method" if is_folder else "no such folder, so no config.json"
        # The folder may be one or two levels too high, one too low, or misspelt.
        roots = [directory] if is_folder else [directory.parent, directory.parent.parent]
        found = [
            file for root in roots for depth in ("*", "*/*") for file in root.glob(f"{depth}/generator.safetensors")
        ]
        near = [*directory.parents[:1]] if (directory.parent / "generator.safetensors").is_file() else []
        near += list(dict.fromkeys(file.parent for file in sorted(found)))
    there = f" Trained methods nearby: {', '.join(map(str, near[:8]))}." if near else ""
    raise UserError(
        f"{directory}: {told}.{there} Name the folder results/DATASET/METHOD written by `mimik train DATASET METHOD`."
    )


def finite(edits: Tensor, result_dir: Path) -> Tensor:
    """Edits of a trained generator, unchanged. Raises `UserError` if they are not finite, which would appear black."""
    if not torch.isfinite(edits).all():
        raise UserError(
            f"{result_dir / 'generator.safetensors'}: the generator's output is not finite. Either the edit is too far "
            "from what was trained: reduce --strength; or the weights are damaged: train the method again."
        )
    return edits


def to_plain(value: Any) -> Any:
    """A dataclass as JSON-able dicts and lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    return value


def _context(
    condition: ConditionConfig,
    classes: Sequence[str],
    attributes: Sequence[str],
    image_size: int,
    networks: dict[str, nn.Module],
    where: str,
) -> Context:
    try:
        return Context(Condition(condition, classes, attributes), image_size, networks)
    except ValueError as error:
        raise UserError(f"{where}.condition: {error}.") from error


def _make(module: ModuleType, config: Any, context: Context, where: str) -> Any:
    try:
        return module.Method(config, context)
    except ValueError as error:
        raise UserError(f"{where}: {error}.") from error


def _network_module(kind: str) -> ModuleType:
    """Module of a kind of pre-trained networks; only those of `PRETRAINED` are imported, whatever a file names."""
    if kind not in PRETRAINED:
        raise UserError(f"architectures: there is no kind {kind!r}. {unknown_name(kind, PRETRAINED)}")
    return named("networks", kind, "architectures")


def _load_pretrained(kind: str, folder: Path) -> Any:
    return _network_module(kind).load(folder)


def _trained_with(folder: Path) -> dict[str, Any]:
    """Dataset, name and settings of a pre-trained network."""
    record = read_record(folder / "config.json", "network")
    return {key: record[key] for key in ("dataset", "name", "config", "training") if key in record}


def _set_class_units(method: Any, store: FaceStore, where: str) -> None:
    """Set the condition's target of each expression requested by name: the mean over the training split."""
    if method.condition.class_units is None:
        return
    try:
        means = stored_class_means(store)
    except ValueError as error:
        raise UserError(f"{store.directory / 'index.csv'}: {error}.") from error
    if means is None:
        raise UserError(
            f"{store.directory / 'index.csv'}: has no action units (columns AU01 to AU45), on which {where} is "
            "conditioned. Set `action_units` of the dataset and prepare it again."
        )
    method.condition.set_class_units(means)


def _start_from(method: Any, folder: Path, where: str, label: str) -> None:
    """Start from the trained networks of another training, and say what was taken over."""
    trained, resolved = load_method(folder)
    critics = load_critics(trained, folder)
    try:
        taken = take_over(method, trained, critics=critics)
    except ValueError as error:
        raise UserError(f"{where}.starts_from: cannot start from {folder} ({resolved['module']}): {error}.") from error
    print(f"{label}: starts from {folder}.", *told(method, trained, taken, critics), file=sys.stderr)


def _critics_sha256(folder: Path) -> str | None:
    return file_sha256(folder / CRITICS) if (folder / CRITICS).is_file() else None


def sample_grid(method: Any, store: FaceStore) -> Any:
    """The picture samples.png of a method: uint8, rows of validation faces, columns of the input and every edit."""
    return _Probe(method, store, Path("samples.png")).grid()


class _Probe:
    """Samples during training: a grid of validation faces, and the segmenter's mIoU on those of its own dataset.

    `segmented` is the dataset that the segmenter was trained on; None: `store`.
    """

    def __init__(
        self, method: Any, store: FaceStore, path: Path, segmented: FaceStore | None = None, count: int = 8
    ) -> None:
        self.method, self.store, self.path = method, store, path
        rows = store.rows("val")
        if method.condition.space != "attributes":
            rows = rows[store.labels()[rows] >= 0]
        if not len(rows):
            raise UserError(f"{store.directory / 'index.csv'}: no face of the split 'val' has an expression label.")
        self.rows = rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
        self.segmented = store if segmented is None else segmented
        masked = self.segmented.masks is not None and getattr(method, "segmenter", None) is not None
        if segmented is not None and masked:
            rows = segmented.rows("val")
        self.mask_rows = rows[np.linspace(0, len(rows) - 1, min(64, len(rows))).astype(int)] if masked else None

    def __call__(self, step: int) -> tuple[Path, dict[str, float]]:
        with atomic_path(self.path) as temporary:
            Image.fromarray(self.grid()).save(temporary)
        return self.path, self._segmentation()

    def _images(self, store: FaceStore, rows: Any) -> Tensor:
        device = next(self.method.parameters()).device
        return to_tensor(store.images[rows], device)

    @torch.no_grad()
    def grid(self) -> Any:
        """uint8 (rows * S, (1 + C) * S, 3): input, then every edit by name."""
        method, store = self.method, self.store
        was_training = method.training
        method.eval()
        images = self._images(store, self.rows)
        columns = [store.images[self.rows]]
        labels = torch.from_numpy(store.labels()[self.rows]).to(images.device)
        source = stored_states(method.condition, store, self.rows).to(images.device)
        for wanted in range(len(method.condition.edits)):
            target = method.condition.asked(source, labels, torch.full_like(labels, wanted))
            columns.append(to_uint8(method.translate(images, source, target)))
        method.train(was_training)
        rows, side = len(self.rows), store.size
        grid = np.stack(columns, 1).transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(grid.reshape(rows * side, len(columns) * side, 3))

    @torch.no_grad()
    def _segmentation(self) -> dict[str, float]:
        if self.mask_rows is None or self.segmented.masks is None:
            return {}
        predicted = self.method.segmenter(self._images(self.segmented, self.mask_rows)).argmax(1).cpu().numpy()
        truth = np.asarray(self.segmented.masks[self.mask_rows])
        mean, _ = intersection_over_union(confusion_matrix(predicted, truth, len(SEGMENTATION_CLASSES), IGNORED))
        return {"probe/miou_val": mean}
