"""Which picture files are read, and the one way to open one.

Pictures come from strangers. Unless restricted, Pillow reads dozens of formats and decides by the content, so
that a "photo.jpg" may be PostScript, for which it starts Ghostscript: only the formats of `formats` are tried here, and
no other module calls `PIL.Image.open` (a test checks it).
"""

import importlib
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image

ENDINGS: Mapping[str, Sequence[str]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
"""Pillow's name of every format that is wanted, and the endings (lower case) that its files go by. Of pictures with
several frames the first is read."""

PICTURE_ENDINGS: frozenset[str] = frozenset(ending for endings in ENDINGS.values() for ending in endings)
"""Endings of all wanted formats, whether this installation reads them or not."""

_PLUGINS = {"JPEG": "Jpeg", "PNG": "Png", "WEBP": "WebP", "TIFF": "Tiff", "BMP": "Bmp", "GIF": "Gif", "AVIF": "Avif"}
"""Pillow's module of each format; HEIF comes from the package pillow-heif."""

_RAW = "a camera's raw file; develop it to JPEG or TIFF"
_CONVERT = "not a supported format; convert it to PNG or JPEG"

_OTHERS: Mapping[str, str] = {
    **dict.fromkeys(
        (".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".kdc", ".mef", ".mrw", ".nef", ".nrw", ".orf",
         ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"), _RAW,
    ),
    **dict.fromkeys(
        (".ai", ".dds", ".emf", ".eps", ".exr", ".hdr", ".icns", ".ico", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl", ".jxr",
         ".pbm", ".pcx", ".pgm", ".pnm", ".ppm", ".ps", ".psb", ".psd", ".qoi", ".sgi", ".svg", ".tga", ".wdp", ".wmf",
         ".xcf"), _CONVERT,
    ),
}  # fmt: skip
"""Endings of pictures in formats that are not wanted, and what to do with such a file."""

DAMAGED: tuple[type[Exception], ...] = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are no image, or a damaged one."""


LARGEST = 100_000_000
"""Pixels above which a picture is refused: no camera's, and it would not fit beside others in memory."""

LONGEST_SIDE = 65_535
"""Pixels above which a side is refused; JPEG has none longer."""

LONGEST = 1_000_000_000
"""Bytes above which a file is not even read."""

SCANNED = 5_000_000_000
"""Scans times pixels above which a JPEG is refused. A progressive one has about ten scans, each of which goes over all
pixels: what is refused would take seconds to minutes."""


PARTS = 100_000
"""Parts (segments, chunks, blocks) above which a file is refused; Pillow's time for them grows with their square."""


class UnreadableError(Exception):
    """A file that is no usable picture; the message says why, without the file's name."""


@cache
def formats() -> tuple[str, ...]:
    """Those formats of `ENDINGS` that this installation reads, by Pillow's name."""
    read = {"HEIF"}
    for name, module in _PLUGINS.items():
        try:
            plugin = importlib.import_module(f"PIL.{module}ImagePlugin")
        except ImportError:
            continue  # an older Pillow without AVIF
        if getattr(plugin, "SUPPORTED", True):  # AVIF and WebP: whether Pillow was built with the library
            read.add(name)
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        pass
    else:
        heif.register_heif_opener()
    return tuple(name for name in ENDINGS if name in read and name in Image.OPEN)


@cache
def readable_endings() -> frozenset[str]:
    """Endings (lower case, with the dot) of the files that this installation reads."""
    return frozenset(ending for name in formats() for ending in ENDINGS[name])


def not_read(name: str) -> str | None:
    """What to do with a file that is a picture by its name, but is not read.

    Args:
        name: of the file, with or without folders.

    Returns:
        A phrase such as "a camera's raw file; develop it to JPEG or TIFF". None for files that are read, and for those
        that are no pictures by their name.
    """
    ending = PurePosixPath(name).suffix.lower()
    if ending in readable_endings():
        return None
    if ending in ENDINGS["HEIF"]:
        return "reading HEIC needs pillow-heif (`pip install 'mimik[heic]'`); install it, or convert the file to JPEG"
    if ending in ENDINGS["AVIF"]:
        return "reading AVIF needs Pillow 11.3 or later; install it, or convert the file to JPEG"
    return _OTHERS.get(ending)


def format_of(head: bytes) -> str | None:
    """The format, a key of `ENDINGS`, of a file by its first 32 bytes, whatever its name; None for anything else.

    Whether this installation reads it is another question (`formats`).
    """
    if head[4:8] == b"ftyp":
        brands = {head[start : start + 4] for start in range(8, 32, 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIF" if brands & {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"} else None
    if head[:4] == b"RIFF":
        return "WEBP" if head[8:12] == b"WEBP" else None
    starts = {
        "JPEG": (b"\xff\xd8\xff",),
        "PNG": (b"\x89PNG\r\n\x1a\n",),
        "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        "GIF": (b"GIF87a", b"GIF89a"),
    }
    if found := next((name for name, words in starts.items() if head.startswith(words)), None):
        return found
    # Two letters are few: the four bytes after the length are reserved, and are zero in every bitmap.
    return "BMP" if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" else None


@contextmanager
def quietly() -> Iterator[None]:
    """Without Pillow's warnings: of large pictures, which are refused here, and of odd tags, which concern nobody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_picture(source: Path | BytesIO) -> Image.Image:
    """Open an untrusted picture file like `PIL.Image.open`, without decoding its pixels yet.

    Args:
        source: a file, or its bytes. Its ending does not matter; its format must be one of `formats`.

    Raises:
        UnreadableError: no file, or more pixels than are decoded (`LARGEST`, `LONGEST_SIDE`).
        One of `DAMAGED`: no picture of these formats, or a damaged one. Decoding, later, raises them too.
    """
    if isinstance(source, Path) and not source.is_file():
        raise UnreadableError("not a file")  # a pipe would be waited for
    try:
        with quietly():
            opened = Image.open(source, formats=formats())
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"too large: more than {LARGEST:,} pixels") from error
    if opened.width * opened.height > LARGEST or max(opened.size) > LONGEST_SIDE:
        size = f"{opened.width} x {opened.height} pixels"
        opened.close()
        raise UnreadableError(f"too large: {size}; the limit is {LARGEST:,} pixels, and {LONGEST_SIDE:,} per side")
    return opened


def read_content(path: Path) -> bytes:
    """The bytes of a picture file. Raises `UnreadableError` when it is missing, empty, too long or cannot be read."""
    try:
        if not path.is_file() and path.exists() and not path.is_dir():
            raise UnreadableError("not a file but a pipe or a device")
        if (length := path.stat().st_size) > LONGEST:
            raise UnreadableError(f"too large: {length:,} bytes; the limit is {LONGEST:,}")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableError("no such file") from error
    except OSError as error:
        raise UnreadableError(f"cannot be decoded: {error.strerror or type(error).__name__}") from error
    if not content:
        raise UnreadableError("the file is empty")
    return content


def decode(content: bytes) -> Image.Image:
    """Decode an untrusted picture file; its pixels are returned as stored (mode, orientation).

    Args:
        content: what `read_content` gave.

    Raises:
        UnreadableError: truncated, damaged, not a picture of one of `formats`, or one that takes too long to decode.
    """
    kind, scans, ended = format_of(content[:32]), 0, True
    if kind == "JPEG":
        scans, ended = _jpeg_scans(content)
    elif kind in ("PNG", "GIF"):
        _count_parts(content, kind)
    try:
        opened = open_picture(BytesIO(content))
        if scans * opened.width * opened.height > SCANNED:
            size = f"{opened.width} x {opened.height} pixels"
            raise UnreadableError(f"takes too long to decode: a JPEG of {size} in {scans:,} scans")
        with quietly():
            opened.load()
    except DAMAGED as error:
        raise _unreadable(error) from error
    if not ended:
        raise UnreadableError("the end of the picture is missing: the file is incomplete")
    return opened


def _unreadable(error: Exception) -> UnreadableError:
    """What Pillow's decoders say, without the address of the buffer that they may name."""
    reason = re.sub(r"<_io\.BytesIO object at 0x[0-9a-fA-F]+>", "'the file'", str(error))
    return UnreadableError(f"cannot be decoded: {reason or type(error).__name__}")


_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
"""A marker of JPEG; none that may stand among the coefficients of a scan, as 0 and restarts."""


def _jpeg_scans(content: bytes) -> tuple[int, bool]:
    """Scans of a JPEG's first picture, and whether an end of image follows the last one.

    An interrupted download may leave zeros for the rest, which decode without an error to a grey area. What follows the
    end of image (a second picture, a video) does not count. Raises `UnreadableError` when it has more than `PARTS`.
    """
    scans, parts, position = 0, 0, 2
    while found := _MARKER.search(content, position):
        parts += 1
        _check_parts(parts)
        marker, position = content[found.end() - 1], found.end()
        if marker == 0xD9:
            return scans, True
        if marker not in (0x01, 0xD8):
            position += max(2, int.from_bytes(content[position : position + 2]))
        scans += marker == 0xDA
    return scans, False


def _count_parts(content: bytes, kind: str) -> None:
    """Raise `UnreadableError` when a PNG or GIF has more than `PARTS` chunks, or blocks before its first frame."""
    parts = 0
    if kind == "PNG":
        position = 8
        while position < len(content):
            position += 12 + int.from_bytes(content[position : position + 4])
            parts += 1
            _check_parts(parts)
        return
    # Header, and a table of colours if the highest bit says so; then blocks, the frame's starting with a comma.
    flags = content[10] if len(content) > 10 else 0
    position = 13 + (3 << (flags & 7) + 1 if flags & 128 else 0)
    while content[position : position + 1] == b"!":
        position += 2
        while position < len(content) and (length := content[position]):
            position += 1 + length
            parts += 1
            _check_parts(parts)
        position += 1
        parts += 1
        _check_parts(parts)


def _check_parts(parts: int) -> None:
    if parts > PARTS:
        raise UnreadableError(f"takes too long to decode: more than {PARTS:,} parts in one file")
