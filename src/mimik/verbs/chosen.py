"""What verbs share: the folders of a project, and what the command line chooses in params.yaml."""

import argparse
from pathlib import Path

from mimik.settings import params, stages
from mimik.settings.checks import check_settings
from mimik.settings.params import Params
from mimik.settings.reading import read

PREPARED, RAW, RESULTS, WEIGHTS = Path("data/prepared"), Path("data/raw"), Path("results"), Path("data/weights")
OPENFACE = Path("data/openface")
LABELS = Path("data/label_quality")


def settings_of(chosen: argparse.Namespace) -> Params:
    """All settings with what the command line overrides."""
    values, origins = read()
    if getattr(chosen, "scale", None):
        values["scale"] = chosen.scale
    if getattr(chosen, "protocol", None):
        values["protocol"] = chosen.protocol
    if getattr(chosen, "mirror", None):
        values["mirror"] = chosen.mirror
    params.validate(values, params.SCHEMA, origins)
    check_settings(values, origins)
    return values


def inputs(values: Params | None = None) -> list[Path]:
    """Folders of archives and prepared datasets, to which nothing may be added that a person names."""
    named = [entry.get("path") for entry in (values or {"datasets": {}})["datasets"].values()]
    # Those below, too: an archive is often a link to another place.
    folders = [below for folder in (RAW, PREPARED) if folder.is_dir() for below in folder.iterdir() if below.is_dir()]
    return [RAW, PREPARED, *folders, *(Path(path).expanduser() for path in named if path)]


def shown_on(values: Params, chosen: argparse.Namespace) -> Params:
    """All settings, with `--dataset` in the place of the papers' datasets."""
    if chosen.on is None:
        return values
    params.dataset_module(values, chosen.on)
    return {**values, "dataset": chosen.on}


def network_folder(dataset: str, kind: str, name: str) -> Path:
    """Where a pre-trained network stands."""
    return Path("data/pretrained") / dataset / kind / name


def weights_of(values: Params, kind: str, chosen: argparse.Namespace) -> Path | None:
    """Folder of the trained network of a kind that a verb reads, if any (`mimik.settings.stages.weights`)."""
    path = stages.weights(values, kind, vars(chosen))
    return None if path is None else Path(path).parent


def segmented_by(values: Params, chosen: argparse.Namespace) -> Path | None:
    """Folder of the other dataset that a method's segmenter is trained on, if it is another."""
    folder = stages.segmented(values, vars(chosen))
    return None if folder is None else Path(folder)
