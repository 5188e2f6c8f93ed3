"""Translating and evaluating a test split of AffectNet's size: time, memory and disk of every stage.

    python benchmarks/evaluation_scale.py [--runs 250x256 500x32 4000x32] [--metrics NAME ...] [--folder DIR]

For each of the runs, faces x pixels, a prepared dataset with a test split of that many is made in a temporary folder
(below DIR), translated to 8 classes by `mimik.evaluation.translation.translate`, and measured by
`mimik.evaluation.evaluate`; each of the two runs in a process of its own. The defaults tell what grows with the
pictures' size from what grows with their number. `--runs 4000x256` is the whole, in some seven minutes of processor
time and 7.8 GB of disk (14.1 GB with `--cycle`).

The networks are replaced by stand-ins that do nearly nothing and give arrays of the real ones' shapes, because their
time is what step_time.py and gpu.py measure: a generator that brightens the picture, a classifier with 512 features,
Inception's 2,048 features and 1,008 logits, a segmenter. Everything else is what a run does. `private_mib` is the
highest memory during the stage, without pages that belong to files.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from machine import ROOT, describe, write_table
from scale import Stages, Watched, noted
from torch import Tensor, nn

from mimik.labels import EXPRESSIONS, SEGMENTATION_CLASSES

METRICS = (
    *("classifier_accuracy", "eea", "preservation_error", "reconstruction", "outside_change", "miou"),
    *("fd_classifier", "kid", "precision_recall"),
)
SETTINGS: dict[str, Any] = {"kid_subsets": 10}
"""Of the evaluation, where they are not the defaults: kernel distances take the same memory for every subset."""


def make_store(folder: Path, faces: int, size: int) -> None:
    """A prepared dataset that is a test split only, with pictures and masks."""
    folder.mkdir()
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "id": [f"face{row}" for row in range(faces)],
            "split": "test",
            "source": "",
            "expression": [EXPRESSIONS[row % len(EXPRESSIONS)] for row in range(faces)],
            "identity": "",
        }
    )
    table.to_csv(folder / "index.csv", index=False)
    pictures = np.lib.format.open_memmap(folder / f"images_{size}.npy", "w+", np.uint8, (faces, size, size, 3))
    masks = np.lib.format.open_memmap(folder / f"masks_{size}.npy", "w+", np.uint8, (faces, size, size))
    noise = random.integers(0, 256, (size, 2 * size, 3), dtype=np.uint8)
    for row in range(faces):
        pictures[row] = noise[:, row % size :][:, :size]
        masks[row] = row % len(SEGMENTATION_CLASSES)
    manifest = {"dataset": "large", "sizes": [size], "classes": list(EXPRESSIONS), "digest": "0", "source": "rendered"}
    (folder / "manifest.json").write_text(json.dumps(manifest))


class Brighter(nn.Module):
    """Stands in for a generator."""

    def __init__(self) -> None:
        super().__init__()
        from mimik.components.conditions import Condition, ConditionConfig

        self.condition = Condition(ConditionConfig(), EXPRESSIONS)

    def translate(self, images: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """Brighter by the class that is asked for."""
        return images + target.argmax(1)[:, None, None, None] / 127.5


def pooled(images: Tensor, features: int) -> Tensor:
    """(B, 3, S, S) -> (B, features), different for different pictures."""
    small = nn.functional.adaptive_avg_pool2d(images, 16).flatten(1)
    return small.repeat(1, -(-features // small.shape[1]))[:, :features]


def stand_ins(size: int) -> dict[str, Any]:
    """The extractors."""
    from mimik.evaluation.places import Extractor

    segmenter = Extractor("segmenter", "0", lambda x: {"classes": (9 * (1 + x[:, 0])).to(torch.uint8)})
    return {
        "classifier": Extractor("small", "0", lambda x: {"logits": pooled(x, 8), "features": pooled(x, 512)}),
        "inception": Extractor("inception", "0", lambda x: {"features": pooled(x, 2048), "logits": pooled(x, 1008)}),
        "segmenter_before": segmenter,
        "segmenter_after": segmenter,
    }


def translate_all(folder: Path, size: int, cycle: bool) -> None:
    """Translate, as the job of the workflow does."""
    from mimik.evaluation import translation

    method = Brighter()
    config = {"image_size": size, "classes": list(EXPRESSIONS)}
    translation.load_method = lambda _: (method, config)  # type: ignore[attr-defined]
    (folder / "generator.safetensors").write_bytes(b"none")
    stages = Stages(folder / "stages.jsonl")
    stages.watch(translation, "_fill", "translating")
    translation.translate(
        folder, folder / "store", None, folder / "translations", translation.TranslationSettings(cycle=cycle)
    )


def evaluate_all(folder: Path, size: int, names: tuple[str, ...]) -> None:
    """Measure, as `mimik.evaluation.evaluate.evaluate` does with the networks of a result."""
    from mimik.evaluation.evaluate import measure, metric_modules
    from mimik.evaluation.extractors import open_arcface, open_dlib, open_inception
    from mimik.evaluation.measurements import EvaluationSettings, Measurements
    from mimik.evaluation.places import Missing
    from mimik.faces.prepared.store import FaceStore
    from mimik.storage.arrays import read_array

    stages = Stages(folder / "stages.jsonl")
    modules = metric_modules(names)
    for name, module in modules.items():
        stages.watch(module, "compute", f"metric {name}")
    manifest = json.loads((folder / "translations" / "manifest.json").read_text())
    scratch = folder / "scratch"
    scratch.mkdir()
    extractors = stand_ins(size)
    measurements = Measurements(
        translations=read_array(folder / "translations" / "images.npy", ""),
        cycle=read_array(folder / "translations" / "cycle.npy", ""),
        store=FaceStore(folder / "store", size),
        rows=np.array(manifest["rows"]),
        settings=EvaluationSettings(names, **SETTINGS),
        scratch=scratch,
        segmenter_before=extractors["segmenter_before"],
        segmenter_after=extractors["segmenter_after"],
        published={
            open_inception: extractors["inception"],
            **dict.fromkeys((open_arcface, open_dlib), Missing("left out here.")),
        },
    )
    measurements.classifier, measurements.reader = extractors["classifier"], Missing("left out here.")
    measure(measurements, modules)


def used(folder: Path) -> int:
    """Bytes on the disk below a folder."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def measured(
    folder: Path, faces: int, size: int, arguments: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Rows of the table and facts of one run."""
    make_store(folder / "store", faces, size)
    options = ["--size", str(size), "--metrics", *arguments.metrics, *(["--cycle"] if arguments.cycle else [])]
    memory: list[tuple[float, int]] = []
    for only in ("translate", "evaluate"):
        process = Watched(folder, "--only", only, *options, script=Path(__file__))
        process.finish()
        memory += process.memory
    entries, rows = noted(folder), []
    for entry in entries:
        if "begins" in entry:
            ended = next(other for other in entries if other["stage"] == entry["stage"] and "ends" in other)
            peak = max((held for at, held in memory if entry["begins"] <= at <= ended["ends"]), default=0)
            rows.append(
                {
                    "faces": faces,
                    "pixels": size,
                    "stage": entry["stage"],
                    "cpu_seconds": ended["cpu"] - entry["cpu"],
                    "cpu_ms_per_translation": 1e3 * (ended["cpu"] - entry["cpu"]) / faces / len(EXPRESSIONS),
                    "private_mib": peak / 2**20,
                }
            )
    facts = {
        f"{faces} faces of {size} px: store, GB": used(folder / "store") / 1e9,
        f"{faces} faces of {size} px: translations, GB": used(folder / "translations") / 1e9,
        f"{faces} faces of {size} px: features while evaluating, GB": used(folder / "scratch") / 1e9,
        f"{faces} faces of {size} px: highest private memory, MiB": max(held for _, held in memory) / 2**20,
    }
    return rows, facts


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", default=["250x256", "500x32", "4000x32"], metavar="FACESxPIXELS")
    parser.add_argument("--metrics", nargs="+", default=METRICS)
    parser.add_argument("--cycle", action="store_true", help="edit back, too")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=("translate", "evaluate"), help=argparse.SUPPRESS)  # the processes watched
    arguments = parser.parse_args()
    if arguments.only == "translate":
        translate_all(arguments.folder, arguments.size, arguments.cycle)
    elif arguments.only == "evaluate":
        evaluate_all(arguments.folder, arguments.size, tuple(arguments.metrics))
    else:
        machine, rows, facts = describe(), [], {}
        for run in arguments.runs:
            faces, size = (int(number) for number in run.split("x"))
            with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
                found, told = measured(Path(temporary), faces, size, arguments)
            rows += found
            facts |= told
        write_table(arguments.output / "evaluation_scale", rows, facts, machine)


if __name__ == "__main__":
    main()
