"""Weights: `mimik pretrain`, `train` and `import`."""

import argparse
from functools import partial
from importlib import import_module
from pathlib import Path

from mimik.errors import UserError
from mimik.settings import params, stages
from mimik.settings.imported import check_trainable
from mimik.verbs.chosen import LABELS, PREPARED, RESULTS, network_folder, segmented_by, settings_of, weights_of


def pretrain_network(chosen: argparse.Namespace) -> None:
    """`mimik pretrain`."""
    values = settings_of(chosen)
    at = {"dataset": chosen.dataset, chosen.kind: chosen.name}
    mirror = params.mirror_of(values)
    settings = {**stages.settings(values, chosen.kind, at), "mirror": None if mirror is None else str(mirror)}
    folder = network_folder(chosen.dataset, chosen.kind, chosen.name)
    check_trainable(folder)
    pretrain = getattr(import_module(f"mimik.pretraining.{chosen.kind}"), f"pretrain_{chosen.kind}")
    labels = {"labels_dir": LABELS / chosen.dataset} if "label_quality" in settings else {}
    pretrain(
        settings,
        PREPARED / chosen.dataset,
        folder,
        Path("checkpoints/pretrain") / chosen.dataset / chosen.kind / chosen.name,
        None,
        **labels,
    )


def train_method(chosen: argparse.Namespace) -> None:
    """`mimik train`."""
    from mimik.tracking import runs as tracking
    from mimik.training.runs import train_method

    values = settings_of(chosen)
    settings = params.resolve(values, chosen.dataset, chosen.method)
    store, result = PREPARED / chosen.dataset, RESULTS / chosen.dataset / chosen.method
    check_trainable(result)
    kinds = (*params.PRETRAINED, "starts_from")
    pretrained = {kind: folder for kind in kinds if (folder := weights_of(values, kind, chosen))}
    judge = None
    if classifier := weights_of(values, "judge", chosen):
        from mimik.evaluation.validation import ValidationJudge

        judge = partial(ValidationJudge, classifier)
    with tracking.training_run(settings, store) as (settings, logger):
        train_method(
            settings,
            store,
            pretrained,
            result,
            Path("checkpoints/train") / chosen.dataset / chosen.method,
            logger,
            segmented_dir=segmented_by(values, chosen),
            labels_dir=LABELS / chosen.dataset if "label_quality" in settings else None,
            judge=judge,
        )


def import_weights(chosen: argparse.Namespace) -> None:
    """`mimik import`."""
    from mimik.faces.prepared.store import prepared_manifest
    from mimik.released import importing
    from mimik.tracking import runs as tracking

    values, store = settings_of(chosen), PREPARED / chosen.dataset
    weights = Path(chosen.weights).expanduser()
    if chosen.release in importing.METHODS:
        settings = params.resolve(values, chosen.dataset, chosen.name)
        keyed = {**settings, "run_key": tracking.run_key(settings, prepared_manifest(store, ("digest",))["digest"])}
        result = RESULTS / chosen.dataset / chosen.name
        importing.import_method(keyed, weights, chosen.release, chosen.labels, store, result)
        print(f"{result}: the weights of {weights}. Next: `mimik translate {chosen.dataset} {chosen.name}`.")
        return
    if chosen.labels:
        raise UserError("--labels: the classes of face parsers are known; leave it out.")
    folder = network_folder(chosen.dataset, "segmenter", chosen.name)
    settings = params.resolve_segmenter(values, chosen.dataset, chosen.name)
    reason = importing.import_segmenter(settings, weights, chosen.release, store, folder)
    print(f"{folder}: the weights of {weights}.{'' if reason is None else ' ' + reason}")
