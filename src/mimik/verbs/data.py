"""A dataset: `mimik data check`, `prepare`, `score`, `describe` and `export`."""

import argparse
from pathlib import Path

from mimik.errors import UserError
from mimik.settings import params, scoring
from mimik.verbs.chosen import LABELS, PREPARED, RAW, inputs, settings_of, weights_of


def check_data(chosen: argparse.Namespace) -> None:
    """`mimik data check`."""
    from mimik.inspection.archives import inspect

    values = settings_of(chosen)
    settings = params.resolve_dataset(values, chosen.dataset)
    module, options, seed = settings["module"], settings["options"], settings["seed"]
    for line in inspect(chosen.dataset, module, RAW / module, options, seed, params.mirror_of(values)):
        print(line, flush=True)


def prepare_data(chosen: argparse.Namespace) -> None:
    """`mimik data prepare`."""
    from mimik.faces.prepared.prepare import prepare

    values = settings_of(chosen)
    settings = params.resolve_dataset(values, chosen.dataset)
    segmenter = weights_of(values, "masks", chosen)
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

    settings = params.resolve_label_quality(settings_of(chosen), chosen.dataset)
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

    values = settings_of(chosen)
    raw = RAW / params.dataset_module(values, chosen.dataset)
    directory = PREPARED / chosen.dataset
    output = Path(chosen.output).expanduser() if chosen.output else Path("report") / chosen.dataset
    store = FaceStore(directory, size_drawn(prepared_manifest(directory, NEEDS)["sizes"]))
    check_outside(output, *inputs(values))
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
    values = settings_of(chosen)
    params.dataset_module(values, chosen.dataset)
    check_outside(output, *inputs(values))
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
