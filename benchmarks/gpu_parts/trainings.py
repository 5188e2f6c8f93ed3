"""Part (d): two methods are trained on rendered faces, translated and evaluated, by mimik's own functions.

What deviates from the published settings is what the scale `demo` of params.yaml changes so that short trainings teach
something (objective, heads, one critic update per generator update, ...), with the overrides of `SCALE`: faces of
128 px and the published widths. The number of steps is found from a short run of the same method, so that the
learning rate has fallen to its end when the time is up.
"""

import copy
import os
import shutil
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_parts.job import Job

NAME = "gpu_check"

_GENERATOR = {"conv_dim": 64, "residual_blocks": 6}
# Wider layers want smaller steps: rates fall with the width against the demo's. At 2e-4 for the generator and twice
# that for the critic, StarGAN's critic was thrown off by the first fakes and no edit was learned (EEA 1.4 % after 1,868
# steps on an H100).
_CRITIC = {"conv_dim": 64, "layers": 6, "max_conv_dim": 2048, "learning_rate": 0.5}
SCALE: dict[str, Any] = {
    "image_size": 128,
    # Not compiled: that pays in longer runs, and would make the time of these uncertain.
    "training": {"learning_rate": 1.5e-4, "log_every": 20, "sample_every": 0, "compile": False},
    "methods": {
        "stargan": {**_GENERATOR, "adversary": _CRITIC},
        "hier_seg": {
            **_GENERATOR,
            "local_conv_dim": 64,
            "local_residual_blocks": 6,
            "local_size": 48,  # the demo's share of the face: 24 of 64 px
            "fusion_conv_dim": 64,
            "fusion_residual_blocks": 4,
            "adversary": _CRITIC,
            "local_adversary": {"conv_dim": 64, "layers": 4, "max_conv_dim": 2048, "learning_rate": 0.5},
        },
    },
    "segmenters": {"unet": {"width": 16, "training": {"steps": 500, "batch_size": 16, "learning_rate": 2.0e-3}}},
    "classifiers": {"small": {"training": {"steps": 500, "batch_size": 64, "learning_rate": 3.0e-3}}},
}
"""What this scale changes of the scale `demo`."""

FACES: dict[str, Any] = {
    "sizes": [128],
    "annotations": ["masks"],
    "identities": {"train": 900, "val": 8, "test": 40},
}
"""Options of the dataset `synthetic`; the demo's test faces, and its training faces as far as `ENOUGH_CORES` go."""

TINY_SCALE: dict[str, Any] = {
    "image_size": 64,
    "segmenters": {"unet": {"training": {"steps": 4}}},
    "classifiers": {"small": {"training": {"steps": 4, "batch_size": 8}}},
}
TINY_FACES: dict[str, Any] = {"sizes": [64], "annotations": ["masks"], "identities": {"train": 4, "val": 1, "test": 1}}

ENOUGH_CORES = 12
"""With fewer of them, fewer faces are rendered for training: about 40 faces of 128 px per core and second."""
METRICS = ("classifier_accuracy", "eea", "truth")
PROBE_STEPS, PROBE_EVERY = 100, 20
"""Length of the run that is timed, and steps between its rows; the first rows are left to compiling and capturing."""
AFTERWARDS = 25.0
"""Seconds for translating and evaluating one method."""
SPARE = 0.95
"""Part of the time that the steps are counted for; pictures and checkpoints take the rest."""


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `overrides`, groups of settings merged key by key."""
    result = dict(base)
    for key, value in overrides.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def settings(tiny: bool) -> dict[str, Any]:
    """params.yaml with the scale of this measurement, at which the dataset `synthetic` is prepared."""
    from step_time import read_params

    values = read_params()
    values["scale"] = NAME
    base = values["scales"]["smoke" if tiny else "demo"]
    values["scales"][NAME] = merged(base, TINY_SCALE if tiny else SCALE)
    faces = copy.deepcopy(TINY_FACES if tiny else FACES)
    if not tiny:
        share = min(1.0, (os.cpu_count() or 1) / ENOUGH_CORES)
        faces["identities"]["train"] = round(share * faces["identities"]["train"])
    dataset = values["datasets"]["synthetic"]
    dataset["scales"][NAME] = faces
    return values


def render(job: Job) -> None:
    """Render and pack the faces, by as many processes as there are cores."""
    from mimik.faces.prepared.prepare import prepare
    from mimik.settings import params

    begun = time.perf_counter()
    chosen = params.resolve_dataset(settings(job.tiny), "synthetic")
    work, cores = Path(job.work), os.cpu_count() or 1
    prepare(
        "synthetic",
        chosen["options"],
        work / "raw",
        work / "store",
        module_name=chosen["module"],
        seed=chosen["seed"],
        workers=1 if job.tiny else cores,
        mirror=None,
        work=work / "rendering",
        progress=False,
    )
    people, classes = chosen["options"]["identities"], len(chosen["options"]["classes"])
    count = classes * (sum(people.values()) + classes * people["test"])
    seconds = time.perf_counter() - begun
    found = {"seconds": seconds, "pictures": count, "size": chosen["options"]["sizes"][0], "cores": cores}
    job.report({**found, "pictures_per_s": count / seconds, "identities": people})


class Clock:
    """A logger of a training that keeps the time of every row instead of its values."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.rows: list[tuple[int, float]] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Note when a row of the history was there."""
        if not self.rows or step > self.rows[-1][0]:
            self.rows.append((step, time.perf_counter() - self.begun))

    def image(self, step: int, key: str, path: Path) -> None:
        """Pictures are not needed."""

    def step_seconds(self) -> float:
        """Median over the later half of the rows of the time of a step."""
        pairs = list(zip(self.rows, self.rows[1:], strict=False))
        times = [(late - early) / (last - first) for (first, early), (last, late) in pairs]
        return statistics.median(times[len(times) // 2 :])

    def start_seconds(self) -> float:
        """Time that building networks, compiling and capturing took."""
        step, seconds = self.rows[-1]
        return max(0.0, seconds - step * self.step_seconds())


class Trainings:
    """The stages, each of which reports what it found."""

    def __init__(self, job: Job) -> None:
        self.job, self.work = job, Path(job.work)
        self.params = settings(job.tiny)
        scale = merged(TINY_SCALE, {}) if job.tiny else merged(SCALE, {})
        self.found: dict[str, Any] = {"scale": scale, "rows": [], "notes": []}

    def tell(self, **more: Any) -> None:
        """Report."""
        self.found |= more
        self.job.report(self.found)

    def pretrain(self) -> None:
        """The classifier that judges, and the segmenter that hier_seg starts from."""
        from mimik.pretraining.classifier import pretrain_classifier
        from mimik.pretraining.segmenter import pretrain_segmenter
        from mimik.settings import params

        for kind, train in (("classifier", pretrain_classifier), ("segmenter", pretrain_segmenter)):
            begun = time.perf_counter()
            name = self.params["scales"][NAME][kind]
            chosen = getattr(params, f"resolve_{kind}")(self.params, "synthetic", name)
            train(chosen, self.work / "store", self.work / kind, self.work / f"{kind}.checkpoints")
            measured = _read(self.work / kind / "metrics.json")
            shown = {key: measured[key] for key in ("accuracy", "miou", "pixel_accuracy") if key in measured}
            self.tell(**{kind: {"name": name, "seconds": time.perf_counter() - begun, **shown}})

    def train(self, method: str, waiting: int) -> dict[str, Any]:
        """Train as long as wanted, if the time allows for it; `waiting` methods share it. Returns the row's entries."""
        from mimik.settings import params
        from mimik.training.runs import train_method

        chosen = params.resolve(self.params, "synthetic", method)
        networks = {kind: self.work / kind for kind in chosen["pretrained"]}
        probe = copy.deepcopy(chosen)
        steps, every = (6, 2) if self.job.tiny else (PROBE_STEPS, PROBE_EVERY)
        probe["training"] |= {"steps": steps, "log_every": every, "sample_every": 0}
        probe["config"]["critic_head_start"] = 0
        clock = Clock()
        folder = self.work / "probe"
        train_method(probe, self.work / "store", networks, folder / "result", folder / "checkpoints", clock)
        shutil.rmtree(folder)
        step, start = clock.step_seconds(), clock.start_seconds()
        after, wished = 3.0 if self.job.tiny else AFTERWARDS, self.job.train_seconds
        seconds = min(wished, self.job.left() / waiting - after)
        if seconds < wished:
            said = f"{method} was given {max(seconds, 0):.0f} s for its training instead of {wished:.0f} s"
            self.found["notes"].append(f"{said}, as this part's time did not allow for more")
        wanted = max(steps, int(SPARE * (seconds - start) / step))
        # A critic that is trained alone for longer than a fifth of the run would leave too little for the generator.
        head_start = min(chosen["config"].get("critic_head_start", 0), wanted // 5)
        chosen["training"] |= {"steps": wanted}
        if head_start or "critic_head_start" in chosen["config"]:
            chosen["config"]["critic_head_start"] = head_start
        row = {
            "method": method,
            "steps": wanted,
            "batch": chosen["training"]["batch_size"],
            "probed_step_ms": 1e3 * step,
            "probed_start_s": start,
            "wanted_s": seconds,
            "settings": {key: chosen[key] for key in ("config", "training")},
        }
        result, begun, clock = self.work / method, time.perf_counter(), Clock()
        train_method(chosen, self.work / "store", networks, result, self.work / f"{method}.checkpoints", clock)
        row |= {"seconds": time.perf_counter() - begun, "step_ms": 1e3 * clock.step_seconds()}
        shutil.copyfile(result / "samples.png", Path(self.job.output) / f"gpu_{method}_samples.png")
        shutil.copyfile(result / "history.csv", Path(self.job.output) / f"gpu_{method}_history.csv")
        return row

    def judge(self, method: str) -> dict[str, Any]:
        """Translate the test faces and evaluate them."""
        from mimik.evaluation.evaluate import evaluate
        from mimik.evaluation.measurements import EvaluationSettings
        from mimik.evaluation.translation import TranslationSettings, translate
        from mimik.settings import params
        from mimik.settings.configuration import build

        result, store = self.work / method, self.work / "store"
        chosen = params.resolve_evaluation(self.params, "synthetic", method)
        segmenter = self.work / "segmenter" if "segmenter" in chosen["pretrained"] else None
        begun = time.perf_counter()
        translation = build(
            TranslationSettings, params.resolve_translation(self.params, "synthetic", method), "translation"
        )
        translate(result, store, segmenter, result / "translations", translation)
        translated = time.perf_counter()
        given = chosen["evaluation"] | {"metrics": METRICS, "bootstrap": 50 if self.job.tiny else 200}
        evaluate(
            build(EvaluationSettings, given, "evaluation"),
            result,
            store,
            self.work / "classifier",
            segmenter,
            None,
            self.work / "weights",
            result / "metrics.json",
        )
        metrics = _read(result / "metrics.json")["metrics"]
        values = {name: _number(entry) for name, entry in metrics.items() if _number(entry) is not None}
        return {
            "translate_s": translated - begun,
            "evaluate_s": time.perf_counter() - translated,
            "metrics": values,
            "intervals": {name: entry["ci"] for name, entry in metrics.items() if name in values and "ci" in entry},
        }


def run(job: Job) -> None:
    """Render what is not there yet, pre-train, then train and judge one method after the other."""
    trainings = Trainings(job)
    if not (Path(job.work) / "store" / "manifest.json").exists():
        rendering = job.of("render")
        render(rendering)
        trainings.tell(rendering=rendering.told())
    trainings.pretrain()
    for number, method in enumerate(job.methods):
        row: dict[str, Any] = {"method": method}
        trainings.found["rows"].append(row)
        row |= trainings.train(method, len(job.methods) - number)
        trainings.tell()
        row |= trainings.judge(method)
        trainings.tell()


def _read(path: Path) -> dict[str, Any]:
    from mimik.storage.files import read_json

    found: dict[str, Any] = read_json(path)
    return found


def _number(entry: Mapping[str, Any]) -> float | None:
    value = entry.get("value")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
