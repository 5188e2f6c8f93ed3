"""What programs ask of a running app over HTTP: /models, /faces and /edit, as docs/app.md describes them."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from mimik.editing.app.studio import Studio
from mimik.editing.files import which_faces
from mimik.editing.wishes import attributes, mix, unit_changes
from mimik.errors import UserError
from mimik.labels import ACTION_UNITS


def add_api(studio: Studio, photograph: Any, like: Any, gr: Any) -> None:
    """Add the endpoints to the page that is being made.

    Args:
        studio: what edits.
        photograph, like: hidden components that take a file each.
        gr: the module gradio.
    """

    def or_error(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def answer(*values: Any) -> Any:
            try:
                return function(*values)
            except UserError as error:
                raise gr.Error(str(error), print_exception=False) from error

        return answer

    @or_error
    def models() -> list[dict[str, Any]]:
        """All models and what they can be asked for."""
        return [facts(studio, name) for name in studio.folders]

    @or_error
    def faces(photograph: str | None) -> list[dict[str, Any]]:
        """The faces of a photograph, from left to right: number, box in pixels, action units from 0 to 1."""
        return [
            {
                "number": number,
                "box": list(face.box),
                "action_units": dict(zip(ACTION_UNITS, face.units.round(4).tolist(), strict=True)),
            }
            for number, face in enumerate(_opened(photograph).faces, 1)
        ]

    @or_error
    def edit(
        photograph: str | None,
        model: str,
        to: str,
        strength: float,
        face: str,
        shown: str,
        has: str,
        action_units: str,
        like_face: str,
        like: str | None = None,
    ) -> str:
        """A photograph with its faces edited, a PNG that is marked as synthetic."""
        changes = unit_changes([part for part in action_units.split(",") if part.strip()])
        other = None
        if like is not None:
            number = which_faces(like_face, "like_face") if like_face else None
            if isinstance(number, str):
                raise UserError(f"like_face {number}: expected the number of a face, or nothing for the main one.")
            other = studio.exemplar(_opened(like), number)
        wish = studio.wish(model, mix(to), strength, shown, attributes(has), changes, other)
        return str(studio.file(_opened(photograph), model, which_faces(face, "face"), wish))

    def _opened(path: str | None) -> Any:
        return studio.open(None if path is None else Path(path))

    with gr.Group(visible=False):
        answer, file, call = gr.JSON(label="answer"), gr.File(label="edited"), gr.Button()
        asked = [
            photograph,
            gr.Textbox(label="model"),
            gr.Textbox("", label="to"),
            gr.Number(1.0, label="strength"),
            gr.Textbox("all", label="face"),
            gr.Textbox("", label="shown"),
            gr.Textbox("", label="has"),
            gr.Textbox("", label="action_units"),
            gr.Textbox("", label="like_face"),
            like,
        ]
    call.click(models, [], answer)
    call.click(faces, photograph, answer)
    call.click(edit, asked, file)


def facts(studio: Studio, name: str) -> dict[str, Any]:
    """What a program is told of a model: all that it needs for asking, or why the model cannot be used."""
    try:
        editor = studio.editor(name)
    except UserError as error:
        return {"name": name, "error": str(error)}
    return {
        "name": name,
        **{key: editor.config[key] for key in ("dataset", "method", "scale")},
        "size": editor.size,
        "space": editor.condition.space,
        "to": list(editor.condition.edits),
        "names": list(editor.condition.names),
        "rendered": editor.rendered,
        "grey": editor.grey,
    }
