"""Stand-in of the settings of an evaluation."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EvaluationSettings:
    metrics: tuple[str, ...]
    bootstrap: int
    seed: int
