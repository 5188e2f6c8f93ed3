"""A trained method in use: `mimik edit`, `app`, `gallery` and `export`."""

import argparse
from pathlib import Path

from mimik.errors import UserError
from mimik.verbs.chosen import RESULTS, inputs, settings_of


def edit_photograph(chosen: argparse.Namespace) -> None:
    """`mimik edit`."""
    from mimik.editing import commands
    from mimik.editing.files import which_faces
    from mimik.editing.wishes import Wish, attributes, unit_changes
    from mimik.faces.prepared.store import check_outside
    from mimik.storage.provenance import KINDS

    photographs, output = [Path(name) for name in chosen.photographs], Path(chosen.output)
    check_outside(output, *inputs())
    has = None if chosen.has is None else attributes(chosen.has)
    wish = Wish(chosen.to, chosen.strength, chosen.shown, unit_changes(chosen.au), has)
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

    weights, given = "generator.safetensors", [Path(name) for name in chosen.model]
    if missing := [str(folder) for folder in given if not (folder / weights).is_file()]:
        raise UserError(
            f"--model {missing[0]}: expected results/<dataset>/<method> or an exported folder, with {weights}."
        )
    models = given or sorted(file.parent for file in RESULTS.glob(f"*/*/{weights}"))
    values = settings_of(chosen) if Path("params.yaml").is_file() else None
    serve.run(models, values, chosen.host, chosen.port)


def export_model(chosen: argparse.Namespace) -> None:
    """`mimik export`."""
    from mimik.editing.exporting import export
    from mimik.faces.prepared.store import check_outside

    paths = {key: Path(value) for key in ("onnx", "program", "folder") if (value := getattr(chosen, key)) is not None}
    for path in paths.values():
        check_outside(path, *inputs())
    values = settings_of(chosen) if Path("params.yaml").is_file() else None
    export(Path(chosen.model), values, **paths, overwrite=chosen.overwrite)


def write_gallery(chosen: argparse.Namespace) -> None:
    """`mimik gallery`."""
    from mimik.editing import gallery
    from mimik.faces.prepared.store import check_outside

    output = Path(chosen.output)
    check_outside(output, *inputs())
    folder, model = Path(chosen.photographs), Path(chosen.model)
    gallery.run(folder, model, output, chosen.shown, chosen.most, overwrite=chosen.overwrite)
