"""The trainings of a method as one result, and how two methods differ: paired by face and by seed.

    results = gather([read_result(folder) for folder in folders])     # one Result for each method on each dataset
    results[0].metric("truth_psnr")                                   # mean over trainings, with its interval
    found = difference(results[0], results[1], "truth_psnr")
    found.value, found.interval, found.decided, found.seeds, found.verdict

Training twice with different seeds gives different scores, and often by more than two methods differ. So one method is
called better than another only by the interval of their difference over trainings and faces. Of one training each, that
interval is over faces alone, and nothing is decided by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mimik.reporting.measured import Measured, Scored
from mimik.reporting.results import Array, ReportSettings, Result, face_draws, read_result
from mimik.settings.alike import ALIKE
from mimik.settings.replicates import MARK, replicate
from mimik.statistics import bootstrap
from mimik.statistics.trainings import Interval, estimate, needed


def read_trainings(directory: Path | str, store_directory: Path | str | None = None) -> Result:
    """Open a method with all its trainings that are there.

    Args:
        directory: results/<dataset>/<method>; the further ones are beside it (`<method>@2`).
        store_directory: as of `mimik.reporting.results.read_result`.

    Raises:
        UserError: as of `read_result`.
    """
    directory = Path(directory)
    beside = sorted(directory.parent.glob(f"{directory.name}{MARK}*/metrics.json"))
    folders = [directory, *(file.parent for file in beside)]
    return gather([read_result(folder, store_directory) for folder in folders])[0]


def gather(results: Sequence[Result], settings: ReportSettings | None = None) -> list[Result]:
    """Results with those of the further trainings of a method put into the first one.

    Args:
        results: one for each folder, in any order; each stands where its method first appears.
        settings: `resamples` and `seed` of intervals over faces; None: the defaults.

    Returns:
        one result for each method on each dataset at each scale. A training that differs in settings, in faces, in
        classes or in the preparation of its dataset stays a result of its own, under its own name (`stargan@2`): it is
        not averaged with the others. The same holds for what is left of a method without its first training.
    """
    settings = settings or ReportSettings()
    groups: list[list[Result]] = []
    for result in sorted(results, key=lambda one: replicate(one.method).number):
        home = next((group for group in groups if _together(group[0], result)), None)
        if home is None:
            groups.append([result])
        else:
            home.append(result)
    names = [(one.dataset, replicate(one.method).method) for one in results]
    groups.sort(key=lambda group: names.index((group[0].dataset, replicate(group[0].method).method)))
    return [replace(first, further=tuple(further), draws=settings.draws) for first, *further in groups]


def _together(first: Result, other: Result) -> bool:
    """Whether they are trainings of one method that may be averaged, `first` the first of them."""
    mine, theirs = replicate(first.method), replicate(other.method)
    return (
        mine.number == 1
        and mine.number != theirs.number
        and mine.method == theirs.method
        and _faces(first) == _faces(other)
        and first.protocol == other.protocol
        and [first.config.get(key) for key in ALIKE] == [other.config.get(key) for key in ALIKE]
    )


def _faces(result: Result) -> tuple[Any, ...]:
    """What two results must share for values of single faces to be compared."""
    digest = result.record.get("dataset_digest")
    return result.dataset, result.scale, digest, result.classes, result.size, result.rows.tolist()


def told(results: Sequence[Scored]) -> str:
    """A sentence on what intervals of these results are over, for captions and notes."""
    numbers = {len(result.seeds) for result in results}
    seeds = ", ".join(map(str, sorted({seed for result in results for seed in result.seeds})))
    if numbers == {1}:
        each = "One training" if len(results) == 1 else "One training of each method"
        return (
            f"{each} (seed {seeds}): intervals are over test faces and do not contain the noise of training; the same "
            "method, trained again, can differ by more."
        )
    means = "Intervals are over trainings and test faces."
    if len(numbers) == 1:
        return f"Means over {numbers.pop()} trainings (seeds {seeds}). {means}"
    once = ", ".join(result.method for result in results if len(result.seeds) == 1)
    return (
        f"Means over up to {max(numbers)} trainings (seeds {seeds}). {means} Trained once, with intervals over test "
        f"faces that do not contain the noise of training: {once or 'none'}."
    )


@dataclass(frozen=True)
class Difference:
    """How much higher one method scores than another in one metric.

    Attributes:
        value: second minus first, mean over the paired trainings; in the unit of metrics.json.
        interval: its 95 % interval. Over faces and trainings, see `mimik.statistics.trainings`; over faces alone for
            one pair of trainings; over trainings alone where the metric has no values by face; None where neither.
        trainings: how many pairs of trainings of the same number, and so of the same seed, there are. Trainings
            without a partner are left out.
        between: standard deviation of the differences between pairs; None for one pair.
        seeds: the fewest seeds with which the interval would exclude zero if the difference and `between` stayed as
            they are; None for one pair, where it cannot be known, and where no number of seeds is enough.
        faces: the interval over faces alone, these trainings given; None where the metric has no values by face.
    """

    value: float
    interval: Interval | None
    trainings: int
    between: float | None
    seeds: int | None
    faces: Interval | None = None

    @property
    def decided(self) -> bool:
        """Whether one method is better beyond the noise of training and of faces."""
        return self.trainings > 1 and self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    @property
    def verdict(self) -> str:
        """In words: decided, or what it would take."""
        if self.trainings == 1:
            return "one seed: how many it takes is unknown"
        if self.decided:
            return f"decided with {self.trainings} seeds"
        if self.seeds is None:
            return "undecided; more seeds alone would not decide it"
        return f"undecided; about {self.seeds} seeds would decide it"


def difference(first: Result, second: Result, name: str) -> Difference | None:
    """How much higher `second` scores than `first`: `contrast` of the two, second minus first."""
    return contrast([Term(-1.0, first, name), Term(1.0, second, name)])


class Term(NamedTuple):
    """A part of a contrast: a weight, a method, and one of its scalar metrics."""

    weight: float
    result: Result
    metric: str


def contrast(terms: Sequence[Term]) -> Difference | None:
    """A weighted sum of scores, paired by face and by seed: a difference, or a difference of differences.

    Args:
        terms: at least one; results from `gather`. Faces are drawn as the first result's `draws` says. A metric
            without values by face (FID) is paired by seed alone.

    Returns:
        None where a method lacks its metric or they were not tested on the same faces, also for these metrics alone
        (mIoU on the faces of different segmenters' datasets).
    """
    first = terms[0].result
    if any(_faces(term.result) != _faces(first) for term in terms):
        return None
    by_number = [{replicate(one.method).number: one for one in term.result.trainings} for term in terms]
    common = [number for number in by_number[0] if all(number in there for there in by_number)]
    if not common:
        return None
    weights = [term.weight for term in terms]
    teams = [[there[number] for there in by_number] for number in common]
    faces = [[one.per_face.get(term.metric) for one, term in zip(team, terms, strict=True)] for team in teams]
    over_faces = None
    if None not in [side for team in faces for side in team]:
        draws = face_draws(len(first.rows), *first.draws)
        values = [_weighed(weights, [_mean(side) for side in team]) for team in faces]  # type: ignore[arg-type]
        drawn = [_weighed(weights, [_means(side, draws) for side in team]) for team in faces]  # type: ignore[arg-type]
        ends = bootstrap.percentile_interval(np.mean(drawn, axis=0))
        over_faces = None if ends is None else (ends[0], ends[1])
    else:
        values = []
        for team in teams:
            scores = [one.metric(term.metric) for one, term in zip(team, terms, strict=True)]
            known = [score.value for score in scores if score is not None and score.value is not None]
            places = {_place(first, score) for score in scores if score is not None}
            if len(known) < len(terms) or len(places) > 1:
                return None
            values.append(float(_weighed(weights, known)))
    found = estimate([float(value) for value in values], over_faces)
    seeds = None if found.between is None else needed(found.value, found.between, over_faces)
    return Difference(found.value, found.interval, len(values), found.between, seeds, over_faces)


def _weighed(weights: Sequence[float], values: Sequence[Any]) -> Any:
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def _place(result: Result, measured: Measured) -> object:
    """The preparation of the dataset that a metric was taken on: mIoU may be of another one."""
    return measured.entry.get("dataset_digest", result.record.get("dataset_digest"))


def _mean(values: tuple[Array, Array]) -> Any:
    sums, counts = values
    return bootstrap.grouped_mean(sums.sum(0), counts.sum(0))


def _means(values: tuple[Array, Array], weights: Array) -> Array:
    sums, counts = values
    means: Array = bootstrap.grouped_mean(weights @ sums, weights @ counts)
    return means
