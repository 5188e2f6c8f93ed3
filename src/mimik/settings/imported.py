"""Which results were imported rather than made: the workflow leaves them as they are.

`mimik import` writes the folders that training writes, with `imported` in config.json. Snakemake has no rule for such
folders and DVC no stage, so that neither deletes them, overwrites them or trains in their place; what is made from them
is made as usual. To train after all, the folder is to be deleted.

This module stays light (no torch, no pandas): the Snakefile imports it.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from mimik.errors import UserError

MARK = "imported"
"""Key of config.json under which it says where imported weights come from."""


def is_imported(folder: Path) -> bool:
    """Whether the folder of a method or network holds imported weights. Unreadable files are not a matter for this."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and MARK in config


def imported_methods(project: Path) -> list[str]:
    """`<dataset>/<method>` of imported generators in results/."""
    return _found(project, "results", "*/*")


def imported_segmenters(project: Path) -> list[str]:
    """`<dataset>/segmenter/<name>` of imported segmenters in data/pretrained/."""
    return _found(project, "data/pretrained", "*/segmenter/*")


def check_importable(folder: Path) -> None:
    """Raise `UserError` if importing into a folder would overwrite what was trained there."""
    if (folder / "config.json").is_file() and not is_imported(folder):
        raise UserError(
            f"{folder}: holds what was trained here. Import into another entry of params.yaml, or delete the folder."
        )


def check_trainable(folder: Path) -> None:
    """Raise `UserError` if training into a folder would overwrite what was imported there."""
    if is_imported(folder):
        raise UserError(
            f"{folder}: holds imported weights (`{MARK}` in its config.json), which training would overwrite. Train "
            "another entry of params.yaml, or delete the folder."
        )


def made_here(names: Iterable[str], imported: Iterable[str]) -> str:
    """A regular expression for the datasets in the paths of what a rule of Snakemake makes: not of what was imported.

    Args:
        names: of the datasets.
        imported: paths from the dataset on, as of `imported_methods`.
    """
    kept = "".join(f"(?!{path}/)" for path in sorted(imported))
    return f"{kept}(?:{'|'.join(names)})"


def _found(project: Path, top: str, pattern: str) -> list[str]:
    folder = project / top
    return sorted(
        file.parent.relative_to(folder).as_posix()
        for file in folder.glob(f"{pattern}/config.json")
        if is_imported(file.parent)
    )
