"""The page of the app, made of gradio's components around a `Studio`."""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from PIL import Image
from skimage import data

from mimik.editing.app.api import add_api
from mimik.editing.app.studio import LARGEST_FILE, Opened, Studio
from mimik.editing.files import which_faces
from mimik.editing.wishes import STRONGEST, Wish
from mimik.errors import UserError
from mimik.labels import ACTION_UNIT_NAMES, ACTION_UNITS

AT_ONCE = 2
"""Edits that are computed at the same time; those of more people wait for their turn."""

WAITING = 64
"""Edits that may wait; more are refused with a message."""

AGE = 3600
"""Seconds after which uploaded photographs and pictures that were shown are deleted."""

UNCHANGED = "leave it"
"""Choice of no target expression, for models of action units."""

CSS = """
.gradio-container { max-width: 1280px !important; margin: 0 auto; }
#layout { display: grid; grid-template: "photo result" auto "controls result" 1fr / minmax(300px, 2fr) 3fr; }
#photo { grid-area: photo; } #result { grid-area: result; } #controls { grid-area: controls; }
#units .form { max-height: 28em; overflow-y: auto; }
#message:not(:has(p)), #remark:not(:has(p)) { display: none; }
#message p { padding: 0.6em 0.8em; border-left: 4px solid #d97706; background: #d9770618; }
#about td, #about th { overflow-wrap: normal; word-break: normal; }
#about td code { word-break: break-all; }
#strip .caption-label, #compared .caption-label { max-width: 100%; white-space: normal; }
#strip .grid-wrap, #compared .grid-wrap { min-height: 0; max-height: none; }
@media (max-width: 760px) {
  #layout { grid-template: "photo" "result" "controls" / minmax(0, 1fr); }
  #about table { display: block; overflow-x: auto; }
  #strip .grid-container, #compared .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
}
"""


def page(studio: Studio, place: Path, gr: Any) -> Any:
    """The `gradio.Blocks` of an app.

    Args:
        studio: what it edits with.
        place: the folder of gradio's temporary files, where the example is put.
        gr: the module gradio, which is imported by `mimik app` alone.
    """
    names, answers = list(studio.folders), _Answers(studio, gr)
    example = place / "astronaut.png"
    Image.fromarray(data.astronaut()).save(example)
    with gr.Blocks(title="mimik", analytics_enabled=False, delete_cache=(60, AGE), fill_width=True) as blocks:
        gr.Markdown("# mimik\nChange the expression of the faces in a photograph. Every edit is marked as synthetic.")
        with gr.Row(elem_id="layout"):
            with gr.Column(elem_id="photo", min_width=0):
                photograph = gr.Image(
                    label=f"Photograph, at most {LARGEST_FILE} MB", sources=["upload", "webcam", "clipboard"],
                    height=240, elem_id="photograph", buttons=[],
                )  # fmt: skip
                _as_it_came(photograph)
                gr.Examples([[str(example)]], [photograph], label="Or try this one (NASA, public domain)")
                numbered = gr.Image(
                    label="Faces", show_label=False, visible=False, interactive=False, format="jpeg", buttons=[],
                    elem_id="numbered",
                )  # fmt: skip
                face = gr.Radio(["all"], value="all", label="Face, or click on it", visible=False, elem_id="face")
            with gr.Column(elem_id="result", min_width=0):
                message = gr.Markdown(elem_id="message")
                with gr.Tabs():
                    with gr.Tab("Edit"):
                        slider = gr.ImageSlider(
                            label="Before and after", show_label=False, interactive=False, buttons=["fullscreen"],
                            max_height=560, elem_id="slider", type="filepath",
                        )  # fmt: skip
                    with gr.Tab("Expressions"):
                        strip_button = gr.Button("Show all expressions", elem_id="all")
                        strip = _gallery(gr, "strip")
                    with gr.Tab("Compare"):
                        models = gr.CheckboxGroup(names, value=names[:4], label="Models", elem_id="models")
                        compare_button = gr.Button("Compare", elem_id="compare")
                        compared = _gallery(gr, "compared")
                    with gr.Tab("About"):
                        about = gr.Markdown(elem_id="about")
                remark = gr.Markdown(elem_id="remark")
            with gr.Column(elem_id="controls", min_width=0):
                model = gr.Dropdown(names, value=next(iter(names), None), label="Model", elem_id="model")
                to = gr.Radio([], label="Expression", elem_id="to", interactive=True, visible=False)
                strength = gr.Slider(0, STRONGEST, 1, step=0.05, label="Strength", elem_id="strength")
                shown = gr.Dropdown([], label="The face shows now", elem_id="shown", interactive=True, visible=False)
                has = gr.CheckboxGroup([], label="The face has", elem_id="has", interactive=True, visible=False)
                with gr.Accordion("Action units", elem_id="units", visible=False) as group:
                    units = [
                        gr.Slider(-1, 1, 0, step=0.05, label=f"{name} {ACTION_UNIT_NAMES[name]}", elem_id=name)
                        for name in ACTION_UNITS
                    ]
                save = gr.Button("Edit at full size", variant="primary", elem_id="save")
                saved = gr.File(label="Full size, marked as synthetic", visible=False, elem_id="saved")

        def clicked(path: str | None, event: gr.SelectData) -> Any:  # gradio looks for this annotation
            return answers.clicked(path, event.index)

        wished = [to, strength, shown, has, *units]
        edit = [photograph, model, face, *wished]
        own = {"api_visibility": "private", "concurrency_limit": AT_ONCE}
        preview = {
            "fn": answers.preview, "inputs": edit, "outputs": [slider, remark, saved, message],
            "show_progress": "hidden", "trigger_mode": "always_last", **own,
        }  # fmt: skip
        model_chosen = {
            "fn": answers.model, "inputs": model, "outputs": [to, shown, has, group, about, message],
            "show_progress": "hidden", **own,
        }  # fmt: skip
        measured = {
            "fn": answers.measured, "inputs": [photograph, face], "outputs": [*units, message],
            "show_progress": "hidden", **own,
        }  # fmt: skip
        blocks.load(**model_chosen)
        model.change(**model_chosen).then(**preview)
        photograph.change(
            answers.photograph, photograph, [numbered, face, message], **own
        ).then(**measured).then(**preview)  # fmt: skip
        numbered.select(clicked, photograph, face, **own)
        face.change(**measured).then(**preview)
        gr.on([control.input for control in wished], **preview)
        save.click(answers.file, edit, [saved, message], **own)
        strip_button.click(answers.strip, edit, [strip, message], **own)
        compare_button.click(answers.comparison, [photograph, models, face, *wished], [compared, message], **own)
        add_api(studio, _as_it_came(gr.Image(label="photograph", visible=False)), gr)
    return blocks.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE)


def _as_it_came(image: Any) -> Any:
    """Let a `gradio.Image` hand on the file that it was given: Pillow, as gradio calls it, opens any format."""
    image.preprocess = lambda payload: None if payload is None else str(payload.path)
    return image


HIDDEN = object()
"""Stands for a part of the page that an error hides."""


def _gallery(gr: Any, name: str) -> Any:
    return gr.Gallery(
        elem_id=name, columns=3, object_fit="contain", height="auto", show_label=False, interactive=False, buttons=[]
    )


def _or_message(*otherwise: Any) -> Callable[[Callable[..., Sequence[Any]]], Callable[..., list[Any]]]:
    """An answer to the page with an empty message after it; these values and the message of a `UserError` instead."""

    def told(function: Callable[..., Sequence[Any]]) -> Callable[..., list[Any]]:
        @wraps(function)
        def answer(self: Any, *values: Any) -> list[Any]:
            try:
                return [*function(self, *values), ""]
            except UserError as error:
                hide = self.gr.update(visible=False)
                return [*(hide if value is HIDDEN else value for value in otherwise), f"{error}"]

        return answer

    return told


class _Answers:
    """What the page shows when something on it is chosen: one method for each event, its outputs in their order."""

    def __init__(self, studio: Studio, gr: Any) -> None:
        self.studio, self.gr = studio, gr

    @_or_message(HIDDEN, HIDDEN)
    def photograph(self, path: str | None) -> list[Any]:
        """Another photograph: its faces with their numbers, if there are several."""
        several = path is not None and len(self._opened(path).faces) > 1
        numbers = [str(number) for number in range(1, len(self._opened(path).faces) + 1)] if several else []
        return [
            self.gr.update(value=self._opened(path).numbered if several else None, visible=several),
            self.gr.update(choices=["all", *numbers], value="all", visible=several),
        ]

    @_or_message(*[0] * len(ACTION_UNITS))
    def measured(self, path: str | None, which: str) -> list[Any]:
        """Another face: its action units, beside the sliders that change them."""
        faces = [] if path is None else self._opened(path).faces
        face = faces[0] if len(faces) == 1 else faces[int(which) - 1] if faces and which != "all" else None
        now = [""] * len(ACTION_UNITS) if face is None else [f"measured: {value:.2f}" for value in face.units]
        return [self.gr.update(info=text, value=0) for text in now]

    @_or_message(HIDDEN, HIDDEN, HIDDEN, HIDDEN, "")
    def model(self, name: str | None) -> list[Any]:
        """Another model: the controls that it has, and its card."""
        editor = self.studio.editor(name)
        space, edits, update = editor.condition.space, list(editor.condition.edits), self.gr.update
        neutral = "neutral" if "neutral" in edits else edits[0]
        return [
            update(
                choices=[UNCHANGED, *edits] if space == "action_units" else edits,
                value=next((edit for edit in edits if edit != neutral), neutral),
                label="Attribute to reverse" if space == "attributes" else "Expression",
                visible=True,
            ),
            update(choices=edits, value=neutral, visible=space == "expression"),
            update(choices=list(editor.config["attributes"]), value=[], visible=space == "attributes"),
            update(visible=space == "action_units"),
            self.studio.about(name),
        ]

    @_or_message(None, "", HIDDEN)
    def preview(self, path: str | None, name: str | None, which: str, *values: Any) -> list[Any]:
        """Another edit: before and after, and what to know about it."""
        if path is None:
            return [None, "", self.gr.update(visible=False)]
        photograph = self._opened(path)
        pictures = self.studio.preview(photograph, name, which_faces(which), self._wish(name, *values))
        remarks = "\n\n".join(f"⚠ {remark}." for remark in self.studio.remarks(photograph, name))
        # The file that was made last shows another edit.
        return [tuple(map(str, pictures)), remarks, self.gr.update(visible=False)]

    @_or_message(HIDDEN)
    def file(self, path: str | None, name: str | None, which: str, *values: Any) -> list[Any]:
        """The edit of the whole photograph, to download."""
        file = self.studio.file(self._opened(path), name, which_faces(which), self._wish(name, *values))
        return [self.gr.update(value=str(file), visible=True)]

    @_or_message(None)
    def strip(self, path: str | None, name: str | None, which: str, to: str | None, *others: Any) -> list[Any]:
        """All expressions at the chosen strength."""
        wish = self._wish(name, to, *others)
        return [_captioned(self.studio.strip(self._opened(path), name, which_faces(which), wish))]

    @_or_message(None)
    def comparison(self, path: str | None, names: Sequence[str], which: str, *values: Any) -> list[Any]:
        """The same edit by several models."""
        if not names:
            raise UserError("Choose the models to compare.")
        wishes = {name: self._wish(name, *values) for name in names}
        return [_captioned(self.studio.comparison(self._opened(path), wishes, which_faces(which)))]

    def clicked(self, path: str | None, place: Sequence[int]) -> Any:
        """A click on the numbered faces, at (x, y): the number of the face there."""
        number = self._opened(path).number_at(*place)
        return self.gr.update() if number is None else str(number)

    def _opened(self, path: str | None) -> Opened:
        return self.studio.open(None if path is None else Path(path))

    def _wish(
        self, name: str | None, to: str | None, strength: float, shown: str | None, has: Sequence[str], *changes: float
    ) -> Wish:
        target = None if to == UNCHANGED else to
        return self.studio.wish(name, target, strength, shown, has, dict(zip(ACTION_UNITS, changes, strict=True)))


def _captioned(pictures: Any) -> list[tuple[str, str]]:
    return [(str(file), caption) for file, caption in pictures]
