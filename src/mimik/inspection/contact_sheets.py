"""Contact sheets of a prepared dataset: PNGs that show at a glance what was made from the photographs.

`classes.png`: a seeded draw of faces of every class. `annotations.png`: a few faces with everything that is known of
their pixels. Of photographs also `accepted.png`, any faces with what was measured of them, and `rejected.png`,
photographs that are not in the dataset with the stage and the reason; of those that failed `quality`, the faces.
Beside scores of labels, `doubted.png`: training faces whose label is doubted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from mimik.errors import UserError
from mimik.faces import alignment
from mimik.faces.masks import colour
from mimik.faces.photograph import read_photograph
from mimik.faces.prepared.label_quality import SHEET, read_scores
from mimik.faces.prepared.store import TRANSFORM, FaceStore, prepared_manifest
from mimik.inspection.description import doubted
from mimik.reporting.mosaics import DISPLAYED, GAP, Picture, enlargement
from mimik.storage.files import atomic_path
from mimik.storage.pictures import UnreadableError
from mimik.storage.provenance import foreign, software

SHEETS = ("classes", "annotations", "accepted", "rejected")
"""Names of the sheets, without the ending .png."""

COLUMNS = 10
"""Pictures of a row."""

ACCEPTED_ROWS = 3

DOUBTED = 16
"""Most doubted faces of a class."""

REJECTED_ROWS = 2
"""Most rows of one stage."""

ANNOTATED = 6
"""Faces on the sheet of annotations."""

CAPTION_LINES = 5
"""Most lines below a picture; the last one ends in an ellipsis where there is more to say."""

INK, FAINT, GROUND, EMPTY = (27, 32, 38), (93, 102, 115), (255, 255, 255), (226, 229, 233)

POINT = (0, 230, 118)
"""Colour of landmarks."""


@dataclass(frozen=True)
class Tile:
    """A picture, or None for one that cannot be shown, and what stands below it."""

    picture: Picture | None
    caption: str = ""


@dataclass(frozen=True)
class Row:
    """Pictures from left to right with a label at the left."""

    label: str
    tiles: Sequence[Tile]


def draw_sheets(store: FaceStore, raw: Path, output: Path) -> list[Path]:
    """Draw every sheet that the store has something for.

    Sheets of an earlier call in the same folder are replaced, or removed where there is nothing to draw now.

    Args:
        store: the prepared dataset, at the size that is drawn (`size_drawn`).
        raw: folder of the raw archive, read for rejected photographs only. It may be absent; then there is no sheet
            of them.
        output: folder for the PNGs.

    Returns:
        The files written.
    """
    seed = int(store.manifest["seed"])
    name = store.directory.name
    sheets: dict[str, tuple[str, list[Row]]] = {
        "classes": (f"{name}: faces of every class, drawn at random (seed {seed})", _classes(store, seed)),
        "annotations": (
            f"{name}: what is stored for a face (masks: grey is unknown; depth: bright is near)",
            _annotations(store, seed),
        ),
        "accepted": ("", []),
        "rejected": ("", []),
    }
    if store.manifest["source"] == "photographs":
        sheets["accepted"] = (f"{name}: accepted faces, drawn at random (seed {seed})", _accepted(store, seed))
        title = f"{name}: photographs that are left out, drawn at random from each stage (seed {seed})"
        sheets["rejected"] = (title, _rejected(store, raw, seed))
    written = []
    for word, (title, rows) in sheets.items():
        path = output / f"{word}.png"
        if any(tile.picture is not None for row in rows for tile in row.tiles):
            with atomic_path(path) as temporary:
                compose(title, rows).save(temporary, "PNG", pnginfo=software())
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return written


def draw_doubted(store_dir: Path, output: Path) -> list[str]:
    """Draw the sheet of the doubted labels of a dataset beside their scores; see `mimik.faces.prepared.label_quality`.

    One row per class, the least likely labels first. Where no label is doubted, the rows are empty.

    Returns:
        Lines that say how many are doubted, and where the sheet is.

    Raises:
        UserError: a file of the scores or of the store is missing or damaged.
    """
    store = FaceStore(store_dir, size_drawn(prepared_manifest(store_dir)["sizes"]))
    scores = read_scores(output, store)
    columns = ("id", "expression", "confidence", "probable")
    told = list(scores.table[[*columns, *(f"probability_{name}" for name in store.classes)]].to_dict("records"))
    rows = []
    for name in store.classes:
        own = np.flatnonzero((scores.table["expression"] == name).to_numpy() & scores.doubted)
        order = own[np.argsort(scores.weights[own], kind="stable")]
        tiles = [
            Tile(
                store.images[scores.rows[place]],
                f"{name} {told[place]['confidence']:.0%}\n→ {(other := told[place]['probable'])} "
                f"{told[place][f'probability_{other}']:.0%}\n{told[place]['id']}",
            )
            for place in order[:DOUBTED]
        ]
        rows.append(Row(f"{name} ({len(own):,} of {scores.record['classes'][name]['faces']:,})", tiles))
    title = f"{store.name}: doubted labels of training faces, the least likely first (label → what is more probable)"
    path = output / SHEET
    with atomic_path(path) as temporary:
        compose(title, rows).save(temporary, "PNG", pnginfo=software())
    return [*doubted(scores), f"  sheet    {path}"]


def check_free(output: Path) -> None:
    """Raise `UserError` when drawing the sheets into a folder would replace or remove a file that is not mimik's."""
    for name in SHEETS:
        path = output / f"{name}.png"
        if reason := foreign(path):
            raise UserError(f"{path}: {reason}. Move it away, or name another folder.")


def size_drawn(sizes: Sequence[int]) -> int:
    """The size of the store that suits the sheets: the smallest that need not be enlarged, else the largest."""
    return min((size for size in sizes if size >= DISPLAYED), default=max(sizes))


# --- what stands on them ---------------------------------------------------------------------------------------


def _draw(rows: npt.NDArray[Any], count: int, *seed: int) -> npt.NDArray[Any]:
    """At most `count` of `rows`, ascending; the same for the same seed (numbers of 0 and more)."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:count])


def _classes(store: FaceStore, seed: int) -> list[Row]:
    labels, ids, splits = store.labels(), store.table["id"].tolist(), store.table["split"].tolist()
    names = [*enumerate(store.classes), (-1, "(no label)")]
    # Every class has a draw of its own: with one for all, classes of equal sizes would show the same persons.
    return [
        Row(
            name,
            [Tile(store.images[row], f"{splits[row]}\n{ids[row]}") for row in _draw(rows, COLUMNS, seed, label + 1)],
        )
        for label, name in names
        if len(rows := np.flatnonzero(labels == label)) or label >= 0
    ]


def _annotations(store: FaceStore, seed: int) -> list[Row]:
    chosen = _draw(np.arange(len(store)), ANNOTATED, seed)
    ids = store.table["id"].tolist()
    rows = [Row("face", [Tile(store.images[row], ids[row]) for row in chosen])]
    if store.landmarks is not None:
        rows.append(Row("landmarks", [Tile(_dotted(store.images[row], store.landmarks[row])) for row in chosen]))
    if store.masks is not None:
        rows.append(Row("masks", [Tile(colour(store.masks[row])) for row in chosen]))
    if store.depth is not None:
        rows.append(Row("depth", [Tile(np.repeat(store.depth[row][..., None], 3, axis=-1)) for row in chosen]))
    if store.normals is not None:
        rows.append(Row("normals", [Tile(store.normals[row]) for row in chosen]))
    return rows if len(rows) > 1 else []


def _accepted(store: FaceStore, seed: int) -> list[Row]:
    chosen = _draw(np.arange(len(store)), ACCEPTED_ROWS * COLUMNS, seed)
    records = store.table.iloc[chosen].to_dict("records")
    tiles = [Tile(store.images[row], _measured(record)) for row, record in zip(chosen, records, strict=True)]
    return _rows("", tiles)


def _measured(record: Mapping[Any, Any]) -> str:
    """Lines on what was measured: pose (roll is what alignment takes away), visible shares, and the source."""
    lines = []
    for names, form in ((("yaw", "pitch"), "{} {:+.0f}°"), (("visible_left", "visible_right"), "{} {:.0%}")):
        values = [(name, record.get(f"measured_{name}", record.get(name))) for name in names]
        known = [
            form.format(name.removeprefix("visible_"), value)
            for name, value in values
            if isinstance(value, float) and np.isfinite(value)
        ]
        lines.append(" ".join(known))
    return "\n".join([*lines, str(record["source"])])


def _rejected(store: FaceStore, raw: Path, seed: int) -> list[Row]:
    left_out = store.quarantine()
    transforms: dict[str, npt.NDArray[np.float64]] = {}
    if "quality" in set(left_out["stage"]):
        refused = store.refused()
        transforms = dict(zip(refused["path"], refused[list(TRANSFORM)].to_numpy(np.float64), strict=True))
    rows = []
    for stage in sorted(set(left_out["stage"])):
        group = left_out[left_out["stage"] == stage]
        chosen = group.iloc[_draw(np.arange(len(group)), REJECTED_ROWS * COLUMNS, seed)]
        tiles = []
        for path, reason in zip(chosen["path"], chosen["reason"], strict=True):
            try:
                picture = read_photograph(raw / path)
                if stage == "quality":  # a face was found: it says more than the whole photograph
                    picture = alignment.crop(picture, transforms[path].reshape(2, 3), store.size)
            except UnreadableError:
                picture = None
            tiles.append(Tile(picture, f"{reason}\n{Path(path).name}"))
        rows += _rows(f"{stage} ({len(group):,})", tiles)
    return rows


def _rows(label: str, tiles: Sequence[Tile]) -> list[Row]:
    """Tiles in rows of `COLUMNS`, the first of them labelled."""
    starts = range(0, len(tiles), COLUMNS)
    return [Row(label if start == 0 else "", tiles[start : start + COLUMNS]) for start in starts]


def _dotted(image: Picture, landmarks: npt.NDArray[Any]) -> Picture:
    """The face with its landmarks, (68, 2) in pixels, drawn at the size that is shown."""
    shown = _shown(image)
    factor = shown.width / image.shape[1]
    pen = ImageDraw.Draw(shown)
    for x, y in landmarks * factor:
        pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=POINT)
    dotted: Picture = np.asarray(shown)
    return dotted


# --- how it is drawn -------------------------------------------------------------------------------------------


def compose(title: str, rows: Sequence[Row]) -> Image.Image:
    """A sheet: the title, and below it the rows with labels at the left and captions below the pictures."""
    large, middle, small = _font(16), _font(13), _font(10)
    label_width = max((round(middle.getlength(row.label)) for row in rows), default=0)
    left = 12 + (label_width + 12 if label_width else 0)
    columns = max(len(row.tiles) for row in rows)
    width = max(left + columns * (DISPLAYED + GAP) - GAP, 12 + round(large.getlength(title))) + 12
    captions = [[wrapped(tile.caption, small, DISPLAYED) for tile in row.tiles] for row in rows]
    heights = [DISPLAYED + 13 * max((len(lines) for lines in below), default=0) + 2 * GAP for below in captions]
    sheet = Image.new("RGB", (width, 44 + sum(heights) + 4), GROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((12, 12), title, INK, large)
    top = 44
    for row, below, height in zip(rows, captions, heights, strict=True):
        pen.text((left - 12, top + DISPLAYED / 2), row.label, INK, middle, anchor="rm")
        for column, (tile, lines) in enumerate(zip(row.tiles, below, strict=True)):
            x = left + column * (DISPLAYED + GAP)
            if tile.picture is None:
                pen.rectangle((x, top, x + DISPLAYED - 1, top + DISPLAYED - 1), EMPTY)
                pen.text((x + DISPLAYED / 2, top + DISPLAYED / 2), "cannot be shown", FAINT, small, anchor="mm")
            else:
                shown = _shown(tile.picture)
                sheet.paste(shown, (x + (DISPLAYED - shown.width) // 2, top + (DISPLAYED - shown.height) // 2))
            for number, line in enumerate(lines):
                pen.text((x, top + DISPLAYED + 2 + 13 * number), line, FAINT, small)
        top += height
    return sheet


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Text in at most `CAPTION_LINES` lines of `width` pixels, broken at blanks, and inside longer words."""
    lines = [line for part in text.splitlines() for line in _broken(part, font, width)]
    if len(lines) <= CAPTION_LINES:
        return lines
    last = lines[CAPTION_LINES - 1]
    while last and font.getlength(f"{last}…") > width:
        last = last[:-1]
    return [*lines[: CAPTION_LINES - 1], f"{last}…"]


def _broken(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        line = f"{lines.pop()} {word}" if lines and font.getlength(f"{lines[-1]} {word}") <= width else word
        while font.getlength(line) > width and len(line) > 1:
            fits = [stop for stop in range(2, len(line)) if font.getlength(line[:stop]) <= width]
            stop = fits[-1] if fits else 1
            lines.append(line[:stop])
            line = line[stop:]
        lines.append(line)
    return lines


def _shown(picture: Picture) -> Image.Image:
    """A picture with its longer side at `DISPLAYED` pixels; pixels of small squares are repeated, not interpolated."""
    image = Image.fromarray(np.asarray(picture))
    longer = max(image.size)
    if longer < DISPLAYED:
        factor = enlargement(longer)
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    scale = DISPLAYED / longer
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along: it has Greek, Cyrillic and more, for names of files."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
