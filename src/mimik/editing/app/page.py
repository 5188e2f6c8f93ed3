"""The page of the app, made of gradio's components around a `Studio`."""

import json
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

CSS = """
.gradio-container { max-width: 1280px !important; margin: 0 auto; overflow: clip !important; }
#layout { display: grid; grid-template: "photo result" auto "controls result" 1fr / minmax(300px, 2fr) 3fr; }
#photo { grid-area: photo; } #result { grid-area: result; } #controls { grid-area: controls; }
#result:has(#edit-button[aria-selected="true"]) { position: sticky; top: 0; z-index: 2; align-self: start; }
#units .form { max-height: 28em; overflow-y: auto; }
#asked { gap: 0.3em; } #asked .row { flex-wrap: nowrap; align-items: center; gap: 0.75em; }
#asked .row button { flex: 0 0 10em; min-width: 0; min-height: 2.2em; padding: 0 0.6em; }
#asked .row button { justify-content: start; text-align: left; overflow-wrap: anywhere; }
#asked .wrap:has(> .head) { display: flex; flex-direction: row-reverse; align-items: center; gap: 0.75em; }
#asked .head, #asked .head * { margin: 0; width: auto; } #asked .head input { width: 4em; }
#asked .slider_input_container { flex: 1; } #asked .head label, #asked .min_value, #asked .max_value { display: none; }
#message:not(:has(p)), #remark:not(:has(p)) { display: none; }
#message p { padding: 0.6em 0.8em; border-left: 4px solid #d97706; background: #d9770618; }
#about td, #about th { overflow-wrap: normal; word-break: normal; }
#about td code { word-break: break-all; }
#strip .caption-label, #compared .caption-label { max-width: 100%; white-space: normal; }
#strip .grid-wrap, #compared .grid-wrap { min-height: 0; max-height: none; }
@media (max-width: 760px) and (max-height: 740px) { #result { position: static !important; } }
@media (max-width: 760px) {
  #result { background: var(--body-background-fill); } #result:has(#edit-button) { top: -3.5em !important; }
  #result { padding-bottom: 0.5em; } #remark p { font-size: 0.85em; line-height: 1.3; }
  #asked .row button { flex-basis: 7.5em; } #asked .row, #asked .wrap:has(> .head) { gap: 0.5em; }
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
                numbered = _numbered(gr, "numbered")
                face = gr.Radio(["all"], value="all", label="Face, or click on it", visible=False, elem_id="face")
            with gr.Column(elem_id="result", min_width=0):
                message = gr.Markdown(elem_id="message")
                with gr.Tabs():
                    with gr.Tab("Edit", elem_id="edit"):
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
                with gr.Column(elem_id="asked", visible=False) as group_asked:
                    told = gr.Markdown(elem_id="told")
                    rows, only, asked = _shares(gr, studio.edits)
                strength = gr.Slider(0, STRONGEST, 1, step=0.05, label="Strength of all of it", elem_id="strength")
                shown = gr.Dropdown([], label="The face shows now", elem_id="shown", interactive=True, visible=False)
                has = gr.CheckboxGroup([], label="The face has", elem_id="has", interactive=True, visible=False)
                with gr.Accordion("Like another face", open=False, elem_id="like", visible=False) as group_like:
                    other = gr.Image(
                        label="A photograph with that face", sources=["upload", "webcam", "clipboard"], height=180,
                        elem_id="other", buttons=[],
                    )  # fmt: skip
                    _as_it_came(other)
                    other_numbered = _numbered(gr, "other_numbered")
                    other_face = gr.Radio(
                        [], label="Which face, or click on it", visible=False, interactive=True, elem_id="other_face"
                    )
                with gr.Accordion("Action units", elem_id="units", visible=False) as group:
                    units = [
                        gr.Slider(-1, 1, 0, step=0.05, label=f"{name} {ACTION_UNIT_NAMES[name]}", elem_id=name)
                        for name in ACTION_UNITS
                    ]
                reset = gr.Button("Reset", size="sm", elem_id="reset")
                save = gr.Button("Edit at full size", variant="primary", elem_id="save")
                saved = gr.File(label="Full size, marked as synthetic", visible=False, elem_id="saved")

        def clicked(path: str | None, event: gr.SelectData) -> Any:  # gradio looks for this annotation
            return answers.clicked(path, event.index)

        told_by = [*asked, strength, shown, has, *units]
        wished = [other, other_face, *told_by]
        edit = [photograph, model, face, *wished]
        own = {"api_visibility": "private", "concurrency_limit": AT_ONCE}
        preview = {
            "fn": answers.preview, "inputs": edit, "outputs": [slider, remark, saved, message],
            "show_progress": "hidden", "trigger_mode": "always_last", **own,
        }  # fmt: skip
        model_chosen = {
            "fn": answers.model, "inputs": [model, other, *asked],
            "outputs": [group_asked, told, *rows, *asked, shown, has, group_like, group, about, message],
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
        gr.on([control.input for control in [*told_by, other_face]], **preview)
        zeros = [0] * len(asked)
        for index, button in enumerate(only):
            alone = [*zeros[:index], 1, *zeros[index + 1 :]]
            button.click(None, [], asked, js=f"() => {alone}", api_visibility="private").then(**preview)
        nothing = json.dumps([*zeros, 1, *[0] * len(units), None])
        reset.click(
            None, [], [*asked, strength, *units, other], js=f"() => {nothing}", api_visibility="private"
        ).then(**preview)  # fmt: skip
        other.change(
            answers.other, [model, other], [group_asked, other_numbered, other_face, message],
            show_progress="hidden", **own,
        ).then(**preview)  # fmt: skip
        other_numbered.select(clicked, other, other_face, **own).then(**preview)
        save.click(answers.file, edit, [saved, message], **own)
        strip_button.click(answers.strip, edit, [strip, message], **own)
        compare_button.click(answers.comparison, [photograph, models, *edit[1:]], [compared, message], **own)
        given, like = (_as_it_came(gr.Image(label=label, visible=False)) for label in ("photograph", "like"))
        add_api(studio, given, like, gr)
    return blocks.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE)


def _as_it_came(image: Any) -> Any:
    """Let a `gradio.Image` hand on the file that it was given: Pillow, as gradio calls it, opens any format."""
    image.preprocess = lambda payload: None if payload is None else str(payload.path)
    return image


HIDDEN = object()
"""Stands for a part of the page that an error hides."""


def _shares(gr: Any, names: Sequence[str]) -> tuple[list[Any], list[Any], list[Any]]:
    """Rows with a button that asks for a name alone and a slider with its share, hidden until a model has the name."""
    rows, buttons, sliders = [], [], []
    for name in names:
        with gr.Row(visible=False) as row:
            buttons.append(gr.Button(name, size="sm", elem_id=f"only-{name}"))
            slider = gr.Slider(
                0, 1, 0, step=0.05, label=name, show_label=False, container=False, min_width=0, buttons=[],
                elem_id=f"to-{name}",
            )  # fmt: skip
            sliders.append(slider)
        rows.append(row)
    return rows, buttons, sliders


def _numbered(gr: Any, name: str) -> Any:
    return gr.Image(
        label="Faces", show_label=False, visible=False, interactive=False, format="jpeg", buttons=[], elem_id=name
    )


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

    def model(self, name: str | None, other: str | None, *shares: float) -> list[Any]:
        """Another model: the controls that it has, and its card."""
        try:
            return [*self._controls(name, other, shares), self.studio.about(name), ""]
        except UserError as error:
            hide, keep = self.gr.update(visible=False), self.gr.update()
            return [hide, "", *[hide] * len(shares), *[keep] * len(shares), *[hide] * 4, "", f"{error}"]

    def _controls(self, name: str | None, other: str | None, shares: Sequence[float]) -> list[Any]:
        editor = self.studio.editor(name)
        space, edits, update = editor.condition.space, list(editor.condition.edits), self.gr.update
        neutral = "neutral" if "neutral" in edits else edits[0]
        values = dict(zip(self.studio.edits, shares, strict=True))
        if not any(values[edit] for edit in edits):  # at first, and where another model's slider was moved
            values[next((edit for edit in edits if edit != neutral), neutral)] = 1
        named = "Attributes to reverse" if space == "attributes" else "Expressions"
        return [
            update(visible=space != "action_units" or other is None),
            f"**{named}**: press one for it alone, or move the sliders",
            *(update(visible=edit in edits) for edit in values),
            *values.values(),
            update(choices=edits, value=neutral, visible=space == "expression"),
            update(choices=list(editor.config["attributes"]), value=[], visible=space == "attributes"),
            update(visible=space == "action_units"),
            update(visible=space == "action_units"),
        ]

    @_or_message(None, "", HIDDEN)
    def preview(self, path: str | None, name: str | None, which: str, *values: Any) -> list[Any]:
        """Another edit: before and after, and what to know about it."""
        if path is None:
            return [None, "", self.gr.update(visible=False)]
        photograph = self._opened(path)
        pictures = self.studio.preview(photograph, name, which_faces(which), self._wish(name, name, *values))
        remarks = "\n\n".join(f"⚠ {remark}." for remark in self.studio.remarks(photograph, name))
        # The file that was made last shows another edit.
        return [tuple(map(str, pictures)), remarks, self.gr.update(visible=False)]

    @_or_message(HIDDEN)
    def file(self, path: str | None, name: str | None, which: str, *values: Any) -> list[Any]:
        """The edit of the whole photograph, to download."""
        wish = self._wish(name, name, *values)
        file = self.studio.file(self._opened(path), name, which_faces(which), wish)
        return [self.gr.update(value=str(file), visible=True)]

    @_or_message(None)
    def strip(self, path: str | None, name: str | None, which: str, *values: Any) -> list[Any]:
        """All expressions at the chosen strength, each alone."""
        wish = self._wish(name, name, *values)
        return [_captioned(self.studio.strip(self._opened(path), name, which_faces(which), wish))]

    @_or_message(None)
    def comparison(
        self, path: str | None, names: Sequence[str], current: str | None, which: str, *values: Any
    ) -> list[Any]:
        """The edit that the page shows, by several models."""
        if not names:
            raise UserError("Choose the models to compare.")
        wishes = {name: self._wish(name, current, *values) for name in names}
        return [_captioned(self.studio.comparison(self._opened(path), wishes, which_faces(which)))]

    @_or_message(HIDDEN, HIDDEN, HIDDEN)
    def other(self, name: str | None, path: str | None) -> list[Any]:
        """A photograph with a face to imitate, in place of expressions; its numbered faces, if there are several."""
        asked = self.gr.update(visible=path is None or self.studio.editor(name).condition.space != "action_units")
        if path is None:
            return [asked, *[self.gr.update(visible=False)] * 2]
        photograph = self._opened(path)
        several = len(photograph.faces) > 1
        numbers = [str(number) for number in range(1, len(photograph.faces) + 1)]
        return [
            asked,
            self.gr.update(value=photograph.numbered if several else None, visible=several),
            self.gr.update(choices=numbers, value=str(photograph.main), visible=several),
        ]

    def clicked(self, path: str | None, place: Sequence[int]) -> Any:
        """A click on the numbered faces, at (x, y): the number of the face there."""
        number = self._opened(path).number_at(*place)
        return self.gr.update() if number is None else str(number)

    def _opened(self, path: str | None) -> Opened:
        return self.studio.open(None if path is None else Path(path))

    def _wish(self, name: str | None, current: str | None, other: str | None, number: str | None, *values: Any) -> Wish:
        """What the controls that the page shows for its current model ask of a model."""
        edits, condition = self.studio.edits, self.studio.editor(current).condition
        like, to = None, dict(zip(edits, values[: len(edits)], strict=True))
        if other is not None and condition.space == "action_units":
            photograph, to = self._opened(other), {}
            chosen = int(number or photograph.main)  # while another photograph comes, still a number of the last one
            like = self.studio.exemplar(photograph, chosen if chosen <= len(photograph.faces) else None)
        to = {edit: share for edit, share in to.items() if share and edit in condition.edits}
        strength, shown, has, *changes = values[len(edits) :]
        units = dict(zip(ACTION_UNITS, changes, strict=True))
        return self.studio.wish(name, to, strength, shown, has, units, like)


def _captioned(pictures: Any) -> list[tuple[str, str]]:
    return [(str(file), caption) for file, caption in pictures]
