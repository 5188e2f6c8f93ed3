"""People are asked: `mimik study make`, `serve` and `analyse`."""

import argparse
from functools import partial
from pathlib import Path

from mimik.settings import params, stages
from mimik.verbs.chosen import PREPARED, RESULTS, inputs, settings_of


def make_study(chosen: argparse.Namespace) -> None:
    """`mimik study make`."""
    from mimik.faces.prepared.store import check_outside
    from mimik.reporting.results import read_result
    from mimik.study.pages import make

    values = settings_of(chosen)
    params.dataset_module(values, chosen.dataset)
    output = Path(chosen.output).expanduser()
    check_outside(output, *inputs(values))
    results = [read_result(RESULTS / chosen.dataset / name, PREPARED / chosen.dataset) for name in chosen.methods]
    numbers = {"pairs": chosen.pairs, "raters": chosen.raters, "repeats": chosen.repeats}
    seed = values["seed"] if chosen.seed is None else chosen.seed
    for line in make(results, output, **numbers, seed=seed)[1]:
        print(line)
    if stages.restricted(values, chosen.dataset):
        print(
            "  terms    these faces may not be passed on: do not send or upload the pages; show them on this computer "
            f"with `mimik study serve {output}`"
        )


def serve_study(chosen: argparse.Namespace) -> None:
    """`mimik study serve`."""
    from mimik.study.serving import serve

    serve(Path(chosen.folder).expanduser(), chosen.port, partial(print, flush=True))


def analyse_study(chosen: argparse.Namespace) -> None:
    """`mimik study analyse`."""
    from mimik.study.analysis import analyse

    print(analyse(Path(chosen.folder).expanduser()), end="")
