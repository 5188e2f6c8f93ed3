"""`mimik export`: a trained method for other places, as an ONNX file, a program of `torch.export`, or a folder."""

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch

from mimik import __version__
from mimik.editing.cards import Terms, card, terms_of
from mimik.editing.graphs import (
    BATCHES,
    OPSET,
    TOLERANCE,
    described,
    difference,
    example_inputs,
    onnx_of,
    program_of,
    speed,
)
from mimik.editing.pictures import write_edits
from mimik.errors import UserError
from mimik.settings.params import Params
from mimik.storage.files import atomic_path, file_sha256, write_json, write_text
from mimik.storage.records import read_record
from mimik.storage.weights import check_finite
from mimik.training.runs import load_method

PREPARED = Path("data/prepared")


class Contents(NamedTuple):
    """What an exported folder holds beside config, figures and card.

    Attributes:
        weights: generator.safetensors; unless rounded, the same bytes: by its digest the model that was measured.
        precision: of the weights, and how far edits moved when they were rounded; empty where they are as trained.
        graph: model.onnx; empty where there is none.
        without: why there is none.
    """

    weights: bytes
    precision: str
    graph: bytes
    without: str


NEEDS = ("template", "sizes", "method", "dataset", "scale")
"""Entries of config.json without which a method cannot edit photographs."""


def export(
    model: Path,
    params: Params | None,
    *,
    onnx: Path | None = None,
    program: Path | None = None,
    folder: Path | None = None,
    edits: Path | None = None,
    half: bool = False,
    graph: bool = True,
    overwrite: bool = False,
) -> None:
    """Write a trained method in one or more forms, and say on the console how each can be used.

    Args:
        model: results/<dataset>/<method>, or an exported folder.
        params: params.yaml of the project, which knows the licences of datasets; None outside of a project.
        onnx: the ONNX file to write; compared with PyTorch before it is.
        program: the program of `torch.export` to write (.pt2).
        folder: the folder to write: generator.safetensors, config.json, metrics.json (where the method was measured),
            model.onnx (where it has a graph) and README.md, the model card.
        edits: the folder to write the edits of the test faces to (`mimik.editing.pictures`); they need no weights.
        half: round the weights to half precision, which halves the files; the card says what this changes.
        graph: whether the folder gets a model.onnx.
        overwrite: replace files that exist, and the files of an earlier export in `folder`.

    Raises:
        UserError: there is no trained method, it has no graph, a package of the extra `export` is missing, or an output
            exists.
    """
    if onnx is program is folder is edits is None:
        raise UserError("export: name what to write: --onnx FILE, --torch-export FILE, --folder DIR or --edits DIR.")
    for path, ending in ((onnx, ".onnx"), (program, ".pt2")):
        if path is not None:
            _check_file(path, ending, overwrite)
    if folder is not None:
        _check_folder(folder, model, overwrite)
    if edits is not None:
        config = read_record(model / "config.json", "method", ("dataset",))
        terms = terms_of(config, params)
        write_edits(model, PREPARED / config["dataset"], edits, terms, overwrite=overwrite)
    if onnx is not None or program is not None or folder is not None:
        terms = _export_network(model, params, onnx, program, folder, half=half, graph=graph)
    if terms.restricted:
        print(f"For your own use only, do not pass it on. {terms.reason}", file=sys.stderr)


def _export_network(
    model: Path,
    params: Params | None,
    onnx: Path | None,
    program: Path | None,
    folder: Path | None,
    *,
    half: bool,
    graph: bool,
) -> Terms:
    """What needs the weights. Returns the terms under which they stand."""
    method: Any
    method, config = load_method(model, NEEDS)
    terms = terms_of(config, params)
    size, name, without = int(config["image_size"]), str(model), ""
    weights = (model / "generator.safetensors").read_bytes()
    precision = str((config.get("exported") or {}).get("precision", ""))
    if half and not precision:
        weights, precision = _halved(method, size, weights)
        print(f"Precision: {precision}.")
    traced, content = None, b""
    if onnx is not None or program is not None or (folder is not None and graph):
        try:
            traced = program_of(method, size, name)
        except UserError as error:
            if onnx is not None or program is not None:
                raise
            without = f"{error}"
    elif not graph:
        without = "`mimik export FOLDER --onnx FILE` writes one."
    if traced is not None and (onnx is not None or (folder is not None and graph)):
        about = {"mimik": __version__, "restricted": terms.restricted, "licence": terms.licence}
        sha256 = hashlib.sha256(weights).hexdigest()
        about |= {"generator_sha256": sha256, **({"not_to_be_passed_on": terms.reason} if terms.restricted else {})}
        content = onnx_of(traced, described(method.condition, config, about), name)
        apart = difference(content, method, size)
        if not apart.median <= TOLERANCE:
            raise UserError(
                f"{name}: its ONNX graph differs from PyTorch by {apart.median:.1e} on images in [-1, 1]; at most "
                f"{TOLERANCE:g} is allowed. Nothing was written."
            )
        print(
            f"ONNX, opset {OPSET}: {apart.median:.1e} from PyTorch on images in [-1, 1], the median over "
            f"{sum(BATCHES)} faces of a face's largest difference; {apart.worst:.1e} at most."
        )
        taken = speed(content, method, size)
        print(
            f"One face of {size} px on {taken.threads} thread(s): {taken.onnx:.1f} ms in onnxruntime, "
            f"{taken.torch:.1f} ms in PyTorch."
        )
    if onnx is not None:
        _write_bytes(onnx, content)
        print(f"{onnx}: {len(content):,} bytes.")
    if program is not None:
        assert traced is not None
        with atomic_path(program) as temporary, temporary.open("wb") as opened:
            torch.export.save(traced, opened)
        print(f"{program}: read it with torch.export.load.")
    if folder is not None:
        _write_folder(folder, model, method, config, terms, Contents(weights, precision, content, without))
        print(f"{folder}: the model with its card, README.md.{f' No model.onnx: {without}' if without else ''}")
    return terms


def _write_folder(
    folder: Path,
    model: Path,
    method: Any,
    config: Mapping[str, Any],
    terms: Terms,
    contents: Contents,
) -> None:
    """The files of an exported folder, the card last."""
    _write_bytes(folder / "generator.safetensors", contents.weights)
    exported = {
        "mimik": __version__,
        "restricted": terms.restricted,
        "reason": terms.reason,
        "licence": terms.licence,
        "citation": terms.citation,
        **({"precision": contents.precision} if contents.precision else {}),
    }
    write_json(folder / "config.json", {**config, "exported": exported})
    metrics = None
    if (model / "metrics.json").exists():
        metrics = read_record(model / "metrics.json", "metrics", ("metrics",))
        write_json(folder / "metrics.json", metrics)
    if contents.graph:
        _write_bytes(folder / "model.onnx", contents.graph)
    weights = {
        "count": sum(value.numel() for value in method.generator_state().values()),
        "sha256": file_sha256(folder / "generator.safetensors"),
        "precision": contents.precision,
    }
    write_text(folder / "README.md", card(config, method.condition, terms, metrics, weights, contents.without))


def _halved(method: Any, size: int, weights: bytes) -> tuple[bytes, str]:
    """Weights at half precision, as a file and in the method, and what to say of it: how far edits move by that."""
    batches = [
        [torch.from_numpy(part) for part in example_inputs(method, size, count, draw).values()]
        for draw, count in enumerate(BATCHES)
    ]
    with torch.inference_mode():
        before = [method.translate(*batch) for batch in batches]
    state = {
        name: value.half() if value.dtype == torch.float32 else value
        for name, value in safetensors.torch.load(weights).items()
    }
    check_finite(state, "half precision", "A weight is too large for half precision. Leave out --half.")
    method.load_generator_state(state)
    with torch.inference_mode():
        apart = [
            (method.translate(*batch) - edited).abs().amax((1, 2, 3))
            for batch, edited in zip(batches, before, strict=True)
        ]
    found = torch.cat(apart)
    told = (
        f"half; on images in [-1, 1], the largest change of a made-up face's edit by this is {found.median():.1e} in "
        f"the median and {found.max():.1e} at most"
    )
    return safetensors.torch.save(state), told


def _write_bytes(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _check_file(path: Path, ending: str, overwrite: bool) -> None:
    if path.suffix.lower() != ending:
        raise UserError(f"{path}: expected a name that ends in {ending}.")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; expected the name of a file.")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{path}: already exists. Name another file, or add --overwrite.")


def _check_folder(folder: Path, model: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; expected a folder to write to.")
    if folder.exists() and model.exists() and folder.samefile(model):
        raise UserError(f"{folder}: is the model itself. Name another folder.")
    if not folder.exists() or not any(folder.iterdir()):
        return
    config = folder / "config.json"
    ours = config.is_file() and "exported" in read_record(config, "method")
    if not (ours and overwrite):
        advice = "Name another folder, or add --overwrite." if ours else "Name a new or empty folder."
        raise UserError(f"{folder}: already holds files. {advice}")
