"""Stand-in: a generator that is its settings and what it was trained from."""

import json
from pathlib import Path

import mimik.training.loop


def train_method(
    settings,
    store_dir,
    pretrained_dirs,
    output_dir,
    checkpoint_dir,
    logger=None,
    *,
    segmented_dir=None,
    labels_dir=None,
    judge=None,
):
    store = Path(store_dir, "manifest.json").read_text()
    weights = {kind: "generator" if kind == "starts_from" else "model" for kind in pretrained_dirs}
    read = [Path(folder, f"{weights[kind]}.safetensors").read_text() for kind, folder in pretrained_dirs.items()]
    read += _manifest(segmented_dir) + ([judge()] if judge else [])
    assert labels_dir is None, "no dataset of these tests has scored labels"
    text = json.dumps([settings, store, read, mimik.training.loop.VERSION])
    for name in ("critic", "generator", "guides"):
        Path(output_dir, f"{name}.safetensors").write_text(text)
    Path(output_dir, "validation").mkdir(exist_ok=True)
    for name in ("config.json", "history.csv", "samples.png", "validation/validation.json"):
        Path(output_dir, name).write_text(text)


def _manifest(folder):
    return [] if folder is None else [Path(folder, "manifest.json").read_text()]
