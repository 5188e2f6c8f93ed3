"""Translations in, metrics.json out: opens the output of a method, and runs the metrics."""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn
from tqdm import tqdm

from mimik.components.conditions import Condition, Reversal
from mimik.errors import UserError
from mimik.evaluation.measurements import PER_FACE, PRINTED, Entry, EvaluationSettings, Measurements
from mimik.evaluation.places import Extractor, Missing, Places
from mimik.evaluation.scores import write_scores
from mimik.faces.prepared.store import FaceStore
from mimik.networks import segmenter
from mimik.settings.external import is_external
from mimik.settings.modules import named
from mimik.settings.params import PROTOCOLS
from mimik.settings.scoring import MARK
from mimik.storage.arrays import read_array
from mimik.storage.commit import git_commit
from mimik.storage.files import atomic_path, file_sha256, told_if_full, write_json
from mimik.storage.records import command_for, read_record
from mimik.training.devices import pick_device
from mimik.training.runs import load_method


def evaluate(
    settings: EvaluationSettings,
    result_dir: Path | str,
    store_dir: Path | str,
    classifier_dir: Path | str | None,
    segmenter_dir: Path | str | None,
    reader_dir: Path | str | None,
    weights_dir: Path | str,
    output: Path | str,
    mirror: Path | str | None = None,
    run_id: str | None = None,
    *,
    segmented_dir: Path | str | None = None,
    openface_dir: Path | str | None = None,
) -> None:
    """Measure the translations of one method and write metrics.json, and beside it per_face.safetensors and its short
    form (`mimik.evaluation.scores`).

    per_face.safetensors contains, for every metric that is a mean over pairs, the contribution of each translated face:
    `<metric>/sums` and `<metric>/counts`, float32 (N, G), see `mimik.evaluation.measurements.PerFace`.

    The pictures of a method that was not trained here (`mimik.evaluation.submission`) are measured alike, without what
    needs its generator.

    Args:
        settings: see `EvaluationSettings`.
        result_dir: results/<dataset>/<method>, with `config.json`, `generator.safetensors` (unless its pictures were
            made elsewhere) and `translations/`.
        store_dir: the prepared dataset.
        classifier_dir, segmenter_dir, reader_dir: pre-trained networks; None skips the metrics that need them.
        weights_dir: folder that is searched for published weights before `mirror`.
        output: the file to write.
        mirror: folder that is searched for weights, see mimik.mirror.
        run_id: MLflow's run of this result, which is recorded.
        segmented_dir: the prepared dataset that the segmenter was trained on. By its masks the segmenter is measured,
            at the size that it was trained at. None: `store_dir`.
        openface_dir: what OpenFace has read from the edits, see `mimik.evaluation.openface`; None, or not there: the
            metrics that need it are skipped.

    Raises:
        UserError: a file is missing, or translations, generator, dataset and classifier do not belong together.
    """
    modules = metric_modules(settings.metrics)
    result_dir = Path(result_dir)
    manifest = read_record(
        result_dir / "translations" / "manifest.json",
        "translations",
        ("rows", "source_labels", "classes", "size", "store_digest"),
    )
    store = FaceStore(store_dir, manifest["size"])
    config = read_record(result_dir / "config.json", "method", ("dataset", "method", "scale", "seed", "config_digest"))
    _check_match(manifest, store, result_dir, made_here=MARK not in config)
    unknown = set(settings.class_filter.classes) - set(store.classes) if settings.class_filter else set()
    if unknown:
        raise UserError(
            f"evaluation.class_filter: {', '.join(sorted(unknown))} is not a class of this dataset ({store.classes})."
        )
    device = pick_device()
    maker = _elsewhere(config) if MARK in config else _generator(result_dir, manifest, segmenter_dir, device)
    with _scratch(Path(output).parent / ".evaluation") as scratch:
        measurements = Measurements(
            translations=_translations(result_dir, "images.npy", manifest),
            cycle=maker.cycle,
            store=store,
            rows=np.array(manifest["rows"], dtype=np.int64),
            settings=settings,
            scratch=scratch,
            segmenter_before=maker.before,
            segmenter_after=maker.after,
            attributes=maker.attributes,
            segmented=None if segmented_dir is None or maker.side is None else FaceStore(segmented_dir, maker.side),
            reversal=maker.reversal,
            places=Places(weights_dir, mirror, device, classifier_dir, reader_dir, openface_dir),
        )
        entries = measure(measurements, modules)
    per_face = {name: entry.pop(PER_FACE) for name, entry in entries.items() if PER_FACE in entry}
    arrays = {
        f"{name}/{part}": np.ascontiguousarray(getattr(faces, part), dtype=np.float32)
        for name, faces in per_face.items()
        for part in ("sums", "counts")
    }
    with atomic_path(Path(output).parent / "per_face.safetensors") as temporary:
        save_file(arrays, temporary)
    write_scores(entries, Path(output).parent)
    write_json(
        output,
        {
            "dataset": config["dataset"],
            "method": config["method"],
            "scale": config["scale"],
            "protocol": config.get("protocol", PROTOCOLS[0]),
            "seed": config["seed"],
            "git_commit": git_commit(),
            "dataset_digest": store.digest,
            "config_digest": config["config_digest"],
            "mlflow_run_id": run_id,
            "classes": list(manifest["classes"]),
            "metrics": entries,
        },
    )


@dataclass(frozen=True)
class _Maker:
    """What the metrics are told of what made the translations.

    Attributes:
        attributes: those that are reversed; empty where the targets are expressions.
        reversal: what happens to the others then.
        cycle: the translations edited back, or why there are none.
        before, after: the segmenter as pre-trained and after training with the generator.
        side: the size that it was trained at.
    """

    attributes: tuple[str, ...]
    reversal: Reversal
    cycle: Any
    before: Extractor | Missing
    after: Extractor | Missing
    side: int | None = None


def _generator(
    result_dir: Path, manifest: Mapping[str, Any], segmenter_dir: Path | str | None, device: torch.device
) -> _Maker:
    """A method trained or imported here."""
    method, _ = load_method(result_dir)
    before, after, side = _segmenters(method, segmenter_dir, result_dir, manifest["generator_sha256"], device)
    condition = method.condition
    assert isinstance(condition, Condition)
    attributes = condition.edits if condition.space == "attributes" else ()
    cycle: Any = Missing("left out: `cycle` of `translation` in params/results.yaml was false.")
    if manifest.get("cycle", True):
        cycle = _translations(result_dir, "cycle.npy", manifest)
    return _Maker(attributes, condition.config.reversal, cycle, before, after, side)


def _elsewhere(config: Mapping[str, Any]) -> _Maker:
    """A method of which only pictures are known."""
    cycle = Missing("made elsewhere: there is no generator here to edit the pictures back with.")
    masks = Missing("made elsewhere: only a segmenter that was trained here is measured.")
    return _Maker(tuple(config[MARK]["attributes"]), "alone", cycle, masks, masks)


def measure(measurements: Measurements, modules: Mapping[str, ModuleType]) -> dict[str, Entry]:
    """The entries of the metrics in order; some of them carry a `PerFace`.

    A metric that needs expressions as targets is skipped where attributes are reversed.

    Args:
        measurements: the input of the metrics.
        modules: the metrics by name, see `metric_modules`.

    Raises:
        ValueError: a metric yields a number that is not finite, which is a bug in the metric.
    """
    entries: dict[str, Entry] = {}
    with tqdm(modules.items(), desc="evaluate", unit="metric") as progress:
        for name, module in progress:
            progress.set_postfix_str(name)
            if measurements.attributes and getattr(module, "NEEDS_EXPRESSIONS", False):
                reason = "it measures expressions, but this method is conditioned on attributes and reverses each one."
                computed = {entry: Missing(reason, applies=False).entry for entry in module.NAMES}
            else:
                computed = module.compute(measurements)
            entries |= _with_printing(module, computed) if is_external(name) else computed
    return {name: _finite(entry, name) for name, entry in entries.items()}


def metric_modules(names: tuple[str, ...]) -> dict[str, ModuleType]:
    """The modules of mimik.evaluation.metrics, or (names with a dot) of other packages, by name, in this order.

    Raises:
        UserError: a name has no file, or two metrics produce an entry of the same name.
    """
    modules = {name: named("metrics", name, "evaluation.metrics") for name in names}
    makers: dict[str, str] = {}
    for name, module in modules.items():
        for entry in module.NAMES:
            if (other := makers.setdefault(entry, name)) != name:
                raise UserError(f"evaluation.metrics: {other} and {name} both produce the entry {entry!r}. Rename one.")
    return modules


def _with_printing(module: ModuleType, entries: dict[str, Entry]) -> dict[str, Entry]:
    """Entries of a metric of another package, each with its format in the report (`mimik.reporting.measures`)."""
    directions = {True: "up", False: "down", None: ""}
    return {
        name: {
            **entry,
            PRINTED: {
                "direction": directions[module.HIGHER_IS_BETTER[name]],
                "unit": module.UNIT[name],
                "format": module.FORMAT[name],
                "explanation": module.PROTOCOL,
            },
        }
        for name, entry in entries.items()
    }


def _check_match(manifest: Mapping[str, Any], store: FaceStore, result_dir: Path, *, made_here: bool) -> None:
    folder = result_dir / "translations"
    if manifest["store_digest"] != store.digest:
        raise UserError(
            f"{folder / 'manifest.json'}: the translations were made from a different preparation of the dataset than "
            f"the one now in {store.directory}. Translate again."
        )
    if not 0 <= min(manifest["rows"]) <= max(manifest["rows"]) < len(store):
        raise UserError(
            f"{folder / 'manifest.json'}: rows: expected rows of {store.directory}, 0 to {len(store) - 1}. Translate "
            f"again: `{command_for(folder / 'manifest.json', 'translations')}`."
        )
    if not made_here:
        return
    generator = result_dir / "generator.safetensors"
    if not generator.is_file() or file_sha256(generator) != manifest.get("generator_sha256"):
        raise UserError(f"{folder / 'manifest.json'}: the translations were not made by {generator}. Translate again.")


def _translations(result_dir: Path, name: str, manifest: Mapping[str, Any]) -> Any:
    path = result_dir / "translations" / name
    array = read_array(path, f"Translate again: `{command_for(path, 'translations')}`.")
    size = manifest["size"]
    expected = (len(manifest["rows"]), len(manifest["classes"]), size, size, 3)
    if array.shape != expected or array.dtype != np.uint8:
        raise UserError(
            f"{path}: holds {array.dtype} {array.shape}, but its manifest states uint8 {expected}. Translate again."
        )
    return array


def _segmenters(
    method: nn.Module, directory: Path | str | None, result_dir: Path, generator_sha256: str, device: torch.device
) -> tuple[Extractor | Missing, Extractor | Missing, int | None]:
    """The segmenter as pre-trained and after training with the generator, and the size that it was trained at."""
    trained = getattr(method, "segmenter", None)
    if trained is None:
        nothing = Missing("this method has no segmenter.", applies=False)
        return nothing, nothing, None
    if directory is None:
        raise UserError(f"{result_dir}: this method has a segmenter; name the folder of the pre-trained one as well.")
    before = segmenter.load(directory).to(device)
    assert isinstance(trained, nn.Module)
    after = trained.to(device).eval()
    return (
        Extractor(before.name, before.sha256, _parser(before, device)),
        Extractor(before.name, generator_sha256, _parser(after, device)),
        before.input_size,
    )


def _parser(network: nn.Module, device: torch.device) -> Callable[[Tensor], Mapping[str, Tensor]]:
    def outputs(images: Tensor) -> dict[str, Tensor]:
        return {"classes": network(images.to(device)).argmax(1).to(torch.uint8)}

    return outputs


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """An empty folder beside the output (the system's temporary folder may be in memory), removed afterwards.

    Its name is fixed, so that leftovers of a killed run are removed by the next one.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with told_if_full(folder):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _finite(entry: Entry, name: str) -> Entry:
    """The entry, after checking that no number in it is NaN or infinite, which would be a bug in the metric."""

    def check(value: Any) -> None:
        if isinstance(value, Mapping):
            for item in value.values():
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"metric {name} yields {value}: {entry}")

    check(entry)
    return entry
