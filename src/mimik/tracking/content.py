"""What a run gets: parameters and metrics."""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mimik.settings.params import flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST_PARAM = 6000
"""Characters of a parameter that MLflow keeps."""

AT_ONCE = 1000
"""Values that MLflow takes at once."""


def send_params(client: "MlflowClient", run_id: str, config: Mapping[str, Any]) -> None:
    """Parameters that the run has not yet: a run's parameters never change."""
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    params = [
        Param(key, str(value)[:LONGEST_PARAM])
        for key, value in flatten(config).items()
        if key not in known and key not in ("run_key", "config_digest", "dataset_digest")
    ]
    for start in range(0, len(params), 100):
        client.log_batch(run_id, params=params[start : start + 100])


def send_metrics(client: "MlflowClient", run_id: str, values: Mapping[str, float]) -> None:
    """Values without a step; a later value takes the place of an earlier one of the same name."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in values.items()]
    for start in range(0, len(metrics), AT_ONCE):
        client.log_batch(run_id, metrics=metrics[start : start + AT_ONCE])


def metric_values(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Every single number in `metrics` of metrics.json: (name, value); values by class as `<name>/<class>`."""
    for name, entry in metrics.items():
        value = entry.get("value") if isinstance(entry, Mapping) else None
        if isinstance(value, bool):
            continue
        if isinstance(value, int | float):
            yield name, float(value)
        elif isinstance(value, Mapping):
            yield from ((f"{name}/{key}", float(part)) for key, part in value.items() if isinstance(part, int | float))
