"""Files of every kind a folder of photographs holds, sound and broken."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimik.faces.photograph import UnreadableError, read_photograph

RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_rgb_is_kept(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    assert np.array_equal(read_photograph(tmp_path / "a.png"), COLOURS)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "YCbCr", "LA", "RGBA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    flat = Image.new("RGB", (30, 20), (200, 200, 200)).convert(mode)
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    flat.save(path)
    found = read_photograph(path)
    assert found.shape == (20, 30, 3)
    assert found.dtype == np.uint8
    assert abs(int(np.median(found)) - (255 if mode == "1" else 200)) <= 5  # the palette has steps


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read_photograph(tmp_path / "a.png")[0, :, 0].tolist() == [0, 1, 255]


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert (read_photograph(tmp_path / "a.png") == 255).all()


def test_camera_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    Image.fromarray(COLOURS).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_photograph(tmp_path / "a.png"), np.rot90(COLOURS, -1))


def test_grey_is_luminance(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    found = read_photograph(tmp_path / "a.png", grey=True)
    assert np.abs(found - (COLOURS @ np.array([0.299, 0.587, 0.114]))[..., None]).max() <= 1


def broken(path: Path, kind: str) -> None:
    Image.fromarray(COLOURS).save(path, format="JPEG")
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "no image":
        path.write_text("<html>not found</html>")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "missing":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "broken png":
        Image.fromarray(COLOURS).save(path, format="PNG")
        content = bytearray(path.read_bytes())
        content[60:80] = bytes(20)
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("truncated", "(?i)truncated"),
        ("no image", "cannot identify"),
        ("empty", "empty"),
        ("missing", "no such file"),
        ("folder", "cannot be decoded"),
        ("broken png", "cannot be decoded"),
    ],
)
def test_broken_files_say_what_is_wrong(tmp_path: Path, kind: str, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    broken(path, kind)
    with pytest.raises(UnreadableError, match=reason) as caught:
        read_photograph(path)
    assert str(tmp_path) not in str(caught.value)


def test_huge_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mimik.faces.photograph.LARGEST", 599)
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    with pytest.raises(UnreadableError, match="30 x 20"):
        read_photograph(tmp_path / "a.png")
