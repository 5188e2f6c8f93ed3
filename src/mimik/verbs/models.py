"""A trained method in use: `mimik edit`, `app`, `gallery`, `export` and `models`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mimik.errors import UserError
from mimik.verbs.chosen import RESULTS, inputs, settings_of

if TYPE_CHECKING:
    from mimik.editing.catalogue import Entry


def edit_photograph(chosen: argparse.Namespace) -> None:
    """`mimik edit`."""
    from mimik.editing import commands
    from mimik.editing.files import which_faces
    from mimik.editing.wishes import Wish, attributes, mix, unit_changes
    from mimik.faces.prepared.store import check_outside
    from mimik.storage.provenance import KINDS

    photographs, output = [Path(name) for name in chosen.photographs], Path(chosen.output)
    check_outside(output, *inputs())
    has = None if chosen.has is None else attributes(chosen.has)
    to = None if chosen.to is None else mix(chosen.to)
    wish = Wish(to, chosen.strength, chosen.shown, unit_changes(chosen.au), has)
    like, record = (None if name is None else Path(name) for name in (chosen.like, chosen.json))
    if record is not None:
        check_outside(record, *inputs())
    which, model = which_faces(chosen.face), Path(chosen.model)
    options = {"which": which, "like": like, "record": record, "overwrite": chosen.overwrite}
    if len(photographs) == 1 and not photographs[0].is_dir() and not output.is_dir():
        commands.run(photographs[0], model, output, wish, chosen.sheet, **options)
        return
    if chosen.sheet:
        raise UserError("--sheet: shows the faces of one photograph. For several, use `mimik gallery`.")
    if output.suffix.lower() in KINDS and not output.is_dir():
        raise UserError(f"{output}: expected a folder, because several photographs are edited.")
    if not commands.run_many(photographs, model, output, wish, **options):
        raise SystemExit(commands.NOT_ALL)


def serve_app(chosen: argparse.Namespace) -> None:
    """`mimik app`."""
    from mimik.editing.app import serve
    from mimik.editing.catalogue import entries, folder_of, model_folder

    weights, given = "generator.safetensors", [model_folder(name) for name in chosen.model]
    if missing := [str(folder) for folder in given if not (folder / weights).is_file()]:
        raise UserError(
            f"--model {missing[0]}: expected results/<dataset>/<method> or an exported folder, with {weights}; or "
            "one of `mimik models list`."
        )
    models = given or sorted(file.parent for file in RESULTS.glob(f"*/*/{weights}"))
    if not models:  # a first look, before anything has been trained here
        models = [folder for entry in entries().values() if (folder := folder_of(entry)) is not None]
    values = settings_of(chosen) if Path("params.yaml").is_file() else None
    serve.run(models, values, chosen.host, chosen.port)


def export_model(chosen: argparse.Namespace) -> None:
    """`mimik export`."""
    from mimik.editing.catalogue import model_folder
    from mimik.editing.exporting import export
    from mimik.faces.prepared.store import check_outside

    named = {key: getattr(chosen, key) for key in ("onnx", "program", "folder", "edits")}
    paths = {key: Path(value) for key, value in named.items() if value is not None}
    for path in paths.values():
        check_outside(path, *inputs())
    values = settings_of(chosen) if Path("params.yaml").is_file() else None
    if chosen.half and paths.keys() != {"folder"}:
        raise UserError("--half: is for --folder alone; the other forms keep the weights as they are.")
    model = model_folder(chosen.model)
    onnx, program, folder, edits = (paths.get(key) for key in named)
    given = {"half": chosen.half, "overwrite": chosen.overwrite}
    export(model, values, onnx=onnx, program=program, folder=folder, edits=edits, **given)


def list_models(chosen: argparse.Namespace) -> None:
    """`mimik models list`."""
    from mimik.editing.catalogue import entries, folder_of

    for entry in entries().values():
        there = "comes with mimik" if entry.archive is None else "fetched" if folder_of(entry) else _to_fetch(entry)
        figures = ", ".join(f"{name} {value:g}" for name, value in entry.figures.items())
        print(f"{entry.name}: {entry.method} on {entry.dataset}, scale {entry.scale}, {entry.image_size} px; {there}")
        print(f"  {entry.note} {figures}; made by commit {entry.commit[:7]}. {entry.terms}")


def _to_fetch(entry: "Entry") -> str:
    """Of a model that is not here: how large it is, and how to get it."""
    assert entry.archive is not None
    size = f"{entry.archive.bytes / 1e6:.1f} MB"
    if entry.archive.address is None:
        return f"{size}, without a download address: for those who have {entry.archive.name(entry.name)} in a mirror"
    return f"{size}: mimik models fetch {entry.name}"


def verify_models(chosen: argparse.Namespace) -> None:
    """`mimik models verify`."""
    from mimik.editing.catalogue import entries, entry, folder_of, verify

    asked = [entry(name) for name in chosen.models]
    for model in asked or entries().values():
        folder = folder_of(model)
        if folder is not None:
            verify(model, folder)
            print(f"{model.name}: as it should be, in {folder}")
        elif asked:
            raise UserError(f"{model.name}: not on this machine yet. Run `mimik models fetch {model.name}`.")


def fetch_model(chosen: argparse.Namespace) -> None:
    """`mimik models fetch`."""
    from mimik.editing.catalogue import entry, fetch

    model = entry(chosen.model)
    print(f"{model.name}: as it should be, in {fetch(model, chosen.mirror)}")
    print(model.note)
    print(f"Use it by its name: mimik edit me.jpg --model {model.name} ...")


def pack_model(chosen: argparse.Namespace) -> None:
    """`mimik models pack`."""
    from mimik.editing.packing import pack
    from mimik.faces.prepared.store import check_outside

    output = Path(chosen.output)
    check_outside(output, *inputs())
    print(pack(chosen.name, Path(chosen.result), output, settings_of(chosen), half=chosen.half), end="")


def write_gallery(chosen: argparse.Namespace) -> None:
    """`mimik gallery`."""
    from mimik.editing import gallery
    from mimik.faces.prepared.store import check_outside

    output = Path(chosen.output)
    check_outside(output, *inputs())
    folder, model = Path(chosen.photographs), Path(chosen.model)
    gallery.run(folder, model, output, chosen.shown, chosen.most, overwrite=chosen.overwrite)
