"""Applies a trained generator to the test split: every image is edited to every class, and back to its own.

For a method conditioned on attributes, each attribute is reversed (SeCGAN's protocol): its columns are attributes.

The files written (docs/architecture.md, Results) are all that the metrics see of a method: uint8 images, so that no
result depends on the precision in which a tensor was stored.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mimik.components.conditions import Condition, stored_states
from mimik.errors import UserError
from mimik.evaluation import continuous
from mimik.evaluation.guided_maps import write_guided_maps
from mimik.faces.prepared.store import FaceStore
from mimik.labels import ACTION_UNITS
from mimik.networks import segmenter
from mimik.storage.arrays import new_array
from mimik.storage.files import file_sha256, require_room, told_if_full, write_json
from mimik.training.batches import balanced_subset, to_tensor, to_uint8
from mimik.training.devices import Precision, autocast_dtype, pick_device
from mimik.training.runs import finite, load_guides, load_method

Array = npt.NDArray[Any]

MASKED_FACES = 8
"""Maximum number of faces whose masks are stored for the report."""


@dataclass(frozen=True)
class TranslationSettings:
    """The `translation` slice of params.yaml.

    Attributes:
        batch_size: translations per call of the generator.
        limit: maximum number of test images, balanced over the classes as far as possible; None uses all.
        cycle: whether every translation is also edited back to its source class. Without, it takes half the time and
            half the room on the disk, and what the metric `cycle` measures is skipped.
        precision: `fp32`, `bf16` (autocast), or `auto`: bf16 if the processor supports it.
        strengths: strengths of the continuous edits, see `mimik.evaluation.continuous`: 0 is the unchanged face, 1 the
            full edit.
        action_units: units that are edited one at a time, by methods conditioned on action units.
        intensities: values in [0, 1] to which each of these units is set.
        changed_units: units that are changed one at a time, by methods conditioned on action units.
        changes: what is added to each of these units; may be negative.
        seed: seed of the selection by `limit` and of the draw of faces for continuous edits; always the `seed` of
            params.yaml.
    """

    batch_size: int = 64
    limit: int | None = None
    cycle: bool = True
    precision: Precision = "auto"
    strengths: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
    action_units: tuple[str, ...] = ("AU01", "AU04", "AU06", "AU12", "AU15", "AU25")
    intensities: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    changed_units: tuple[str, ...] = ("AU02", "AU15")
    changes: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit must be at least 1 or empty, not {self.limit}")
        # With the comparison negated, a NaN would pass.
        if not self.strengths or not all(0 <= strength < math.inf for strength in self.strengths):
            raise ValueError(f"strengths must be a list of finite numbers of at least 0, not {list(self.strengths)}")
        for name in ("action_units", "changed_units"):
            if unknown := set(getattr(self, name)) - set(ACTION_UNITS):
                raise ValueError(f"{name}: {', '.join(sorted(unknown))} is not among {', '.join(ACTION_UNITS)}")
        if not self.intensities or not all(0 <= intensity <= 1 for intensity in self.intensities):
            raise ValueError(f"intensities must be a list of numbers from 0 to 1, not {list(self.intensities)}")
        if not self.changes or not all(-1 <= change <= 1 for change in self.changes):
            raise ValueError(f"changes must be a list of numbers from -1 to 1, not {list(self.changes)}")


class Translator(Protocol):
    """What this module needs of a method."""

    condition: Condition

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] with states float (B, K) -> the same shape and range."""
        ...


def translate(
    result_dir: Path | str,
    store_dir: Path | str,
    segmenter_dir: Path | str | None,
    output_dir: Path | str,
    settings: TranslationSettings,
    *,
    segmented_dir: Path | str | None = None,
) -> None:
    """Translate the test split with the generator of `result_dir`.

    Writes `images.npy`, `cycle.npy` (without rows where it is not wanted) and `manifest.json`. `masks.npy`, uint8
    (2, K, S, S), contains the masks of the K test faces of the manifest's `mask_rows` from the segmenter as pre-trained
    and after training with the generator, as positions in `labels.SEGMENTATION_CLASSES`; K is 0 for a method without a
    segmenter. These faces are of the dataset that the segmenter was trained on, at the size it was trained at
    (`masked`). `strengths.npy`, `action_units.npy`, `unit_changes.npy` and `exemplars.npy` contain the continuous edits
    of a few faces, see `mimik.evaluation.continuous`; all but the first have no faces for a method that is not
    conditioned on action units. `guided_maps.npy` has the maps that the method's guides draw of the same faces and
    edits as `strengths.npy`, see `mimik.evaluation.guided_maps`.

    Args:
        result_dir: holds `config.json`, `generator.safetensors` and, of a method with guidance, `guides.safetensors`.
        store_dir: the prepared dataset.
        segmenter_dir: the pre-trained segmenter, for methods that have one.
        output_dir: folder of the files to write; memory use does not grow with the number of images.
        settings: see `TranslationSettings`.
        segmented_dir: the prepared dataset that the segmenter was trained on; None: `store_dir`.

    Raises:
        UserError: there is no labelled test face (for a method conditioned on attributes: no test face at all), the
            generator was trained on other classes than those of the dataset, the pre-trained segmenter is missing, or
            the disk has no room for all translations.
    """
    result_dir, output_dir = Path(result_dir), Path(output_dir)
    method, config = load_method(result_dir)
    store = FaceStore(store_dir, int(config["image_size"]))
    if list(config["classes"]) != store.classes:
        raise UserError(
            f"{result_dir / 'config.json'}: the generator was trained on the classes {list(config['classes'])}, but "
            f"{store.directory} has {store.classes}. Train it again on this dataset."
        )
    translator = cast(Translator, method)
    condition = translator.condition
    by_attribute = condition.space == "attributes"
    labels = store.labels()
    chosen = translated_rows(store, by_attribute, settings.limit, settings.seed)

    device = pick_device()
    dtype = autocast_dtype(settings.precision, device)
    method.to(device).eval()
    edit = _editor(translator, result_dir, settings.batch_size, device, dtype)
    manifest_path = output_dir / "manifest.json"
    # If this run is killed between two renames, an old manifest would make arrays of another run look valid.
    manifest_path.unlink(missing_ok=True)
    shape = (len(chosen), len(condition.edits), store.size, store.size, 3)
    back = shape if settings.cycle else (0, *shape[1:])
    with told_if_full(output_dir):
        output_dir.mkdir(parents=True, exist_ok=True)
    require_room(
        {output_dir: bytes_of(len(chosen), len(condition.edits), store.size, settings)},
        f"translating {len(chosen):,} faces to {len(condition.edits)} targets",
        "set `limit`, or `cycle: false`, of `translation` in params/results.yaml",
    )
    with (
        new_array(output_dir / "images.npy", shape) as images,
        new_array(output_dir / "cycle.npy", back) as cycle,
    ):
        _fill(edit, condition, store, chosen, labels[chosen], images, cycle, settings.batch_size)
    # When attributes are reversed, no column is the source itself.
    shown = np.full(len(chosen), -1) if by_attribute else labels[chosen]
    described = _continuous(edit, condition, store, chosen, shown, output_dir, settings)
    pairs = (described["strengths"]["rows"], described["strengths"]["targets"])
    panels = write_guided_maps(output_dir, load_guides(result_dir), condition, store, chosen, shown, *pairs, device)
    segmenters = _segmenters(method, segmenter_dir, result_dir)
    masked, candidates = store, chosen
    if segmenters and segmented_dir is not None:
        masked = FaceStore(segmented_dir, segmenters[0].input_size)
        candidates = masked.rows("test")
    mask_rows = evenly(candidates, MASKED_FACES if segmenters else 0)
    with new_array(output_dir / "masks.npy", (2, len(mask_rows), masked.size, masked.size)) as masks:
        for index, network in enumerate(segmenters):
            masks[index] = _classes(network, masked.images[mask_rows], device)
    write_json(
        manifest_path,
        {
            "rows": chosen.tolist(),
            "ids": store.table["id"].iloc[chosen].tolist(),
            "source_labels": shown.tolist(),
            "mask_rows": mask_rows.tolist(),
            "masked": {"dataset": masked.name, "size": masked.size, "digest": masked.digest},
            **described,
            "guided_maps": {"rows": pairs[0], "targets": pairs[1], "panels": panels},
            "classes": list(condition.edits),
            "size": store.size,
            "generator_sha256": file_sha256(result_dir / "generator.safetensors"),
            "store_digest": store.digest,
            "precision": "fp32" if dtype is None else "bf16",
            "unlabelled": 0 if by_attribute else int((labels[store.rows("test")] < 0).sum()),
            "limit": settings.limit,
            "cycle": settings.cycle,
        },
    )


def bytes_of(faces: int, targets: int, size: int, settings: TranslationSettings) -> int:
    """Bytes on the disk that the translations of some faces to all targets take, `size` pixels a side."""
    faces = min(faces, settings.limit or faces)
    return faces * targets * size * size * 3 * (1 + settings.cycle)


def translated_rows(store: FaceStore, by_attribute: bool, limit: int | None, seed: int) -> npt.NDArray[np.int64]:
    """The test faces that are translated: those with a label, or all where attributes are reversed; at most `limit`.

    Raises:
        UserError: there is none.
    """
    labels, rows = store.labels(), store.rows("test")
    labelled = rows if by_attribute else rows[labels[rows] >= 0]
    if not len(labelled):
        raise UserError(
            f"{store.directory / 'index.csv'}: no face of the split 'test' has a known expression, so nothing can be "
            "translated there and back. Add labels to the dataset."
        )
    return balanced_subset(labelled, labels[labelled], limit, seed)


def _continuous(
    edit: continuous.Edit,
    condition: Condition,
    store: FaceStore,
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    output_dir: Path,
    settings: TranslationSettings,
) -> dict[str, Any]:
    """Write the arrays of continuous edits. Returns the manifest's entries for them."""
    identities = store.table["identity"].iloc[rows].tolist()
    drawn, targets = continuous.draw_pairs(labels, identities, len(condition.edits), settings.seed)
    told = condition.space == "action_units"
    units, changed = (
        [name for name in names if told and name in condition.names]
        for names in (settings.action_units, settings.changed_units)
    )
    faces = continuous.unit_rows(store, rows[drawn]) if units else rows[:0]
    apart = continuous.changed_rows(store, rows[drawn], changed) if changed else rows[:0]
    levels, intensities, changes = list(settings.strengths), list(settings.intensities), list(settings.changes)
    given = drawn if told else drawn[:0]
    like = continuous.draw_exemplars(labels, identities, given, settings.seed)
    edits = {
        "strengths": continuous.strengths(edit, condition, store, rows[drawn], labels[drawn], targets, levels),
        "action_units": continuous.single_units(edit, condition, store, faces, units, intensities),
        "unit_changes": continuous.single_units(edit, condition, store, apart, changed, changes, relative=True),
        "exemplars": continuous.exemplars(edit, condition, store, rows[given], rows[like]),
    }
    for name, edited in edits.items():
        with new_array(output_dir / f"{name}.npy", edited.shape) as array:
            array[:] = edited
    return {
        "strengths": {"rows": rows[drawn].tolist(), "targets": targets.tolist(), "levels": levels},
        "action_units": {"rows": faces.tolist(), "names": units, "levels": intensities},
        "unit_changes": {"rows": apart.tolist(), "names": changed, "levels": changes},
        "exemplars": {"rows": rows[given].tolist(), "like": rows[like].tolist(), "levels": [1.0]},
    }


def _editor(
    method: Translator, result_dir: Path, batch_size: int, device: torch.device, dtype: torch.dtype | None
) -> continuous.Edit:
    """The generator as a function of uint8 images and states, a batch at a time."""

    @torch.inference_mode()
    def edit(images: Array, source: Tensor, target: Tensor) -> Array:
        made = np.empty_like(images)
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            with torch.autocast(device.type, torch.bfloat16, enabled=dtype is not None):
                inputs = to_tensor(images[part], device)
                edits = method.translate(inputs, source[part].to(device), target[part].to(device))
                made[part] = to_uint8(finite(edits, result_dir))
        return made

    return edit


def evenly(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """At most `count` of `rows` at even distances, including the first and the last (only the first for one)."""
    count = min(count, len(rows))
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def _segmenters(method: nn.Module, pretrained: Path | str | None, result_dir: Path) -> Sequence[Any]:
    """The segmenter before and after training with the generator; nothing for a method without one."""
    trained = getattr(method, "segmenter", None)
    if trained is None:
        return ()
    if pretrained is None:
        raise UserError(f"{result_dir}: this method has a segmenter; name the folder of the pre-trained one as well.")
    return segmenter.load(pretrained), trained


@torch.inference_mode()
def _classes(network: nn.Module, images: Array, device: torch.device) -> Array:
    """Segmentation classes uint8 (B, S, S) of images uint8 (B, S, S, 3)."""
    logits = network.to(device).eval()(to_tensor(images, device))
    classes: Array = logits.argmax(1).to(torch.uint8).cpu().numpy()
    return classes


def _fill(
    edit: continuous.Edit,
    condition: Condition,
    store: FaceStore,
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    images: Array,
    cycle: Array,
    batch_size: int,
) -> None:
    """Write the edits of all faces to all targets into `images`, and those back to their source into `cycle`.

    Nothing is edited back when `cycle` has no rows.
    """
    classes = len(condition.edits)
    pairs = len(rows) * classes
    flat_images = images.reshape(pairs, *images.shape[2:])
    flat_cycle = cycle.reshape(-1, *cycle.shape[2:])
    passes = 1 + bool(len(cycle))
    states = stored_states(condition, store, rows)
    with tqdm(total=passes * pairs, unit="image", desc="translate", smoothing=0.05) as progress:
        for start in range(0, pairs, batch_size):
            pair = np.arange(start, min(start + batch_size, pairs))
            source = states[pair // classes]
            shown, wanted = (torch.from_numpy(of).to(source.device) for of in (labels[pair // classes], pair % classes))
            target = condition.asked(source, shown, wanted)
            flat_images[pair] = edit(store.images[rows[pair // classes]], source, target)
            # The stored image is edited back, not the tensor: signals below one grey level are lost, as they would be
            # for anybody who only has the image.
            if len(cycle):
                flat_cycle[pair] = edit(flat_images[pair], target, source)
            progress.update(passes * len(pair))
