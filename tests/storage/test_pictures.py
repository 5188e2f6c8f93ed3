"""Which picture files are read: by their content, among a few formats, never by another program."""

import os
import sys
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mimik.datasets import celebamask_hq, released_depth
from mimik.datasets.listing import UnusableError
from mimik.datasets.photographs import file_fault, image_mode
from mimik.datasets.tree import find_images
from mimik.editing.files import read
from mimik.errors import UserError
from mimik.faces.photograph import read_photograph
from mimik.storage import pictures
from mimik.storage.pictures import UnreadableError

COLOURS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)

POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 30 20
%%EndComments
newpath 0 0 moveto 30 20 lineto stroke
showpage
%%EOF
"""


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gs` that Pillow finds first; the file returned exists once it was started."""
    from PIL import EpsImagePlugin

    folder, started = tmp_path / "programs", tmp_path / "started"
    folder.mkdir()
    for name in ("gs", "gswin32c", "gswin64c"):
        (folder / name).write_text(f"#!/bin/sh\ntouch '{started}'\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it remembers where it found one
    return started


def refused(read: Callable[[], Any]) -> bool:
    try:
        read()
    except (UnreadableError, UnusableError, UserError):
        return True
    return False


def readers(path: Path) -> Mapping[str, bool]:
    """Every place that opens a picture of somebody else, and whether it refuses this one with a reason."""
    return {
        "photograph": refused(lambda: read_photograph(path)),
        "header": image_mode(path) is None and file_fault(path) == "not a readable image",
        "mask": refused(lambda: celebamask_hq._read(path)),
        "depth map": refused(lambda: released_depth.depth(path.parent, {released_depth.COLUMN: path.name})),
        "edit": refused(lambda: read(path)),
    }


@pytest.mark.parametrize("name", ["photo.jpg", "photo.png", "photo.eps", "photo"])
def test_postscript_under_any_name_starts_no_program(tmp_path: Path, ghostscript: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POSTSCRIPT)
    assert readers(tmp_path / name) == dict.fromkeys(readers(tmp_path / name), True)
    assert not ghostscript.exists()


def test_the_stand_in_is_what_pillow_would_start(tmp_path: Path, ghostscript: Path) -> None:
    with pytest.raises(OSError), Image.open(BytesIO(POSTSCRIPT)) as opened:
        opened.load()
    assert ghostscript.exists()


@pytest.mark.parametrize("kind", ["TGA", "PCX", "PPM", "ICO", "SGI", "DDS", "JPEG2000"])
def test_other_formats_are_refused_everywhere(tmp_path: Path, kind: str) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "photo.jpg", kind)
    assert readers(tmp_path / "photo.jpg") == dict.fromkeys(readers(tmp_path / "photo.jpg"), True)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "MPO", "AVIF"])
def test_wanted_formats_are_read_whatever_they_are_called(tmp_path: Path, kind: str) -> None:
    wanted = "JPEG" if kind == "MPO" else kind
    if wanted not in pictures.formats():
        pytest.skip(f"Pillow without {kind}")
    Image.new("RGB", (32, 32), (200, 30, 90)).save(tmp_path / "photo", kind)
    assert np.abs(read_photograph(tmp_path / "photo").astype(int) - (200, 30, 90)).max() < 12
    assert image_mode(tmp_path / "photo") is not None
    assert pictures.format_of((tmp_path / "photo").read_bytes()[:32]) == wanted


def test_files_are_listed_by_the_endings_of_what_is_read(tmp_path: Path) -> None:
    names = ("a.JPG", "b.jfif", "c.gif", "d.cr2", "e.eps", "f.txt", "g", ".h.jpg")
    for name in names:
        (tmp_path / name).touch()
    assert find_images(tmp_path) == ["a.JPG", "b.jfif", "c.gif"]
    assert pictures.not_read("a.JPG") is None and pictures.not_read("f.txt") is None
    assert "raw file" in str(pictures.not_read("D.CR2")) and "convert" in str(pictures.not_read("x/e.eps"))


def test_heic_is_read_where_its_library_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for pillow-heif that makes Pillow know a format of that name, as the package does."""

    def accept(head: bytes) -> bool:
        return head[4:12] == b"ftypheic"

    def opened(stream: Any, _name: Any) -> Image.Image:
        picture = Image.new("RGB", (30, 20), (1, 2, 3))
        picture.format = "HEIF"
        return picture

    def forget() -> None:
        pictures.formats.cache_clear()
        pictures.readable_endings.cache_clear()

    library = ModuleType("pillow_heif")
    library.register_heif_opener = lambda: Image.register_open("HEIF", opened, accept)  # type: ignore[attr-defined]
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert pictures.format_of(path.read_bytes()[:32]) == "HEIF"
    try:
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        monkeypatch.setattr(Image, "OPEN", {name: entry for name, entry in Image.OPEN.items() if name != "HEIF"})
        monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
        forget()
        assert find_images(tmp_path) == [] and "pillow-heif" in str(pictures.not_read(path.name))
        monkeypatch.setitem(sys.modules, "pillow_heif", library)
        forget()
        assert find_images(tmp_path) == ["photo.heic"] and pictures.not_read(path.name) is None
        assert read_photograph(path)[0, 0].tolist() == [1, 2, 3]
    finally:
        monkeypatch.undo()
        forget()
