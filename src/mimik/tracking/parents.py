"""Parent runs: MLflow folds the runs that belong together under one, with what they have in common."""

from collections.abc import Mapping
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from mimik.settings.alike import ALIKE
from mimik.settings.replicates import replicate
from mimik.storage.files import digest
from mimik.tracking.content import send_metrics, send_params

if TYPE_CHECKING:
    from mlflow import MlflowClient

TEST = "evaluation/"
"""What the names of values begin with that were measured on test faces. MLflow opens a comparison on the first names;
its own, of the machine, begin with `system/`."""

DEVIATION = "evaluation_deviation/"
"""What the names of standard deviations between trainings begin with; sorted, they follow `TEST`."""

PARENT = "mlflow.parentRunId"
"""MLflow's own tag of a run that stands under another one."""

TRAININGS, OF = "trainings_key", "trainings_of"
"""Tags: of a training, by which the others of its method are found, and of their parent."""


def join_trainings(client: "MlflowClient", run: Any, config: Mapping[str, Any]) -> None:
    """Put the evaluated trainings of one method, which differ only in their seed, under a parent with their means.

    There is no parent for a single training.

    Args:
        client: of the server.
        run: the run of an evaluated training.
        config: config.json of the training.
    """
    key = trainings_key(config)
    experiment = run.info.experiment_id
    client.set_tag(run.info.run_id, TRAININGS, key)
    members = client.search_runs([experiment], f"tags.{TRAININGS} = '{key}'")
    # A training that was made again has a run for each time; the last one counts.
    latest = {member.data.params.get("seed"): member for member in reversed(members)}
    if len(latest) < 2:
        return
    found = client.search_runs([experiment], f"tags.{OF} = '{key}'", max_results=1)
    method = replicate(config["method"]).method
    if found:
        parent = found[0].info.run_id
    else:
        tags = {OF: key, "method": method, "scale": config["scale"]}
        parent = client.create_run(experiment, run_name=f"{method}, all trainings", tags=tags).info.run_id
        send_params(client, parent, {name: value for name, value in config.items() if name not in ("seed", "method")})
        client.set_terminated(parent)
    for member in members:
        client.set_tag(member.info.run_id, PARENT, parent)
    client.set_tag(parent, "trainings", str(len(latest)))
    send_metrics(client, parent, means([member.data.metrics for member in latest.values()]))


def trainings_key(config: Mapping[str, Any]) -> str:
    """What the trainings of one method have in common, from their config.json."""
    same = ("dataset", "dataset_digest", "scale", "protocol", *ALIKE)
    method = replicate(config["method"]).method
    return digest({"method": method, **{name: config.get(name) for name in same}})[:16]


def means(trainings: list[Mapping[str, float]]) -> dict[str, float]:
    """Means and standard deviations of the values on test faces that all of several trainings have."""
    common = [name for name in trainings[0] if name.startswith(TEST) and all(name in other for other in trainings)]
    values = {name: [training[name] for training in trainings] for name in common}
    deviations = {f"{DEVIATION}{name.removeprefix(TEST)}": stdev(of) for name, of in values.items()}
    return {name: fmean(of) for name, of in values.items()} | deviations
