"""Stand-in: a generator that is its settings and what it was trained from."""

import json
from pathlib import Path

import mimik.training


def train_method(settings, store_dir, segmenter_dir, output_dir, checkpoint_dir, logger=None):
    store = Path(store_dir, "manifest.json").read_text()
    segmenter = Path(segmenter_dir, "model.safetensors").read_text() if segmenter_dir else None
    text = json.dumps([settings, store, segmenter, mimik.training.VERSION])
    for name in ("generator.safetensors", "config.json", "history.csv", "samples.png"):
        Path(output_dir, name).write_text(text)
