"""The project itself: `mimik init`, `dvc`, `mlflow`, `plan` and `params`."""

import argparse
import json
import shlex
import sys
from pathlib import Path

from mimik.settings import agreement, params, stages
from mimik.verbs.chosen import PREPARED, RESULTS, settings_of, shown_on


def init_project(chosen: argparse.Namespace) -> None:
    """`mimik init`."""
    from mimik.settings.shipped import new_project

    folder = Path(chosen.folder).expanduser()
    faults = new_project(folder)
    stages.write_table(params.load(folder / "params.yaml"), folder)
    print(f"{folder}: a project with the settings that come with mimik, in params.yaml and params/. Next:")
    print(f"  cd {shlex.quote(str(folder))}")
    print("  snakemake --dry-run                      what would be made")
    print("  snakemake --config scale=smoke           all of it in small, in a minute or two")
    print("  snakemake                                the demo: two methods on rendered faces, and a report")
    for fault in faults:
        print(f"mimik: {fault}", file=sys.stderr)


def tell_dvc(chosen: argparse.Namespace) -> None:
    """`mimik dvc`."""
    print(agreement.tell(Path.cwd()))


def plan_item(chosen: argparse.Namespace) -> None:
    """`mimik plan`."""
    from mimik.inspection.plan import plan

    for line in plan(shown_on(settings_of(chosen), chosen), chosen.item, chosen.card, chosen.rate):
        print(line, flush=True)


def show_params(chosen: argparse.Namespace) -> None:
    """`mimik params`."""
    values = settings_of(chosen)
    if chosen.stages:
        print(f"{stages.TABLE}: {'written' if stages.write_table(values, Path.cwd()) else 'up to date'}")
    if chosen.options:
        from mimik.settings import options

        print(f"{options.PAGE}: {'written' if options.write(Path.cwd()) else 'up to date'}")
    if chosen.tables:
        from mimik.settings import published

        print(f"{published.PAGE}: {'written' if published.write(values, Path.cwd()) else 'up to date'}")
    if chosen.outside:
        stages.write_outside(values, Path.cwd(), chosen.outside)
    if chosen.settings:
        agreement.check(Path.cwd())
        stages.write_decisions(values, Path.cwd())
    if chosen.method:
        from mimik.settings.complete import complete

        json.dump(complete(values, chosen.dataset, chosen.method), sys.stdout, indent=2)
        print()
    elif chosen.dataset:
        json.dump(params.resolve_dataset(values, chosen.dataset), sys.stdout, indent=2)
        print()
    elif not (chosen.stages or chosen.options or chosen.tables or chosen.settings or chosen.outside):
        print("params.yaml: fine. Experiments: " + ", ".join("/".join(pair) for pair in params.experiments(values)))


def tell_mlflow(_chosen: argparse.Namespace) -> None:
    """`mimik mlflow`."""
    from mimik.tracking.runs import send_results

    for line in send_results(RESULTS, PREPARED):
        print(line, flush=True)
