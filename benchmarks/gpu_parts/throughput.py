"""Part (e): images per second of translation and of the networks that evaluate, through mimik's own code."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gpu_parts.accelerator import Accelerator
from gpu_parts.job import Job

IMAGES = 512
"""Images of one pass of an extractor, and of one translation at 128 px."""


def run(job: Job) -> None:
    """Translate and look at random pictures; from and to uint8 arrays in memory, as evaluation does."""
    accelerator = Accelerator(job.device)
    tasks: list[tuple[str, dict[str, Any], Callable[[Accelerator, bool, dict[str, Any]], tuple[Any, int]]]] = []
    for size in (64,) if job.tiny else (128, 256):
        for method in ("stargan", "hier_seg"):
            tasks.append((f"translate {method}", {"method": method, "size": size}, _translation))
    for network in ("vgg16", "small"):
        tasks.append((f"classify {network}", {"network": network, "size": 64 if job.tiny else 128}, _classifier))
    tasks.append(("inception", {"size": 64 if job.tiny else 128}, _inception))
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for number, (name, options, prepare) in enumerate(tasks):
        if job.left() < (1 if job.tiny else 3):
            notes.append(f"no time was left for {', '.join(task[0] for task in tasks[number:])}")
            break
        try:
            rows.append({"what": name, "size": options["size"], **_measured(accelerator, job, options, prepare)})
        except Exception as error:
            rows.append({"what": name, "size": options["size"], "failure": f"{type(error).__name__}: {error}"[:500]})
        job.report({"rows": rows, "notes": notes})
    job.report({"rows": rows, "notes": notes})


def _measured(
    accelerator: Accelerator,
    job: Job,
    options: dict[str, Any],
    prepare: Callable[[Accelerator, bool, dict[str, Any]], tuple[Any, int]],
) -> dict[str, Any]:
    accelerator.start_over()
    work, batch = prepare(accelerator, job.tiny, options)
    count = work()
    # At least three passes, and no more than the time that belongs to this row.
    times: list[float] = []
    spent = time.perf_counter()
    while len(times) < (2 if job.tiny else 3) or (not job.tiny and time.perf_counter() - spent < 1 and len(times) < 20):
        begun = time.perf_counter()
        count = work()
        accelerator.synchronise()
        times.append(time.perf_counter() - begun)
    return {
        "batch": batch,
        "images_per_s": count / statistics.median(times),
        "range": [count / max(times), count / min(times)],
        "passes": len(times),
        **accelerator.peak(),
    }


def _translation(accelerator: Accelerator, tiny: bool, options: dict[str, Any]) -> tuple[Any, int]:
    """Edits of random pictures to random classes by the function that `mimik translate` uses."""
    import torch
    from step_time import make

    from mimik.evaluation.translation import TranslationSettings, _editor
    from mimik.training.devices import autocast_dtype

    size, settings = options["size"], TranslationSettings(batch_size=4 if tiny else 64)
    count = 8 if tiny else IMAGES * 128 * 128 // size**2
    method = make(options["method"], size, "smoke" if tiny else "paper").to(accelerator.device).eval()
    dtype = autocast_dtype(settings.precision, accelerator.device)
    edit = _editor(method, settings.batch_size, accelerator.device, dtype)
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    states = torch.eye(8)
    source, target = states[torch.arange(count) % 8], states[torch.arange(count) % 7]

    def work() -> int:
        return len(edit(images, source, target))

    return work, settings.batch_size


def _classifier(accelerator: Accelerator, tiny: bool, options: dict[str, Any]) -> tuple[Any, int]:
    from mimik.labels import EXPRESSIONS
    from mimik.networks import face_classifier

    network = face_classifier.build({"network": options["network"]}, EXPRESSIONS).to(accelerator.device).eval()
    return _extractor(network, accelerator, tiny, options["size"])


def _inception(accelerator: Accelerator, tiny: bool, options: dict[str, Any]) -> tuple[Any, int]:
    """The network of FID with random weights."""
    from mimik.networks.inception import Inception

    return _extractor(Inception().to(accelerator.device).eval(), accelerator, tiny, options["size"])


def _extractor(network: Any, accelerator: Accelerator, tiny: bool, size: int) -> tuple[Any, int]:
    """A pass of evaluation's own extraction over random pictures, features and logits written to a scratch folder."""
    from mimik.evaluation.measurements import EvaluationSettings, Measurements
    from mimik.evaluation.places import Extractor

    settings = EvaluationSettings(metrics=(), **({"batch_size": 4} if tiny else {}))
    count = 8 if tiny else 4 * IMAGES
    images = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)

    def outputs(batch: Any) -> dict[str, Any]:
        on_device = batch.to(accelerator.device)
        features = network.features(on_device) if hasattr(network, "features") else network(on_device)
        return {"features": features, "logits": network.classify(features)}

    extractor = Extractor("random weights", "", outputs)

    def work() -> int:
        with tempfile.TemporaryDirectory() as scratch:
            nothing: Any = None
            measurements = Measurements(
                translations=images[:, None],
                cycle=images[:, None],
                store=nothing,
                rows=np.arange(count),
                settings=settings,
                scratch=Path(scratch),
                segmenter_before=nothing,
                segmenter_after=nothing,
            )
            return len(measurements.of_translations(extractor)["logits"])

    return work, settings.batch_size
