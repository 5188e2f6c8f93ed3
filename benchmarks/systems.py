"""Scores and costs of all systems: collected from finished results, and the page of all that was collected.

    python benchmarks/systems.py --collect PROJECT    # small files in benchmarks/results/systems, to be committed
    python benchmarks/systems.py                      # docs/benchmark.md from all of them

PROJECT is a project's folder with results/, data/prepared/ and logs/train/. Its params.yaml is not read: settings are
those of this folder, so collect with the commit that the results were made with.
"""

import argparse
import csv
from dataclasses import asdict
from pathlib import Path

from machine import ROOT

from mimik.errors import UserError
from mimik.inspection.plan import training_operations
from mimik.reporting.benchmark import Cost, page, read_summaries, summary
from mimik.reporting.overview import systems_in
from mimik.reporting.results import Result, read_result
from mimik.reporting.trainings import gather
from mimik.settings import params
from mimik.settings.params import Params
from mimik.storage.files import write_json, write_text
from mimik.storage.weights import read_safetensors

SYSTEMS = ROOT / "benchmarks" / "results" / "systems"

PAGE = ROOT / "docs" / "benchmark.md"

PLACES = (("synthetic", "demo"), ("open_faces", "laptop"))
"""Datasets and scales that the page should have all systems of."""


def collect(project: Path, values: Params, folder: Path) -> list[Path]:
    """Write a summary of every system that has results in a project."""
    written = []
    for dataset, _ in PLACES:
        found = systems_in(project / "results" / dataset, values["systems"])
        results = gather([read_result(one, project / "data" / "prepared" / dataset) for one in found])
        for result in results:
            made = summary(result, cost(project, values, result))
            path = folder / made.file
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, asdict(made))
            written.append(path)
    return written


def cost(project: Path, values: Params, result: Result) -> Cost:
    """Of the trainings of a result."""
    logs = [_log(project / "logs" / "train" / f"{result.dataset}_{one.method}.tsv") for one in result.trainings]
    weights = result.directory / "generator.safetensors"
    numbers = 0  # of pictures that were made elsewhere nothing is known
    if weights.exists():
        numbers = sum(value.numel() for value in read_safetensors(weights, "Train again.").values())
    try:
        scaled = {**values, "scale": result.scale, "protocol": result.protocol}
        operations = training_operations(scaled, result.dataset, result.method)
    except UserError:
        operations = None
    return Cost(tuple(one[0] for one in logs), tuple(one[1] for one in logs), numbers, operations)


def _log(path: Path) -> tuple[float | None, float | None]:
    """Seconds and MiB of a job by Snakemake's file."""
    if not path.exists():
        return None, None
    with path.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened, delimiter="\t"))
    return (float(rows[-1]["s"]), float(rows[-1]["max_rss"])) if rows else (None, None)


def main() -> None:
    """Collect, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", type=Path, metavar="PROJECT")
    chosen = parser.parse_args()
    values = params.load(ROOT / "params.yaml")
    if chosen.collect is not None:
        for path in collect(chosen.collect, values, SYSTEMS):
            print(f"{path}: written")
        return
    write_text(PAGE, page(read_summaries(SYSTEMS), dict.fromkeys(PLACES, values["systems"])))
    print(f"{PAGE}: written")


if __name__ == "__main__":
    main()
