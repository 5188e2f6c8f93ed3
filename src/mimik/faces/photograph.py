"""Reading a photograph, whatever it is stored as, to upright RGB."""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mimik.pictures import DAMAGED, open_picture

LARGEST = 100_000_000
"""Pixels above which an image is refused: no camera's picture, and it would not fit beside others in memory."""


LONGEST = 1_000_000_000
"""Bytes above which a file is not even read."""


class UnreadableError(Exception):
    """A file that is no usable image; the message says why."""


def read_content(path: Path) -> bytes:
    """The bytes of an image file. Raises `UnreadableError` when it is missing, too long or cannot be read."""
    try:
        if (length := path.stat().st_size) > LONGEST:
            raise UnreadableError(f"too large: {length} bytes")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableError("no such file") from error
    except OSError as error:
        raise UnreadableError(f"cannot be decoded: {error.strerror or type(error).__name__}") from error


def read_photograph(path: Path, *, grey: bool = False, content: bytes | None = None) -> npt.NDArray[np.uint8]:
    """Read an image file.

    The camera's orientation (EXIF) is applied, 16-bit values are scaled to 8 bits, transparent parts become
    white, any colour model becomes RGB.

    Args:
        path: a file of any of `mimik.pictures.formats`; its ending does not matter.
        grey: replace the colours by their luminance (ITU-R 601), three times.
        content: what `read_content` gave for it, so that nothing is read again; None reads it.

    Returns:
        uint8 (H, W, 3).

    Raises:
        UnreadableError: no file, empty, truncated, damaged, not an image, too large, or of an unknown kind.
    """
    try:
        if content is None:
            content = read_content(path)
        if not content:
            raise UnreadableError("the file is empty")
        with open_picture(BytesIO(content)) as opened:
            if opened.width * opened.height > LARGEST:
                raise UnreadableError(f"too large: {opened.width} x {opened.height} pixels")
            opened.load()
            if opened.format in ("JPEG", "MPO") and not _ended(content):
                raise UnreadableError("the end of the picture is missing: the file was not written to the end")
            rgb = _rgb(ImageOps.exif_transpose(opened))
    except DAMAGED as error:
        # Pillow's decoders raise all of these on damaged files; what they say may name the buffer by its address.
        reason = re.sub(r"<_io\.BytesIO object at 0x[0-9a-fA-F]+>", "'the file'", str(error))
        raise UnreadableError(f"cannot be decoded: {reason or type(error).__name__}") from error
    if grey:
        rgb = rgb.convert("L").convert("RGB")
    return np.asarray(rgb)


def _ended(jpeg: bytes) -> bool:
    """Whether a JPEG's last scan is followed by an end of image.

    An interrupted download may leave zeros for the rest, which decode without an error to a grey area.
    """
    return jpeg.rfind(b"\xff\xd9") > jpeg.rfind(b"\xff\xda")


def _rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as RGB."""
    if image.mode.startswith("I"):  # 16 bits, or 32-bit containers of 16 bits
        values = np.asarray(image).astype(np.float64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("more than 16 bits per pixel")
        image = Image.fromarray((values / 257.0).round().astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels, whose range is not known")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, (255, 255, 255, 255)), layer)
    return image.convert("RGB")
