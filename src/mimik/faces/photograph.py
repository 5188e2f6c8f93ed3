"""Reading a photograph, whatever it is stored as, to upright RGB."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mimik.storage.pictures import DAMAGED, UnreadableError, decode, quietly, read_content

Picture = npt.NDArray[np.uint8]

BAND = 4_000_000
"""Pixels that are converted at a time: only the decoded photograph and the result are in memory as a whole."""

_FROM_16_BITS = ((np.arange(65536) + 128) // 257).astype(np.uint8)
"""Value of 8 bits that is nearest to each value of 16."""


@dataclass(frozen=True)
class Photograph:
    """What is stored of a photograph, upright.

    Attributes:
        colours: uint8 (H, W, 3), also where it is transparent.
        alpha: uint8 (H, W), 0 transparent to 255; None for a photograph that has no transparency.
        profile: its colour profile (ICC) as it is stored; None without one, or where the colours were converted.
    """

    colours: Picture
    alpha: Picture | None
    profile: bytes | None

    @property
    def seen(self) -> Picture:
        """The photograph as people and networks see it, uint8 (H, W, 3): transparent parts are white."""
        return self.colours if self.alpha is None else on_white(self.colours, self.alpha)


def read_photograph(path: Path, *, grey: bool = False, content: bytes | None = None) -> Picture:
    """Read an image file.

    The camera's orientation (EXIF) is applied, 16-bit values are scaled to 8 bits, transparent parts become
    white, any colour model becomes RGB.

    Args:
        path: a file of any of `mimik.storage.pictures.formats`; its ending does not matter.
        grey: replace the colours by their luminance (ITU-R 601), three times.
        content: what `read_content` gave for it, so that nothing is read again; None reads it.

    Returns:
        uint8 (H, W, 3).

    Raises:
        UnreadableError: no file, empty, truncated, damaged, not an image, too large, or of an unknown kind.
    """
    picture = read_layers(path, content=content).seen
    if grey:
        for rows in _bands(picture.shape[0], picture.shape[1]):
            picture[rows] = np.asarray(Image.fromarray(picture[rows]).convert("L"))[..., None]
    return picture


def read_layers(path: Path, *, content: bytes | None = None) -> Photograph:
    """Read an image file like `read_photograph`, with its transparency and its colour profile kept apart."""
    return _photograph(decode(read_content(path) if content is None else content))


def layers_of(image: Image.Image) -> Photograph:
    """What an image that Pillow has opened shows, like `read_layers`; the image itself is not changed."""
    try:
        own = image.copy()
    except DAMAGED as error:
        raise UnreadableError(f"cannot be decoded: {error or type(error).__name__}") from error
    return _photograph(own)


def _photograph(opened: Image.Image) -> Photograph:
    """An image that is closed afterwards."""
    try:
        with opened, quietly():
            profile = opened.info.get("icc_profile") if opened.mode in ("RGB", "RGBA") else None
            ImageOps.exif_transpose(opened, in_place=True)
            colours, alpha = _layers(opened)
    except DAMAGED as error:
        raise UnreadableError(f"cannot be decoded: {error or type(error).__name__}") from error
    return Photograph(colours, alpha, profile if isinstance(profile, bytes) and profile else None)


def on_white(colours: Picture, alpha: Picture) -> Picture:
    """Colours uint8 (H, W, 3) with alpha uint8 (H, W) on a white ground, uint8 (H, W, 3)."""
    seen = np.empty_like(colours)
    for rows in _bands(*alpha.shape):
        layer = Image.fromarray(np.dstack([colours[rows], alpha[rows]]))
        ground = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        seen[rows] = np.asarray(Image.alpha_composite(ground, layer))[..., :3]
    return seen


def _bands(height: int, width: int) -> Iterator[slice]:
    """Rows of a picture, in parts of about `BAND` pixels."""
    tall = max(1, BAND // width)
    for top in range(0, height, tall):
        yield slice(top, min(top + tall, height))


def _layers(image: Image.Image) -> tuple[Picture, Picture | None]:
    """RGB uint8 (H, W, 3) and alpha uint8 (H, W), if any, of a decoded image of any mode."""
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is not known")
    width, height = image.size
    deep = image.mode.startswith("I")  # 16 bits, or 32-bit containers of 16 bits
    colours = np.empty((height, width, 3), np.uint8)
    alpha = np.empty((height, width), np.uint8) if image.has_transparency_data else None
    for rows in _bands(height, width):
        band = image.crop((0, rows.start, width, rows.stop))
        if deep:
            values = np.asarray(band)
            if values.min() < 0 or values.max() > 65535:
                raise ValueError("more than 16 bits per pixel")
            colours[rows] = _FROM_16_BITS[values][..., None]
            if alpha is not None:
                alpha[rows] = np.where(values == image.info["transparency"], 0, 255)
        elif alpha is None:
            colours[rows] = np.asarray(band.convert("RGB"))
        else:
            layer = np.asarray(band.convert("RGBA"))
            colours[rows], alpha[rows] = layer[..., :3], layer[..., 3]
    return colours, alpha
