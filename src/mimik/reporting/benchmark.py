"""The benchmark page: scores and costs of finished trainings, from small files that are kept with the code.

    benchmarks/results/systems/<dataset>-<scale>-<machine>/<system>.json

Results are large and stay on the machine where they were made. `summary` keeps of one what the page shows; `page` makes
docs/benchmark.md of all of them. The table of a group is that of README.md (`mimik.reporting.measures.plain_table`)
without marks: which differences are decided says `mimik compare` where the results are.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimik.reporting.measured import Measured
from mimik.reporting.measures import plain_table
from mimik.reporting.overview import MEASURED
from mimik.reporting.results import BASELINES, Result
from mimik.reporting.tabular import EMPTY, Cell, Column, Line, Table
from mimik.settings.configuration import build
from mimik.storage.files import read_json

SHOWN = (*MEASURED, "fd_classifier", "kd_classifier", "precision_classifier", "recall_classifier")

KEPT = ("n", "extractor", "dataset", "dataset_digest", "applies")
"""Keys of an entry of metrics.json that a table asks for."""


@dataclass(frozen=True)
class Cost:
    """What the trainings of a system took.

    Attributes:
        seconds: of each training, wall time of its job; None where no log says it.
        memory: most memory that the job held, in MiB (of the processor's, not of a GPU's); None likewise.
        parameters: numbers in generator.safetensors, all that an edit needs.
        operations: multiplications and additions of a training in convolutions and products of matrices
            (`mimik.training.operations`); None where they are not counted.
    """

    seconds: tuple[float | None, ...]
    memory: tuple[float | None, ...]
    parameters: int
    operations: int | None = None


@dataclass(frozen=True)
class Summary:
    """The trainings of a system on one machine; a `mimik.reporting.measured.Scored`.

    Attributes:
        method, dataset, scale, protocol: of the result.
        seeds: of its trainings.
        faces, size: number of test faces and their side in pixels.
        machine: where it was trained.
        commits: that the results name.
        digest: of the prepared dataset.
        cost: see `Cost`.
        scores: by metric: `value`, `interval` and keys of `KEPT`, or `skipped`.
    """

    method: str
    dataset: str
    scale: str
    protocol: str
    seeds: tuple[int, ...]
    faces: int
    size: int
    machine: str
    commits: tuple[str, ...]
    digest: str
    cost: Cost
    scores: Mapping[str, Any]

    @property
    def record(self) -> Mapping[str, Any]:
        """What metrics.json has of the dataset."""
        return {"dataset": self.dataset, "dataset_digest": self.digest}

    def metric(self, name: str) -> Measured | None:
        """The mean over the trainings, as it was when the summary was made."""
        entry = self.scores.get(name)
        if entry is None:
            return None
        if "skipped" in entry:
            return Measured(None, None, str(entry["skipped"]), entry)
        low, high = entry["interval"] or (None, None)
        interval = None if low is None or high is None else (float(low), float(high))
        return Measured(float(entry["value"]), interval, "", entry, len(self.seeds))

    def baseline(self, baseline: str, name: str) -> Measured | None:
        """As `Result.baseline`."""
        found = (self.metric(pattern.format(name)) for pattern in BASELINES[baseline])
        return next((measured for measured in found if measured is not None and measured.value is not None), None)

    @property
    def group(self) -> tuple[str, str, str, str, str, int]:
        """What the systems of one table have in common; other test faces are another table."""
        return self.dataset, self.scale, self.protocol, self.machine, self.digest, self.size

    @property
    def file(self) -> str:
        """Its place below benchmarks/results/systems."""
        protocol = "" if self.protocol == "published" else f"-{self.protocol}"
        machine = re.sub(r"[^a-z0-9]+", "-", self.machine.lower()).strip("-")
        return f"{self.dataset}-{self.scale}{protocol}-{machine}/{self.method}.json"


def summary(result: Result, cost: Cost) -> Summary:
    """What the page shows of a gathered result."""
    patterns = [pattern for baseline in BASELINES.values() for pattern in baseline]
    names = [*SHOWN, *(pattern.format(name) for name in SHOWN for pattern in patterns)]
    environment = result.config.get("environment", {})
    device = environment.get("device", "CPU")
    machine = f"{environment.get('processor', 'unknown processor')}, {environment.get('cores', '?')} cores"
    return Summary(
        method=result.method,
        dataset=result.dataset,
        scale=result.scale,
        protocol=result.protocol,
        seeds=tuple(result.seeds),
        faces=len(result.rows),
        size=result.size,
        machine=machine if device == "CPU" else f"{device}; {machine}",
        commits=tuple(sorted({str(one.record.get("git_commit"))[:7] for one in result.trainings})),
        digest=str(result.record.get("dataset_digest", "")),
        cost=cost,
        scores={name: _kept(found) for name in names if (found := result.metric(name)) is not None},
    )


def _kept(found: Measured) -> dict[str, Any]:
    told = {key: found.entry[key] for key in KEPT if key in found.entry}
    if found.value is None:
        return {"skipped": found.skipped, **told}
    return {"value": found.value, "interval": found.interval, **told}


def read_summaries(folder: Path) -> list[Summary]:
    """All summaries below a folder, sorted by their place.

    Raises:
        UserError: a file is not one.
    """
    remedy = "Write it again: `python benchmarks/systems.py --collect PROJECT`."
    found = []
    for file in sorted(folder.glob("*/*.json")):
        made = build(Summary, read_json(file, remedy), str(file))
        found.append(made)
    return found


def page(summaries: Sequence[Summary], wanted: Mapping[tuple[str, str], Sequence[str]], seeds: int = 3) -> str:
    """docs/benchmark.md.

    Args:
        summaries: from `read_summaries`.
        wanted: systems by dataset and scale, in the order of the rows.
        seeds: how many trainings of each there should be.
    """
    groups: dict[tuple[Any, ...], list[Summary]] = {}
    for one in summaries:
        groups.setdefault(one.group, []).append(one)
    lines = [HEAD]
    for group in groups.values():
        first = group[0]
        order = [*wanted.get((first.dataset, first.scale), ())]
        group.sort(key=lambda one: (order.index(one.method) if one.method in order else len(order), one.method))
        lines += _section(group)
    lines += ["## What is missing", "", *_missing(summaries, wanted, seeds), ""]
    return "\n".join(lines)


def _section(group: Sequence[Summary]) -> Iterator[str]:
    first = group[0]
    yield f"## {first.dataset}, scale {first.scale}: {first.machine}"
    yield ""
    commits = sorted({commit for one in group for commit in one.commits})
    yield (
        f"{first.faces} test faces of {first.size} px, protocol {first.protocol}; "
        f"commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}; prepared dataset {first.digest[:12]}."
    )
    yield ""
    made = plain_table(group, SHOWN)
    if made is not None:
        yield made.to_markdown()
    yield "### Cost"
    yield ""
    yield _costs(group).to_markdown()


def _costs(group: Sequence[Summary]) -> Table:
    columns = [
        Column("trainings", "trainings"),
        Column("time", "time of a training", "", "min"),
        Column("memory", "memory", "", "GiB"),
        Column("parameters", "parameters of an edit", "", "million"),
        Column("operations", "operations of a training", "", "10^15"),
    ]
    return Table("", columns, [Line(one.method, [*_cost(one)]) for one in group])


def _cost(one: Summary) -> Iterator[Cell]:
    cost = one.cost
    yield Cell(str(len(one.seeds)))
    yield _spread([seconds / 60 for seconds in cost.seconds if seconds is not None], 1)
    yield _spread([memory / 1024 for memory in cost.memory if memory is not None], 2)
    yield Cell(f"{cost.parameters / 1e6:.3g}")
    yield EMPTY if cost.operations is None else Cell(f"{cost.operations / 1e15:.3g}")


def _spread(values: Sequence[float], digits: int) -> Cell:
    """Mean, and the range where they differ."""
    if not values:
        return EMPTY
    ends = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
    same = f"{min(values):.{digits}f}" == f"{max(values):.{digits}f}"
    return Cell(f"{sum(values) / len(values):.{digits}f}", "" if same else ends)


def _missing(
    summaries: Sequence[Summary], wanted: Mapping[tuple[str, str], Sequence[str]], seeds: int
) -> Iterator[str]:
    """A line for each dataset and scale with what is not there."""
    for (dataset, scale), systems in wanted.items():
        there = {one.method: len(one.seeds) for one in summaries if (one.dataset, one.scale) == (dataset, scale)}
        absent = [name for name in systems if name not in there]
        few = [f"{name} ({there[name]})" for name in systems if there.get(name, seeds) < seeds]
        told = [f"no results of {', '.join(absent)}"] if absent else []
        told += [f"fewer than {seeds} seeds of {', '.join(few)}"] if few else []
        yield f"- {dataset}, scale {scale}: {'; '.join(told) or 'nothing'}."


HEAD = """# Benchmark

Every system of params.yaml with its scores and what its training took. The page is written by
`python benchmarks/systems.py` from the files in [benchmarks/results](../benchmarks/results), folder `systems`, which
the same program makes of finished results (`--collect PROJECT`). What is not in them is listed at the end.

Scores are means over the trainings. Nothing is marked as best: which differences are decided, beyond the noise of
training and of faces, says `mimik compare` where the results are
([methods.md](methods.md#trainings-and-rankings)). Measures are those of [metrics.md](papers/metrics.md). Settings of a
scale are in the folder `params/`; they are no reproduction of the papers' tables.

Time and memory are those of the job `train` as Snakemake measures it, mean and range over the trainings: wall time, and
the most memory of the processor that was held at once. A training that was interrupted counts from its last start.
Parameters are all numbers in generator.safetensors. Operations are counted, not measured: multiplications and additions
of convolutions and products of matrices in all steps of a training.
"""
