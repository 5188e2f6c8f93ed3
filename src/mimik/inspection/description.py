"""A description of a prepared dataset and of its origin: `mimik data describe`."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from mimik.datasets.listing import ATTRIBUTE
from mimik.errors import UserError
from mimik.faces.prepared.label_quality import LabelScores
from mimik.faces.prepared.store import SPLITS, FaceStore, extractor_of
from mimik.inspection.archives import counted, left_out
from mimik.labels import ACTION_UNITS

TERMS = (
    "photographs of a restricted set must not be passed on, and neither must sheets, exports or anything else that "
    "shows them."
)
"""The line on photographs of people; the licence says what is restricted."""

NEEDS = ("options", "seed", "licence", "citation", "arrays", "annotations", "landmarks", "packages", "aligned_fraction")
"""Entries of manifest.json that a description tells of, besides those that every reader needs."""


def describe(store: FaceStore, scores: LabelScores | None = None) -> Iterator[str]:
    """Lines on one prepared dataset, read from its folder only: nothing of the raw archive is opened.

    Source and digests, what read it and with which version, parameters, faces by class and split, doubted labels (with
    `scores`), persons, attributes, annotations, what is left out for which reason, licence and citation.

    Raises:
        UserError: a file that the manifest lists is missing.
    """
    manifest, table = store.manifest, store.table
    photographs = manifest["source"] == "photographs"
    yield str(manifest["dataset"])
    yield from _source(manifest)
    yield from _store(store)
    yield from _extractors(manifest, table)
    yield "  options  (seed " + str(manifest["seed"]) + ")"
    for name, value in manifest["options"].items():
        yield f"    {name}: {_plain(value)}"
    for note in manifest.get("notes", ()):
        yield f"  note     {note}"
    yield f"  faces    {len(table):,}"
    yield from counted(table)
    if scores is not None:
        yield from doubted(scores)
    yield from _attributes(table)
    yield from left_out(list(store.quarantine().itertuples(index=False, name=None)))
    yield f"  licence  {manifest['licence']}"
    yield f"  cite     {manifest['citation']}"
    if manifest.get("restricted"):
        yield "  push     no: `dvc push` does not upload what is made from this dataset"
    if photographs:
        yield f"  terms    {TERMS}"


def doubted(scores: LabelScores) -> Iterator[str]:
    """Lines on the labels of the training faces that classifiers doubt, by class."""
    yield (
        f"  labels   {int(scores.doubted.sum()):,} of {len(scores.rows):,} training labels are doubted by classifiers "
        f"trained on other persons ({scores.record['folds']} folds):"
    )
    classes = scores.record["classes"]
    width = max(map(len, classes))
    for name, numbers in classes.items():
        yield (
            f"    {name:{width}}{numbers['doubted']:>8,} of {numbers['faces']:>7,}; told right "
            f"{numbers['told_right']:.0%}, threshold {numbers['threshold']:.2f}"
        )


def _source(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What was read, by which importer."""
    importer = manifest.get("importer")
    if importer is None:
        read_by = "an importer that the manifest does not record; prepare the dataset again to record it"
    else:
        layout = f", layout: {importer['layout']}" if importer["layout"] else ""
        read_by = f"importer {importer['module']} of mimik {importer['version']}{layout}"
    yield f"  source   {manifest['source']}, by {read_by}"
    for total in manifest.get("found", ()):
        yield f"  found    {total}"
    if importer is not None and "code_sha256" in importer:
        yield f"  code     sha256 of all code that is run {importer['code_sha256']}; images by {importer['decoder']}"
    if files := manifest.get("files"):
        yield (
            f"  files    {files['count']:,} photographs, {files['bytes'] / 1e6:,.1f} MB, sha256 of each in index.csv, "
            f"of the list {files['sha256']}"
        )


def _store(store: FaceStore) -> Iterator[str]:
    manifest = store.manifest
    sizes = ", ".join(map(str, manifest["sizes"]))
    yield f"  store    {store.directory}, sizes {sizes} px, digest {manifest['digest']}"
    for name, sha256 in sorted(manifest["arrays"].items()):
        path = store.directory / name
        if not path.exists():
            raise UserError(f"{path}: missing, but manifest.json lists it. Prepare the dataset again.")
        megabytes = path.stat().st_size / 1e6
        yield f"    {name:22} {megabytes:>11,.1f} MB  sha256 {sha256}"


def _extractors(manifest: Mapping[str, Any], table: pd.DataFrame) -> Iterator[str]:
    """Which annotations there are, and what made them."""
    masks = (manifest.get("masks") or "origin not recorded") if "masks" in manifest["annotations"] else "none"
    if segmenter := manifest.get("mask_segmenter"):
        masks += (
            f" {segmenter['dataset']}/{segmenter['name']} ({segmenter['image_size']} px, least confidence "
            f"{segmenter['confidence']}, sha256 {segmenter['sha256']})"
        )
    rest = [name for name in manifest["annotations"] if name != "masks"]
    yield f"  marks    landmarks: {manifest['landmarks']}; masks: {masks}" + "".join(f"; {name}" for name in rest)
    units = extractor_of(manifest) or ("origin not recorded" if ACTION_UNITS[0] in table else "none")
    yield f"  units    action units: {units}"
    if files := manifest.get("reconstruction_files"):
        told = ", ".join(f"{kind} {file['file']} (sha256 {file['sha256']})" for kind, file in files.items())
        yield f"  depth    {manifest['reconstruction']}: {told}"
    if manifest["packages"]:
        yield f"  made by  {', '.join(manifest['packages'])}; alignment template {manifest['template']}"
    if manifest["aligned_fraction"] is not None:
        yield f"  aligned  {manifest['aligned_fraction']:.1%} of the listed images"


def _attributes(table: pd.DataFrame) -> Iterator[str]:
    """How many faces have each binary attribute, by split."""
    names = [name for name in table.columns.astype(str) if name.startswith(ATTRIBUTE)]
    if not names:
        return
    sums = table.groupby("split")[names].sum().reindex(list(SPLITS), fill_value=0)
    yield "  faces with an attribute:"
    width = max(len(name) for name in names) - len(ATTRIBUTE)
    yield f"    {'':{width}}" + "".join(f"{split:>10}" for split in (*SPLITS, "together"))
    for name in names:
        values = [int(value) for value in sums[name]]
        cells = "".join(f"{value:>10,}" for value in (*values, sum(values)))
        yield f"    {name.removeprefix(ATTRIBUTE):{width}}{cells}"


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "(empty)"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(part)}" for key, part in value.items())
    return "true" if value is True else "false" if value is False else "none" if value is None else str(value)
