"""`prepare`: a dataset's archive -> the packed store of faces that everything later reads.

Photographs are read, aligned and annotated in shards by worker processes; datasets that are rendered with ground
truth fill the same shards, with the true target of every edit of a test face. The shards are then written, streaming,
to the arrays of `mimik.faces.prepared.store`. Twice the store's size is needed on disk until the last shard is packed;
memory does not grow with the dataset.
"""

import hashlib
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock
from tqdm import tqdm

from mimik.datasets.listing import Listing, UnusableError, incomplete
from mimik.datasets.lists import composed
from mimik.datasets.photographs import gaps, require_faces, require_usable
from mimik.errors import UserError
from mimik.faces.action_units import extractors
from mimik.faces.alignment import TEMPLATE_NAME
from mimik.faces.landmarks import COLUMN, fetch_fan_weights, packages, parse_landmarks
from mimik.faces.masks import MaskPredictor, annotated_masks, border_masks
from mimik.faces.photograph import read_photograph
from mimik.faces.prepared.lineage import FileRecord, code_digests, importer_record, photograph_record
from mimik.faces.prepared.rendered import luminance
from mimik.faces.prepared.settings import CHANNELS, MEASURED, TRUE_UNITS, Settings, dtype
from mimik.faces.prepared.shards import Arrays, Shard, cuts, join, load, remove_others, run, stamp
from mimik.faces.prepared.store import REFUSED, SPLITS, TRANSFORM, store_digest
from mimik.faces.reconstruction import tddfa
from mimik.faces.reconstruction.reconstruct import DEPTH_FAR, DEPTH_NEAR, Reconstructor, Rejected
from mimik.faces.reconstruction.released import released_depth
from mimik.labels import ACTION_UNITS, IGNORED
from mimik.settings.modules import full_name, named
from mimik.storage.files import atomic_path, clear_unfinished, digest, require_room, told_if_full, write_json
from mimik.storage.pictures import UnreadableError, read_content

SHARD_BYTES = 32 << 20
"""Aim for the size of a shard; a few of them are what a worker holds in memory."""

SHARD_ROWS = 256
"""Most pictures of a shard: a photograph is one, a rendered test face one and its true targets."""


def prepare(
    dataset: str,
    options: Mapping[str, Any],
    raw: Path,
    output: Path,
    *,
    module_name: str | None = None,
    seed: int,
    workers: int,
    mirror: Path | None,
    work: Path,
    segment: MaskPredictor | None = None,
    progress: bool = True,
) -> None:
    """Prepare a dataset. A run that was stopped goes on where it was when called with the same arguments.

    Args:
        dataset: name of the entry of params.yaml.
        options: its entry of params.yaml. Read here: `classes` (default: those in the table, by name), `sizes`,
            `landmarks` (mediapipe, face_alignment or precomputed), `annotations` (any of masks, depth, normals;
            landmarks are always kept; default all), `masks` (mesh, annotation or segmenter; default mesh),
            `reconstruction` (mesh, released or 3ddfa_v2; default mesh), `grey` (luminance instead of colours; default
            false), `quality` (thresholds of `mimik.faces.reconstruction.quality.Quality`; default none), and what
            `mimik.faces.action_units.extractors` says. The rest is the dataset's own.
        raw: folder of the raw archive.
        output: folder for the store; manifest.json is written last, so without it nothing there is valid.
        module_name: its module in `mimik.datasets` or, with a dot, in another package; None for the one of the same
            name.
        seed: for splits.
        workers: processes.
        mirror: folder that is searched before any URL.
        work: folder for shards and their log; emptied at the end.
        segment: makes the masks for `masks: segmenter`; otherwise not used.
        progress: show a progress bar.

    Raises:
        UserError: the archive or an option is unusable, no face was found, or the disk is full.
    """
    settings = Settings.of(dataset, module_name or dataset, options)
    module = _module(settings)
    if settings.masks == "annotation" and not hasattr(module, "mask"):
        raise UserError(f"params.yaml, datasets.{dataset}.masks: the dataset has no masks of its own; choose mesh.")
    if settings.released and not hasattr(module, "depth"):
        raise UserError(
            f"params.yaml, datasets.{dataset}.reconstruction: the dataset has no depth of its own; choose mesh."
        )
    if not settings.predicted_masks:
        segment = None
    elif segment is None:
        raise UserError(
            f"params.yaml, datasets.{dataset}.masks: 'segmenter', but no segmenter is named. Set `masks_from`."
        )
    else:
        settings = replace(settings, segmenter=digest(segment.record))
    if settings.dense:
        if hasattr(module, "render"):
            where = f"params.yaml, datasets.{dataset}.reconstruction"
            raise UserError(f"{where}: rendered faces have their true depth; remove this option.")
        settings = replace(settings, model=tddfa.Files.find(mirror))
    raw, output, work = Path(raw), Path(output), Path(work)
    choice = extractors.Choice.of(dataset, options, raw)
    module.check(raw, options, mirror)
    work.mkdir(parents=True, exist_ok=True)
    with FileLock(work / ".lock"):
        module.fetch(raw, options, mirror)
        listing: Listing = module.index(raw, options, seed)
        if listing.table.empty:
            raise UserError(f"{raw}: no usable image is listed{_told(listing.quarantine)}. {module.ACCESS}")
        classes = sorted(set(listing.table["expression"]))
        require_usable(listing, raw, options)
        if listing.table["id"].duplicated().any():
            raise ValueError(f"{full_name('datasets', settings.module)}: ids are not unique")
        for line in (*incomplete(listing), *listing.notes):
            print(f"{dataset}: {line}", file=sys.stderr)
        rendered = hasattr(module, "render")
        listing, origin = extractors.annotate(listing, choice, dataset, rendered)
        require_usable(listing, choice.csv or raw, options, classes)
        if rendered and hasattr(module, "with_expression"):
            settings = replace(settings, truth=tuple(_classes(options, listing.table)))
        make: Callable[[pd.DataFrame], Arrays]
        if rendered:
            make = partial(_render, settings)
        else:
            make = partial(_photographs, settings, raw, mirror, segment)
            if settings.landmarks == "face_alignment":
                fetch_fan_weights(mirror)
        code = () if segment is None or rendered else segment.modules
        shards = _shards(listing.table, settings, raw, work, rendered, code)
        _check_room(settings, shards, output, work)
        remove_others(work / "shards", shards)
        missing = [shard for shard in shards if not shard.path.exists()]
        with tqdm(
            total=len(listing.table),
            initial=len(listing.table) - sum(len(shard.rows) for shard in missing),
            desc=f"prepare {dataset}",
            unit="img",
            disable=not progress,
        ) as bar:
            run(
                missing,
                make,
                workers=workers,
                log=work / "workers.log",
                done=lambda shard: _advance(bar, shard),
            )
        _pack(module, dataset, options, settings, listing, shards, output, seed, rendered, origin, segment)
        shutil.rmtree(work / "shards")


def _module(settings: Settings) -> ModuleType:
    return named("datasets", settings.module, f"params.yaml, datasets.{settings.dataset}.dataset")


def _advance(bar: Any, shard: Shard) -> None:
    bar.update(len(shard.rows))


# --- shards ----------------------------------------------------------------------------------------------------


def _shards(
    table: pd.DataFrame, settings: Settings, raw: Path, work: Path, rendered: bool, modules: Sequence[str]
) -> list[Shard]:
    """Cut the table into shards. A shard's name depends on settings, code, rows, and the files' sizes and times."""
    module = _module(settings)
    code = code_digests(settings.module, modules)
    common = digest({"settings": repr(settings), "code": code, "raw": str(raw.resolve())})
    shards = []
    for number, (start, stop) in enumerate(cuts(settings.weights(table), (SHARD_ROWS, SHARD_BYTES))):
        rows = table.iloc[start:stop]
        stamps = [] if rendered else [stamp(raw / source) for source in rows["source"]]
        if settings.own_masks:
            stamps += [stamp(file) for row in rows.to_dict("records") for file in module.mask_files(raw, row)]
        if settings.released:
            stamps += [stamp(file) for row in rows.to_dict("records") for file in module.depth_files(raw, row)]
        name = digest({"common": common, "rows": rows.to_csv(index=False), "stamps": stamps})[:20]
        shards.append(Shard(rows, work / "shards" / f"{number:06d}-{name}.npz"))
    return shards


def _check_room(settings: Settings, shards: Sequence[Shard], output: Path, work: Path) -> None:
    """Raise `UserError` when the disk cannot hold the result, before hours are spent on it."""
    with told_if_full(output):
        output.mkdir(parents=True, exist_ok=True)
    # What a killed preparation was writing may be what fills the disk.
    for folder in (output, work / "shards"):
        clear_unfinished(folder)
    needs = {
        output: sum(settings.bytes(shard.rows) for shard in shards),
        work: sum(settings.bytes(shard.rows) for shard in shards if not shard.path.exists()),
    }
    require_room(needs, f"preparing {settings.dataset}", "request fewer sizes or annotations in params.yaml")


# --- what the workers do ---------------------------------------------------------------------------------------

_reconstructors: dict[Settings, Reconstructor] = {}
"""This process's reconstructor; it is made when the first shard arrives, as loading the networks takes a second."""


def _photographs(
    settings: Settings, raw: Path, mirror: Path | None, segment: MaskPredictor | None, rows: pd.DataFrame
) -> Arrays:
    """Arrays of a shard of photographs.

    Returns:
        One array per entry of `Settings.shapes`, landmarks (K, 68, 2), transforms (K, 2, 3), measured (K, columns of
        `Settings.measured`), sha256 and bytes (K,) of the source files, kept (K,) positions in `rows`, rejected (R, 3):
        position, stage, reason; refused (Q, 7 + columns of `MEASURED`) of the faces that failed `Settings.quality`:
        position, transform row by row, measures.
    """
    if settings not in _reconstructors:
        _reconstructors.clear()
        _reconstructors[settings] = Reconstructor(
            settings.sizes,
            settings.landmarks,
            settings.meshed,
            mirror,
            settings.geometric,
            settings.quality.reprojection is not None,
            settings.model,
        )
    reconstruct = _reconstructors[settings]
    module = _module(settings)
    shapes = settings.shapes()
    arrays = {name: np.empty((len(rows), *shape), np.uint8) for name, shape in shapes.items()}
    landmarks, transforms, measured, hashes, lengths = [], [], [], [], []
    kept: list[int] = []
    rejected: list[tuple[str, str, str]] = []
    refused: list[tuple[float, ...]] = []
    for position, row in enumerate(rows.to_dict("records")):
        path = raw / row["source"]
        try:
            content = read_content(path)
            image = read_photograph(path, grey=settings.grey, content=content)
            given = parse_landmarks(row[COLUMN]) if settings.landmarks == "precomputed" else None
        except UnreadableError as error:
            rejected.append((str(position), "read", str(error)))
            continue
        except KeyError:
            raise UserError(
                f"params.yaml, datasets.{settings.dataset}.landmarks: 'precomputed', but the dataset's index has "
                f"no column '{COLUMN}'. Choose mediapipe or face_alignment."
            ) from None
        except (ValueError, AttributeError) as error:
            rejected.append((str(position), "landmarks", str(error)))
            continue
        face = reconstruct(image, given)
        if isinstance(face, Rejected):
            rejected.append((str(position), face.stage, face.reason))
            continue
        known = [face.measured[name] for name in MEASURED]
        if settings.quality.asked and (fault := settings.quality.fault(face.measured)):
            rejected.append((str(position), "quality", fault))
            refused.append((position, *face.transform.ravel(), *known))
            continue
        if settings.own_masks:
            try:
                given_mask = module.mask(raw, row)
                face = replace(face, masks=annotated_masks(given_mask, image.shape, face.transform, settings.sizes))
            except UnusableError as error:
                rejected.append((str(position), "masks", str(error)))
                continue
        if settings.released:
            try:
                given_depth = module.depth(raw, row)
                depth = released_depth(given_depth, image.shape, face.transform, face.depth, settings.sizes)
                face = replace(face, depth=depth)
            except UnusableError as error:
                rejected.append((str(position), "reconstruction", str(error)))
                continue
        if settings.predicted_masks:
            face = replace(face, masks=border_masks(image.shape, face.transform, settings.sizes))
        by_kind = {"images": face.images, "masks": face.masks, "depth": face.depth, "normals": face.normals}
        for name in shapes:
            kind, _, size = name.rpartition("_")
            arrays[name][len(kept)] = by_kind[kind][int(size)]
        landmarks.append(face.landmarks)
        transforms.append(face.transform)
        units = () if face.action_units is None else face.action_units.astype(np.float64).round(4)
        measured.append((*known, *units))
        hashes.append(hashlib.sha256(content).hexdigest())
        lengths.append(len(content))
        kept.append(position)
    if segment is not None and kept:
        predicted = segment({size: arrays[f"images_{size}"][: len(kept)] for size in settings.sizes})
        for side, classes in predicted.items():
            masks = arrays[f"masks_{side}"][: len(kept)]
            np.copyto(masks, classes, where=masks != IGNORED)
    return {name: array[: len(kept)] for name, array in arrays.items()} | {
        "landmarks": np.array(landmarks, np.float32).reshape(-1, 68, 2),
        "transforms": np.array(transforms, np.float32).reshape(-1, 2, 3),
        "measured": np.array(measured, np.float64).reshape(-1, len(settings.measured)),
        "sha256": np.array(hashes, "U64"),
        "bytes": np.array(lengths, np.int64),
        "kept": np.array(kept, np.int64),
        "rejected": np.array(rejected, np.str_).reshape(-1, 3),
        "refused": np.array(refused, np.float64).reshape(-1, 7 + len(MEASURED)),
    }


def _render(settings: Settings, rows: pd.DataFrame) -> Arrays:
    """Arrays of a shard of rendered faces, like `_photographs`; nothing is measured or rejected.

    With true targets besides, for the test faces among them: one array per entry of `Settings.truth_shapes`.
    """
    module = _module(settings)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for size in settings.sizes:
        rendering = module.render(rows, size, ("images", "landmarks", *settings.annotations))
        for kind in ("images", *settings.annotations):
            values = np.asarray(getattr(rendering, kind))
            if values.dtype != np.uint8 or values.shape != (len(rows), size, size, *CHANNELS[kind]):
                raise ValueError(f"{settings.module}.render: {kind} are {values.dtype} {values.shape}")
            arrays[f"{kind}_{size}"] = luminance(values) if settings.grey and kind == "images" else values
        arrays["landmarks"] = np.asarray(rendering.landmarks, np.float32)
    if settings.truth:
        tested = rows[rows["split"] == "test"]
        targets = [module.with_expression(tested, expression) for expression in settings.truth]
        for size in settings.sizes:
            images = np.stack([module.render(target, size, ("images",)).images for target in targets], 1)
            arrays[f"truth_{size}"] = luminance(images) if settings.grey else images
        arrays[TRUE_UNITS] = np.stack([target[list(ACTION_UNITS)].to_numpy(np.float32) for target in targets], 1)
    return arrays | {
        "transforms": np.full((len(rows), 2, 3), np.nan, np.float32),
        "measured": np.empty((len(rows), 0)),
        "sha256": np.empty(0, "U64"),
        "bytes": np.empty(0, np.int64),
        "kept": np.arange(len(rows)),
        "rejected": np.empty((0, 3), np.str_),
        "refused": np.empty((0, 7 + len(MEASURED))),
    }


# --- packing ---------------------------------------------------------------------------------------------------


def _pack(
    module: ModuleType,
    dataset: str,
    options: Mapping[str, Any],
    settings: Settings,
    listing: Listing,
    shards: Sequence[Shard],
    output: Path,
    seed: int,
    rendered: bool,
    origin: extractors.Origin | None,
    segment: MaskPredictor | None,
) -> None:
    """Write the store from its shards: arrays, index, quarantine, and the manifest last."""
    kept, quarantine, refused = [], list(listing.quarantine), []
    files: list[FileRecord] = []
    for shard in shards:
        names = ("kept", "measured", "sha256", "bytes", "rejected", "refused")
        positions, measured, hashes, lengths, rejected, failed_faces = load(shard.path, names)
        rows = shard.rows.iloc[positions].drop(columns=COLUMN, errors="ignore").reset_index(drop=True)
        if not rendered:
            rows["sha256"] = hashes
            files += zip(rows["source"].tolist(), lengths.tolist(), hashes.tolist(), strict=True)
            for column, values in zip(settings.measured, measured.T, strict=True):
                if not np.isnan(values).all():
                    # A dataset may bring its own, as the angle of the camera: both are kept.
                    rows[f"measured_{column}" if column in rows else column] = values
        kept.append(rows)
        sources = shard.rows["source"].tolist()
        quarantine += [(sources[int(position)], stage, reason) for position, stage, reason in rejected]
        refused += [(sources[int(face[0])], *face[1:].round(6)) for face in failed_faces]
    table = pd.concat(kept, ignore_index=True)
    if table.empty:
        raise UserError(
            f"{dataset}: none of the {len(listing.table)} images could be used{_told(quarantine)}. Look at a few of "
            "them, and at `landmarks` of the dataset in params.yaml."
        )
    require_faces(table, quarantine, dataset, _classes(options, listing.table), "aligned faces")
    for gap in (missing := gaps(table)):
        print(f"{dataset}: {gap}", file=sys.stderr)

    (output / "manifest.json").unlink(missing_ok=True)  # from here on the old store is no longer whole
    for path in output.glob("*.npy"):
        path.unlink()
    contents = {}
    tested = int((table["split"] == "test").sum())
    shapes = {
        name: (len(table), *shape)
        for name, shape in (settings.shapes() | {"landmarks": (68, 2), "transforms": (2, 3)}).items()
    } | {name: (tested, *shape) for name, shape in settings.truth_shapes().items()}
    for name, shape in shapes.items():
        path = output / f"{name}.npy"
        contents[path.name] = join(path, name, shape, dtype(name), shards)
    with atomic_path(output / "index.csv") as temporary:
        table.to_csv(temporary, index=False)
    with atomic_path(output / "quarantine.csv") as temporary:
        columns = ["path", "stage", "reason"]
        pd.DataFrame(sorted(quarantine), columns=columns, dtype=str).to_csv(temporary, index=False)
    with atomic_path(output / REFUSED) as temporary:
        pd.DataFrame(sorted(refused), columns=["path", *TRANSFORM, *MEASURED]).to_csv(temporary, index=False)

    tried, failed = len(listing.table), len(listing.table) - len(table)
    parameters = {
        "dataset": dataset,
        "seed": seed,
        "options": dict(options),
        "template": None if rendered else TEMPLATE_NAME,
        "arrays": contents,
        "action_units": None if origin is None else origin.record(),
    }
    classes = _classes(options, table)
    counts = {
        split: {name: int(((table["split"] == split) & (table["expression"] == name)).sum()) for name in classes}
        for split in SPLITS
    }
    manifest = {
        "dataset": dataset,
        "importer": importer_record(settings.module, listing.layout, () if segment is None else segment.modules),
        "digest": store_digest(table, parameters),
        "sizes": sorted(settings.sizes),
        "classes": classes,
        "counts": counts,
        "faces": len(table),
        "aligned_fraction": None if rendered else len(table) / tried,
        "quarantined": dict(sorted(Counter(stage for _, stage, _ in quarantine).items())),
        "annotations": list(settings.annotations),
        "masks": ("rendered" if rendered else settings.masks) if "masks" in settings.annotations else None,
        "mask_segmenter": None if segment is None else dict(segment.record),
        "source": "rendered" if rendered else "photographs",
        "files": None if rendered else photograph_record(files),
        "landmarks": "rendered" if rendered else settings.landmarks,
        "action_units": parameters["action_units"],
        "template": parameters["template"],
        "reconstruction": "rendered" if rendered else settings.reconstruction,
        "reconstruction_files": None if settings.model is None else settings.model.record(),
        "depth_range": None if rendered or settings.released else [DEPTH_FAR, DEPTH_NEAR],
        "packages": [] if rendered else packages(settings.landmarks, bool(settings.meshed) or settings.geometric),
        "seed": seed,
        "options": dict(options),
        "found": [str(total) for total in listing.totals],
        "notes": [*listing.notes, *missing],
        "licence": module.LICENCE,
        "restricted": module.RESTRICTED,
        "citation": module.CITATION,
        "arrays": contents,
    }
    write_json(output / "manifest.json", manifest)
    print(
        f"{dataset}: {len(table)} faces prepared"
        + ("" if rendered else f" ({len(table) / tried:.1%} of the {tried} listed images aligned, {failed} not)")
        + f"; {len(quarantine)} images in all are left out, listed with reasons in {output / 'quarantine.csv'}",
        file=sys.stderr,
    )


def _classes(options: Mapping[str, Any], table: pd.DataFrame) -> list[str]:
    asked = [composed(name) for name in options.get("classes") or ()]
    return asked or sorted(set(table["expression"]) - {""})


def _told(quarantine: Sequence[tuple[str, str, str]]) -> str:
    common = Counter(f"{stage}: {reason}" for _, stage, reason in quarantine).most_common(3)
    return " (" + "; ".join(f"{count} x {reason}" for reason, count in common) + ")" if common else ""
