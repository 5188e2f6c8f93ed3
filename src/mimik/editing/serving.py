"""A trained generator as a model that MLflow loads (`loader_module` of its pyfunc flavour): weights, no pickle.

After `mlflow.pyfunc.load_model("models:/hier_seg-synthetic/1")`, with mimik installed:

    edited = model.predict(pd.DataFrame([{"photograph": Path("me.jpg").read_bytes(), "to": "happiness"}]))
    Path("happy.png").write_bytes(edited["photograph"][0])

`mlflow models serve` takes the same as JSON, where photographs are base64.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mimik.editing.editor import PhotographEditor
from mimik.editing.files import edited_png, which_faces
from mimik.editing.wishes import Wish, attributes, mix, unit_changes
from mimik.errors import UserError

WORDS: Mapping[str, str] = {
    "to": "to", "strength": "strength", "shown": "shown", "units": "action_units", "has": "has", "like": "like"
}  # fmt: skip
"""Columns of the parts of a `Wish`; `mimik.tracking.models.SERVED` has all, with their types."""


class Editor:
    """Edits photographs with the generator of one result folder."""

    def __init__(self, folder: Path) -> None:
        """Load `generator.safetensors` with `config.json`. Raises `UserError` if one is missing or damaged."""
        self._editor = PhotographEditor(folder)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Edit photographs.

        Args:
            model_input: a DataFrame, or what makes one, with one row for each photograph. `photograph`: the bytes of an
                image file, or their base64 as text. The wish: `to` (a name, or a mix like
                "happiness=0.6,surprise=0.4"), `strength`, `shown`, `action_units` (like
                "12=+0.5,6=+0.3"), `has` (names with commas, or none), `faces` (all, largest, left, or a number), as
                `mimik edit` takes them. `aligned`: the picture is a face as it was aligned for training, of the model's
                size, and is edited as a whole; no face is looked for.
            params: passed by MLflow; none are supported.

        Returns:
            `photograph`, the bytes of PNG files that are marked as synthetic; `faces`, how many were edited; `refused`,
            why there is no edit: a picture cannot be read or has no face, or the model does not support the wish. It is
            empty for an edit; without one, `photograph` is None.

        Raises:
            UserError: there is no column `photograph`.
        """
        table = pd.DataFrame(model_input)
        if "photograph" not in table:
            raise UserError(f"expected a column `photograph`; found {', '.join(map(str, table.columns)) or 'none'}.")
        edits: list[tuple[bytes | None, int, str]] = []
        for number, row in enumerate(table.to_dict("records")):
            try:
                edits.append((*self._edited(row, f"row {number}"), ""))
            except UserError as error:
                edits.append((None, 0, str(error)))
        return pd.DataFrame(edits, columns=["photograph", "faces", "refused"])

    def _edited(self, row: Mapping[Any, Any], name: str) -> tuple[bytes, int]:
        given = {key: value for key, value in row.items() if not (pd.api.types.is_scalar(value) and pd.isna(value))}
        if "photograph" not in given:
            raise UserError(f"{name}: there is no photograph.")
        content = _content(given["photograph"], name)
        units = unit_changes([part for part in str(given.get("action_units", "")).split(",") if part])
        has = attributes(str(given["has"])) if "has" in given else None
        to = mix(str(given["to"])) if "to" in given else None
        wish = Wish(to, float(given.get("strength", 1.0)), given.get("shown"), units, has, words=WORDS)
        which = which_faces(str(given.get("faces", "all")), "faces")
        return edited_png(self._editor, content, wish, which, name, aligned=bool(given.get("aligned", False)))


def _content(value: Any, name: str) -> bytes:
    """The bytes of a picture that came as bytes or as base64."""
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=False)
        except binascii.Error as error:
            raise UserError(f"{name}: photograph: expected base64, but {error}.") from error
    return bytes(value)


def _load_pyfunc(path: str) -> Editor:
    """Called by MLflow with the folder that `tracking` registered."""
    return Editor(Path(path))
