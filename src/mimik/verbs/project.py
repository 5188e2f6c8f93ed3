"""The project itself: `mimik dvc`, `plan` and `params`."""

import argparse
import json
import sys
from pathlib import Path

from mimik.settings import agreement, params, stages
from mimik.verbs.chosen import settings_of, shown_on


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
