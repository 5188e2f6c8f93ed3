"""Stand-in: a judge that is its classifier's weights."""

from pathlib import Path


def ValidationJudge(directory):  # noqa: N802 - a class in mimik
    return Path(directory, "model.safetensors").read_text()
