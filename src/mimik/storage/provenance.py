"""Pictures written for people: marked as what they are, within what their format holds, over nobody's file.

Everything that can be refused is refused by `check_output` and `check_size`, which are called before any work.
"""

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from mimik.errors import UserError
from mimik.storage.files import atomic_path

KINDS: Mapping[str, str] = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"
}  # fmt: skip
"""Formats that are written, by the ending of the name."""

LIMITS: Mapping[str, int] = {"PNG": 1_000_000, "JPEG": 65_500, "WEBP": 16_383, "TIFF": 1_000_000}
"""Longest side of each format, pixels; of JPEG and WebP it is that of their libraries."""

LARGEST_PROFILE = 1 << 20
"""Bytes of the longest colour profile that is copied; Pillow does not read a PNG with a longer one."""

LONGEST_NAME = 230
"""Bytes of the longest name of a file; most systems take 255, and while it is written it has a longer one."""

MARK = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC's word for a photograph of which a trained model has made a part."""

_CREATOR = 'xmp:CreatorTool="mimik"'
_SOFTWARE = b"tEXtSoftware\0mimik"
OURS = (_CREATOR.encode(), _SOFTWARE)
"""Bytes of which every picture that was written here holds one."""


def check_output(
    path: Path, source: Path | None = None, *, overwrite: bool = False, how: str = "add --overwrite"
) -> None:
    """Raise `UserError` when a picture cannot or must not be written under this name.

    A picture that mimik has written is replaced; any other file only with `overwrite`.

    Args:
        path: of the picture to write.
        source: the photograph that it is made of, which is never replaced without `overwrite`, however it is spelt.
        overwrite: whether the person has said that what stands there may be replaced.
        how: how to say so, for the message.
    """
    if path.suffix.lower() not in KINDS:
        raise UserError(f"{path}: expected a name that ends in {', '.join(KINDS)}.")
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; expected the name of a picture file.")
        parent = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        if not parent.is_dir():
            raise UserError(f"{path}: cannot be written because {parent} is not a folder. Name another file.")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise UserError(f"{path}: cannot be written because {parent} is not writable. Name another file.")
        if len(os.fsencode(path.name)) > LONGEST_NAME:
            raise UserError(f"{path}: the name is too long; the limit is {LONGEST_NAME} bytes. Name another file.")
        if overwrite:
            return
        # By what they are on disk: links, `..` and, where the system ignores them, capitals make no other file.
        if source is not None and source.exists() and path.exists() and path.samefile(source):
            raise UserError(
                f"{path}: is the photograph itself, which would be overwritten. Name another file, or {how}."
            )
        if reason := foreign(path):
            raise UserError(f"{path}: {reason}. Name another file, or {how}.")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}). Name another file.") from error


def foreign(path: Path) -> str | None:
    """Why what stands under a name is not to be replaced; None for nothing, and for a picture written by mimik."""
    if not os.path.lexists(path):
        return None
    if path.is_symlink():
        return "is a link, which would be replaced"
    if path.is_file():
        with path.open("rb") as opened:
            kept = b""
            while block := opened.read(1 << 20):
                if any(mark in kept + block for mark in OURS):
                    return None
                kept = block[-100:]  # a mark may lie across two blocks
    return "already exists and was not written by mimik"


def check_size(path: Path, width: int, height: int, *, transparent: bool = False) -> None:
    """Raise `UserError` when the format of a name cannot hold a picture of this size, or its transparency."""
    kind = KINDS[path.suffix.lower()]
    if max(width, height) > LIMITS[kind]:
        raise UserError(
            f"{path}: the picture will have {width} x {height} pixels, but {kind} allows at most {LIMITS[kind]:,} per "
            "side. Name a file that ends in .png or .tif."
        )
    if transparent and kind == "JPEG":
        raise UserError(
            f"{path}: the photograph has transparent parts, which JPEG cannot store. Name a file that ends in .png, "
            ".webp or .tif."
        )


def usable_profile(profile: bytes | None) -> tuple[bytes | None, str | None]:
    """A photograph's colour profile if it may be copied into an edit, and what to tell the person if not."""
    if profile is None:
        return None, None
    if len(profile) > LARGEST_PROFILE:
        return None, (
            f"its colour profile of {len(profile):,} bytes is not copied (the limit is {LARGEST_PROFILE:,}), so its "
            "colours may look different"
        )
    if profile[36:40] != b"acsp" or profile[16:20] != b"RGB ":
        return None, "its colour profile is not an RGB profile and is not copied"
    return profile, None


def write_edit(
    path: Path, picture: npt.NDArray[np.uint8], model: str, asked: str, profile: bytes | None = None
) -> None:
    """Write an edited photograph, marked as synthetic: XMP with IPTC's digital source type, and words for people.

    PNG and TIFF keep every pixel; JPEG and WebP are written at quality 95 (a WebP's transparency without loss).

    Args:
        path: its ending is one of `KINDS`.
        picture: uint8 (H, W, 3), or (H, W, 4) with transparency.
        model: what made the edit.
        asked: what it was asked for.
        profile: ICC profile of the colours.

    Raises:
        UserError: the format cannot hold it, or the file cannot be written.
    """
    check_size(path, picture.shape[1], picture.shape[0], transparent=picture.shape[2] == 4)
    kind = KINDS[path.suffix.lower()]
    options = _marks(kind, model, asked, profile)
    try:
        with atomic_path(path) as temporary:
            Image.fromarray(picture).save(temporary, kind, **options)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be written ({error}).") from error


def png_of(picture: npt.NDArray[np.uint8], model: str, asked: str, profile: bytes | None = None) -> bytes:
    """An edited photograph as the bytes of a PNG file, marked like those of `write_edit`; arguments as there."""
    written = BytesIO()
    Image.fromarray(picture).save(written, "PNG", **_marks("PNG", model, asked, profile))
    return written.getvalue()


def _marks(kind: str, model: str, asked: str, profile: bytes | None) -> dict[str, Any]:
    """Options for Pillow with which a picture of a kind is marked as synthetic."""
    words = f"Face edited by mimik ({model}): {asked}. Synthetic; not a photograph of how this person looked."
    xmp = (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'Iptc4xmpExt:DigitalSourceType="{MARK}" {_CREATOR}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
    exif = Image.Exif()
    exif[0x0131], exif[0x010E] = "mimik", words  # Software, ImageDescription
    options: dict[str, Any] = {"exif": exif}
    if profile is not None:
        options["icc_profile"] = profile
    if kind == "PNG":
        info = software()
        info.add_text("Description", words)
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options |= {"pnginfo": info, "compress_level": 1}
    elif kind == "TIFF":
        options |= {"compression": "tiff_lzw", "tiffinfo": {700: xmp}}
        del options["exif"]
        options["description"], options["software"] = words, "mimik"
    else:
        options |= {"quality": 95, "xmp": xmp}
        if kind == "JPEG":
            options["subsampling"] = 0
        else:
            options["exact"] = True  # colours under transparent pixels are kept
    return options


def software() -> PngImagePlugin.PngInfo:
    """What the PNGs that mimik writes for people say of where they come from."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "mimik")
    return info
