"""Writes the folder of a study: a page for every rater with its pictures, and the key apart from them."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mimik.errors import UserError
from mimik.reporting.results import Result
from mimik.storage.files import atomic_path, write_json, write_text
from mimik.study.design import QUESTIONS, Design, Picture, design
from mimik.study.key import KEY, Key, read_key, study_of

PAGES, IMAGES, ANSWERS = "page", "images", "answers"
"""Folders of a study: what raters get; the pictures in it; what they send back."""


def make(
    results: Sequence[Result], output: Path, *, pairs: int, raters: int, repeats: int | None, seed: int
) -> tuple[Key, list[str]]:
    """Draw a study and write it.

        key.json              which picture is of which method: stays with those who run the study
        raters.csv            the code and the page of each rater
        page/<code>.html      what one rater sees; needs page/images and nothing else
        page/images/*.png     pictures under random names
        answers/              for the files that come back

    The same results and settings give the same files.

    Args:
        results: the methods.
        output: a new or empty folder, or that of the same study.
        pairs, raters, repeats, seed: see `mimik.study.design.design`.

    Returns:
        The key, and lines that say what was made.

    Raises:
        UserError: the results do not fit together; `output` holds something else.
    """
    drawn = design(results, pairs, raters, repeats, seed)
    key = _key(results, drawn, seed)
    _claim(output, key)
    write_json(output / KEY, key.record)
    (output / ANSWERS).mkdir(exist_ok=True)
    positions = {result.method: {int(row): place for place, row in enumerate(result.rows)} for result in results}
    # In the order of the random names, so that the times of the files say nothing either.
    for picture, name in sorted(drawn.names.items(), key=lambda entry: entry[1]):
        with atomic_path(output / PAGES / IMAGES / f"{name}.png") as temporary:
            Image.fromarray(_pixels(picture, results, positions)).save(temporary, "PNG")
    template = _template()
    for code in key.sheets:
        write_text(output / PAGES / f"{code}.html", template.render(sheet=sheet(key, code)))
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerows([("code", "page"), *((code, f"{PAGES}/{code}.html") for code in key.sheets)])
    write_text(output / "raters.csv", written.getvalue())
    return key, _told(key, output)


def sheet(key: Key, code: str) -> dict[str, Any]:
    """What the page of a rater holds: nothing in it tells which picture is of which method."""
    trials = []
    for pair, left, showing in key.sheets[code]:
        right = next(picture for picture in key.pairs[pair]["pictures"] if picture != left)
        trials.append([pair, key.pairs[pair]["question"], left, right, showing])
    questions = {
        name: {
            "asks": question.asks,
            "explains": question.explains,
            "choices": [list(choice) for choice in question.choices],
        }
        for name, question in QUESTIONS.items()
    }
    return {"study": key.study, "rater": code, "questions": questions, "trials": trials}


def _key(results: Sequence[Result], drawn: Design, seed: int) -> Key:
    first = results[0]
    ids, classes = first.store.table["id"], first.classes
    content: dict[str, Any] = {
        "dataset": first.dataset,
        "dataset_digest": first.store.digest,
        "seed": seed,
        "truth": drawn.truth,
        "methods": [
            {
                "name": result.method,
                "scale": result.scale,
                "generator_sha256": result.manifest.get("generator_sha256"),
            }
            for result in results
        ],
        "pictures": {
            name: {
                "face": str(ids.iloc[picture.row]),
                "expression": classes[picture.expression],
                "method": picture.method or None,
            }
            for picture, name in sorted(drawn.names.items(), key=lambda entry: entry[1])
        },
        "pairs": {
            name: {
                "question": pair.question,
                "face": str(ids.iloc[pair.row]),
                "target": classes[pair.target],
                # In the order of the random names: the place of a picture says nothing.
                "pictures": sorted(drawn.names[picture] for picture in pair.pictures),
            }
            for name, pair in drawn.pairs.items()
        },
        "sheets": {
            code: [[pair, drawn.names[drawn.pairs[pair].pictures[side]], showing] for pair, side, showing in trials]
            for code, trials in drawn.sheets.items()
        },
    }
    study = study_of(content)
    return Key(study, {"study": study, **content})


def _claim(output: Path, key: Key) -> None:
    """Raise `UserError` when the folder holds anything but this study."""
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: is a file; expected the folder for the study. Name another one.")
    if (output / KEY).exists():
        if read_key(output).study != key.study:
            raise UserError(
                f"{output}: holds another study (other results, numbers or seed). Answers belong to the study that "
                "they were given in: name a new folder."
            )
    elif output.exists() and any(output.iterdir()):
        raise UserError(f"{output}: is not empty and not a study of mimik. Name a new or empty folder.")


def _pixels(
    picture: Picture, results: Sequence[Result], positions: Mapping[str, Mapping[int, int]]
) -> npt.NDArray[np.uint8]:
    """uint8 (S, S, 3)."""
    if picture.method:
        result = next(result for result in results if result.method == picture.method)
        return np.asarray(result.translations[positions[picture.method][picture.row], picture.expression])
    store = results[0].store
    shows_it = store.table["expression"].iloc[picture.row] == store.classes[picture.expression]
    if shows_it or store.truth is None:
        return np.asarray(store.images[picture.row])
    place = store.truth_positions(np.array([picture.row]))[0]
    return np.asarray(store.truth[place, picture.expression])


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("mimik.study", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2")


def _told(key: Key, output: Path) -> list[str]:
    trials = [len(trials) for trials in key.sheets.values()]
    asked = {name: sum(pair["question"] == name for pair in key.pairs.values()) for name in QUESTIONS}
    targets = "their true targets" if key.record["truth"] else "faces of other people with that expression"
    return [
        f"{output}: study {key.study} of {', '.join(key.methods)} on {key.record['dataset']}.",
        f"  pairs    {', '.join(f'{count} {name}' for name, count in asked.items())}; targets are {targets}",
        f"  raters   {len(key.sheets)}, with {trials[0]} questions each: their codes and pages are in raters.csv",
        f"  key      {output / KEY}: keep it from raters; they get the folder {PAGES}/ and nothing else",
    ]
